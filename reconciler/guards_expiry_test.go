package reconciler

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/schema"
)

// expires is a day after the start of a desk.
func expires(d *desk) func(*schema.Resource) {
	at := d.world().Env.Started.Add(24 * time.Hour)
	return func(r *schema.Resource) { r.Expires = at }
}

func was(id string) func(*schema.Resource) { return func(r *schema.Resource) { r.Was = id } }

// TestExpiryWakes: the day itself is a reason for a turn.
func TestExpiryWakes(t *testing.T) {
	d := newDesk(t, "mem")
	at := d.world().Now.Add(5 * time.Minute) // before any resync
	d.declare(decl("a", `{}`, func(r *schema.Resource) { r.Expires = at }), decl("keep", `{}`))
	d.steps()
	if wake := d.decide().Wake; !wake.Equal(at) {
		t.Fatalf("the next turn is at %v, want %v", wake, at)
	}
	d.pass(5 * time.Minute)
	d.step() // lays out what is declared, now without a
	if got := writes(d.steps()); got != "delete a" {
		t.Errorf("written: %q", got)
	}
}

// TestExpiredPair: of two that have passed their day what needs the other goes
// first, also where a restart comes between.
func TestExpiredPair(t *testing.T) {
	for _, restart := range []bool{false, true} {
		d := newDesk(t, "mem")
		d.declare(decl("a", `{}`, expires(d)), decl("b", `{}`, needs("a"), expires(d)), decl("keep", `{}`))
		d.steps()
		d.pass(25 * time.Hour)
		if restart {
			d.restart()
			d.again()
		}
		if got := writes(d.steps()); got != "delete b, delete a" {
			t.Errorf("restart %t: written: %q", restart, got)
		}
		if n := len(d.world().Nodes); n != 1 {
			t.Errorf("restart %t: %d nodes are left", restart, n)
		}
	}
}

// TestExpiredButNeeded: what something still declared needs stays past its day,
// with all that is done for it and for its dependent; it goes with that.
func TestExpiredButNeeded(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"size":1}`, expires(d)), decl("b", `{"size":1}`, needs("a")), decl("keep", `{}`))
	d.steps()
	d.pass(25 * time.Hour)
	if got := writes(d.steps()); got != "" {
		t.Errorf("written on the day: %q", got)
	}
	d.states(map[string]string{"a": "converged: ", "b": "converged: "})
	for _, name := range []string{"b", "a"} {
		d.moved(name, d.eng["mem"].ForeignEdit("memory.thing/"+name, json.RawMessage(`{"size":9}`)))
		if got := writes(d.steps()); got != "update "+name {
			t.Errorf("written when %s drifted: %q", name, got)
		}
	}
	d.declare(decl("a", `{"size":1}`, expires(d)), decl("keep", `{}`))
	if got := writes(d.steps()); got != "delete b, delete a" {
		t.Errorf("written once nothing needs it: %q", got)
	}
}

// TestExpiredBudget: what expires is destruction like any other, and a
// declaration that gives it longer takes it out of danger.
func TestExpiredBudget(t *testing.T) {
	d := newDesk(t, "mem")
	var once, always []schema.Resource
	for i := range 8 {
		once = append(once, decl(fmt.Sprintf("r%d", i), `{}`, expires(d)))
		always = append(always, decl(fmt.Sprintf("r%d", i), `{}`))
	}
	d.declare(once...)
	d.steps()
	d.pass(25 * time.Hour)
	if got := writes(d.steps()); got != "" {
		t.Errorf("written: %q", got)
	}
	d.states(map[string]string{"r0": "held: delete wants approval: budget of 5 ", "r7": "held: delete wants approval: budget of 5 "})
	d.declare(always...)
	if got := writes(d.steps()); got != "" {
		t.Errorf("written once it stays: %q", got)
	}
	d.states(map[string]string{"r0": "converged: ", "r7": "converged: "})
}

// TestExpiredHeld: its day lifts neither holds nor data.
func TestExpiredHeld(t *testing.T) {
	d := newDesk(t, "mem")
	data := func(r *schema.Resource) { r.Data = true }
	d.declare(decl("a", `{}`, expires(d), data), decl("b", `{}`, expires(d), hold(schema.Delete)), decl("keep", `{}`))
	d.steps()
	d.pass(25 * time.Hour)
	if got := writes(d.steps()); got != "" {
		t.Errorf("written: %q", got)
	}
	d.states(map[string]string{"a": "held: delete wants approval: it holds data", "b": "held: delete wants approval: hold"})
	d.approve("a", "b")
	if got := writes(d.steps()); got != "delete a, delete b" {
		t.Errorf("written once approved: %q", got)
	}
}

// TestWasStillDeclared: a name that is still declared keeps its thing, whatever
// another, be it before it in the order, says that it was.
func TestWasStillDeclared(t *testing.T) {
	for _, other := range []string{"a", "c"} {
		d := newDesk(t, "mem")
		given := kind(memory.KindGiven)
		d.declare(decl("b", `{"size":1}`, given))
		d.steps()
		first := d.node("b").Key
		d.declare(decl("b", `{"size":1}`, given), decl(other, `{"size":2}`, given, was("memory.given/b")))
		if got := writes(d.steps()); got != "create "+other {
			t.Errorf("%s: written: %q", other, got)
		}
		if d.node("b").Key != first || d.node(other).Key == first || len(d.eng["mem"].Objects()) != 2 {
			t.Errorf("b lives at %v, which was %v; %s at %v", d.node("b").Key, first, other, d.node(other).Key)
		}
	}
}

// TestWasTwice: one thing cannot become two: the first to say so has it, the
// other is made.
func TestWasTwice(t *testing.T) {
	d := newDesk(t, "mem")
	given := kind(memory.KindGiven)
	d.declare(decl("a", `{"size":1}`, given))
	d.steps()
	first := d.node("a").Key
	d.declare(decl("b", `{"size":1}`, given, was("memory.given/a")), decl("c", `{"size":1}`, given, was("memory.given/a")))
	if got := writes(d.steps()); got != "create c" {
		t.Errorf("written: %q", got)
	}
	if d.node("b").Key != first || d.node("c").Key == first || len(d.world().Nodes) != 2 {
		t.Errorf("b lives at %v, c at %v, a was at %v", d.node("b").Key, d.node("c").Key, first)
	}
	d.states(map[string]string{"b": "converged: ", "c": "converged: "})
}

// TestWasExpired: a thing that has passed its day under its old name lives on
// under the new one.
func TestWasExpired(t *testing.T) {
	d := newDesk(t, "mem")
	given := kind(memory.KindGiven)
	old := decl("a", `{"size":1}`, given, expires(d))
	d.declare(old, decl("keep", `{}`))
	d.steps()
	first := d.node("a").Key
	d.pass(25 * time.Hour)
	d.declare(old, decl("b", `{"size":1}`, given, was("memory.given/a")), decl("keep", `{}`))
	if got := writes(d.steps()); got != "" {
		t.Errorf("written: %q", got)
	}
	if d.node("b").Key != first {
		t.Errorf("b lives at %v, a was at %v", d.node("b").Key, first)
	}
}
