package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens a store that is closed at the end of the test.
func open(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(path, "env-1")
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func fresh(t *testing.T) *store.Store { return open(t, filepath.Join(t.TempDir(), "store.db")) }

func load(t *testing.T, s *store.Store) store.World {
	t.Helper()
	w, err := s.Load(t.Context())
	must(t, err)
	return w
}

func key(name string) store.Key { return store.Key{Target: "eu", Handle: "memory.thing/" + name} }

func id(name string) schema.ID { return schema.ID{Kind: "memory.thing", Name: name, Target: "eu"} }

// owned is one with everything set.
func owned(name string) store.Owned {
	return store.Owned{
		ID: id(name), Applied: drivers.Applied{Handle: "memory.thing/" + name, Version: "v1", Spec: json.RawMessage(`{"size":1}`), Files: "f"},
		Want: "w", Inputs: plan.Inputs{{ID: id("need"), Output: "value", Path: "/a.b/0"}: `"x"`},
		Needs: []store.Key{key("need"), {Target: "us", Handle: store.Pending(id("other"))}}, Hold: []schema.Action{schema.Delete}, Data: true,
		Was: "memory.thing/old", AppliedAt: epoch, Action: schema.Update, Revision: "abc", Pos: schema.Pos{File: "a.yaml", Line: 3, Col: 1},
		Settled: store.Settled{Want: "w", Version: "v1", Driver: "d"},
	}
}

func intent(name string) store.Intent {
	return store.Intent{
		Owned: owned(name), Nonce: "n", Attempts: 2,
	}
}

func TestRoundTrip(t *testing.T) {
	s := fresh(t)
	if w := load(t, s); len(w.Owned)+len(w.Intents)+len(w.Approvals) > 0 || !reflect.DeepEqual(w.State, store.State{}) {
		t.Errorf("a new store holds %+v", w)
	}
	lever := store.Lever{By: "ana", At: epoch, Why: "because"}
	rev := sources.Revision{ID: "abc", Tree: "t", Title: "first", Author: "ana", At: epoch}
	state := store.State{
		InForce: rev, Converged: []sources.Revision{rev}, Suspended: &lever, Paused: map[string]store.Lever{"memory.thing/a@eu": lever},
		Quarantined: &store.Quarantine{To: rev, Quarantined: rev, Lever: lever}, Destroyed: map[string]time.Time{"k": epoch}, Down: true,
	}
	approvals := []gate.Approval{{ID: "1", By: "ana", At: epoch, Changes: []plan.Masked{{Environment: "env-1", ID: id("a"), Action: schema.Delete, Before: json.RawMessage(`{}`)}}}, {ID: "2"}}
	must(t, s.Begin(t.Context(), map[store.Key]store.Intent{key("a"): intent("a"), key("b"): intent("b")}, nil))
	must(t, s.Finish(t.Context(), store.Result{Done: map[store.Key]store.Owned{key("b"): owned("b")}, State: &state, Approvals: &approvals}))
	want := store.World{
		Owned: map[store.Key]store.Owned{key("b"): owned("b")}, Intents: map[store.Key]store.Intent{key("a"): intent("a")},
		Approvals: approvals, State: state,
	}
	if got := load(t, s); !reflect.DeepEqual(got, want) {
		t.Errorf("loaded\n%+v\nwant\n%+v", got, want)
	}
	must(t, s.Finish(t.Context(), store.Result{Approvals: &[]gate.Approval{}}))
	want.Approvals = nil
	if got := load(t, s); !reflect.DeepEqual(got, want) {
		t.Errorf("with the approvals used up:\n%+v\nwant\n%+v", got, want)
	}
}

func TestReopened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	s := open(t, path)
	must(t, s.Begin(t.Context(), map[store.Key]store.Intent{key("a"): intent("a")}, nil))
	must(t, s.Close())
	if w := load(t, open(t, path)); !reflect.DeepEqual(w.Intents, map[store.Key]store.Intent{key("a"): intent("a")}) {
		t.Errorf("after closing and opening: %+v", w)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
}

// TestFinish: what each part of a Result does to an inventory of a, b, and
// intents of a, c.
func TestFinish(t *testing.T) {
	for _, c := range []struct {
		name    string
		r       store.Result
		owned   []string
		intents []string
	}{
		{"nothing", store.Result{}, []string{"a", "b"}, []string{"a", "c"}},
		{"done", store.Result{Done: map[store.Key]store.Owned{key("c"): owned("c")}}, []string{"a", "b", "c"}, []string{"a"}},
		{"seen gone", store.Result{Forget: []store.Key{key("a")}}, []string{"b"}, []string{"c"}},
		{"came to nothing", store.Result{Clear: []store.Key{key("a"), key("b")}}, []string{"a", "b"}, []string{"c"}},
		{"what is not there", store.Result{Forget: []store.Key{key("x")}, Clear: []store.Key{key("y")}}, []string{"a", "b"}, []string{"a", "c"}},
	} {
		s := fresh(t)
		must(t, s.Begin(t.Context(), map[store.Key]store.Intent{key("b"): intent("b"), key("a"): intent("a")}, nil))
		must(t, s.Finish(t.Context(), store.Result{Done: map[store.Key]store.Owned{key("a"): owned("a"), key("b"): owned("b")}}))
		must(t, s.Begin(t.Context(), map[store.Key]store.Intent{key("a"): intent("a"), key("c"): intent("c")}, nil))
		must(t, s.Finish(t.Context(), c.r))
		w := load(t, s)
		if got := handles(w.Owned); !slices.Equal(got, c.owned) {
			t.Errorf("%s: owned are %v, want %v", c.name, got, c.owned)
		}
		if got := handles(w.Intents); !slices.Equal(got, c.intents) {
			t.Errorf("%s: intents are %v, want %v", c.name, got, c.intents)
		}
	}
}

func handles[T any](m map[store.Key]T) (names []string) {
	for k := range m {
		names = append(names, strings.TrimPrefix(k.Handle, "memory.thing/"))
	}
	slices.Sort(names)
	return names
}

// TestBeginDrops: the engine has given another address; nothing is left under
// the old one, in one write.
func TestBeginDrops(t *testing.T) {
	s := fresh(t)
	pending := store.Key{Target: "eu", Handle: store.Pending(id("a"))}
	must(t, s.Begin(t.Context(), map[store.Key]store.Intent{pending: intent("a")}, nil))
	must(t, s.Finish(t.Context(), store.Result{Done: map[store.Key]store.Owned{pending: owned("a"), key("b"): owned("b")}}))
	must(t, s.Begin(t.Context(), map[store.Key]store.Intent{pending: intent("a")}, nil))
	must(t, s.Begin(t.Context(), map[store.Key]store.Intent{key("e-1"): intent("a")}, []store.Key{pending}))
	w := load(t, s)
	if got := handles(w.Owned); !slices.Equal(got, []string{"b"}) {
		t.Errorf("owned are %v", got)
	}
	if got := handles(w.Intents); !slices.Equal(got, []string{"e-1"}) {
		t.Errorf("intents are %v", got)
	}
}

// TestHook: it is called around every durable write, in order; an error before
// means that nothing was written, one after that all was.
func TestHook(t *testing.T) {
	s := fresh(t)
	crash := errors.New("crash")
	var steps []string
	at := ""
	s.Hook = func(step string) error {
		steps = append(steps, step)
		if step == at {
			return crash
		}
		return nil
	}
	begin := func() error { return s.Begin(t.Context(), map[store.Key]store.Intent{key("a"): intent("a")}, nil) }
	finish := func() error {
		return s.Finish(t.Context(), store.Result{Done: map[store.Key]store.Owned{key("a"): owned("a")}})
	}
	pull := func() error { return s.Pull(t.Context(), store.Entry{By: "ana", What: "kick"}, store.Result{}) }
	for _, c := range []struct {
		name  string
		write func() error
		there func() bool
	}{
		{"begin", begin, func() bool { return len(load(t, s).Intents) == 1 }},
		{"finish", finish, func() bool { return len(load(t, s).Owned) == 1 }},
		{"pull", pull, func() bool { e, _, err := s.Audit(t.Context(), 0); must(t, err); return len(e) == 1 }},
	} {
		at = c.name + ":before"
		if err := c.write(); !errors.Is(err, crash) || c.there() {
			t.Errorf("%s: %v, written %t", at, err, c.there())
		}
		at = c.name + ":after"
		if err := c.write(); !errors.Is(err, crash) || !c.there() {
			t.Errorf("%s: %v, written %t", at, err, c.there())
		}
	}
	want := []string{"begin:before", "begin:before", "begin:after", "finish:before", "finish:before", "finish:after", "pull:before", "pull:before", "pull:after"}
	if !slices.Equal(steps, want) {
		t.Errorf("steps %v, want %v", steps, want)
	}
	s.Hook = nil
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Finish(ended, store.Result{Forget: []store.Key{key("a")}}); !errors.Is(err, context.Canceled) || len(load(t, s).Owned) != 1 {
		t.Errorf("after the end of its context: %v", err)
	}
}

func TestOneWriteEach(t *testing.T) {
	s := fresh(t)
	begun, done := map[store.Key]store.Intent{}, map[store.Key]store.Owned{}
	for i := range 500 {
		name := fmt.Sprintf("r%d", i)
		begun[key(name)], done[key(name)] = intent(name), owned(name)
	}
	must(t, s.Begin(t.Context(), begun, nil))
	must(t, s.Finish(t.Context(), store.Result{Done: done}))
	if n := s.Writes(); n != 2 {
		t.Errorf("%d durable writes for 500 begins and 500 ends, want 2", n)
	}
	if len(load(t, s).Owned) != 500 || len(load(t, s).Intents) != 0 {
		t.Error("not all of it is there")
	}
}
