package reconciler

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
)

// TestTurnAnswered: after an answer nothing of a call can still land, so it is
// made again after its backoff; without one it lingers first.
func TestTurnAnswered(t *testing.T) {
	for _, answered := range []bool{true, false} {
		d := newDesk(t, "mem")
		d.eng["mem"].Hook = func(string, string) error {
			return &drivers.Error{Op: "write", Subject: "a", Class: drivers.ErrRetryable, Answered: answered}
		}
		d.declare(decl("a", `{}`))
		d.steps()
		d.eng["mem"].Hook = nil
		d.pass(backoffFirst)
		if got := writes(d.steps()); (got == "create a") != answered {
			t.Errorf("answered is %t, and after the backoff was written: %q", answered, got)
		}
		d.pass(30 * time.Second)
		if d.steps(); len(d.eng["mem"].Objects()) != 1 {
			t.Errorf("answered is %t: it does not live in the end", answered)
		}
	}
}

// TestTurnResync: a target is looked at again at an interval of its own.
func TestTurnResync(t *testing.T) {
	d := newDesk(t, "slow", "polled")
	on := func(target string) []string { return []string{target} }
	d.world().Targets["polled"].Resync = time.Minute
	a, b := decl("a", `{}`), decl("b", `{}`)
	a.Targets, b.Targets = on("slow"), on("polled")
	d.declare(a, b)
	d.steps()
	d.pass(time.Minute)
	if got := d.steps(); !slices.Equal(got, []string{"observe b"}) {
		t.Errorf("after a minute: %q", got)
	}
	d.pass(9 * time.Minute)
	if got := strings.Join(d.steps(), ", "); !strings.Contains(got, "observe a") || !strings.Contains(got, "observe b") {
		t.Errorf("after ten minutes: %q", got)
	}
}

// TestProgress: what a driver tells of a long apply is why a resource waits,
// until it ends.
func TestProgress(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{}`))
	d.step()
	d.step()
	if said, _ := d.begin(); said != "create a" {
		t.Fatal(said)
	}
	r := &Reconciler{core: *d.core, wake: make(chan struct{}, 1)}
	ctx := drivers.WithProgress(t.Context(), r.progress(d.node("a")))
	drivers.Tell(ctx, "1 of 2 "+"[secret:abc]")
	d.states(map[string]string{"a": "waiting: creating: 1 of 2 [redacted]"})
	select {
	case <-r.wake:
	default:
		t.Error("no turn is asked for")
	}
	drivers.Tell(t.Context(), "nobody listens")
}

// TestTurnLooksAtWhatIsDeclared: a look is told what is declared also where
// nothing is planned yet, such as after a restart: no Want means that it is not
// declared.
func TestTurnLooksAtWhatIsDeclared(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"size":1}`), decl("b", `{"value":"@{memory.thing/a.id}"}`))
	d.steps()
	d.restart()
	d.declare(decl("b", `{"value":"@{memory.thing/a.id}"}`), decl("a", `{"size":1}`))
	for _, c := range d.core.reads(d.decide()) {
		for _, it := range c.items {
			if it.Want == nil || it.ID.Name == "b" && len(it.Want.Unknown) != 1 {
				t.Errorf("%s is looked at with %+v", it.ID, it.Want)
			}
		}
	}
	d.restart()
	d.declare(decl("b", `{}`))
	for _, c := range d.core.reads(d.decide()) {
		for _, it := range c.items {
			if (it.Want == nil) != (it.ID.Name == "a") {
				t.Errorf("%s is looked at with %+v", it.ID, it.Want)
			}
		}
	}
}

// TestTurnRestsBetweenLooks: while a look is in flight, and for a while after
// one that took long, nothing that was seen before is looked at again; what was
// never seen is.
func TestTurnRestsBetweenLooks(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{}`))
	d.steps()
	target := d.world().Targets["mem"]
	target.rest = d.world().Now.Add(time.Second)
	d.node("a").Dirty = true
	dec := d.decide()
	if len(dec.Observe) > 0 || dec.Wake.After(target.rest) {
		t.Errorf("within the rest %d targets are looked at, and a turn is due at %v", len(dec.Observe), dec.Wake)
	}
	d.declare(decl("a", `{}`), decl("b", `{}`))
	if got := d.step(); got != "observe b" {
		t.Errorf("what was never seen: %q", got)
	}
	d.pass(time.Second)
	target.looks = 1
	if dec := d.decide(); len(dec.Observe) > 0 {
		t.Error("a second look begins while one is in flight")
	}
	target.looks = 0
	if got := d.steps(); !strings.HasPrefix(strings.Join(got, ", "), "observe a") {
		t.Errorf("after the rest: %q", got)
	}
}
