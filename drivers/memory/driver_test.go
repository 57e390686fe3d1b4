package memory

import (
	"encoding/json"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

func item(kind, name, spec string) drivers.Item {
	return drivers.Item{
		ID:   schema.ID{Kind: kind, Name: name, Target: "mem"},
		Want: &drivers.Desired{Spec: json.RawMessage(spec)},
	}
}

// turn observes, plans and applies once, as a reconciler would, and remembers
// in it what was applied.
func turn(t testing.TB, d *Driver, it *drivers.Item) (drivers.Change, drivers.State) {
	t.Helper()
	if it.Handle == "" && it.Want != nil {
		h, err := d.Address(it.ID.Kind, it.ID.Name, it.Want.Spec)
		if err != nil {
			t.Fatal(err)
		}
		it.Handle = h
	}
	live, err := d.Observe(t.Context(), []drivers.Item{*it})
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Plan(t.Context(), *it, live[0])
	if err != nil {
		t.Fatal(err)
	}
	c.Nonce = "nonce-" + it.ID.Name
	s, err := d.Apply(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if it.Want != nil {
		it.Handle, it.Last = s.Handle, &drivers.Applied{Handle: s.Handle, Version: s.Version, Spec: it.Want.Spec}
	}
	return c, s
}

func TestLife(t *testing.T) {
	for _, kind := range Kinds() {
		t.Run(kind, func(t *testing.T) {
			e := &Engine{Seed: 1}
			d := &Driver{Engine: e, Env: "env"}
			it := item(kind, "web", `{"class":"a","size":3,"value":{"x":1}}`)
			want := func(a schema.Action) (drivers.Change, drivers.State) {
				t.Helper()
				c, s := turn(t, d, &it)
				if c.Action != a {
					t.Fatalf("action %s, want %s: %+v", c.Action, a, c)
				}
				return c, s
			}
			want(schema.Create)
			want(schema.None)
			it.Want.Spec = json.RawMessage(`{"class":"a","size":4,"value":{"x":1}}`)
			if c, _ := want(schema.Update); len(c.Diff) != 1 || c.Diff[0].Path != "/size" {
				t.Fatalf("diff %+v", c.Diff)
			}
			it.Want.Spec = json.RawMessage(`{"class":"b","size":4,"value":{"x":1}}`)
			want(schema.Replace)
			d = &Driver{Engine: e, Env: "env"}
			want(schema.None)
			it.Want = nil
			if _, s := want(schema.Delete); s.Exists {
				t.Fatal("it lives still")
			}
			want(schema.None)
			if n := len(e.Objects()); n != 0 {
				t.Fatalf("%d objects left", n)
			}
		})
	}
}
