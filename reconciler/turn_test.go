package reconciler

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// TestTurnNothingInForce: without a revision nothing is planned or pruned,
// whatever is owned.
func TestTurnNothingInForce(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"size":1}`))
	d.steps()
	d.restart()
	d.says("")
	if d.world().Declared || len(d.world().Nodes) != 1 {
		t.Fatal("this proves nothing")
	}
}

func TestTurnLine(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"size":1}`))
	d.states(map[string]string{"a": "waiting: not looked at yet"})
	if got, want := d.steps(), []string{"observe a", "plan a", "create a", "plan a", "record a"}; !slices.Equal(got, want) {
		t.Errorf("to converged: %q, want %q", got, want)
	}
	d.states(map[string]string{"a": "converged: "})
	d.again()
	if got := d.steps(); len(got) > 0 {
		t.Errorf("a revision that changes nothing: %q", got)
	}
	d.restart()
	d.again()
	if got, want := d.steps(), []string{"observe a"}; !slices.Equal(got, want) {
		t.Errorf("after a restart: %q, want %q", got, want)
	}
	d.pass(10 * time.Minute)
	if got, want := d.steps(), []string{"observe a"}; !slices.Equal(got, want) {
		t.Errorf("at a resync: %q, want %q", got, want)
	}
	d.declare(decl("a", `{"size":2}`))
	if got, want := d.steps(), []string{"plan a", "update a", "plan a", "record a"}; !slices.Equal(got, want) {
		t.Errorf("a change: %q, want %q", got, want)
	}
}

// TestTurnNeeds: a resource waits for what it needs, and is planned before
// what it will be told is known.
func TestTurnNeeds(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"unhealthy":"broken"}`), decl("b", `{}`, needs("a")), decl("c", `{}`))
	if got := writes(d.steps()); got != "create a, create c" {
		t.Errorf("written: %s", got)
	}
	d.states(map[string]string{"a": "progressing: broken", "b": "waiting: needs memory.thing/a", "c": "converged: "})
	d.pass(DefaultDeadline + time.Second)
	d.steps()
	d.states(map[string]string{"a": "degraded: broken", "b": "waiting: needs memory.thing/a"})
}

func TestTurnUnknown(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{}`, kind(memory.KindGiven)), decl("b", `{"value":"@{memory.given/a.id}"}`))
	got := []string{d.step(), d.step(), d.step()}
	if want := []string{"observe a, observe b", "plan a", "plan b, create a"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	diff := d.node("b").Plan.Change.Diff
	if i := slices.IndexFunc(diff, func(x drivers.Delta) bool { return x.Path == "/value" }); i < 0 || !diff[i].Unknown || string(diff[i].After) != `"@{memory.given/a.id}"` {
		t.Errorf("the plan before it is known: %+v", diff)
	}
	if got := writes(d.steps()); got != "create b" {
		t.Errorf("written: %s", got)
	}
	d.states(map[string]string{"a": "converged: ", "b": "converged: "})
	if o, _ := d.eng["mem"].Object("memory.thing/b"); !strings.Contains(string(o.Spec), `"value":"e-`) {
		t.Errorf("b was told %s", o.Spec)
	}
}

func TestTurnNeverKnown(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"value":{"x":1}}`), decl("b", `{"value":"@{memory.thing/a.none}"}`), decl("c", `{"value":"@{memory.thing/a.value.y}"}`))
	if got := writes(d.steps()); got != "create a" {
		t.Errorf("written: %s", got)
	}
	d.states(map[string]string{
		"b": "degraded: an output never came: value (@{memory.thing/a.none})",
		"c": `degraded: spec.value: @{memory.thing/a.value.y}: the output has no "y"`,
	})
}

func TestTurnHeld(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{}`, hold(schema.Create)), decl("b", `{}`, needs("a")))
	if got := writes(d.steps()); got != "" {
		t.Errorf("written: %s", got)
	}
	d.states(map[string]string{"a": "held: create wants approval: hold", "b": "waiting: needs memory.thing/a"})
	d.approve("a")
	if got := writes(d.steps()); got != "create a, create b" {
		t.Errorf("written once approved: %s", got)
	}
	if len(d.world().Approvals) > 0 {
		t.Error("the approval is not used up")
	}
	// The hold of the last apply holds where the declaration has none any more.
	d.declare(decl("a", `{"class":"x"}`, hold(schema.Delete)), decl("b", `{}`, needs("a")))
	d.steps()
	d.declare(decl("b", `{}`))
	d.steps()
	d.states(map[string]string{"a": "held: delete wants approval: hold"})
}

func TestTurnDrift(t *testing.T) {
	for _, report := range []bool{false, true} {
		d := newDesk(t, "mem")
		d.world().Env.ReportDrift = report
		d.declare(decl("a", `{"size":1}`, hold(schema.Create)))
		d.steps()
		d.approve("a")
		d.steps()
		d.moved("a", d.eng["mem"].ForeignEdit("memory.thing/a", json.RawMessage(`{"size":9}`)))
		got := writes(d.steps())
		if want := map[bool]string{false: "update a", true: ""}[report]; got != want {
			t.Errorf("report %t: written: %q", report, got)
		}
		d.states(map[string]string{"a": map[bool]string{false: "converged: ", true: "drifted: live differs from what is declared"}[report]})
		d.declare(decl("a", `{"size":2}`))
		if got := writes(d.steps()); got != "update a" {
			t.Errorf("report %t: what is newly declared was not applied: %q", report, got)
		}
	}
}

func TestTurnSuspended(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"size":1}`), decl("b", `{"size":1}`))
	d.steps()
	d.world().State.Suspended = &store.Lever{By: "ana"}
	d.declare(decl("a", `{"size":2}`), decl("c", `{}`))
	if got := writes(d.steps()); got != "" {
		t.Errorf("written: %s", got)
	}
	d.states(map[string]string{"a": "suspended: ", "c": "suspended: ", "b": "suspended: "})
	d.world().State.Suspended, d.world().State.Paused = nil, map[string]store.Lever{store.Key{Target: "mem", Handle: "memory.thing/a"}.String(): {By: "ana"}}
	if got := writes(d.steps()); got != "create c, delete b" {
		t.Errorf("written with a suspended: %s", got)
	}
	d.states(map[string]string{"a": "suspended: ", "c": "converged: "})
	d.world().State.Paused = nil
	if got := writes(d.steps()); got != "update a" {
		t.Errorf("written once resumed: %s", got)
	}
}

func TestTurnOwnership(t *testing.T) {
	for _, c := range []struct {
		name, owner string
		alter       func(*schema.Resource)
		state, then string // once approved, where it is held
	}{
		{"nobody's", "", hold(), "conflict: lives already, and is not ours", ""},
		{"nobody's, to be adopted", "", adopt, "held: adopt wants approval", "adopt a"},
		{"another's", "env-x", hold(), "conflict: belongs to another environment (env-x)", ""},
		{"another's is never adopted", "env-x", adopt, "conflict: belongs to another environment (env-x)", ""},
		{"ours, and forgotten", deskEnv, hold(), "converged: ", "update a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t, "mem")
			_, err := d.eng["mem"].ForeignCreate(memory.KindThing, "a", c.owner, json.RawMessage(`{"size":9}`))
			d.must(err)
			d.declare(decl("a", `{"size":1}`, c.alter), decl("b", `{}`))
			got := writes(d.steps())
			d.states(map[string]string{"a": c.state, "b": "converged: "})
			if strings.HasPrefix(c.state, "held") {
				d.approve("a")
				got += ", " + writes(d.steps())
			}
			if want := strings.Trim("create b, "+c.then, ", "); got != want && got != c.then+", create b" {
				t.Errorf("written: %s, want %s", got, want)
			}
		})
	}
}

func TestTurnTargetDown(t *testing.T) {
	d := newDesk(t, "eu", "us")
	d.declare(decl("far", `{}`, at("us")), decl("user", `{}`, at("eu"), needs("far")))
	d.steps()
	d.eng["eu"].SetUnreachable(true)
	d.declare(decl("a", `{}`, at("eu")), decl("b", `{}`, at("us"), needs("a")), decl("c", `{}`, at("us")))
	if got := writes(d.steps()); got != "create c" {
		t.Errorf("written: %s", got)
	}
	d.states(map[string]string{
		"a": "degraded: eu is out of reach", "b": "waiting: needs memory.thing/a", "c": "converged: ",
		"user": "degraded: eu is out of reach", "far": "waiting: still needed by memory.thing/user",
	})
	d.eng["eu"].SetUnreachable(false)
	d.pass(time.Minute)
	if got := writes(d.steps()); got != "create a, create b, delete user, delete far" {
		t.Errorf("written once it answers: %s", got)
	}
}

func TestTurnStale(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"size":1}`))
	d.steps()
	d.declare(decl("a", `{"size":2}`))
	d.step()
	d.must(d.eng["mem"].ForeignEdit("memory.thing/a", json.RawMessage(`{"size":7}`)))
	if got, want := d.steps(), []string{"update a", "observe a", "plan a", "update a", "plan a", "record a"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTurnBackoff(t *testing.T) {
	d := newDesk(t, "mem")
	d.eng["mem"].Hook = func(string, string) error { return errors.New("no") }
	d.declare(decl("a", `{}`), decl("b", `{}`, needs("a")))
	for _, want := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second} {
		d.world().Targets["mem"].Linger = 0
		d.steps()
		d.states(map[string]string{"a": "degraded: ", "b": "waiting: needs memory.thing/a"})
		dec := d.decide()
		if got := d.node("a").Fail.Next.Sub(d.world().Now); got != want || !dec.Wake.Equal(d.world().Now.Add(want)) {
			t.Errorf("the next try is after %v (a turn at %v), want %v", got, dec.Wake, want)
		}
		d.pass(want)
	}
	d.again() // a newer commit wins
	d.eng["mem"].Hook = nil
	if got := writes(d.steps()); got != "create a, create b" {
		t.Errorf("written: %s", got)
	}
}

// TestTurnLingers: after a crash a begun create is only looked at until its
// call can no longer land; then it is made with the nonce that it had.
func TestTurnLingers(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{}`, kind(memory.KindGiven)))
	d.step()
	d.step()
	if said, _ := d.begin(); said != "create a" {
		t.Fatal(said)
	}
	nonce := d.node("a").Intent.Nonce
	d.restart()
	d.again()
	if got, want := d.steps(), []string{"observe a", "plan a"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	d.states(map[string]string{"a": "waiting: an earlier call may still land"})
	d.pass(30 * time.Second)
	if got := writes(d.steps()); got != "create a" {
		t.Errorf("written: %s", got)
	}
	if o := d.eng["mem"].Objects(); len(o) != 1 || o[0].Nonce != nonce {
		t.Errorf("there live %+v", o)
	}
}

// TestTurnFlaps: what never settles is named, and tried ever more slowly.
func TestTurnFlaps(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"size":1}`))
	d.steps()
	applied := 0
	for range 20 {
		d.moved("a", d.eng["mem"].ForeignEdit("memory.thing/a", json.RawMessage(`{"size":9}`)))
		for said := d.step(); said != ""; said = d.step() {
			if strings.HasPrefix(said, "update") {
				applied++
				break
			}
		}
	}
	if applied != mostFlaps+1 && applied != mostFlaps {
		t.Errorf("applied %d times", applied)
	}
	d.states(map[string]string{"a": "degraded: applying it does not settle: size"})
	d.pass(5 * time.Minute)
	if got := writes([]string{d.step(), d.step(), d.step()}); got != "update a" {
		t.Errorf("it is not tried again: %q", got)
	}
}

// TestTurnFrontier: only so much is begun at once, so that a newer commit does
// not wait for long.
func TestTurnFrontier(t *testing.T) {
	d := newDesk(t, "mem")
	var res []schema.Resource
	for i := range frontierPerCall + 5 {
		res = append(res, decl("r"+strings.Repeat("x", i+1), `{}`))
	}
	d.declare(res...)
	d.step()
	d.step()
	said, calls := d.begin()
	if n := strings.Count(said, "create"); n != frontierPerCall {
		t.Errorf("%d are begun, want %d", n, frontierPerCall)
	}
	d.says("")
	d.end(calls)
	if n := strings.Count(told(d.decide()), "create"); n != 5 {
		t.Errorf("then %d, want 5", n)
	}
}
