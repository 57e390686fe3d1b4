package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// made is an engine with quirks, a driver, and one thing that was planned but
// not applied.
func made(t testing.TB, q Quirks) (*Engine, *Driver, *drivers.Item, drivers.Change) {
	t.Helper()
	e := &Engine{Seed: 1, Quirks: q}
	d := &Driver{Engine: e, Env: "env"}
	it := item(KindThing, "web", `{"class":"a","value":1}`)
	return e, d, &it, planOf(t, d, &it)
}

func planOf(t testing.TB, d *Driver, it *drivers.Item) drivers.Change {
	t.Helper()
	if it.Handle == "" {
		h, err := d.Address(it.ID.Kind, it.ID.Name, it.Want.Spec)
		if err != nil {
			t.Fatal(err)
		}
		it.Handle = h
	}
	c, err := d.Plan(t.Context(), *it, look(t, d, it))
	if err != nil {
		t.Fatal(err)
	}
	c.Nonce = "nonce"
	return c
}

func look(t testing.TB, d *Driver, it *drivers.Item) drivers.State {
	t.Helper()
	s, err := d.Observe(t.Context(), []drivers.Item{*it})
	if err != nil {
		t.Fatal(err)
	}
	return s[0]
}

func apply(t testing.TB, d *Driver, c drivers.Change) drivers.State {
	t.Helper()
	s, err := d.Apply(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var errKilled = errors.New("killed")

// killAt lets the driver die at a point of a write.
func killAt(e *Engine, d *Driver, op string) {
	e.Hook = func(at, _ string) error {
		if at == op {
			d.Kill()
			return errKilled
		}
		return nil
	}
}

func TestLateLanding(t *testing.T) {
	for _, steps := range []int{0, 3} {
		t.Run(fmt.Sprint(steps), func(t *testing.T) {
			e, d, it, c := made(t, Quirks{LateLanding: steps})
			killAt(e, d, "before create")
			if _, err := d.Apply(t.Context(), c); !errors.Is(err, errKilled) || drivers.Class(err) != drivers.ErrRetryable {
				t.Fatalf("apply: %v", err)
			}
			if _, err := d.Observe(t.Context(), nil); !errors.Is(err, drivers.ErrUnreachable) {
				t.Errorf("a killed driver observes: %v", err)
			}
			d = &Driver{Engine: e, Env: "env"}
			if look(t, d, it).Exists || e.Pending() != min(steps, 1) {
				t.Fatalf("it landed at once, or %d are pending", e.Pending())
			}
			e.Tick(steps)
			if got := look(t, d, it).Exists; got != (steps > 0) || e.Pending() != 0 {
				t.Errorf("after %d steps exists is %t, %d pending", steps, got, e.Pending())
			}
		})
	}
}

func TestLateLandingOfAPanic(t *testing.T) {
	e, d, it, c := made(t, Quirks{LateLanding: 1})
	e.Hook = func(string, string) error { panic("killed") }
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not pass through")
			}
		}()
		_, _ = d.Apply(t.Context(), c)
	}()
	e.Hook = nil
	e.Tick(1)
	if !look(t, d, it).Exists {
		t.Error("it did not land")
	}
}

func TestLateLandingDependsOnRevision(t *testing.T) {
	for _, blind := range []bool{false, true} {
		t.Run(fmt.Sprintf("NoCAS %t", blind), func(t *testing.T) {
			e, d, it, c := made(t, Quirks{LateLanding: 2, NoCAS: blind})
			apply(t, d, c)
			it.Want.Spec = json.RawMessage(`{"class":"a","value":2}`)
			c = planOf(t, d, it)
			ctx, cancel := context.WithCancel(t.Context())
			e.Hook = func(op, _ string) error { cancel(); return nil }
			if _, err := d.Apply(ctx, c); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			e.Hook = nil
			if err := e.ForeignEdit(it.Handle, []byte(`{"class":"a","value":3}`)); err != nil {
				t.Fatal(err)
			}
			e.Tick(2)
			o, _ := e.Object(it.Handle)
			if got := strings.Contains(string(o.Spec), `"value":2`); got != blind {
				t.Errorf("a late write over what moved: %s", o.Spec)
			}
		})
	}
}

func TestTwoCallCreates(t *testing.T) {
	e, d, it, c := made(t, Quirks{TwoCallCreates: true})
	killAt(e, d, "before fill")
	if _, err := d.Apply(t.Context(), c); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	e.Hook = nil
	d = &Driver{Engine: e, Env: "env"}
	half := look(t, d, it)
	if o, _ := e.Object(it.Handle); !o.Half || half.Owner != "env" || half.Health.Status != drivers.Progressing || half.Outputs != nil {
		t.Fatalf("half made: %+v, %+v", o, half)
	}
	c = planOf(t, d, it)
	if c.Action != schema.Update || len(c.Diff) != 2 {
		t.Fatalf("the rest is planned as %s: %+v", c.Action, c.Diff)
	}
	apply(t, d, c)
	if c = planOf(t, d, it); c.Action != schema.None || e.Creates(it.Handle) != 1 {
		t.Errorf("then %s, after %d creates", c.Action, e.Creates(it.Handle))
	}
}

func TestNonces(t *testing.T) {
	for _, supported := range []bool{true, false} {
		t.Run(fmt.Sprintf("supported %t", supported), func(t *testing.T) {
			e, d, it, c := made(t, Quirks{EngineIDs: true, NonceUnsupported: !supported})
			apply(t, d, c)
			apply(t, d, c)
			it.Nonce = "nonce"
			if got := look(t, d, it).Exists; got != supported {
				t.Errorf("found by its nonce: %t", got)
			}
			want := 1
			if !supported {
				want = 2
			}
			if n := len(e.Objects()); n != want {
				t.Errorf("%d objects, want %d", n, want)
			}
			if sins := e.Sins(); len(sins) > 0 {
				t.Errorf("sins: %v", sins)
			}
		})
	}
}

func TestSteps(t *testing.T) {
	waits := func(err error) bool { return drivers.Class(err) == drivers.ErrWaiting }
	t.Run("SlowPlans", func(t *testing.T) {
		d := &Driver{Engine: &Engine{Quirks: Quirks{SlowPlans: 2}}, Env: "env"}
		it := item(KindThing, "web", `{}`)
		for n, want := range []bool{true, true, false, true} {
			if _, err := d.Plan(t.Context(), it, drivers.State{}); waits(err) != want {
				t.Errorf("plan %d: %v", n, err)
			}
		}
	})
	t.Run("SlowHealth", func(t *testing.T) {
		_, d, it, c := made(t, Quirks{SlowHealth: 3})
		got := []drivers.HealthStatus{apply(t, d, c).Health.Status}
		for range 4 {
			got = append(got, look(t, d, it).Health.Status)
		}
		p, h := drivers.Progressing, drivers.Healthy
		if want := []drivers.HealthStatus{p, p, p, h, h}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
	t.Run("SlowDeletes", func(t *testing.T) {
		e, d, it, c := made(t, Quirks{SlowDeletes: 2})
		apply(t, d, c)
		gone := *it
		gone.Want = nil
		c = planOf(t, d, &gone)
		if s := apply(t, d, c); !s.Exists || s.Health.Reason != "being deleted" {
			t.Fatalf("state %+v", s)
		}
		if _, err := d.Plan(t.Context(), *it, look(t, d, it)); !waits(err) {
			t.Errorf("plan of what is being deleted: %v", err)
		}
		if look(t, d, it).Exists || e.Pending() != 0 {
			t.Error("it exists after its steps")
		}
	})
	t.Run("TornReads", func(t *testing.T) {
		e, d, it, c := made(t, Quirks{TornReads: 3})
		apply(t, d, c)
		torn := 0
		for range 10 {
			if s := look(t, d, it); s.Err != nil {
				torn++
				if !waits(s.Err) || s.Exists {
					t.Fatalf("torn: %+v", s)
				}
			}
		}
		if torn > 3 {
			t.Errorf("%d reads were torn", torn)
		}
		if o, _ := e.Object(it.Handle); o.Spec == nil {
			t.Error("nothing lives")
		}
	})
}

func TestNoMarksAndAdoption(t *testing.T) {
	_, d, it, c := made(t, Quirks{NoMarks: true})
	if s := apply(t, d, c); s.Owner != "" || slices.ContainsFunc(c.Diff, func(x drivers.Delta) bool { return x.Path == drivers.MarkPath }) {
		t.Errorf("a mark where there is no room: %+v", c.Diff)
	}
	if c = planOf(t, d, it); c.Action != schema.Adopt || len(c.Diff) != 0 {
		t.Errorf("unmarked and forgotten: %s %+v", c.Action, c.Diff)
	}
	it.Want.Spec = json.RawMessage(`{"class":"b","value":1}`)
	if _, err := d.Plan(t.Context(), *it, look(t, d, it)); !errors.Is(err, drivers.ErrPermanent) {
		t.Errorf("adopting what would have to be made anew: %v", err)
	}
}

func TestNoisyDefaults(t *testing.T) {
	e, d, it, c := made(t, Quirks{NoisyDefaults: true})
	s := apply(t, d, c)
	it.Last = &drivers.Applied{Handle: s.Handle, Version: s.Version, Spec: it.Want.Spec}
	o, _ := e.Object(it.Handle)
	if !strings.Contains(string(o.Spec), noiseField) || strings.Contains(string(s.Spec), noiseField) || !strings.Contains(string(s.Spec), `"size":1`) {
		t.Errorf("engine %s, state %s", o.Spec, s.Spec)
	}
	if c = planOf(t, d, it); c.Action != schema.None {
		t.Errorf("what the engine filled in is a difference: %+v", c.Diff)
	}
	it.Last.Spec = json.RawMessage(`{"class":"a","size":5,"value":1}`)
	if err := e.ForeignEdit(it.Handle, []byte(`{"class":"a","size":5,"value":1}`)); err != nil {
		t.Fatal(err)
	}
	if c = planOf(t, d, it); len(c.Diff) != 1 || c.Diff[0].Path != "/size" || c.Diff[0].Op != schema.Delete {
		t.Errorf("no longer declared: %+v", c.Diff)
	}
}

func TestFaults(t *testing.T) {
	for name, q := range map[string]Quirks{"before": {FaultBefore: 1}, "after": {FaultAfter: 1}} {
		t.Run(name, func(t *testing.T) {
			e, d, _, c := made(t, q)
			if _, err := d.Apply(t.Context(), c); drivers.Class(err) != drivers.ErrRetryable || err == nil {
				t.Errorf("apply: %v", err)
			}
			if got := len(e.Objects()); got != map[string]int{"before": 0, "after": 1}[name] {
				t.Errorf("%d objects", got)
			}
		})
	}
	e := &Engine{Quirks: Quirks{FaultRead: 1}}
	it := item(KindThing, "web", `{}`)
	if s := look(t, &Driver{Engine: e}, &it); drivers.Class(s.Err) != drivers.ErrRetryable || s.Err == nil {
		t.Errorf("read: %+v", s)
	}
}

// TestNoCASWindow: without compare-and-set there is a window between reading
// again and writing, and only there.
func TestNoCASWindow(t *testing.T) {
	for _, blind := range []bool{false, true} {
		e, d, it, c := made(t, Quirks{NoCAS: blind})
		apply(t, d, c)
		it.Want.Spec = json.RawMessage(`{"class":"a","value":2}`)
		c = planOf(t, d, it)
		e.Hook = func(op, handle string) error {
			if op == "before patch" {
				return e.ForeignEdit(handle, []byte(`{"class":"a","value":3}`))
			}
			return nil
		}
		if _, err := d.Apply(t.Context(), c); errors.Is(err, drivers.ErrStale) == blind {
			t.Errorf("NoCAS %t: %v", blind, err)
		}
	}
}
