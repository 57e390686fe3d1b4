package store_test

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
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
		Owned: owned(name), Outputs: map[string]drivers.Output{"value": {Value: json.RawMessage(`1`)}, "pw": {Secret: true, Fingerprint: "f"}},
		Nonce: "n", Attempts: 2, BegunAt: epoch,
	}
}
