package memory

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aplomb-dev/aplomb/drivers"
)

// TestSins: what the simulation relies on being told.
func TestSins(t *testing.T) {
	e, d, _, c := made(t, Quirks{EngineIDs: true})
	apply(t, d, c)
	if sins := e.Sins(); len(sins) != 0 {
		t.Fatalf("sins of a single create: %v", sins)
	}
	c.Nonce = "another"
	apply(t, d, c)
	if sins := e.Sins(); len(sins) != 1 || !strings.Contains(sins[0], "lives twice") {
		t.Errorf("after a double create: %v", sins)
	}
	handle := e.Objects()[0].Handle
	orphans := e.Orphans("env", func(h string) bool { return h == handle })
	if len(orphans) != 1 || orphans[0] == handle {
		t.Errorf("orphans %v", orphans)
	}

	e, d, it, c := made(t, Quirks{NoCAS: true})
	apply(t, d, c)
	it.Want.Spec = json.RawMessage(`{"class":"a","value":2}`)
	c = planOf(t, d, it)
	e.Hook = func(op, handle string) error {
		if op == "before patch" {
			return e.ForeignMark(handle, "another")
		}
		return nil
	}
	apply(t, d, c)
	if sins := e.Sins(); len(sins) != 1 || !strings.Contains(sins[0], "of another by env") {
		t.Errorf("after a write to what is another's: %v", sins)
	}
}

func TestCounts(t *testing.T) {
	e, d, it, c := made(t, Quirks{})
	apply(t, d, c)
	it.Want.Spec = json.RawMessage(`{"class":"a","value":2}`)
	apply(t, d, planOf(t, d, it))
	it.Want = nil
	apply(t, d, planOf(t, d, it))
	it2 := item(KindThing, "web", `{}`)
	apply(t, d, planOf(t, d, &it2))
	if got := []int{e.Creates(it.Handle), e.Writes(it.Handle), e.Writes("")}; !slices.Equal(got, []int{2, 4, 4}) {
		t.Errorf("creates, writes, all writes: %v", got)
	}
}

func TestHook(t *testing.T) {
	e, d, it, c := made(t, Quirks{TwoCallCreates: true, EngineIDs: true})
	var calls []string
	e.Hook = func(op, handle string) error {
		_ = e.Objects() // no lock is held
		calls = append(calls, strings.TrimSpace(op+" "+handle))
		return nil
	}
	it.Handle = apply(t, d, c).Handle
	it.Nonce, it.Want = "", nil
	apply(t, d, planOf(t, d, it))
	h := it.Handle
	want := []string{"before create", "after create " + h, "before fill " + h, "after fill " + h, "before delete " + h, "after delete " + h}
	if !slices.Equal(calls, want) {
		t.Errorf("%q, want %q", calls, want)
	}
}

// TestSeed: one goroutine, one seed, one history.
func TestSeed(t *testing.T) {
	run := func(seed uint64) []string {
		e := &Engine{Seed: seed, Quirks: Quirks{FaultBefore: .3, FaultAfter: .3, FaultRead: .3, TornReads: 4, LateLanding: 3, EngineIDs: true}}
		d := &Driver{Engine: e, Env: "env"}
		var history []string
		for n := range 60 {
			it := item(KindSecret, fmt.Sprint("s", n%5), fmt.Sprintf(`{"size":%d}`, n%7+8))
			it.Handle = KindSecret + "/" + it.ID.Name
			s := look(t, d, &it)
			c, err := d.Plan(t.Context(), it, s)
			if err == nil {
				_, err = d.Apply(t.Context(), c)
			}
			history = append(history, fmt.Sprint(s.Exists, s.Version, c.Action, err))
		}
		for _, o := range e.Objects() {
			history = append(history, o.Handle+o.Value)
		}
		return history
	}
	if !reflect.DeepEqual(run(1), run(1)) {
		t.Error("the same seed gave two histories")
	}
	if reflect.DeepEqual(run(1), run(2)) {
		t.Error("two seeds gave the same history")
	}
}

func TestRevealOfWhatMoved(t *testing.T) {
	e := &Engine{}
	d := &Driver{Engine: e, Env: "env"}
	it := item(KindSecret, "key", `{}`)
	_, s := turn(t, d, &it)
	if err := e.ForeignRotate(s.Handle); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Reveal(t.Context(), it, "value", s.Outputs["value"].Fingerprint); drivers.Class(err) != drivers.ErrStale {
		t.Errorf("what was told has moved: %v", err)
	}
	after := look(t, d, &it)
	got, err := d.Reveal(t.Context(), it, "value", after.Outputs["value"].Fingerprint)
	if o, _ := e.Object(s.Handle); err != nil || got.Reveal() != o.Value || after.Outputs["value"].Fingerprint == s.Outputs["value"].Fingerprint {
		t.Errorf("told again: %v, fingerprint %q", err, after.Outputs["value"].Fingerprint)
	}
}

func TestHealthIsSet(t *testing.T) {
	e, d, it, c := made(t, Quirks{})
	apply(t, d, c)
	before := look(t, d, it)
	e.SetHealth(it.Handle, &drivers.Health{Status: drivers.Unhealthy, Reason: "1 of 2 passing"})
	if s := look(t, d, it); s.Health.Reason != "1 of 2 passing" || s.Version != before.Version {
		t.Errorf("%+v", s)
	}
	e.SetHealth(it.Handle, nil)
	if s := look(t, d, it); s.Health.Status != drivers.Healthy {
		t.Errorf("%+v", s.Health)
	}
}

func TestWatchCollects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, d, it, c := made(t, Quirks{})
		ctx, cancel := context.WithCancel(t.Context())
		next := make(chan struct{})
		var calls []string
		ended := make(chan error)
		go func() {
			ended <- d.Watch(ctx, func(handles ...string) {
				calls = append(calls, strings.Join(handles, " "))
				<-next
			})
		}()
		synctest.Wait()
		apply(t, d, c)
		synctest.Wait()
		for range 3 {
			if err := e.ForeignMark(it.Handle, ""); err != nil {
				t.Fatal(err)
			}
		}
		close(next)
		synctest.Wait()
		h := it.Handle
		if want := []string{h, h + " " + h + " " + h}; !slices.Equal(calls, want) {
			t.Errorf("%q, want %q", calls, want)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
