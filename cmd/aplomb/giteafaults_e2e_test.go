//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
)

// within approves by hand the first so many things that are declared.
func (f *forum) within(things int) {
	f.Helper()
	var plan struct {
		Digest  string
		Changes []struct{}
	}
	f.until("held", func() bool {
		out, _ := f.aplomb("plan", "-o", "json")
		return json.Unmarshal([]byte(out), &plan) == nil && len(plan.Changes) == things
	})
	if out, code := f.aplomb("approve", plan.Digest, "--why", "the first"); code != codeGood {
		f.Fatal(out)
	}
}

// stumbling fails each kind of request in turn: the connection is refused, then
// the answer is lost, and only the third of the kind goes through.
type stumbling struct {
	mu   sync.Mutex
	seen map[string]int
}

// particular is what tells two requests of one kind apart.
var particular = regexp.MustCompile(`[0-9a-f]{40}|/[0-9]+`)

func (s *stumbling) choose(r *http.Request) enginetest.Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind := r.Method + " " + particular.ReplaceAllString(r.URL.Path, "#")
	s.seen[kind]++
	switch s.seen[kind] {
	case 1:
		return enginetest.Refuse
	case 2:
		return enginetest.Lost
	}
	return enginetest.Pass
}

// TestForgeDown: a forge that fails at every kind of request, before it acts and
// after, delays a change and alters nothing of it; one that is out of reach
// means no.
func TestForgeDown(t *testing.T) {
	f := newForum(t)
	f.within(1)
	f.applied(f.work.Head(), "success")

	s := &stumbling{seen: map[string]int{}}
	f.proxy.Meddle(s.choose)
	number, head := f.propose("two", "prod/two.yaml", file("two", "second"))
	f.planned(head, "success 1 change, 1 held")
	f.gitea.Review(t, "ben", f.repo, number, "APPROVED")
	merge := f.gitea.Merge(t, "ben", f.repo, number)
	f.applied(merge, "success")
	if c := f.comments(number); len(c) != 1 {
		t.Errorf("a lost answer makes another comment: %q", c)
	}
	if out, _ := f.aplomb("audit"); strings.Count(out, fmt.Sprintf("review of %d", number)) != 1 {
		t.Errorf("one review is counted otherwise than once:\n%s", out)
	}
	for _, call := range []string{"GET /statuses", "POST /statuses", "GET /comments", "POST /comments", "GET /reviews", "GET /pulls", "GET info/refs", "POST git-upload-pack"} {
		method, part, _ := strings.Cut(call, " ")
		if !s.met(method, part) {
			t.Errorf("no %s failed", call)
		}
	}

	number, head = f.propose("three", "prod/three.yaml", file("three", "third"))
	f.planned(head, "success 1 change, 1 held")
	f.gitea.Review(t, "ben", f.repo, number, "APPROVED")
	f.proxy.Meddle(func(r *http.Request) enginetest.Fault { // the repository answers, the forge does not
		if strings.Contains(r.URL.Path, "/api/") {
			return enginetest.Refuse
		}
		return enginetest.Pass
	})
	merge = f.gitea.Merge(t, "ben", f.repo, number)
	f.until("in force, and reviews out of reach", func() bool {
		out, _ := f.aplomb("status")
		return strings.Contains(out, merge[:7]) && strings.Contains(out, "wants approval: a review") && strings.Contains(out, " · forge failing") &&
			strings.Contains(out, "✗ forge: reviews: ") && strings.Contains(out, "; what is held stays so, unless it is approved by hand") && strings.Contains(f.said.String(), "reviews cannot be read: what is held stays so")
	})
	if _, err := os.Stat(f.path("root/three.txt")); err == nil {
		t.Error("what no review could be read of lives")
	}
	f.proxy.Meddle(nil)
	f.applied(merge, "success")
	f.until("the forge is read again", func() bool {
		out, _ := f.aplomb("status")
		return strings.Contains(out, " · forge ok") && !strings.Contains(out, "✗ forge")
	})
}

// met says whether calls failed both ways.
func (s *stumbling) met(method, part string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for kind, n := range s.seen {
		if n >= 2 && strings.HasPrefix(kind, method+" ") && strings.Contains(kind, part) {
			return true
		}
	}
	return false
}

// post makes a call of a webhook, and answers its status.
func (f *forum) post(body io.Reader, header map[string]string) int {
	f.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://"+f.listen+"/hooks/prod", body)
	f.must(err)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	f.must(err)
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return res.StatusCode
}

// thief is what a proposal tries to read the daemon's token with: one file of a
// kind each, all for TOKEN.
var thief = map[string]string{
	"link":     "apiVersion: aplomb.dev/v1\nkind: local.file\nmetadata: {name: link}\nspec: {path: link.txt, template: stolen.tpl}\n",
	"above":    "apiVersion: aplomb.dev/v1\nkind: local.file\nmetadata: {name: above}\nspec: {path: above.txt, template: \"../../TOKEN\"}\n",
	"absolute": "apiVersion: aplomb.dev/v1\nkind: local.file\nmetadata: {name: absolute}\nspec: {path: absolute.txt, template: \"TOKEN\"}\n",
	"over":     "apiVersion: aplomb.dev/v1\nkind: local.file\nmetadata: {name: over}\nspec: {path: \"TOKEN\", content: mine}\n",
}

// thiefCUE tries it with what CUE has for files.
var thiefCUE = map[string]string{
	"embed":  "@extern(embed)\npackage prod\ntoken: _ @embed(file=\"TOKEN\", type=text)\nx: {apiVersion: \"aplomb.dev/v1\", kind: \"local.file\", metadata: name: \"embed\", spec: {path: \"embed.txt\", content: token}}\n",
	"tool":   "package prod\nimport \"tool/file\"\nread: file.Read & {filename: \"TOKEN\", contents: string}\nx: {apiVersion: \"aplomb.dev/v1\", kind: \"local.file\", metadata: name: \"tool\", spec: {path: \"tool.txt\", content: read.contents}}\n",
	"module": "package prod\nimport \"example.org/elsewhere\"\nx: elsewhere\n",
}

// TestThieves: proposals that try to read the daemon's token by what they
// declare get findings, and no word of it is anywhere.
func TestThieves(t *testing.T) {
	f := newForum(t)
	f.within(1)
	f.applied(f.work.Head(), "success")
	token := f.path("token")
	attempts := map[string]map[string]string{}
	for name, text := range thief {
		attempts[name] = map[string]string{"prod/" + name + ".yaml": strings.ReplaceAll(text, "TOKEN", token)}
	}
	for name, text := range thiefCUE {
		attempts[name] = map[string]string{"prod/" + name + "/" + name + ".cue": strings.ReplaceAll(text, "TOKEN", token)}
	}
	heads, numbers := map[string]string{}, map[string]int64{}
	for name, files := range attempts {
		f.work.Git("fetch", "-q", "origin", "main")
		f.work.Git("checkout", "-q", "-B", name, "origin/main")
		for at, text := range files {
			f.work.Write(at, text)
		}
		if name == "link" {
			f.must(os.Symlink(token, filepath.Join(f.work.Dir, "prod/stolen.tpl")))
		}
		heads[name] = f.push(name)
		numbers[name] = f.gitea.Propose(t, "ana", f.repo, name, "main", name)
	}
	for name, head := range heads {
		got := ""
		f.until("an answer to "+name, func() bool {
			got = f.status(head, "aplomb/plan: prod")
			return got != "" && !strings.HasPrefix(got, "pending")
		})
		c := f.comments(numbers[name])
		if !strings.HasPrefix(got, "failure ") || !strings.Contains(got, "finding") || len(c) != 1 {
			t.Errorf("%s: %s: %q", name, got, c)
		}
		t.Logf("%s: %s", name, c)
		for _, page := range append(c, got) {
			if strings.Contains(page, f.gitea.User(t, "aplomb")) {
				t.Errorf("%s: the token stands on the proposal", name)
			}
		}
	}
	if strings.Contains(f.said.String(), f.gitea.User(t, "aplomb")) {
		t.Error("the token stands in the log")
	}
}

// TestCanary: a secret that lives stands in no comment and no status, whatever a
// proposal does with it.
func TestCanary(t *testing.T) {
	f := newForum(t)
	f.work.Write("prod/db.yaml", "apiVersion: aplomb.dev/v1\nkind: local.secret\nmetadata: {name: db}\nspec: {length: 40}\n")
	f.work.Write("prod/keep.yaml", "apiVersion: aplomb.dev/v1\nkind: local.file\nmetadata: {name: keep}\nspec: {path: keep.txt, mode: \"0600\", content: \"secret=@{local.secret/db.value}\"}\n")
	first := f.push("main")
	f.until("in force", func() bool { out, _ := f.aplomb("status"); return strings.Contains(out, first[:7]) })
	f.within(3)
	f.applied(first, "success")
	kept, err := os.ReadFile(f.path("root/keep.txt"))
	f.must(err)
	_, canary, _ := strings.Cut(string(kept), "secret=")
	if len(canary) != 40 {
		t.Fatalf("the secret has %d characters", len(canary))
	}
	var pages []string
	for name, text := range map[string]string{
		"moved":  "apiVersion: aplomb.dev/v1\nkind: local.file\nmetadata: {name: keep}\nspec: {path: keep.txt, mode: \"0600\", content: \"password=@{local.secret/db.value}\"}\n",
		"plain":  "apiVersion: aplomb.dev/v1\nkind: local.file\nmetadata: {name: keep}\nspec: {path: \"@{local.secret/db.value}.txt\", content: x}\n",
		"argv":   "apiVersion: aplomb.dev/v1\nkind: local.process\nmetadata: {name: keep}\nspec: {argv: [\"/bin/echo\", \"@{local.secret/db.value}\"]}\n",
		"vars":   "apiVersion: aplomb.dev/v1\nkind: local.file\nmetadata: {name: keep}\nspec: {path: keep.txt, mode: \"0600\", template: keep.tpl, vars: {V: \"@{local.secret/db.value}\"}}\n",
		"broken": "apiVersion: aplomb.dev/v1\nkind: local.file\nmetadata: {name: keep}\nspec: {path: keep.txt, content: {a: \"@{local.secret/db.value}\"}}\n",
	} {
		number, head := f.propose(name, "prod/keep.yaml", text, "prod/keep.tpl", "{{.V}}{{.W}}")
		got := ""
		f.until("an answer to "+name, func() bool {
			got = f.status(head, "aplomb/plan: prod")
			return got != "" && !strings.HasPrefix(got, "pending")
		})
		pages = append(append(pages, got), f.comments(number)...)
		t.Logf("%s: %s", name, got)
		if name == "moved" && got != "success 1 change, 1 held" {
			t.Errorf("what changes about a secret is not seen: %s", got)
		}
	}
	pages = append(pages, f.said.String(), f.status(first, "aplomb/apply: prod"))
	for _, args := range [][]string{{"status", "-o", "json"}, {"plan", "--full"}, {"history", "-o", "json"}, {"audit", "-o", "json"}} {
		out, _ := f.aplomb(args...)
		pages = append(pages, out)
	}
	f.work.Git("fetch", "-q", "origin", "aplomb-status")
	pages = append(pages, f.work.Git("log", "-p", "FETCH_HEAD"))
	for _, page := range pages {
		for _, form := range driverkit.Forms(canary) {
			if i := strings.Index(page, form); i >= 0 {
				t.Errorf("the secret is in …%s…", page[max(0, i-200):i])
			}
		}
	}
}
