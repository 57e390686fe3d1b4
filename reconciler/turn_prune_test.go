package reconciler

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestTurnDeletesInReverse(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{}`), decl("b", `{}`, needs("a")), decl("c", `{}`, needs("b")), decl("keep", `{}`))
	d.steps()
	d.declare(decl("keep", `{}`))
	d.step()
	d.states(map[string]string{"a": "waiting: still needed by memory.thing/b", "b": "waiting: still needed by memory.thing/c"})
	if got := writes(d.steps()); got != "delete c, delete b, delete a" {
		t.Errorf("written: %s", got)
	}
	if o := d.eng["mem"].Objects(); len(o) != 1 || o[0].Name != "keep" {
		t.Errorf("there live %+v", o)
	}
}

// TestTurnDeletesLast: what something else replaces goes once that is applied
// and healthy.
func TestTurnDeletesLast(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("old", `{}`), decl("app", `{"value":"@{memory.thing/old.id}"}`))
	d.steps()
	d.declare(decl("new", `{"unhealthy":"no"}`), decl("app", `{"value":"@{memory.thing/new.id}"}`))
	if got := writes(d.steps()); got != "create new" {
		t.Errorf("written while new is not healthy: %s", got)
	}
	d.states(map[string]string{"old": "waiting: goes once memory.thing/new is converged"})
	d.declare(decl("new", `{}`), decl("app", `{"value":"@{memory.thing/new.id}"}`))
	if got := writes(d.steps()); got != "update new, update app, delete old" {
		t.Errorf("written once it is: %s", got)
	}
}

// TestTurnDeletesSlowly: a deletion that was accepted is watched until the
// thing is seen gone, and forgotten only then.
func TestTurnDeletesSlowly(t *testing.T) {
	d := newDesk(t, "mem")
	d.eng["mem"].Quirks.SlowDeletes = 6
	d.declare(decl("a", `{}`), decl("b", `{}`))
	d.steps()
	d.declare(decl("b", `{}`))
	if got := writes(d.steps()); got != "delete a" {
		t.Errorf("written: %s", got)
	}
	if got := len(d.world().Nodes); got != 2 {
		t.Errorf("%d nodes while it still lives", got)
	}
	for range 10 {
		d.pass(15 * time.Second)
		d.steps()
	}
	loaded, err := d.core.store.Load(t.Context())
	d.must(err)
	if len(d.world().Nodes) != 1 || len(loaded.Owned) != 1 || len(loaded.Intents) != 0 {
		t.Errorf("%d nodes, owned %v, begun %v", len(d.world().Nodes), loaded.Owned, loaded.Intents)
	}
}

// TestTurnRename: a name that changes at the same address is a look-up: the
// driver is asked nothing and told nothing.
func TestTurnRename(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"id":"x"}`), decl("user", `{}`, needs("a")))
	d.steps()
	before := d.eng["mem"].Writes("")
	d.declare(decl("b", `{"id":"x"}`), decl("user", `{}`, needs("b")))
	if got, want := d.steps(), []string{"record b"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if n := d.eng["mem"].Writes(""); n != before {
		t.Errorf("%d writes", n-before)
	}
	loaded, err := d.core.store.Load(t.Context())
	d.must(err)
	if o := loaded.Owned[store.Key{Target: "mem", Handle: "memory.thing/x"}]; o.ID.Name != "b" || len(loaded.Owned) != 2 {
		t.Errorf("the inventory has %+v", loaded.Owned)
	}
}

func TestTurnMoved(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"id":"x"}`))
	d.steps()
	d.declare(decl("a", `{"id":"y"}`))
	if got := strings.Split(writes(d.steps()), ", "); len(got) != 2 || !slices.Contains(got, "create a") || !slices.Contains(got, "delete a") {
		t.Errorf("a changed address: %s", got)
	}
	if o := d.eng["mem"].Objects(); len(o) != 1 || o[0].Handle != "memory.thing/y" {
		t.Errorf("there live %+v", o)
	}
}

func TestTurnWas(t *testing.T) {
	for was, kept := range map[string]bool{"": false, "memory.given/a": true, "memory.given/other": false} {
		d := newDesk(t, "mem")
		d.declare(decl("a", `{"size":1}`, kind(memory.KindGiven)))
		d.steps()
		first := d.node("a").Key
		d.declare(decl("b", `{"size":1}`, kind(memory.KindGiven), func(r *schema.Resource) { r.Was = was }))
		if got := writes(d.steps()); (got == "") != kept {
			t.Errorf("was %q: written: %q", was, got)
		}
		if same := d.node("b").Key == first; same != kept {
			t.Errorf("was %q: the same thing: %t", was, same)
		}
		d.restart()
		d.again()
		if got := writes(d.steps()); got != "" || d.node("b").Owned == nil || len(d.world().Nodes) != 1 {
			t.Errorf("was %q: after a restart: %q, %d nodes", was, got, len(d.world().Nodes))
		}
	}
}

// TestTurnBudget: more than the budget, and nothing of it goes.
func TestTurnBudget(t *testing.T) {
	for _, c := range []struct {
		declared, gone int
		cfg            gate.Config
		want           int
	}{
		{7, 5, gate.Config{}, 5}, {7, 6, gate.Config{}, 0}, {12, 2, gate.Config{}, 2}, {12, 3, gate.Config{}, 0},
		{7, 6, gate.Config{Destroys: 6}, 6}, {3, 1, gate.Config{Destroys: -1}, 0}, {20, 19, gate.Config{Unlimited: true}, 19},
	} {
		d := newDesk(t, "mem")
		d.world().Env.Gates = c.cfg
		var res []schema.Resource
		for i := range c.declared {
			res = append(res, decl(fmt.Sprintf("r%02d", i), `{}`))
		}
		d.declare(res...)
		d.steps()
		d.declare(res[c.gone:]...)
		if got := strings.Count(writes(d.steps()), "delete"); got != c.want {
			t.Errorf("%d of %d, %+v: %d went, want %d", c.gone, c.declared, c.cfg, got, c.want)
		}
		if c.want == 0 {
			d.states(map[string]string{"r00": "held: delete wants approval: budget of "})
		}
	}
}

// TestTurnBudgetOverTime: what went within the hour counts, also after a
// restart; what a person approved does not.
func TestTurnBudgetOverTime(t *testing.T) {
	d := newDesk(t, "mem")
	var res []schema.Resource
	for i := range 8 {
		res = append(res, decl(fmt.Sprintf("r%d", i), `{}`))
	}
	d.declare(res...)
	d.steps()
	d.declare(res[4:]...)
	if got := strings.Count(writes(d.steps()), "delete"); got != 4 {
		t.Fatalf("%d went", got)
	}
	d.restart()
	d.declare(res[6:]...)
	d.steps()
	d.states(map[string]string{"r4": "held: delete wants approval: budget of 5 deletions and replacements an hour, 6 wanted"})
	d.approve("r4")
	if got := writes(d.steps()); got != "delete r4, delete r5" { // 4 and one more are free
		t.Errorf("written: %s", got)
	}
	d.declare(res[7:]...)
	d.steps()
	d.states(map[string]string{"r6": "held: "})
	d.pass(time.Hour)
	if got := writes(d.steps()); got != "delete r6" {
		t.Errorf("written an hour later: %s", got)
	}
}

func TestTurnData(t *testing.T) {
	d := newDesk(t, "mem")
	data := func(r *schema.Resource) { r.Data = true }
	d.declare(decl("a", `{"class":"x"}`, data), decl("b", `{}`, data), decl("c", `{}`))
	d.steps()
	d.declare(decl("a", `{"class":"y"}`), decl("c", `{}`))
	if got := writes(d.steps()); got != "" {
		t.Errorf("written: %s", got)
	}
	d.states(map[string]string{"a": "held: replace wants approval: it holds data", "b": "held: delete wants approval: it holds data"})
	d.approve("a", "b")
	if got := writes(d.steps()); got != "replace a, delete b" {
		t.Errorf("written once approved: %s", got)
	}
}

// TestTurnHandedOver: what another environment has marked since is let go of,
// and never deleted from here.
func TestTurnHandedOver(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{}`), decl("b", `{}`))
	d.steps()
	d.declare(decl("b", `{}`))
	d.moved("a", d.eng["mem"].ForeignMark("memory.thing/a", "env-x"))
	if got, want := d.steps(), []string{"observe a", "forget a"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if _, lives := d.eng["mem"].Object("memory.thing/a"); !lives || len(d.world().Nodes) != 1 {
		t.Error("it was deleted, or is not forgotten")
	}
}

func TestTurnGoneAlready(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{}`), decl("b", `{}`))
	d.steps()
	d.declare(decl("b", `{}`))
	d.moved("a", d.eng["mem"].ForeignDelete("memory.thing/a"))
	if got, want := d.steps(), []string{"observe a", "forget a"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	d.moved("b", d.eng["mem"].ForeignDelete("memory.thing/b"))
	if got := writes(d.steps()); got != "create b" {
		t.Errorf("what is declared and gone: %q", got)
	}
}

// TestTurnDown: with nothing declared any more all goes, but for what holds
// data and was not named.
func TestTurnDown(t *testing.T) {
	d := newDesk(t, "mem")
	data := func(r *schema.Resource) { r.Data = true }
	var res []schema.Resource
	for i := range 8 {
		res = append(res, decl(fmt.Sprintf("r%d", i), `{}`))
	}
	res = append(res, decl("named", `{}`, data), decl("data", `{}`, data))
	d.declare(res...)
	d.steps()
	w := d.world()
	w.State.Down, w.State.Suspended = true, &store.Lever{By: "ana"}
	w.DownAlso = map[schema.ID]bool{d.node("named").ID: true}
	d.declare()
	if got := strings.Count(writes(d.steps()), "delete"); got != 9 {
		t.Errorf("%d went, want 9", got)
	}
	d.states(map[string]string{"data": "held: delete wants approval: it holds data"})
}

func TestTurnSecretsMove(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("s", `{"size":16}`, kind(memory.KindSecret)), decl("a", `{"password":"pw @{memory.secret/s.value}"}`), decl("b", `{}`))
	if got := writes(d.steps()); got != "create b, create s, create a" && got != "create s, create b, create a" {
		t.Errorf("written: %s", got)
	}
	d.moved("s", d.eng["mem"].ForeignRotate("memory.secret/s"))
	if got := writes(d.steps()); got != "update a" {
		t.Errorf("written after a rotation: %s", got)
	}
	s, _ := d.eng["mem"].Object("memory.secret/s")
	a, _ := d.eng["mem"].Object("memory.thing/a")
	var spec struct{ Password string }
	d.must(json.Unmarshal(a.Spec, &spec))
	if spec.Password != "pw "+s.Value {
		t.Error("a was told another secret")
	}
	raw, err := json.Marshal(d.node("a").Plan.Change)
	if err != nil || strings.Contains(string(raw), s.Value) || strings.Contains(snapshot(d.world()), s.Value) {
		t.Errorf("the secret stands in the World: %v", err)
	}
}
