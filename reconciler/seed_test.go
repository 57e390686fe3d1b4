package reconciler

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/schema"
)

// metered is a house whose looks are counted.
func metered(t *testing.T, res ...schema.Resource) (*house, *drivers.Meter) {
	m := &drivers.Meter{}
	h := newHouse(t, func(cfg *Config) {
		mem := *cfg.Registry.Target("mem")
		m.Driver = mem.Driver
		cfg.Registry = registered(t, mem, m)
	}, res...)
	later(time.Minute)
	h.rests(h.tip())
	return h, m
}

// registered is a registry of one target that is spoken to by another driver.
func registered(t *testing.T, target drivers.Target, by drivers.Driver) *drivers.Registry {
	t.Helper()
	target.Driver = by
	reg, err := drivers.NewRegistry(target)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// TestProposeGoesByWhatWasSeen: the plan of a proposal looks at what the
// environment does not know, says how old the rest is, and is what a look at
// everything gives.
func TestProposeGoesByWhatWasSeen(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h, m := metered(t, decl("a", `{}`), decl("b", `{}`), decl("c", `{}`))
		later(5 * time.Minute)
		mem := *h.cfg.Registry.Target("mem")
		own := registered(t, mem, &drivers.Meter{Driver: m}) // another identity
		for _, c := range []struct {
			what  string
			tree  []schema.Resource
			items int
		}{
			{"nothing", []schema.Resource{decl("a", `{}`), decl("b", `{}`), decl("c", `{}`)}, 0},
			{"one changed, one gone", []schema.Resource{decl("a", `{"value":"x"}`), decl("b", `{}`)}, 0},
			{"one new", []schema.Resource{decl("a", `{}`), decl("b", `{}`), decl("c", `{}`), decl("d", `{}`)}, 1},
		} {
			items := func() int { return m.Snapshot()["observe"].Items }
			before := items()
			got, err := h.Propose(t.Context(), h.propose(c.tree...), nil)
			h.must(err)
			if n := items() - before; n != c.items || time.Since(got.Seen) < 5*time.Minute {
				t.Errorf("%s: looked at %d, the oldest is %s old", c.what, n, time.Since(got.Seen))
			}
			before = items()
			anew, err := h.Propose(t.Context(), h.propose(c.tree...), own)
			h.must(err)
			if n := items() - before; n < 3 || time.Since(anew.Seen) > time.Second {
				t.Errorf("%s: an identity of its own looked at %d, the oldest is %s old", c.what, n, time.Since(anew.Seen))
			}
			if got.Plan.Digest != anew.Plan.Digest || got.Plan.Unchanged != anew.Plan.Unchanged || got.Plan.Live != anew.Plan.Live || !got.Plan.Complete {
				t.Errorf("%s: %+v, looked at anew %+v", c.what, got.Plan, anew.Plan)
			}
		}
	})
}

// What moved is planned as it is now, and what cannot be reached is not planned.
func TestProposeSeesWhatMoved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h, m := metered(t, decl("a", `{}`), decl("b", `{}`))
		h.must(h.Suspend(t.Context(), "ana", nil, "for a look"))
		h.must(h.eng.ForeignEdit(memory.KindThing+"/b", json.RawMessage(`{"value":"foreign"}`)))
		later(time.Minute)
		tree := h.propose(decl("a", `{}`), decl("b", `{}`))
		if got, err := h.Propose(t.Context(), tree, nil); err != nil || len(got.Plan.Changes) != 1 || got.Plan.Changes[0].ID.Name != "b" {
			t.Errorf("%+v, %v", got.Plan, err)
		}
		before := m.Snapshot()["observe"].Items
		h.mu.Lock()
		for _, n := range h.core.w.Nodes {
			n.Dirty = true // told, and not looked at yet
		}
		h.mu.Unlock()
		if got, err := h.Propose(t.Context(), tree, nil); err != nil || m.Snapshot()["observe"].Items-before < 2 || len(got.Plan.Changes) != 1 {
			t.Errorf("%+v, %v", got.Plan, err)
		}
		h.eng.SetUnreachable(true)
		h.must(h.Resume(t.Context(), "ana", nil, ""))
		later(time.Minute)
		if got, err := h.Propose(t.Context(), tree, nil); err != nil || len(got.Plan.Unplanned) != 2 {
			t.Errorf("%+v, %v", got.Plan, err)
		}
	})
}
