package reconciler

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/schema"
)

// begun takes a desk to where an apply is durable and its call is still to be
// made.
func (d *desk) begun() (string, []call) {
	d.t.Helper()
	for range 10 {
		said, calls := d.begin()
		if i := slices.IndexFunc(calls, func(c call) bool { return c.op == Applying }); i >= 0 {
			return said, calls[i:]
		}
		d.end(calls)
	}
	d.t.Fatal("nothing is applied")
	return "", nil
}

// lost makes calls whose answers nobody hears, since the process ends there.
func (d *desk) lost(calls []call) {
	d.t.Helper()
	for _, cl := range calls {
		d.must(cl.make(d.t.Context()).err)
	}
	d.restart()
}

// rest lets so much time pass in pieces, and answers what was written.
func (d *desk) rest(total time.Duration) string {
	d.t.Helper()
	said := d.steps()
	for range 20 {
		d.pass(total / 20)
		said = append(said, d.steps()...)
	}
	return writes(said)
}

// history is what the history says was applied, oldest first.
func (d *desk) history() string {
	d.t.Helper()
	var all []string
	d.must(d.core.store.History(d.t.Context(), 0, func(raw []byte) error {
		var rec Record
		err := json.Unmarshal(raw, &rec)
		all = append(all, strings.TrimSpace(rec.What+" "+string(rec.Action)+" "+rec.ID.Name))
		return err
	}))
	slices.Reverse(all)
	return strings.Join(all, ", ")
}

// TestAdoptNeverTaken: what was only about to be adopted is somebody else's,
// and never deleted; what was adopted is ours, and goes.
func TestAdoptNeverTaken(t *testing.T) {
	for landed, want := range map[bool]string{false: "", true: "delete a"} {
		d := newDesk(t, "mem")
		_, err := d.eng["mem"].ForeignCreate(memory.KindThing, "a", "", json.RawMessage(`{"size":9}`))
		d.must(err)
		d.declare(decl("a", `{"size":1}`, adopt), decl("keep", `{}`))
		d.steps()
		d.approve("a")
		said, calls := d.begun()
		if said != "adopt a" {
			t.Fatal(said)
		}
		if landed {
			d.lost(calls)
		} else {
			d.restart()
		}
		d.declare(decl("keep", `{}`)) // the commit was reverted
		if got := d.rest(time.Hour); got != want {
			t.Errorf("landed %t: written: %q", landed, got)
		}
		o, lives := d.eng["mem"].Object("memory.thing/a")
		if lives == landed || lives && o.Owner != "" || len(d.world().Nodes) != 1 {
			t.Errorf("landed %t: it lives %t, of %q; %d nodes", landed, lives, o.Owner, len(d.world().Nodes))
		}
		loaded, err := d.core.store.Load(t.Context())
		if d.must(err); len(loaded.Intents) != 0 || len(loaded.Owned) != 1 {
			t.Errorf("landed %t: begun %v, owned %v", landed, loaded.Intents, loaded.Owned)
		}
	}
}

// TestMovedNeverMade: while the thing at the new address cannot be made the one
// at the old address stays, over time, restarts and commits beside it.
func TestMovedNeverMade(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"id":"x"}`), decl("keep", `{"size":1}`))
	d.steps()
	for i := range 3 {
		d.declare(decl("a", `{"id":"y","fail":"no"}`), decl("keep", fmt.Sprintf(`{"size":%d}`, i+2)))
		if got := d.rest(2 * time.Hour); strings.Contains(got, "delete") {
			t.Errorf("written at commit %d: %s", i, got)
		}
		d.restart()
		d.again()
	}
	if _, lives := d.eng["mem"].Object("memory.thing/x"); !lives {
		t.Error("the old one is gone")
	}
	d.declare(decl("a", `{"id":"y"}`), decl("keep", `{"size":4}`))
	if got := d.rest(time.Hour); got != "create a, delete a" {
		t.Errorf("written once it can be made: %s", got)
	}
}

// TestGatesOfIntents: a thing known only by its intent keeps the holds, the
// data and the budget that it was begun with.
func TestGatesOfIntents(t *testing.T) {
	d := newDesk(t, "mem")
	data := func(r *schema.Resource) { r.Data = true }
	d.declare(decl("a", `{}`, hold(schema.Delete)), decl("b", `{}`, data))
	_, calls := d.begun()
	d.lost(calls)
	d.declare(decl("keep", `{}`))
	if got := d.rest(time.Hour); got != "create keep" {
		t.Errorf("written: %s", got)
	}
	d.states(map[string]string{"a": "held: delete wants approval: hold", "b": "held: delete wants approval: it holds data"})

	d = newDesk(t, "mem")
	var res []schema.Resource
	for i := range 8 {
		res = append(res, decl(fmt.Sprintf("r%d", i), `{}`))
	}
	d.declare(res...)
	_, calls = d.begun()
	d.lost(calls)
	d.declare(decl("keep", `{}`))
	if got := d.rest(time.Hour); got != "create keep" {
		t.Errorf("written beyond the budget: %s", got)
	}
	d.states(map[string]string{"r0": "held: delete wants approval: budget of 5 "})
}

// TestSlowDeletesCount: a deletion that takes its time uses up the budget, or
// its approval, and enters the history, once.
func TestSlowDeletesCount(t *testing.T) {
	d := newDesk(t, "mem")
	d.eng["mem"].Quirks.SlowDeletes = 6
	var all []schema.Resource
	for i := range 8 {
		all = append(all, decl(fmt.Sprintf("r%d", i), `{}`))
	}
	held := decl("held", `{}`, hold(schema.Delete))
	d.declare(append(all, held)...)
	d.steps()
	d.declare(append(all[4:], held)...)
	if got := d.rest(10 * time.Minute); strings.Count(got, "delete") != 4 || len(d.world().State.Destroyed) != 4 {
		t.Fatalf("written: %s; %d count", got, len(d.world().State.Destroyed))
	}
	d.declare(append(all[6:], held)...)
	if got := d.rest(10 * time.Minute); got != "" {
		t.Errorf("written beyond the budget: %s", got)
	}
	d.declare(all[4:]...)
	d.steps()
	d.approve("held")
	if got := d.rest(10 * time.Minute); got != "delete held" || len(d.world().State.Destroyed) != 4 || len(d.world().Approvals) != 0 {
		t.Errorf("written: %s; %d count, approvals %v", got, len(d.world().State.Destroyed), d.world().Approvals)
	}
	if h := d.history(); strings.Count(h, "applied delete") != 5 || !strings.HasSuffix(h, "applied delete held") {
		t.Errorf("the history is %s", h)
	}
}

// TestLandedUnheard: an apply whose answer was lost is found by a look; that
// look uses up its approval, counts against the budget, and tells the history.
func TestLandedUnheard(t *testing.T) {
	d := newDesk(t, "mem")
	res := []schema.Resource{decl("a", `{}`, hold(schema.Create)), decl("b", `{"class":"x"}`)}
	d.declare(res...)
	d.steps()
	d.approve("a")
	approvals := d.world().Approvals
	_, calls := d.begun()
	d.lost(calls)
	d.world().Approvals = approvals
	d.declare(res...)
	if got := d.rest(time.Hour); got != "" || len(d.world().Approvals) != 0 {
		t.Errorf("written: %q, approvals %v", got, d.world().Approvals)
	}
	d.declare(res[0], decl("b", `{"class":"y"}`))
	said, calls := d.begun()
	if said != "replace b" {
		t.Fatal(said)
	}
	d.lost(calls)
	d.again()
	if got := d.rest(30 * time.Minute); got != "" || len(d.world().State.Destroyed) != 1 {
		t.Errorf("written: %q, %d count", got, len(d.world().State.Destroyed))
	}
	if h := d.history(); h != "applied create b, applied create a, applied replace b" {
		t.Errorf("the history is %s", h)
	}
}

// TestDeniedHalfway: a denial says nothing of what an earlier call of the same
// apply has made: the intent stays, and what is there goes.
func TestDeniedHalfway(t *testing.T) {
	for _, k := range []string{memory.KindThing, memory.KindGiven} {
		d := newDesk(t, "mem")
		d.eng["mem"].Quirks.TwoCallCreates = true
		d.eng["mem"].Hook = func(op, _ string) error {
			if op == "before fill" {
				return drivers.ErrDenied
			}
			return nil
		}
		d.declare(decl("a", `{}`, kind(k)))
		d.steps()
		if n := d.node("a"); n.Intent == nil || len(d.eng["mem"].Objects()) != 1 || !errors.Is(n.Fail.Err, drivers.ErrDenied) {
			t.Fatalf("%s: begun %v, failed %v, there live %v", k, n.Intent, n.Fail, d.eng["mem"].Objects())
		}
		d.eng["mem"].Hook = nil
		d.restart()
		d.declare(decl("keep", `{}`))
		if got := d.rest(time.Hour); got != "create keep, delete a" {
			t.Errorf("%s: written: %s", k, got)
		}
		if o := d.eng["mem"].Objects(); len(o) != 1 || o[0].Name != "keep" {
			t.Errorf("%s: there live %v", k, o)
		}
	}
}

// TestDestroyedInTheFuture: what a clock gone wrong has noted holds up nothing,
// and is forgotten.
func TestDestroyedInTheFuture(t *testing.T) {
	d := newDesk(t, "mem")
	d.world().State.Destroyed = map[string]time.Time{}
	for i := range 6 {
		d.world().State.Destroyed[fmt.Sprint(i)] = d.world().Now.Add(365 * 24 * time.Hour)
	}
	d.declare(decl("a", `{}`), decl("keep", `{}`))
	d.steps()
	d.declare(decl("keep", `{}`))
	if got := writes(d.steps()); got != "delete a" || len(d.world().State.Destroyed) != 1 {
		t.Errorf("written: %q, %d count", got, len(d.world().State.Destroyed))
	}
}
