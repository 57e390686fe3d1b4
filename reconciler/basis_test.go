package reconciler

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/schema"
)

// another waits until the house is at rest, and says whether what plans of
// proposals are made from is another than before.
func (h *house) another(before *string) bool {
	h.t.Helper()
	later(time.Minute)
	h.until("at rest", func(s Status) bool { return s.Settled })
	was := *before
	*before = h.Basis()
	return was != *before
}

// foreign edits what lives, and has it seen.
func (h *house) foreign(name, spec string) {
	h.t.Helper()
	h.must(h.eng.ForeignEdit(memory.KindThing+"/"+name, json.RawMessage(spec)))
	h.must(h.Resume(h.t.Context(), "ana", nil, ""))
}

// TestBasis: what plans of proposals are made from is another once templates or
// policies are, or something was applied; not by a start, by commits that change
// nothing, nor by drift that is repaired.
func TestBasis(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRuled(t, decl("a", `{}`))
		r.converged(r.tip())
		basis := ""
		r.another(&basis)
		for _, step := range []struct {
			what string
			do   func()
			want bool
		}{
			{"nothing", func() {}, false},
			{"a commit that changes nothing", func() { r.commit(decl("a", `{}`)) }, false},
			{"a commit", func() { r.commit(decl("a", `{"value":"b"}`)) }, true},
			{"a start", func() { r.stop(); r.run(); basis = r.Basis() }, false},
			{"drift that is repaired", func() { r.foreign("a", `{"value":"foreign"}`) }, false},
			{"other templates", func() { r.templates.add("t2", decl("t1", `{}`)) }, true},
			{"a commit beside the templates", func() { r.templates.add("t2", decl("t1", `{}`)) }, false},
			{"other policies", func() { r.policies.add("p2") }, true},
			{"what asks first", func() { r.commit(decl("a", `{"value":"c"}`, hold(schema.Update))) }, true},
		} {
			step.do()
			if got := r.another(&basis); got != step.want {
				t.Errorf("%s: another: %t", step.what, got)
			}
		}
	})
}

// Drift that stays is what lives, until it is undone.
func TestBasisOfDrift(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHouse(t, func(c *Config) { c.ReportDrift = true }, decl("a", `{"value":"a"}`))
		h.converged(h.tip())
		first := ""
		h.another(&first)
		basis := first
		h.foreign("a", `{"value":"foreign"}`)
		if !h.another(&basis) || h.Status().Counts[Drifted] != 1 {
			t.Errorf("drift that stays is none: %v", h.Status().Counts)
		}
		if h.foreign("a", `{"value":"a"}`); !h.another(&basis) || basis != first {
			t.Errorf("what was undone is still %q", basis)
		}
	})
}

// So is whether the windows are open, without anything that moves. The clock
// begins on a Saturday at midnight.
func TestBasisOfWindows(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHouse(t, func(c *Config) { c.Gates.Calendar = opening(t, "0 8 * * SAT", 9*time.Hour) }, decl("a", `{}`))
		later(9 * time.Hour)
		h.converged(h.tip())
		basis := ""
		h.another(&basis)
		for i, want := range []bool{false, true, false} {
			if later(5 * time.Hour); h.another(&basis) != want {
				t.Errorf("after %d hours", 9+5*(i+1))
			}
		}
	})
}
