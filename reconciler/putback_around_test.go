package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// frozen has a at 1, and 2 declared and held.
func frozen(t *testing.T, more ...schema.Resource) *desk {
	d := newDesk(t, "mem")
	d.declare(append(more, decl("a", `{"value":1}`))...)
	d.steps()
	d.freeze()
	d.declare(append(more, decl("a", `{"value":2}`))...)
	d.steps()
	return d
}

// until makes steps until one starts this, and answers the calls of that one,
// which are still to be made.
func (d *desk) until(what string) []call {
	d.t.Helper()
	for range 50 {
		said, calls := d.begin()
		if strings.Contains(said, what) {
			return calls
		}
		d.end(calls)
	}
	d.t.Fatalf("it never starts %q", what)
	return nil
}

// fails ends calls with an error.
func (d *desk) fails(calls []call, err error) {
	d.t.Helper()
	for _, cl := range calls {
		d.must(d.core.absorb(d.t.Context(), []end{{call: cl, err: err}}))
	}
}

// TestPutBackStaysPlanned: after what was put back is written down, what is held
// is planned, though no call ends that would make another turn.
func TestPutBackStaysPlanned(t *testing.T) {
	rests := func(d *desk) {
		t.Helper()
		for range 50 {
			_, calls := d.begin()
			if len(calls) == 0 {
				break
			}
			d.end(calls)
		}
		if n := d.node("a"); n.Plan == nil || !n.Plan.from(n) || d.value("a") != "1" {
			t.Errorf("value %s; nothing goes on, and what is held is not planned: %+v", d.value("a"), n.Plan)
		}
	}
	d := frozen(t)
	d.foreign("a")
	rests(d)
	d.foreign("a")
	for _, cl := range d.until("put back") {
		cl.make(t.Context())
	}
	d.restart()
	d.freeze()
	d.again()
	rests(d)
	d.pass(time.Minute)
	rests(d)
}

// TestPutBackIsStillToCome: a plan policy counts what is held also while it is
// being put back, and nothing else gets through meanwhile.
func TestPutBackIsStillToCome(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"value":1}`))
	d.steps()
	least := 3
	no := schema.Violation{Policy: "no", Level: schema.HardMandatory, Message: "no"}
	d.world().Judge = &Judge{
		Changes: func(_ context.Context, _ schema.PlanFacts, all []schema.ChangeFacts) ([][]schema.Violation, error) {
			out := make([][]schema.Violation, len(all))
			for i, f := range all {
				if f.Name == "a" && !f.Drift {
					out[i] = []schema.Violation{no}
				}
			}
			return out, nil
		},
		Plan: func(_ context.Context, f schema.PlanFacts) ([]schema.PlanViolation, error) {
			least = min(least, f.Changes)
			if f.Changes < 3 {
				return nil, nil
			}
			return []schema.PlanViolation{{Violation: no, Applies: func(_ string, a schema.Action) bool { return a == schema.Create }}}, nil
		},
	}
	d.declare(decl("a", `{"value":2}`), decl("b", `{}`), decl("c", `{}`))
	d.steps()
	d.states(map[string]string{"a": "held: ", "b": "held: ", "c": "held: "})
	d.foreign("a")
	d.fails(d.until("put back"), fmt.Errorf("it moved: %w", drivers.ErrStale))
	calls := d.until("put back")
	if got := d.steps(); writes(got) != "" {
		t.Errorf("while it is put back: %v", got)
	}
	d.end(calls)
	if got := d.steps(); writes(got) != "" || d.value("a") != "1" || least < 3 {
		t.Errorf("value %s, of three changes they saw %d; after %v", d.value("a"), least, got)
	}
}

// TestPutBackFails: it is told in words that do not move, is tried again, and
// keeps what is declared from nothing.
func TestPutBackFails(t *testing.T) {
	refused := fmt.Errorf("no such luck: %w", drivers.ErrDenied)
	for name, what := range map[string]string{"applying": "put back", "planning": "as applied"} {
		t.Run(name, func(t *testing.T) {
			d := frozen(t)
			d.foreign("a")
			d.fails(d.until(what), refused)
			d.steps()
			e := &d.decide().Evals[d.node("a").index]
			reason, _ := explain(d.node("a"), e)
			if e.State != Held || e.Text != backFailing || !strings.Contains(reason, "; putting back what was applied last: no such luck") {
				t.Errorf("%s: %s (%q)", e.State, reason, e.Text)
			}
			d.foreign("a") // once more
			d.steps()
			d.states(map[string]string{"a": "held: "})
			d.pass(6 * time.Minute)
			d.fails(d.until(what), refused)
			d.steps()
			d.pass(time.Minute) // nothing of it may land any more
			d.world().Env.Gates.Calendar.Freezes = nil
			if got := writes(d.steps()); got != "update a" || d.value("a") != "2" {
				t.Errorf("value %s after it was let go: %q", d.value("a"), got)
			}
		})
	}
	d := frozen(t)
	d.foreign("a")
	d.fails(d.until("put back"), unsentError{refused})
	d.must(d.eng["mem"].ForeignEdit("memory.thing/a", json.RawMessage(`{"value":1}`)))
	d.pass(11 * time.Minute)
	d.steps()
	if n := d.node("a"); n.Fail != nil || !d.decide().Evals[n.index].Stands {
		t.Errorf("it stands, and %+v", n.Fail)
	}
}

// TestPutBackName: what was applied last is put back under the name of then, which
// may be part of it.
func TestPutBackName(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"id":"x","value":1}`))
	d.steps()
	d.freeze()
	d.declare(decl("b", `{"id":"x","value":2}`))
	d.steps()
	d.moved("b", d.eng["mem"].ForeignEdit("memory.thing/x", json.RawMessage(`{"id":"x","value":3}`)))
	calls := d.until("as applied")
	if got := calls[0].items[0].ID.Name; got != "a" {
		t.Errorf("planned as %s", got)
	}
	d.end(calls)
	calls = d.until("put back")
	if got := calls[0].change.ID.Name; got != "a" {
		t.Errorf("put back as %s", got)
	}
	d.end(calls)
	d.steps()
	if n := d.node("b"); n.Plan.Masked.ID.Name != "b" || n.Owned.ID.Name != "a" || d.value("x") != "1" {
		t.Errorf("value %s: %+v, %+v", d.value("x"), n.Owned, n.Plan.Masked)
	}
}

// TestPutBackWritesOnce: a version that moves although nothing else does is not
// written down each time.
func TestPutBackWritesOnce(t *testing.T) {
	d := frozen(t)
	for range 3 {
		d.moved("a", d.eng["mem"].ForeignEdit("memory.thing/a", json.RawMessage(`{"value":1}`)))
		got := strings.Join(d.steps(), "; ")
		if got != "observe a; plan a; plan a as applied" || !d.decide().Evals[d.node("a").index].Stands {
			t.Errorf("%s", got)
		}
	}
	d.foreign("a")
	if calls := d.until("record a"); len(calls) > 0 {
		t.Errorf("what is held is planned once more: %v", calls)
	}
}

// TestPutBackIsNotCut: a commit that leaves what is held as it was does not cut
// short what is being put back; one that does not, does.
func TestPutBackIsNotCut(t *testing.T) {
	d := frozen(t)
	d.foreign("a")
	calls := d.until("put back")
	var cut error
	r := &Reconciler{core: *d.core, flights: map[*Node]*flight{d.node("a"): {cancel: func(err error) { cut = err }}}}
	d.declare(decl("a", `{"value":2}`), decl("b", `{}`))
	if r.supersede(); cut != nil {
		t.Errorf("by another's commit: %v", cut)
	}
	d.declare(decl("a", `{"value":3}`), decl("b", `{}`))
	if r.supersede(); !errors.Is(cut, drivers.ErrSuperseded) {
		t.Error("it goes on against a newer declaration")
	}
	d.end(calls)
	d.steps()
	d.states(map[string]string{"a": "held: "})
}

// TestOldGraphsGo: however many commits there were, the graphs of the others are
// not kept by what they left alone, nor by what is held since.
func TestOldGraphsGo(t *testing.T) {
	d := newDesk(t, "mem")
	value := map[string]int{}
	declare := func(now string) weak.Pointer[schema.Resource] {
		value[now]++
		var all []schema.Resource
		for i, name := range []string{"a", "b", "c", "d"} {
			spec := fmt.Sprintf(`{"value":%d,"count":"@{memory.thing/z.size}"}`, value[name])
			all = append(all, decl(name, spec, func(r *schema.Resource) { r.Pos.Line = i }))
		}
		d.declare(append(all, decl("z", `{"size":1}`), decl("y", `{}`, needs("a")))...)
		d.steps()
		return weak.Make(d.node("y").Decl.Res)
	}
	graphs := []weak.Pointer[schema.Resource]{declare("a"), declare("b"), declare("c")}
	d.freeze()
	graphs = append(graphs, declare("a"), declare("b"), declare("c"))
	d.states(map[string]string{"a": "held: ", "b": "held: ", "c": "held: "})
	declare("d")
	runtime.GC()
	for i, g := range graphs {
		if g.Value() != nil {
			t.Errorf("the graph of commit %d is still there", i+1)
		}
	}
	d.foreign("b")
	if got := strings.Join(d.steps(), "; "); !strings.Contains(got, "put back: update b") || d.value("b") != "1" {
		t.Errorf("value %s after %s", d.value("b"), got)
	}
}

// TestPutBackTold: drift that is put back is told as any other is, and what is
// held is not told again.
func TestPutBackTold(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Gates.Reviews = 1 }, decl("a", `{"size":1}`))
	h.rests(h.tip())
	h.yes("ana")
	h.converged(h.tip())
	h.commit(decl("a", `{"size":2}`))
	h.rests(h.tip())
	for range 2 {
		h.must(h.eng.ForeignEdit("memory.thing/a", json.RawMessage(`{"size":9}`)))
		h.must(h.Resume(t.Context(), "ana", nil, ""))
		h.until("put back", func(s Status) bool {
			o, _ := h.eng.Object("memory.thing/a")
			return s.Settled && s.Counts[Held] == 1 && !strings.Contains(string(o.Spec), "9")
		})
	}
	h.commit(decl("a", `{"size":3}`))
	h.rests(h.tip())
	got, err := h.Show(schema.ID{Kind: memory.KindThing, Name: "a"})
	h.must(err)
	var told []string
	for _, e := range got.Events {
		told = append(told, strings.TrimSpace(e.Type+" "+string(e.State)))
	}
	const want = "state held, applied, state converged, state held, drift held, repaired held, drift held, repaired held, state held"
	if got := strings.Join(told, ", "); got != want {
		t.Errorf("told %s\nwant %s", got, want)
	}
}

// TestPutBackIsNotTried: the time of a revision does not count while what waits
// for a person in it is being put back.
func TestPutBackIsNotTried(t *testing.T) {
	d := frozen(t)
	d.foreign("a")
	calls := d.until("put back")
	w := d.world()
	w.State.Converged = []sources.Revision{{ID: "before"}}
	r := &Reconciler{core: *d.core, status: &statusKeeper{convergedAt: w.Now}}
	for _, when := range []string{"while it is put back", "after"} {
		dec := d.decide()
		for i, n := range w.Nodes {
			n.said = &dec.Evals[i]
		}
		if r.onTrial() {
			t.Errorf("%s it counts", when)
		}
		d.end(calls)
		d.steps()
		calls = nil
	}
}
