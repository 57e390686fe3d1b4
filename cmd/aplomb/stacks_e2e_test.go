//go:build e2e

package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/internal/sandbox"
)

const stackYAML = "apiVersion: aplomb.dev/v1\nkind: tofu.stack\nmetadata: {name: %[1]s}\nspec: {module: ./%[1]s, outputs: {x: {}}}\n"

// thingTF is a stack of one thing with a content.
func thingTF(content string) string {
	return "terraform {\n  required_providers {\n    aplombtest = { source = \"" + enginetest.TestProvider + "\" }\n  }\n}\n" +
		"provider \"aplombtest\" { folder = \"/tmp\" }\nresource \"aplombtest_thing\" \"one\" {\n  name    = \"one\"\n  content = " + content + "\n}\n" +
		"output \"x\" { value = \"plain\" }\n"
}

// TestProposedStacks: a stack that somebody proposes is planned in a sandbox and
// read on the pull request; one that wants to read the daemon's token, by
// whatever means, gets nothing, and neither does the comment.
func TestProposedStacks(t *testing.T) {
	tool := enginetest.Tofu(t)
	who := ""
	if os.Geteuid() == 0 {
		who = `user: "65534", `
		if err := sandbox.Probe(t.Context(), &sandbox.User{UID: 65534, GID: 65534}); err != nil && strings.Contains(err.Error(), "not permitted") {
			t.Skipf("not tested: %v", err)
		}
	}
	f := newForum(t, fmt.Sprintf(", tofu: {engine: tofu, binary: %s, cliConfig: %s, plan: {%sproviders: [%s], mirror: %s}}",
		tool.Binary, tool.Config, who, enginetest.TestProvider, filepath.Join(filepath.Dir(tool.Config), "mirror")))
	number, head := f.propose("net", "prod/net.yaml", fmt.Sprintf(stackYAML, "net"), "prod/net/main.tf", thingTF(`"as proposed"`))
	f.planned(head, "success 2 changes, 2 held") // with the file that is there from the beginning
	if c := f.comments(number); len(c) != 1 || !strings.Contains(c[0], "tofu.stack/net") || !strings.Contains(c[0], "as proposed") || strings.Contains(c[0], "not planned") {
		t.Fatalf("%q", c)
	}

	canary := f.gitea.User(t, "aplomb")
	token := f.path("token")
	up := strings.Repeat("../", 30) + strings.TrimPrefix(token, "/")
	for name, files := range map[string][]string{
		"file":      {"prod/spy/main.tf", thingTF(fmt.Sprintf("file(%q)", token))},
		"core":      {"prod/spy/main.tf", thingTF(fmt.Sprintf("core::file(%q)", up))},
		"template":  {"prod/spy/main.tf", thingTF(`templatefile("t.tmpl", {})`), "prod/spy/t.tmpl", fmt.Sprintf("${file(%q)}", token)},
		"external":  {"prod/spy/main.tf", thingTF(fmt.Sprintf("data.external.x.result.x\n}\ndata \"external\" \"x\" {\n  program = [\"cat\", %q]", token))},
		"localfile": {"prod/spy/main.tf", thingTF(fmt.Sprintf("data.local_file.x.content\n}\ndata \"local_file\" \"x\" {\n  filename = %q", token))},
		"elsewhere": {"prod/spy/main.tf", "module \"x\" { source = \"git::https://example.org/x\" }\noutput \"x\" { value = \"x\" }\n"},
	} {
		number, head := f.propose("spy-"+name, append(files, "prod/spy.yaml", fmt.Sprintf(stackYAML, "spy"))...)
		f.until("planned: "+name, func() bool { return strings.HasPrefix(f.status(head, "aplomb/plan: prod"), "success 2 changes") })
		if c := f.comments(number); len(c) != 1 || !strings.Contains(c[0], "not planned on a proposal") {
			t.Errorf("%s: %q", name, c)
		}
		f.untold(number, head, canary)
	}
	f.spies(canary, token, up)
	if strings.Contains(f.said.String(), canary) {
		t.Error("the daemon said its token")
	}
}

// spies are proposals that want to read the token without a stack, or by links.
func (f *forum) spies(canary, token, up string) {
	f.Helper()
	link := func(name, to string) func() {
		return func() {
			f.must(os.MkdirAll(filepath.Dir(filepath.Join(f.work.Dir, name)), 0o755))
			f.must(os.Symlink(to, filepath.Join(f.work.Dir, name)))
		}
	}
	for name, spy := range map[string]struct {
		files []string
		more  func()
	}{
		"linked file":   {[]string{"prod/spy.yaml", fmt.Sprintf(stackYAML, "spy"), "prod/spy/main.tf", thingTF(`file("token")`)}, link("prod/spy/token", token)},
		"linked folder": {[]string{"prod/spy.yaml", fmt.Sprintf(stackYAML, "spy")}, link("prod/spy", filepath.Dir(token))},
		"template":      {[]string{"prod/spy.yaml", "apiVersion: aplomb.dev/v1\nkind: local.file\nmetadata: {name: spy}\nspec: {path: spy.txt, template: " + up + "}\n"}, nil},
		"absolute":      {[]string{"prod/spy.yaml", "apiVersion: aplomb.dev/v1\nkind: local.file\nmetadata: {name: spy}\nspec: {path: spy.txt, template: " + token + "}\n"}, nil},
		"linked":        {[]string{"prod/spy.yaml", "apiVersion: aplomb.dev/v1\nkind: local.file\nmetadata: {name: spy}\nspec: {path: spy.txt, template: ./t}\n"}, link("prod/t", token)},
		"embedded":      {[]string{"prod/spy.cue", "@extern(embed)\npackage spy\nx: {apiVersion: \"aplomb.dev/v1\", kind: \"local.file\", metadata: name: \"spy\", spec: {path: \"spy.txt\", content: y}}\ny: _ @embed(file=\"" + up + "\", type=text)\n"}, nil},
	} {
		f.work.Git("fetch", "-q", "origin", "main")
		f.work.Git("checkout", "-q", "-f", "-B", "spy", "origin/main")
		f.work.Git("clean", "-q", "-f", "-d")
		if spy.more != nil {
			spy.more()
		}
		branch := "spies-" + strings.ReplaceAll(name, " ", "-")
		for i := 0; i < len(spy.files); i += 2 {
			f.work.Write(spy.files[i], spy.files[i+1])
		}
		head := f.push(branch)
		number := f.gitea.Propose(f.T, "ana", f.repo, branch, "main", name)
		f.until("judged: "+name, func() bool { return strings.HasPrefix(f.status(head, "aplomb/plan: prod"), "failure ") })
		f.untold(number, head, canary)
	}
}

// untold: nothing that is said on a proposal holds a secret.
func (f *forum) untold(number int64, head, canary string) {
	f.Helper()
	var statuses []map[string]any
	f.gitea.Must(f.T, f.gitea.Token, http.MethodGet, "/repos/"+f.repo+"/commits/"+head+"/statuses?limit=50", nil, &statuses)
	if all := fmt.Sprint(f.comments(number), statuses); strings.Contains(all, canary) {
		f.Errorf("the token is told: %s", all)
	}
}
