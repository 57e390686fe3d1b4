//go:build e2e

package tofu

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/internal/sandbox"
	"github.com/aplomb-dev/aplomb/schema"
)

// proposals are what plans proposals beside a driver; it skips, and says so,
// where this machine gives no sandbox.
func (w *world) proposals(t *testing.T, d *Driver) *Proposals {
	t.Helper()
	p := &Proposals{Driver: d, As: Identity{Providers: []string{enginetest.TestProvider}, Mirror: filepath.Join(filepath.Dir(w.tool.Config), "mirror")}}
	if os.Geteuid() == 0 {
		p.As.User = &sandbox.User{UID: 65534, GID: 65534}
	}
	if err := sandbox.Probe(t.Context(), p.As.User); err != nil && strings.Contains(err.Error(), "not permitted") {
		t.Skipf("not tested: %v", err)
	}
	return p
}

// proposed is the plan of a proposal by p.
func proposed(t *testing.T, p *Proposals, name string, want drivers.Desired) (drivers.Change, error) {
	t.Helper()
	it := drivers.Item{ID: schema.ID{Kind: Kind, Name: name, Target: "tofu"}, Handle: prefix + name, Want: &want}
	states, err := p.Observe(t.Context(), []drivers.Item{it})
	drivertest.Must(t, err)
	return p.Plan(t.Context(), it, states[0])
}

// TestProposal: what a proposal's stack would do is planned as the driver itself
// plans it, so that an approval of the one is one of the other.
func TestProposal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver(t.TempDir())
	p := w.proposals(t, d)
	want := w.things(t, thingsVars{Names: names(2), Content: "one"}, "")
	got, err := proposed(t, p, "new", want)
	drivertest.Must(t, err)
	r := drivertest.NewResource(t, d, Kind, "new", want)
	own := r.Plan()
	if got.Action != schema.Create || !reflect.DeepEqual(got.Diff, own.Diff) || !reflect.DeepEqual(got.Outputs, own.Outputs) || got.Why != own.Why {
		t.Errorf("a proposal's plan is another:\n%+v\n%+v", got, own)
	}
	if _, err := p.Apply(t.Context(), got); err == nil {
		t.Error("a proposal is applied")
	}
	if made := w.made(t); len(made) > 0 {
		t.Errorf("planning made %v", made)
	}
}

// TestProposalWithSecrets: of secret variables a proposal's plan knows what the
// driver's first plan knows, which is nothing.
func TestProposalWithSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver(t.TempDir())
	p := w.proposals(t, d)
	token := schema.Token(drivertest.Fingerprint([]byte("hunter2")))
	for name, extra := range map[string]string{"sighted": "", "blind": "\nresource \"aplombtest_thing\" \"odd\" {\n  name = \"odd\"\n  lifecycle {\n    precondition {\n      condition     = var.secret == \"hunter2\"\n      error_message = \"not yet\"\n    }\n  }\n}\n"} {
		want := w.things(t, thingsVars{Names: names(1), Content: "one"}, extra)
		want.Spec = []byte(strings.Replace(string(want.Spec), `"secretVars":{}`, `"secretVars":{"secret":"`+token+`"}`, 1))
		want.Secrets = map[schema.Path]string{"/secretVars/secret": "@{vault.kv/x.y}"}
		got, err := proposed(t, p, name, want)
		drivertest.Must(t, err)
		own := drivertest.NewResource(t, d, Kind, name, want).Plan()
		if got.Action != schema.Create || !reflect.DeepEqual(got.Diff, own.Diff) || got.Why != own.Why {
			t.Errorf("%s: a proposal's plan is another:\n%+v\n%+v", name, got, own)
		}
	}
}

// TestProposalOfWhatExists: a stack that exists is planned where its state may
// be seen, and what is secret in it is not told.
func TestProposalOfWhatExists(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver(t.TempDir())
	p := w.proposals(t, d)
	r := drivertest.NewResource(t, d, Kind, "old", w.things(t, thingsVars{Names: names(1), Content: "one"}, ""))
	if _, err := r.Apply(r.Plan()); err != nil {
		t.Fatal(err)
	}
	token := w.token(t, "t00")
	next := w.things(t, thingsVars{Names: names(2), Content: "two"}, "")
	got, err := proposed(t, p, "old", next)
	drivertest.Must(t, err)
	if got.Action != schema.Deferred || !strings.Contains(got.Why, "plan.state") {
		t.Errorf("%s: %s", got.Action, got.Why)
	}
	p.As.State = true
	if got, err = proposed(t, p, "old", next); err != nil || got.Action != schema.Update {
		if err != nil && strings.Contains(err.Error(), "the tool fails") {
			t.Log("the things of the tests lie in a folder that the sandbox does not see")
		}
		t.Fatalf("%v %+v", err, got)
	}
	told := next
	told.Files = things(`
resource "aplombtest_thing" "copy" {
  name    = "copy"
  content = aplombtest_thing.t["t00"].token
}
output "told" { value = "it is ${length(aplombtest_thing.t)}" }
`)
	if got, err = proposed(t, p, "old", told); err != nil || strings.Contains(fmt.Sprintf("%+v %s", got, drivertest.JSON(t, got)), token) {
		t.Errorf("%v: what is secret is told: %+v", err, got)
	}
	drivertest.Nowhere(t, d.Dir, token)
}

// token is the secret that the provider made of a thing.
func (w *world) token(t *testing.T, name string) string {
	t.Helper()
	token := ""
	w.edit(t, name, func(r map[string]any) { token, _ = r["token"].(string) })
	if token == "" {
		t.Fatal("the provider made no token")
	}
	return token
}

// canary stands in a file that the daemon's user alone can read, such as its
// token.
const canary = "canary-3f9c1d7be2"

// TestProposalReads: a stack that wants to read the daemon's token gets nothing,
// neither by the lists nor, where those let it, in the sandbox.
func TestProposalReads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	d := w.driver(dir)
	p := w.proposals(t, d)
	secret := filepath.Join(dir, "token")
	drivertest.Must(t, os.WriteFile(secret, []byte(canary), 0o644))
	thing := func(content string) string {
		return "terraform {\n  required_providers {\n    aplombtest = { source = \"" + enginetest.TestProvider + "\" }\n  }\n}\nprovider \"aplombtest\" { folder = \"/tmp\" }\n" +
			"resource \"aplombtest_thing\" \"t\" {\n  name = \"x\"\n  content = " + content + "\n}\n"
	}
	for name, module := range map[string]schema.Tree{
		"file":       {{Path: "m/main.tf", Data: []byte(thing(fmt.Sprintf("file(%q)", secret)))}},
		"core":       {{Path: "m/main.tf", Data: []byte(thing(fmt.Sprintf("core::file(%q)", secret)))}},
		"base64":     {{Path: "m/main.tf", Data: []byte(thing(fmt.Sprintf("filebase64(%q)", secret)))}},
		"computed":   {{Path: "m/main.tf", Data: []byte(thing(fmt.Sprintf("file(join(\"/\", [\"\", %q]))", secret)))}},
		"up":         {{Path: "m/main.tf", Data: []byte(thing(`file("${path.module}/../../../token")`))}},
		"template":   {{Path: "m/main.tf", Data: []byte(thing(`templatefile("${path.module}/t.tmpl", {})`))}, {Path: "m/t.tmpl", Data: fmt.Appendf(nil, "x ${file(%q)}", secret)}},
		"environ":    {{Path: "m/main.tf", Data: []byte(thing(`file("/proc/self/environ")`))}},
		"local file": {{Path: "m/main.tf", Data: fmt.Appendf(nil, "data \"local_file\" \"x\" { filename = %q }\noutput \"x\" { value = data.local_file.x.content }\n", secret)}},
		"external":   {{Path: "m/main.tf", Data: fmt.Appendf(nil, "data \"external\" \"x\" { program = [\"cat\", %q] }\noutput \"x\" { value = data.external.x.result }\n", secret)}},
	} {
		want := drivers.Desired{Spec: []byte(`{"module":"m","vars":{},"secretVars":{},"outputs":{}}`), Files: module}
		got, err := proposed(t, p, "reader", want)
		drivertest.Must(t, err)
		if got.Action != schema.Deferred || !strings.Contains(got.Why, "m/") || !strings.HasPrefix(got.Why, "not planned on a proposal: ") {
			t.Errorf("%s: %s %s", name, got.Action, got.Why)
		}
		p.nothing(t, name, want, got, err)
	}
}

// nothing runs a module as if the lists had let it, and finds nothing of the
// canary in what comes of it.
func (p *Proposals) nothing(t *testing.T, name string, want drivers.Desired, told drivers.Change, err error) {
	t.Helper()
	s, serr := p.stackOf(prefix + "reader")
	drivertest.Must(t, serr)
	tool, terr := p.tool(t.Context())
	drivertest.Must(t, terr)
	sp, sperr := specOf(s.handle, &want)
	drivertest.Must(t, sperr)
	mounts, why := p.providers(p.As.rules(tool), []string{enginetest.TestProvider})
	if why != "" {
		t.Fatal(why)
	}
	b := &behind{workspace: &workspace{tool: tool}}
	ends, why, rerr := p.sandboxed(t.Context(), tool, s, sp, b, want.Files, mounts)
	drivertest.Must(t, rerr)
	said, _, rerr := p.heard(s, b, ends)
	if rerr == nil {
		t.Errorf("%s: the sandbox let it: %+v", name, said)
	}
	texts := []string{fmt.Sprintf("%+v %v", told, err), why, fmt.Sprint(rerr)}
	for _, e := range ends {
		texts = append(texts, string(e.Out), string(e.Errs))
	}
	for _, text := range texts {
		if strings.Contains(text, canary) {
			t.Errorf("%s: the canary is told: %s", name, text)
		}
	}
}

// TestProposalOfOthers: a provider that is not on the list is not run, nor one
// that is not here.
func TestProposalOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver(t.TempDir())
	p := w.proposals(t, d)
	want := w.things(t, thingsVars{Names: names(1), Content: "one"}, "")
	start := time.Now()
	p.As.Providers = []string{"hashicorp/random"}
	got, err := proposed(t, p, "other", want)
	drivertest.Must(t, err)
	if got.Action != schema.Deferred || !strings.Contains(got.Why, enginetest.TestProvider) || len(w.made(t)) > 0 {
		t.Errorf("%+v", got)
	}
	p.As.Providers, p.As.Mirror = []string{enginetest.TestProvider}, t.TempDir()
	if got, err = proposed(t, p, "other", want); err != nil || got.Action != schema.Deferred || !strings.Contains(got.Why, "not here yet") {
		t.Errorf("%v %+v", err, got)
	}
	t.Logf("in %s", time.Since(start))
}

// TestProposalCache: providers that were installed for what is applied are used,
// whatever the umask was, and none is installed.
func TestProposalCache(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver(t.TempDir())
	p := w.proposals(t, d)
	cache := filepath.Join(d.Dir, d.Env, ".home", "providers")
	want := w.things(t, thingsVars{Names: names(1), Content: "one"}, "")
	drivertest.Must(t, os.MkdirAll(cache, 0o700))
	drivertest.Must(t, os.CopyFS(cache, os.DirFS(p.As.Mirror)))
	drivertest.Must(t, filepath.WalkDir(cache, func(at string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chmod(at, 0o700)
	}))
	p.As.Mirror = ""
	if got, err := proposed(t, p, "new", want); err != nil || got.Action != schema.Create || got.Why != "it does not exist" {
		t.Errorf("%v %+v", err, got)
	}
	if info, err := os.Stat(cache); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the cache is open: %v %v", err, info.Mode())
	}
}

// TestProposalLock: a lock file is kept to. What fails before the plan is told, also
// where a plan would be made without the values of secrets.
func TestProposalLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.proposals(t, w.driver(t.TempDir()))
	want := w.things(t, thingsVars{Names: names(1), Content: "one"}, "")
	want.Files = sorted(append(want.Files, schema.File{Path: "stacks/things/" + tfLockFile, Data: []byte("provider \"" + enginetest.TestProvider + "\" {\n  version = \"1.0.0\"\n  hashes  = [\"h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"]\n}\n")}))
	if got, err := proposed(t, p, "new", want); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("%v %+v", err, got)
	}
	want.Spec = []byte(strings.Replace(string(want.Spec), `"secretVars":{}`, `"secretVars":{"secret":"`+schema.Token(drivertest.Fingerprint([]byte("hunter2")))+`"}`, 1))
	want.Secrets = map[schema.Path]string{"/secretVars/secret": "@{vault.kv/x.y}"}
	if got, err := proposed(t, p, "new", want); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("%v %+v", err, got)
	}
}

// TestProposalNetwork: the tool reaches the hosts that are named by the proxy, and
// no others; without hosts there is nothing to reach anybody by.
func TestProposalNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.proposals(t, w.driver(t.TempDir()))
	p.As.Modules = []string{"https://modules.example.test"}
	want := drivers.Desired{Spec: []byte(`{"module":"m","vars":{},"secretVars":{},"outputs":{}}`), Files: schema.Tree{
		{Path: "m/main.tf", Data: []byte("module \"x\" {\n  source = \"https://modules.example.test/x.zip\"\n}\n")},
	}}
	for _, tc := range []struct {
		hosts []string
		says  string
	}{{nil, "dial"}, {[]string{"other.example.test:443"}, "Forbidden"}, {[]string{"modules.example.test:443"}, "Bad Gateway"}} {
		p.As.Hosts = tc.hosts
		if got, err := proposed(t, p, "far", want); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%v: %v %+v", tc.hosts, err, got)
		}
	}
}

// TestProposalOfDeletion: that a stack goes is shown as the driver plans it, and
// leaves the stack alone, with the plan that is about to be applied.
func TestProposalOfDeletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver(t.TempDir())
	r := drivertest.NewResource(t, d, Kind, "goes", w.things(t, thingsVars{Names: names(2), Content: "one"}, ""))
	settle(t, r)
	r.Item.Want = nil
	own := r.Plan()
	list := func() (all []string) {
		for _, dir := range []string{"", stateDir, moduleDir} {
			entries, err := os.ReadDir(filepath.Join(d.Dir, d.Env, "goes", dir))
			drivertest.Must(t, err)
			for _, e := range entries {
				info, err := e.Info()
				drivertest.Must(t, err)
				all = append(all, fmt.Sprint(dir, e.Name(), info.Size(), info.ModTime()))
			}
		}
		return all
	}
	before := list()
	for _, p := range []drivers.Driver{&Aside{d}, &Proposals{Driver: d}, &drivers.Withheld{Driver: &Aside{d}}} {
		states, err := p.Observe(t.Context(), []drivers.Item{r.Item})
		drivertest.Must(t, err)
		got, err := p.Plan(t.Context(), r.Item, states[0])
		drivertest.Must(t, err)
		if got.Action != schema.Delete || len(got.Diff) == 0 || !reflect.DeepEqual(got.Diff, own.Diff) || !reflect.DeepEqual(got.Before, own.Before) {
			t.Errorf("a proposal's plan is another:\n%+v\n%+v", got, own)
		}
	}
	if after := list(); !reflect.DeepEqual(before, after) {
		t.Errorf("the stack is touched:\n%q\n%q", before, after)
	}
	if left, err := os.ReadDir(filepath.Join(d.Dir, d.Env, asideDir)); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if _, err := r.Apply(own); err != nil || len(w.made(t)) > 0 {
		t.Errorf("the plan of before: %v, %v", err, w.made(t))
	}
}
