package reconciler

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// odd is a memory driver with a habit that no driver should have.
type odd struct {
	*memory.Driver
	apply  func(context.Context, drivers.Change) (drivers.State, error)
	plan   func(drivers.Item, drivers.State, drivers.Change) drivers.Change
	state  func(*drivers.State)
	reveal error
}

func (o *odd) Apply(ctx context.Context, c drivers.Change) (drivers.State, error) {
	if o.apply != nil {
		return o.apply(ctx, c)
	}
	return o.Driver.Apply(ctx, c)
}

func (o *odd) Plan(ctx context.Context, item drivers.Item, live drivers.State) (drivers.Change, error) {
	c, err := o.Driver.Plan(ctx, item, live)
	if err == nil && o.plan != nil {
		c = o.plan(item, live, c)
	}
	return c, err
}

func (o *odd) Observe(ctx context.Context, items []drivers.Item) ([]drivers.State, error) {
	states, err := o.Driver.Observe(ctx, items)
	for i := range states {
		if o.state != nil && states[i].Exists {
			o.state(&states[i])
		}
	}
	return states, err
}

func (o *odd) Reveal(ctx context.Context, item drivers.Item, output, fingerprint string) (schema.Secret, error) {
	if o.reveal != nil {
		return schema.Secret{}, o.reveal
	}
	return o.Driver.Reveal(ctx, item, output, fingerprint)
}

// oddly is a desk whose first target has an odd driver.
func oddly(t *testing.T, targets ...string) (*desk, *odd) {
	t.Helper()
	d := newDesk(t, targets...)
	o := &odd{}
	var all []drivers.Target
	for _, target := range d.reg.All() {
		all = append(all, *target)
		if mem, ok := target.Driver.(*memory.Driver); ok && target.Name == targets[0] {
			o.Driver = mem
			all[len(all)-1].Driver = o
		}
	}
	var err error
	d.reg, err = drivers.NewRegistry(all...)
	d.must(err)
	d.restart()
	return d, o
}

// TestStaleForEver: live that always moves between plan and apply is planned
// anew at once a few times, and then ever more slowly.
func TestStaleForEver(t *testing.T) {
	d, o := oddly(t, "mem")
	applies := 0
	o.apply = func(context.Context, drivers.Change) (drivers.State, error) {
		applies++
		return drivers.State{}, drivers.ErrStale
	}
	d.declare(decl("a", `{}`))
	d.steps() // comes to rest, or fails
	if applies != freeStales+1 {
		t.Errorf("%d applies while the clock stood still", applies)
	}
	d.states(map[string]string{"a": "waiting: live moved since it was planned"})
	d.rest(time.Hour)
	if applies > freeStales+1+20 {
		t.Errorf("%d applies within 20 looks at the clock", applies)
	}
	o.apply = nil
	if got := d.rest(time.Minute); got != "create a" {
		t.Errorf("written once it stands still: %s", got)
	}
}

// TestFlips: a driver that plans one thing after another, without end, is
// named.
func TestFlips(t *testing.T) {
	d, o := oddly(t, "mem")
	plans, applies := 0, 0
	o.plan = func(item drivers.Item, live drivers.State, c drivers.Change) drivers.Change {
		if live.Exists && item.Want != nil {
			plans++
			c.Action, c.Diff = schema.Update, []drivers.Delta{{Path: "/flip", Op: schema.Update, After: json.RawMessage(fmt.Sprint(plans % 2))}}
		}
		return c
	}
	o.apply = func(ctx context.Context, c drivers.Change) (drivers.State, error) {
		applies++
		return o.Driver.Apply(ctx, c)
	}
	d.declare(decl("a", `{"size":1}`))
	d.steps()
	if applies != mostFlaps+1 {
		t.Errorf("applied %d times", applies)
	}
	d.states(map[string]string{"a": "degraded: applying it does not settle: flip"})
}

// TestPlannedTwice: a plan that has one field twice is refused, since neither
// its digest nor an approval of it would mean anything.
func TestPlannedTwice(t *testing.T) {
	d, o := oddly(t, "mem")
	o.plan = func(_ drivers.Item, _ drivers.State, c drivers.Change) drivers.Change {
		c.Diff = append(c.Diff, drivers.Delta{Path: "/x", Op: schema.Create}, drivers.Delta{Path: "/x", Op: schema.Update})
		return c
	}
	d.declare(decl("a", `{}`))
	if got := writes(d.steps()); got != "" {
		t.Errorf("written: %s", got)
	}
	d.states(map[string]string{"a": "degraded: the driver of memory.thing plans x twice"})
}

// TestUndecided: a driver that defers although everything is known is named.
func TestUndecided(t *testing.T) {
	d, o := oddly(t, "mem")
	o.plan = func(_ drivers.Item, _ drivers.State, c drivers.Change) drivers.Change {
		c.Action = schema.Deferred
		return c
	}
	d.declare(decl("a", `{}`))
	d.steps()
	d.states(map[string]string{"a": "degraded: the driver of memory.thing defers although everything is known"})
}

// TestNoHealth: a thing whose driver has no word on its health is well.
func TestNoHealth(t *testing.T) {
	d, o := oddly(t, "mem")
	o.state = func(s *drivers.State) { s.Health = drivers.Health{} }
	d.declare(decl("a", `{}`), decl("b", `{}`, needs("a")))
	if got := writes(d.steps()); got != "create a, create b" {
		t.Errorf("written: %s", got)
	}
	d.again()
	d.restart()
	d.again()
	d.steps()
	d.states(map[string]string{"a": "converged: ", "b": "converged: "})
}

// TestAcceptedNotThere: a create that was accepted, and is seen only later, is
// neither taken for done nor for gone, and is made once.
func TestAcceptedNotThere(t *testing.T) {
	for _, k := range []string{memory.KindThing, memory.KindGiven} {
		d, o := oddly(t, "mem")
		var sent []drivers.Change
		o.apply = func(_ context.Context, c drivers.Change) (drivers.State, error) {
			sent = append(sent, c)
			return drivers.State{Handle: c.Handle}, nil
		}
		d.declare(decl("a", `{}`, kind(k)))
		d.steps()
		loaded, err := d.core.store.Load(t.Context())
		if d.must(err); len(sent) != 1 || len(loaded.Intents) != 1 {
			t.Fatalf("%s: sent %d times, begun %v", k, len(sent), loaded.Intents)
		}
		d.states(map[string]string{"a": "waiting: the engine has accepted it"})
		_, err = o.Driver.Apply(t.Context(), sent[0])
		d.must(err)
		o.apply = nil
		if got := d.rest(time.Hour); got != "" {
			t.Errorf("%s: written: %s", k, got)
		}
		d.states(map[string]string{"a": "converged: "})
		if n := len(d.eng["mem"].Objects()); n != 1 || d.node("a").Owned == nil {
			t.Errorf("%s: %d live, owned %v", k, n, d.node("a").Owned)
		}
	}
}

// TestRevealOutOfReach: a secret that cannot be had keeps its dependent
// waiting, and says nothing about the dependent's target.
func TestRevealOutOfReach(t *testing.T) {
	d, o := oddly(t, "eu", "us")
	o.reveal = drivers.ErrUnreachable
	d.declare(decl("s", `{"size":8}`, kind(memory.KindSecret), at("eu")), decl("u", `{"password":"@{memory.secret/s.value}"}`, at("us")), decl("other", `{}`, at("us")))
	d.rest(time.Minute)
	for name, target := range d.world().Targets {
		if target.Down != nil {
			t.Errorf("%s is out of reach: %v", name, target.Down.Err)
		}
	}
	d.states(map[string]string{"s": "converged: ", "u": "waiting: secret of memory.secret/s@eu: not ready", "other": "converged: "})
	o.reveal = nil
	if got := d.rest(time.Minute); got != "create u" {
		t.Errorf("written once it can be had: %s", got)
	}
}

// TestRevealDenied: a secret that is refused, and stays so, is its dependent's
// failure: told, tried again, and nothing is left begun.
func TestRevealDenied(t *testing.T) {
	d, o := oddly(t, "eu", "us")
	o.reveal = drivers.ErrDenied
	d.declare(decl("s", `{"size":8}`, kind(memory.KindSecret), at("eu")), decl("u", `{"password":"@{memory.secret/s.value}"}`, at("us")))
	d.steps()
	d.states(map[string]string{"s": "converged: ", "u": "degraded: secret of memory.secret/s@eu"})
	if n := d.node("u"); n.Intent != nil || n.Owned != nil {
		t.Errorf("begun %+v, owned %+v", n.Intent, n.Owned)
	}
	o.reveal = nil
	d.pass(backoffMost)
	if got := writes(d.steps()); got != "create u" {
		t.Errorf("written once it is allowed: %s", got)
	}
}

// TestAdoptReplaces: making somebody's thing anew is not adopting it: it is
// told for what it is, and needs a person all the same.
func TestAdoptReplaces(t *testing.T) {
	d, o := oddly(t, "mem")
	_, err := d.eng["mem"].ForeignCreate(memory.KindThing, "a", "", json.RawMessage(`{"size":9}`))
	d.must(err)
	o.plan = func(_ drivers.Item, live drivers.State, c drivers.Change) drivers.Change {
		if live.Exists {
			c.Action = schema.Replace
		}
		return c
	}
	d.declare(decl("a", `{"size":1}`, adopt))
	if got := writes(d.steps()); got != "" {
		t.Errorf("written: %s", got)
	}
	d.states(map[string]string{"a": "held: replace wants approval: it lives already and was not made by this environment"})
}

// TestPauseFollows: a person's freeze is of the thing at its address: it stays
// when the name changes there, and goes when the thing is gone.
func TestPauseFollows(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"id":"x","size":1}`), decl("keep", `{}`))
	d.steps()
	paused := map[string]store.Lever{d.node("a").Key.String(): {By: "ana"}}
	d.world().State.Paused = paused
	d.declare(decl("b", `{"id":"x","size":2}`), decl("keep", `{}`))
	if got := writes(d.steps()); got != "" {
		t.Errorf("written: %s", got)
	}
	d.states(map[string]string{"b": "suspended: "})
	d.declare(decl("keep", `{}`))
	if got := writes(d.steps()); got != "" || len(d.world().State.Paused) != 1 {
		t.Errorf("written once it is no longer declared: %s", got)
	}
	d.moved("b", d.eng["mem"].ForeignDelete("memory.thing/x"))
	d.steps()
	loaded, err := d.core.store.Load(t.Context())
	if d.must(err); len(d.world().State.Paused) != 0 || len(loaded.State.Paused) != 0 || len(paused) != 1 {
		t.Errorf("once it is gone: %v, durable %v", d.world().State.Paused, loaded.State.Paused)
	}
	d.declare(decl("c", `{"id":"x"}`), decl("keep", `{}`))
	if got := writes(d.steps()); got != "create c" {
		t.Errorf("written for another thing at that address: %q", got)
	}
}

// TestCrashLoop: repairing what moves of itself, again and again, does not give
// it another time to become healthy.
func TestCrashLoop(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"size":1}`), decl("b", `{}`, needs("a")))
	d.steps()
	d.eng["mem"].SetHealth("memory.thing/a", &drivers.Health{Status: drivers.Progressing, Reason: "starting"})
	crash := func() {
		d.moved("a", d.eng["mem"].ForeignEdit("memory.thing/a", json.RawMessage(`{"size":9}`)))
		if got := writes(d.steps()); got != "update a" {
			t.Fatalf("written: %q", got)
		}
	}
	crash()
	d.states(map[string]string{"a": "progressing: starting"})
	d.pass(DefaultDeadline - time.Second)
	crash()
	d.states(map[string]string{"a": "progressing: starting"})
	d.pass(2 * time.Second)
	d.steps()
	d.states(map[string]string{"a": "degraded: starting"})
}

// TestResyncKeepsMonotonic: when something is looked at again follows the clock
// that nobody can set.
func TestResyncKeepsMonotonic(t *testing.T) {
	started := time.Now()
	w := &World{Env: Env{Started: started}}
	for after, want := range map[time.Duration]time.Duration{0: 0, 29 * time.Second: 0, 30 * time.Second: 30 * time.Second, time.Hour + time.Second: time.Hour} {
		got := w.grid(started.Add(after), 30*time.Second)
		if got.Sub(started) != want || !strings.Contains(got.String(), " m=") {
			t.Errorf("after %v: %v, which is %v after the start, want %v", after, got, got.Sub(started), want)
		}
	}
}
