//go:build e2e

package tofu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/detached"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/schema"
)

// things is a module that makes one thing for each name, one after another.
func things(extra string) schema.Tree {
	return schema.Tree{{Path: "stacks/things/main.tf", Data: []byte(`
terraform {
  required_providers {
    aplombtest = {
      source = "` + enginetest.TestProvider + `"
    }
  }
}

variable "folder" { type = string }
variable "names" { type = list(string) }
variable "content" { type = string }
variable "delay" {
  type    = string
  default = null
}
variable "zone" {
  type    = string
  default = null
}
variable "failing" {
  type    = string
  default = ""
}
variable "secret" {
  type      = string
  default   = null
  sensitive = true
}

provider "aplombtest" { folder = var.folder }

resource "aplombtest_thing" "t" {
  for_each    = toset(var.names)
  name        = each.key
  content     = var.content
  delay       = var.delay
  zone        = var.zone
  secret      = var.secret
  fail_create = each.key == var.failing
  fail_update = each.key == var.failing
}

output "ids" { value = [for t in aplombtest_thing.t : t.id] }

check "content" {
  assert {
    condition     = var.content != "bad"
    error_message = "the content is ${var.content}"
  }
}
` + extra)}}
}

type thingsVars struct {
	Folder  string   `json:"folder"`
	Names   []string `json:"names"`
	Content string   `json:"content"`
	Delay   string   `json:"delay,omitempty"`
	Zone    string   `json:"zone,omitempty"`
	Failing string   `json:"failing,omitempty"`
}

func (w *world) things(t testing.TB, v thingsVars, extra string) drivers.Desired {
	v.Folder = w.folder
	s := map[string]any{"module": "stacks/things", "vars": v, "secretVars": map[string]string{}, "outputs": map[string]any{"ids": map[string]any{"type": "list", "sensitive": false}}}
	return drivers.Desired{Spec: drivertest.JSON(t, s), Files: things(extra)}
}

func names(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("t%02d", i))
	}
	return all
}

// written are the lines of the provider's log.
func (w *world) written(t testing.TB) []string {
	data, err := os.ReadFile(filepath.Join(w.folder, "log"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	drivertest.Must(t, err)
	return strings.Fields(strings.ReplaceAll(strings.TrimSpace(string(data)), " ", ":"))
}

// made are the things that there are.
func (w *world) made(t testing.TB) []string {
	found, err := filepath.Glob(filepath.Join(w.folder, "*.json"))
	drivertest.Must(t, err)
	var all []string
	for _, f := range found {
		all = append(all, strings.TrimSuffix(filepath.Base(f), ".json"))
	}
	slices.Sort(all)
	return all
}

// inState are the names of the things in a stack's state.
func inState(t testing.TB, d *Driver, name string) []string {
	t.Helper()
	s, err := d.stackOf(prefix + name)
	drivertest.Must(t, err)
	tool, err := d.tool(t.Context())
	drivertest.Must(t, err)
	end, err := d.run(t.Context(), tool, s, nil, "state", "list")
	drivertest.Must(t, err)
	var all []string
	for l := range strings.Lines(string(end.out)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(l), `["`)
		all = append(all, strings.TrimSuffix(rest, `"]`))
	}
	slices.Sort(all)
	return all
}

func paths(diff []drivers.Delta) string {
	var all []string
	for _, d := range diff {
		all = append(all, string(d.Op)+" "+string(d.Path))
	}
	return strings.Join(all, "\n")
}

// settle converges as a reconciler does, over what passes.
func settle(t testing.TB, r *drivertest.Resource) drivers.State {
	t.Helper()
	deadline := time.Now().Add(90 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for ; time.Now().Before(deadline); <-tick.C {
		states, err := r.Driver.Observe(t.Context(), []drivers.Item{r.Item})
		drivertest.Must(t, err)
		if last = states[0].Err; last != nil {
			continue
		}
		c, err := r.Driver.Plan(t.Context(), r.Item, states[0])
		if last = err; err != nil {
			continue
		}
		if c.Action == schema.None {
			return states[0]
		}
		_, last = r.Apply(c)
	}
	t.Fatalf("it did not settle: %v", last)
	return drivers.State{}
}

func TestLife(t *testing.T) {
	w := newWorld(t)
	d := w.driver(t.TempDir())
	r := drivertest.NewResource(t, d, Kind, "life", w.things(t, thingsVars{Names: names(3), Content: "one"}, ""))

	created := r.Settle(schema.Create)
	if string(created.Outputs["ids"].Value) != `["id-t00","id-t01","id-t02"]` || created.Health.Status != drivers.Healthy {
		t.Fatalf("created: %+v", created)
	}

	want := w.things(t, thingsVars{Names: names(3), Content: "two"}, "")
	r.Item.Want = &want
	if c := r.Plan(); paths(c.Diff) != "update /!resources/aplombtest_thing.t[\"t00\"]\nupdate /!resources/aplombtest_thing.t[\"t01\"]\nupdate /!resources/aplombtest_thing.t[\"t02\"]\nupdate /vars/content" ||
		string(c.Diff[0].Before) != `{"content":"one"}` || string(c.Diff[0].After) != `{"content":"two"}` || string(c.Outputs["ids"].Value) != `["id-t00","id-t01","id-t02"]` {
		t.Fatalf("%s\n%s", paths(c.Diff), drivertest.JSON(t, c))
	}
	r.Settle(schema.Update)

	w.edit(t, "t01", func(m map[string]any) { m["content"] = "by hand" })
	drivertest.Must(t, os.Remove(w.file("t02")))
	c := r.Plan()
	if c.Action != schema.Update || paths(c.Diff) != "update /!outputs/ids\nupdate /!resources/aplombtest_thing.t[\"t01\"]\ncreate /!resources/aplombtest_thing.t[\"t02\"]" || !strings.Contains(c.Why, "something else changed") {
		t.Fatalf("drift: %s %s\n%s", c.Action, c.Why, paths(c.Diff))
	}
	r.Settle(schema.Update)

	want = w.things(t, thingsVars{Names: names(2), Content: "two"}, "")
	r.Item.Want = &want
	if c := r.Plan(); c.Action != schema.Replace || c.Before == nil {
		t.Fatalf("a thing is destroyed within, and the action is %s", c.Action)
	}
	r.Settle(schema.Replace)
	want = w.things(t, thingsVars{Names: names(2), Content: "two", Zone: "b"}, "")
	r.Item.Want = &want
	if c := r.Plan(); c.Action != schema.Replace || c.Diff[1].Op != schema.Replace || !strings.Contains(string(c.Diff[1].After), `"zone":"b"`) {
		t.Fatalf("a thing is made anew within: %s", drivertest.JSON(t, c))
	}
	r.Settle(schema.Replace)

	// A check that fails is told, and heals.
	want = w.things(t, thingsVars{Names: names(2), Content: "bad", Zone: "b"}, "")
	r.Item.Want = &want
	if s := r.Settle(schema.Update); s.Health.Status != drivers.Unhealthy || !strings.Contains(s.Health.Reason, "the content is bad") {
		t.Fatalf("a check fails, and the health is %+v", s.Health)
	}
	want = w.things(t, thingsVars{Names: names(2), Content: "two", Zone: "b"}, "")
	r.Item.Want = &want
	if s := r.Settle(schema.Update); s.Health.Status != drivers.Healthy {
		t.Fatalf("the check holds again: %+v", s.Health)
	}

	// Only a comment of the module: written down, nothing runs.
	want = w.things(t, thingsVars{Names: names(2), Content: "two", Zone: "b"}, "# a comment\n")
	r.Item.Want = &want
	before := len(w.written(t))
	if c := r.Plan(); paths(c.Diff) != "update /!module" {
		t.Fatalf("a comment: %s", paths(c.Diff))
	}
	r.Settle(schema.Update)
	if len(w.written(t)) != before {
		t.Error("a comment wrote something")
	}

	// Git has nothing of it any more.
	r.Driver, r.Item.Want = w.driver(d.Dir), nil
	gone := r.Plan()
	if gone.Action != schema.Delete || paths(gone.Diff) != "delete /!resources/aplombtest_thing.t[\"t00\"]\ndelete /!resources/aplombtest_thing.t[\"t01\"]" {
		t.Fatalf("%s: %s", gone.Action, paths(gone.Diff))
	}
	if s := r.Settle(schema.Delete); s.Exists || len(w.made(t)) > 0 {
		t.Fatalf("destroyed: %+v, %v", s, w.made(t))
	}
	if left, err := os.ReadDir(filepath.Join(d.Dir, "env-1")); err != nil || len(left) != 1 {
		t.Errorf("%v are left, %v", left, err)
	}
}

func TestFailsAndIsFixed(t *testing.T) {
	w := newWorld(t)
	d := w.driver(t.TempDir())
	r := drivertest.NewResource(t, d, Kind, "fails", w.things(t, thingsVars{Names: names(4), Content: "one", Failing: "t02"}, ""))
	_, err := r.Apply(r.Plan())
	if drivers.Class(err) != drivers.ErrRetryable || !strings.Contains(err.Error(), `aplombtest_thing.t["t02"]: Told to fail`) {
		t.Fatalf("%v of class %v", err, drivers.Class(err))
	}
	s := r.Observe()
	if !s.Exists || s.Health.Status != drivers.Unhealthy || !strings.Contains(s.Health.Reason, "Told to fail") {
		t.Fatalf("%+v", s)
	}
	if made := w.made(t); len(made) != 3 {
		t.Fatalf("made: %v", made)
	}
	want := w.things(t, thingsVars{Names: names(4), Content: "one"}, "")
	r.Item.Want = &want
	if s := r.Settle(schema.Update); s.Health.Status != drivers.Healthy || len(w.made(t)) != 4 {
		t.Fatalf("fixed: %+v, %v", s, w.made(t))
	}
	creates := 0
	for _, l := range w.written(t) {
		if strings.HasPrefix(l, "create:") {
			creates++
		}
	}
	if creates != 4 {
		t.Errorf("%d creates for 4 things: %v", creates, w.written(t))
	}
	// A destroy that fails in the middle, and goes on.
	r.Item.Want = nil
	r.Settle(schema.Delete)
}

func TestStalePlan(t *testing.T) {
	w := newWorld(t)
	d := w.driver(t.TempDir())
	r := drivertest.NewResource(t, d, Kind, "stale", w.things(t, thingsVars{Names: names(2), Content: "one"}, ""))
	r.Settle(schema.Create)
	want := w.things(t, thingsVars{Names: names(2), Content: "two"}, "")
	r.Item.Want = &want
	old := r.Plan()
	// Another plan takes its place.
	newer := r.Plan()
	if _, err := r.Apply(old); !errors.Is(err, drivers.ErrStale) {
		t.Fatalf("a plan that was replaced: %v", err)
	}
	// Somebody uses the tool by hand: the tool itself would refuse.
	s, err := d.stackOf(r.Item.Handle)
	drivertest.Must(t, err)
	tool, err := d.tool(t.Context())
	drivertest.Must(t, err)
	end, err := d.run(t.Context(), tool, s, nil, "state", "rm", `aplombtest_thing.t["t01"]`)
	if err != nil || end.code != 0 {
		t.Fatalf("%v %s", err, end.errs)
	}
	if _, err := r.Apply(newer); !errors.Is(err, drivers.ErrStale) {
		t.Fatalf("a plan of another state: %v", err)
	}
	p := newer.Opaque.(plan)
	if p.base, err = s.base(); err != nil {
		t.Fatal(err)
	}
	newer.Opaque = p
	if _, err := r.Apply(newer); !errors.Is(err, drivers.ErrStale) || r.Observe().Health.Status != drivers.Healthy {
		t.Fatalf("the tool refuses a plan of another state: %v", err)
	}
	r.Settle(schema.Update)
}

// heard keeps what was told.
type heard struct {
	mu   sync.Mutex
	text []string
	told chan struct{}
}

func (h *heard) tell(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text = append(h.text, text)
	select {
	case h.told <- struct{}{}:
	default:
	}
}

func TestProgressAndSuperseded(t *testing.T) {
	w := newWorld(t)
	d := w.driver(t.TempDir())
	r := drivertest.NewResource(t, d, Kind, "slow", w.things(t, thingsVars{Names: names(30), Content: "one", Delay: "400ms"}, ""))
	c := r.Plan()
	h := &heard{told: make(chan struct{}, 1)}
	ctx, supersede := context.WithCancelCause(drivers.WithProgress(t.Context(), h.tell))
	ended := make(chan error, 1)
	go func() {
		_, err := d.Apply(ctx, c)
		ended <- err
	}()
	<-h.told
	if states, err := d.Observe(t.Context(), []drivers.Item{r.Item}); err != nil || !errors.Is(states[0].Err, drivers.ErrWaiting) {
		t.Errorf("while it runs: %v %v", states[0].Err, err)
	}
	<-h.told
	supersede(drivers.ErrSuperseded)
	if err := <-ended; !errors.Is(err, drivers.ErrSuperseded) || drivers.Class(err) != drivers.ErrWaiting {
		t.Fatalf("superseded: %v", err)
	}
	if !strings.Contains(h.text[0], `: creating, `) || !strings.HasSuffix(h.text[0], " of 30") {
		t.Errorf("told: %q", h.text)
	}
	want := w.things(t, thingsVars{Names: names(2), Content: "two"}, "")
	r.Item.Want = &want
	first := observed(t, r)
	made := w.made(t)
	if len(made) == 0 || len(made) == 30 {
		t.Fatalf("it was not stopped in the middle: %d are made", len(made))
	}
	if state := inState(t, d, "slow"); !slices.Equal(state, made) {
		t.Fatalf("made %v, in the state %v", made, state)
	}
	if first.Health.Status != drivers.Unhealthy {
		t.Errorf("the health is %+v", first.Health)
	}
	settle(t, r)
	if made := w.made(t); !slices.Equal(made, names(2)) {
		t.Errorf("settled with %v", made)
	}
}

// observed waits for a look that can be had.
func observed(t testing.TB, r *drivertest.Resource) drivers.State {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		states, err := r.Driver.Observe(t.Context(), []drivers.Item{r.Item})
		drivertest.Must(t, err)
		if states[0].Err == nil {
			return states[0]
		}
		if !errors.Is(states[0].Err, drivers.ErrWaiting) {
			t.Fatal(states[0].Err)
		}
		<-tick.C
	}
	t.Fatal("it could not be looked at")
	return drivers.State{}
}

func TestDaemonKilled(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	d := w.driver(dir)
	r := drivertest.NewResource(t, d, Kind, "slow", w.things(t, thingsVars{Names: names(12), Content: "one", Delay: "300ms"}, ""))
	job := filepath.Join(t.TempDir(), "job.json")
	drivertest.Must(t, os.WriteFile(job, drivertest.JSON(t, daemonJob{
		Dir: dir, Binary: w.tool.Binary, Config: w.tool.Config, Handle: r.Item.Handle, Spec: r.Item.Want.Spec, Files: r.Item.Want.Files}), 0o600))
	daemon := startDaemon(t, job)
	<-daemon.told // it makes the first
	drivertest.Must(t, daemon.cmd.Process.Kill())
	_ = daemon.cmd.Wait()
	before := len(w.made(t))
	states, err := d.Observe(t.Context(), []drivers.Item{r.Item})
	drivertest.Must(t, err)
	if !errors.Is(states[0].Err, drivers.ErrWaiting) {
		t.Fatalf("the daemon is dead, the apply runs, and it is told: %+v", states[0])
	}
	s := observed(t, r)
	if before == 12 || len(w.made(t)) != 12 || s.Health.Status != drivers.Healthy || !s.Exists {
		t.Fatalf("%d were made when the daemon died, %d after: %+v", before, len(w.made(t)), s)
	}
	if c := r.Plan(); c.Action != schema.None {
		t.Fatalf("after it: %s %s", c.Action, paths(c.Diff))
	}
	if n := len(w.written(t)); n != 12 {
		t.Errorf("%d writes for 12 things", n)
	}
	if found, err := detached.Find(dir + "/"); err != nil || len(found) > 0 {
		t.Errorf("%v still run, %v", found, err)
	}
}

// TestToolKilled kills the tool, not its shim, at moments that differ.
func TestToolKilled(t *testing.T) {
	w := newWorld(t)
	rounds := 8
	for i := range rounds {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			w.empty(t)
			d := w.driver(t.TempDir())
			r := drivertest.NewResource(t, d, Kind, "killed", w.things(t, thingsVars{Names: names(6), Content: "one", Delay: "20ms"}, ""))
			if i%2 == 1 { // an update instead of a create
				r.Settle(schema.Create)
				want := w.things(t, thingsVars{Names: append(names(4), "u1", "u2"), Content: "two", Delay: "20ms"}, "")
				r.Item.Want = &want
			}
			c := r.Plan()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = d.Apply(t.Context(), c) // whatever comes of it
			}()
			killWhen(t, filepath.Join(d.Dir, "env-1", "killed", runDir), time.Duration(i)*60*time.Millisecond, ended)
			<-ended
			settle(t, r)
			made, state := w.made(t), inState(t, d, "killed")
			if !slices.Equal(made, state) || len(made) != 6 {
				t.Errorf("made %v, in the state %v", made, state)
			}
			r.Item.Want = nil
			settle(t, r)
			if left := w.made(t); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// killWhen kills the tool so long after it began, or lets it end.
func killWhen(t testing.TB, dir string, after time.Duration, ended <-chan struct{}) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		run, err := detached.Open(dir)
		if err != nil {
			continue
		}
		st, err := run.Status()
		if err != nil || st.Child.PID == 0 || time.Since(st.Begun) < after {
			continue
		}
		drivertest.Must(t, run.Signal(9))
		return
	}
}

func TestRecordIsNoSecret(t *testing.T) {
	w := newWorld(t)
	d := w.driver(t.TempDir())
	log := &drivertest.Log{}
	d.Log = log.Logger()
	const canary = `c4n4ry-of-tofu "k&y" <a/b+c>=é%`
	want := w.things(t, thingsVars{Names: names(2), Content: "one", Failing: "t01"}, "")
	want.Spec = json.RawMessage(strings.Replace(string(want.Spec), `"secretVars":{}`, `"secretVars":{"secret":"`+schema.Token(drivertest.Fingerprint([]byte(canary)))+`"}`, 1))
	r := drivertest.NewResource(t, d, Kind, "secret", want)
	r.Secrets = map[schema.Path]schema.Secret{"/secretVars/secret": schema.NewSecret(canary)}
	c := r.Plan()
	_, err := r.Apply(c) // fails, and the provider repeats the secret
	if err == nil || !strings.Contains(err.Error(), "Told to fail") || !strings.Contains(err.Error(), schema.Redacted) {
		t.Fatalf("%v", err)
	}
	said := filepath.Join(t.TempDir(), "said")
	s := r.Observe()
	s.Raw, c.Opaque, c.Secrets = nil, nil, nil
	drivertest.Must(t, os.WriteFile(said, fmt.Appendf(nil, "%v %+v %s %s %s %s", err, err, drivers.HintOf(err), drivertest.JSON(t, c), drivertest.JSON(t, s), log.String()), 0o600))
	r.Item.Want.Spec = json.RawMessage(strings.Replace(string(want.Spec), `,"failing":"t01"`, ``, 1))
	r.Settle(schema.Update)
	drivertest.Nowhere(t, filepath.Dir(said), canary)
	if n := drivertest.Nowhere(t, d.Dir, canary); n < 8 {
		t.Errorf("only %d files were searched", n)
	}
	if n := len(w.made(t)); n != 2 {
		t.Errorf("%d things", n)
	}
}
