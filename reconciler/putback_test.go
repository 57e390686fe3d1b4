package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/internal/calendar"
	"github.com/aplomb-dev/aplomb/schema"
)

// foreign has somebody else write to a thing, and the driver hear of it.
func (d *desk) foreign(name string) {
	d.t.Helper()
	d.moved(name, d.eng["mem"].ForeignEdit(memory.KindThing+"/"+name, json.RawMessage(`{"value":"foreign"}`)))
}

// value is what lives as a thing's value.
func (d *desk) value(name string) string {
	d.t.Helper()
	o, ok := d.eng["mem"].Object(memory.KindThing + "/" + name)
	if !ok {
		return "gone"
	}
	var spec struct{ Value any }
	d.must(json.Unmarshal(o.Spec, &spec))
	text, err := json.Marshal(spec.Value)
	d.must(err)
	return string(text)
}

// freeze holds whatever is newly declared.
func (d *desk) freeze() {
	now := d.world().Now
	d.world().Env.Gates.Calendar = calendar.Calendar{Freezes: []calendar.Freeze{{From: now, Until: now.Add(365 * 24 * time.Hour), Why: "the fair"}}}
}

// TestPutBack: while something newer is declared and held, drift from what was
// applied last is put back, once; the held change and its approval are as before.
func TestPutBack(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"value":1}`))
	d.steps()
	d.freeze()
	d.declare(decl("a", `{"value":2}`))
	if got := d.steps(); writes(got) != "" {
		t.Errorf("written: %v", got)
	}
	held, revision := d.node("a").Plan.Digest, d.node("a").Owned.Revision
	d.foreign("a")
	got := strings.Join(d.steps(), "; ")
	if strings.Count(got, "put back: update a") != 1 || d.value("a") != "1" {
		t.Errorf("value %s after: %s", d.value("a"), got)
	}
	d.states(map[string]string{"a": "held: frozen until"})
	if n := d.node("a"); n.Plan.Digest != held || n.Owned.Revision != revision || n.Intent != nil || !d.decide().Evals[n.index].Stands {
		t.Errorf("digest %s was %s, owned %+v, intent %v", n.Plan.Digest, held, n.Owned, n.Intent)
	}
	d.moved("a", d.eng["mem"].ForeignDelete(memory.KindThing+"/a"))
	if got := strings.Join(d.steps(), "; "); !strings.Contains(got, "put back: create a") || d.value("a") != "1" {
		t.Errorf("value %s after: %s", d.value("a"), got)
	}
	if d.pass(11 * time.Minute); strings.Join(d.steps(), "; ") != "observe a" {
		t.Error("it does not come to rest")
	}
	d.world().Env.Gates.Calendar = calendar.Calendar{}
	if got := writes(d.steps()); got != "update a" || d.value("a") != "2" {
		t.Errorf("value %s after it was let go: %s", d.value("a"), got)
	}
}

// TestPutBackLeaves: what putting back is not done for.
func TestPutBackLeaves(t *testing.T) {
	for name, c := range map[string]struct {
		spec  string // declared first
		alter func(*schema.Resource)
		then  func(*desk)
		want  string
	}{
		"a hold of then": {`{"value":1}`, hold(schema.Update), func(*desk) {}, "; it is not as it was applied last, either"},
		"a replacement": {`{"value":1,"class":"x"}`, func(*schema.Resource) {}, func(d *desk) {
			d.must(d.eng["mem"].ForeignEdit("memory.thing/a", json.RawMessage(`{"value":"foreign","class":"y"}`)))
		}, "; it is not as it was applied last, either"},
		"drift is reported":   {`{"value":1}`, func(*schema.Resource) {}, func(d *desk) { d.world().Env.ReportDrift = true }, ""},
		"a restart, a secret": {`{"value":1,"password":"@{memory.secret/s.value}"}`, func(*schema.Resource) {}, func(d *desk) { d.restart(); d.freeze(); d.again() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, "mem")
			secret := decl("s", `{"size":8}`, kind(memory.KindSecret))
			d.declare(decl("a", c.spec, c.alter), secret)
			d.steps()
			d.freeze()
			next := strings.Replace(c.spec, `"value":1`, `"value":2`, 1)
			d.declare(decl("a", next, c.alter), secret)
			d.steps()
			d.must(d.eng["mem"].ForeignEdit("memory.thing/a", json.RawMessage(`{"value":"foreign"}`)))
			c.then(d)
			d.node("a").Dirty = true
			if got := writes(d.steps()); got != "" || d.value("a") != `"foreign"` {
				t.Errorf("value %s after: %s", d.value("a"), got)
			}
			n := d.node("a")
			reason, _ := explain(n, &d.decide().Evals[n.index])
			if !strings.HasPrefix(reason, "frozen until") && !strings.Contains(reason, "; frozen until") || !strings.HasSuffix(reason, c.want) {
				t.Errorf("%q, want …%q", reason, c.want)
			}
		})
	}
}

// TestPutBackRestart: a process that begins while a change is held puts back what
// the inventory holds whole, and finishes what the one before it had begun to.
func TestPutBackRestart(t *testing.T) {
	d := newDesk(t, "mem")
	d.declare(decl("a", `{"value":1}`))
	d.steps()
	d.freeze()
	d.declare(decl("a", `{"value":2}`))
	d.steps()
	d.foreign("a")
	var calls []call
	for said := ""; !strings.Contains(said, "put back"); {
		d.end(calls)
		said, calls = d.begin()
	}
	for _, cl := range calls { // it lands, and nobody hears of it
		cl.make(d.t.Context())
	}
	d.restart()
	d.freeze()
	d.again()
	d.steps()
	d.pass(time.Minute)
	if got := writes(d.steps()); got != "" || d.value("a") != "1" {
		t.Errorf("value %s after: %s", d.value("a"), got)
	}
	if n := d.node("a"); n.Intent != nil {
		t.Errorf("it is still begun: %+v", n.Intent)
	}
	d.foreign("a")
	if got := strings.Join(d.steps(), "; "); !strings.Contains(got, "put back: update a") || d.value("a") != "1" {
		t.Errorf("value %s after: %s", d.value("a"), got)
	}
	d.restart()
	d.freeze()
	d.again()
	if got := strings.Join(d.steps(), "; "); strings.Contains(got, "as applied") {
		t.Errorf("planned again although nothing moved: %s", got)
	}
}

// TestPutBackNeeds: what needs something held is looked after as before, for as
// long as what it needs lives as it was applied; a secret of then is filled in.
func TestPutBackNeeds(t *testing.T) {
	d := newDesk(t, "mem")
	secret := decl("s", `{"size":8}`, kind(memory.KindSecret))
	b := decl("b", `{"value":"@{memory.thing/a.size}","password":"@{memory.secret/s.value}"}`)
	d.declare(decl("a", `{"value":1,"size":1}`), secret, b, decl("c", `{}`, needs("a")))
	d.steps()
	before, _ := d.eng["mem"].Object(memory.KindThing + "/b")
	d.freeze()
	d.declare(decl("a", `{"value":2,"size":2}`), secret, b, decl("c", `{}`, needs("a")))
	d.steps()
	d.states(map[string]string{"a": "held: ", "b": "waiting: needs memory.thing/a", "c": "converged: "})
	d.foreign("b")
	d.foreign("c")
	got := strings.Join(d.steps(), "; ")
	after, _ := d.eng["mem"].Object(memory.KindThing + "/b")
	if !strings.Contains(got, "put back: update b") || !strings.Contains(got, "update c") || d.value("c") == `"foreign"` || string(after.Spec) != string(before.Spec) {
		t.Errorf("b is %s, was %s; after: %s", after.Spec, before.Spec, got)
	}
	d.eng["mem"].SetHealth(memory.KindThing+"/a", &drivers.Health{Status: drivers.Unhealthy, Reason: "no"})
	d.node("a").Dirty = true
	d.foreign("b")
	d.foreign("c")
	if got := writes(d.steps()); got != "" {
		t.Errorf("written while what is needed is not well: %s", got)
	}
}

// TestPutBackPolicies: what policies refuse is not put back; what they cannot be
// shown any more neither.
func TestPutBackPolicies(t *testing.T) {
	d := newDesk(t, "mem")
	refuse := true
	judge := &Judge{Changes: func(_ context.Context, _ schema.PlanFacts, all []schema.ChangeFacts) ([][]schema.Violation, error) {
		out := make([][]schema.Violation, len(all))
		for i, f := range all {
			switch {
			case f.Declared == nil:
				return nil, errors.New("not shown what is declared")
			case f.Drift && strings.Contains(string(f.Declared.Spec), `"value":1`) && refuse:
				out[i] = []schema.Violation{{Policy: "no", Level: schema.HardMandatory, Message: "not this"}}
			}
		}
		return out, nil
	}}
	d.declare(decl("a", `{"value":1}`))
	d.steps()
	d.freeze()
	d.world().Judge = judge
	d.declare(decl("a", `{"value":2}`))
	d.steps()
	d.foreign("a")
	if got := writes(d.steps()); got != "" {
		t.Errorf("written against a policy: %s", got)
	}
	d.states(map[string]string{"a": "held: frozen until"})
	refuse = false
	same := *judge
	d.world().Judge = &same
	if got := writes(d.steps()); got != "" || d.value("a") != "1" { // "put back: …" is no bare verb
		t.Errorf("value %s after: %s", d.value("a"), got)
	}
	d.restart()
	d.freeze()
	d.world().Judge = judge
	d.again()
	d.steps()
	d.foreign("a")
	if got := d.steps(); d.value("a") != `"foreign"` {
		t.Errorf("put back what policies were not shown: %v", got)
	}
}
