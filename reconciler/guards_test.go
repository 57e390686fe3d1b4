package reconciler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// Guards against this: a changed address deletes before it creates.
func TestGuardMovedDeletesFirst(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"id":"x"}`))
	d.steps()
	d.declare(decl("a", `{"id":"y","fail":"no"}`))
	if got := writes(d.steps()); got != "create a" {
		t.Errorf("%s", got)
	}
}

// Guards against this: the same for a new name at an address that the engine gives.
func TestGuardRenamedDeletesFirst(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"size":1}`, kind(memory.KindGiven)))
	d.steps()
	d.declare(decl("b", `{"size":1}`, kind(memory.KindGiven)))
	if got := writes(d.steps()); got != "create b, delete a" {
		t.Errorf("%s", got)
	}
}

// Guards against this: old goes as soon as app's update landed, although app is not healthy.
func TestGuardDeletesBeforeHealthy(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("old", `{}`), decl("app", `{"value":"@{memory.thing/old.id}"}`))
	d.steps()
	d.declare(decl("new", `{}`), decl("app", `{"value":"@{memory.thing/new.id}"}`))
	d.eng["mem"].SetHealth("memory.thing/app", &drivers.Health{Status: drivers.Unhealthy, Reason: "no"})
	if got := writes(d.steps()); got != "create new, update app" {
		t.Errorf("%s", got)
	}
}

// Guards against this: deleting what expired panics in Begin (Decl is there, Want is not).
func TestGuardExpired(t *testing.T) {
	d := newDesk(t, "mem")
	until := func(r *schema.Resource) { r.Expires = d.world().Now.Add(time.Hour) }
	d.declare(decl("a", `{}`, until), decl("b", `{}`))
	d.steps()
	d.pass(2 * time.Hour)
	if got := writes(d.steps()); got != "delete a" {
		t.Errorf("%s", got)
	}
}

// Guards against this: what expires is not counted by the budget.
func TestGuardExpiredBudget(t *testing.T) {
	d := newDesk(t, "mem")
	until := func(r *schema.Resource) { r.Expires = d.world().Now.Add(time.Hour) }
	var res []schema.Resource
	for i := range 8 {
		res = append(res, decl(fmt.Sprintf("r%d", i), `{}`, until))
	}
	d.declare(res...)
	d.steps()
	d.pass(2 * time.Hour)
	for range 3 {
		dec := d.decide()
		if n := len(dec.Apply); n > 0 {
			t.Fatalf("%d deletions at once", n)
		}
		d.step()
	}
}

// Guards against this: a plan that answers ErrWaiting ("nothing is wrong") is degraded.
func TestGuardWaitingPlanIsDegraded(t *testing.T) {
	d := newDesk(t, "mem")
	d.eng["mem"].Quirks.SlowPlans = 2
	d.declare(decl("a", `{}`))
	d.steps()
	d.states(map[string]string{"a": "waiting: "})
}

// Guards against this: a plan that failed to resolve is never found again in the cache (its
// Inputs are nil), so a look in flight makes it waiting and then degraded anew.
func TestGuardResolveErrorFlickers(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"value":{"x":1}}`), decl("c", `{"value":"@{memory.thing/a.value.y}"}`))
	d.steps()
	d.states(map[string]string{"c": "degraded: spec.value"})
	d.node("c").Dirty = true
	d.states(map[string]string{"c": "degraded: spec.value"})
}

// still is a Reconciler that nobody runs, with a data-bearing thing that was
// removed and is held, and one that lives.
func still(t *testing.T) (*house, *Reconciler) {
	data := func(r *schema.Resource) { r.Data = true }
	h := newHouse(t, nil, decl("a", `{}`), decl("db", `{}`, data))
	h.converged(h.tip())
	h.stop()
	st, err := store.Open(h.path, deskEnv)
	h.must(err)
	t.Cleanup(func() { _ = st.Close() })
	h.cfg.Store = st
	r, err := New(t.Context(), h.cfg)
	h.must(err)
	h.Reconciler = nil
	h.commit(decl("a", `{}`))
	r.lookAtSource(t.Context())
	for {
		_, err := r.turn(t.Context())
		h.must(err)
		r.mu.Lock()
		calls, ends := r.air.count()
		quiet := calls == 0 && ends == 0 && r.status.settled
		r.mu.Unlock()
		if quiet {
			return h, r
		}
		select {
		case <-r.wake:
		case <-time.After(time.Second):
		}
	}
}

// Guards against this: between Declare and the next turn, Status pairs new nodes with old
// Evals: it panics (nil Plan of a new node with the Eval of a held one).
func TestGuardStatusPanics(t *testing.T) {
	h, r := still(t)
	h.commit(decl("a", `{}`), decl("new", `{}`))
	r.lookAtSource(t.Context())
	r.Status()
}

// Guards against this: and it says settled of a revision that no turn has seen.
func TestGuardSettledTooEarly(t *testing.T) {
	h, r := still(t)
	rev := h.commit(decl("a", `{"size":2}`))
	r.lookAtSource(t.Context())
	if s := r.Status(); s.Settled && s.Revision.ID == rev.ID {
		t.Error("settled before any turn")
	}
}

// Guards against this: converged and refused (or suspended) at once, until the next turn.
func TestGuardConvergedAndRefused(t *testing.T) {
	h := newHouse(t, nil, decl("a", `{}`))
	h.converged(h.tip())
	h.commit()
	if s := h.until("refused", func(s Status) bool { return s.Refused != nil }); s.Converged {
		t.Error("converged, and refused")
	}
}

// Guards against this: every resync says "converged" anew (settled, and with it converged,
// is false while a mere look is in flight), and Status.Converged flickers.
func TestGuardResyncUnconverges(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Resync = 20 * time.Millisecond }, decl("a", `{}`))
	h.converged(h.tip())
	looks := h.eng.Steps()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for h.eng.Steps() < looks+5 {
		<-tick.C
	}
	past, _ := h.Events(t.Context(), 0)
	n := 0
	for _, e := range past {
		if e.Type == "converged" {
			n++
		}
	}
	if n != 1 {
		t.Errorf("it was said to converge %d times", n)
	}
}

var _ = strings.Join
