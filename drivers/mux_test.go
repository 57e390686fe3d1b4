package drivers_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/schema"
)

// pair is two engines behind one Mux, with one thing in each.
func pair(t *testing.T) (things, secrets *memory.Engine, m drivers.Mux) {
	t.Helper()
	things, secrets = &memory.Engine{}, &memory.Engine{}
	m = drivers.Mux{
		memory.KindThing:  &memory.Driver{Engine: things, Env: env},
		memory.KindSecret: &memory.Driver{Engine: secrets, Env: env},
	}
	for _, it := range []drivers.Item{item(memory.KindThing, "web", `{}`), item(memory.KindSecret, "key", `{}`)} {
		c, err := m.Plan(t.Context(), it, drivers.State{Handle: it.Handle})
		if err != nil {
			t.Fatal(err)
		}
		if s, err := m.Apply(t.Context(), c); err != nil || !s.Exists {
			t.Fatalf("apply %s: %+v, %v", it.ID, s, err)
		}
	}
	return things, secrets, m
}

func TestMuxRoutes(t *testing.T) {
	things, secrets, m := pair(t)
	if a, b := things.Objects(), secrets.Objects(); len(a) != 1 || a[0].Kind != memory.KindThing || len(b) != 1 || b[0].Kind != memory.KindSecret {
		t.Errorf("things %v, secrets %v", a, b)
	}
	web, key := item(memory.KindThing, "web", `{}`), item(memory.KindSecret, "key", `{}`)
	stranger := item("other.kind", "x", `{}`)
	states, err := m.Observe(t.Context(), []drivers.Item{key, stranger, web, key})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range states {
		got = append(got, s.Handle)
	}
	if want := []string{key.Handle, stranger.Handle, web.Handle, key.Handle}; !slices.Equal(got, want) {
		t.Errorf("states of %v, want %v", got, want)
	}
	if !errors.Is(states[1].Err, drivers.ErrPermanent) || states[0].Err != nil || !states[2].Exists {
		t.Errorf("states %+v", states)
	}
	if _, err := m.Address("other.kind", "x", nil); !errors.Is(err, drivers.ErrPermanent) {
		t.Errorf("address of a kind that nobody serves: %v", err)
	}
	if _, err := m.Plan(t.Context(), stranger, drivers.State{}); !errors.Is(err, drivers.ErrPermanent) {
		t.Errorf("plan of a kind that nobody serves: %v", err)
	}
	if _, err := m.Apply(t.Context(), drivers.Change{ID: stranger.ID}); !errors.Is(err, drivers.ErrPermanent) {
		t.Errorf("apply of a kind that nobody serves: %v", err)
	}
}

func TestMuxPartOutOfReach(t *testing.T) {
	things, secrets, m := pair(t)
	things.SetUnreachable(true)
	items := []drivers.Item{item(memory.KindThing, "web", `{}`), item(memory.KindSecret, "key", `{}`)}
	states, err := m.Observe(t.Context(), items)
	if err != nil {
		t.Fatal(err)
	}
	if drivers.Class(states[0].Err) != drivers.ErrUnreachable || states[0].Exists || states[0].Handle != items[0].Handle {
		t.Errorf("out of reach: %+v", states[0])
	}
	if states[1].Err != nil || !states[1].Exists {
		t.Errorf("within reach: %+v", states[1])
	}
	if _, err := m.List(t.Context()); drivers.Class(err) != drivers.ErrUnreachable {
		t.Errorf("a list with a hole: %v", err)
	}
	things.SetUnreachable(false)
	all, err := m.List(t.Context())
	if err != nil || len(all) != 2 {
		t.Errorf("list %+v, %v", all, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Observe(ctx, items); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	_ = secrets
}

func TestMuxReveals(t *testing.T) {
	_, secrets, m := pair(t)
	states, err := m.Observe(t.Context(), []drivers.Item{item(memory.KindSecret, "key", `{}`)})
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Reveal(t.Context(), item(memory.KindSecret, "key", `{}`), "value", states[0].Outputs["value"].Fingerprint)
	if o, _ := secrets.Object("memory.secret/key"); err != nil || s.Reveal() == "" || s.Reveal() != o.Value {
		t.Errorf("reveal: %v", err)
	}
	m["plain.kind"] = struct{ drivers.Driver }{m[memory.KindThing]} // has no optional interface
	it := drivers.Item{ID: schema.ID{Kind: "plain.kind", Name: "x"}}
	if _, err := m.Reveal(t.Context(), it, "value", ""); !errors.Is(err, drivers.ErrPermanent) {
		t.Errorf("of a driver without secrets: %v", err)
	}
}

func TestMuxWatchesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		things, secrets, m := pair(t)
		ctx, cancel := context.WithCancel(t.Context())
		var heard []string
		ended := make(chan error)
		go func() { ended <- m.Watch(ctx, func(handles ...string) { heard = append(heard, handles...) }) }()
		synctest.Wait()
		if err := things.ForeignEdit("memory.thing/web", []byte(`{"value":2}`)); err != nil {
			t.Fatal(err)
		}
		if err := secrets.ForeignDelete("memory.secret/key"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		slices.Sort(heard)
		if got := strings.Join(heard, " "); got != "memory.secret/key memory.thing/web" {
			t.Errorf("heard %q", got)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("ended with %v", err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		go func() { ended <- drivers.Mux{}.Watch(ctx, nil) }()
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("with nothing to watch, ended with %v", err)
		}
	})
}

func TestMuxWatchEndsWithItsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		things, _, m := pair(t)
		d := m[memory.KindThing].(*memory.Driver)
		ended := make(chan error)
		go func() { ended <- m.Watch(t.Context(), func(...string) {}) }()
		synctest.Wait()
		d.Kill()
		if err := things.ForeignDelete("memory.thing/web"); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, drivers.ErrUnreachable) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestMuxWithoutADriver(t *testing.T) {
	m := drivers.Mux{"none.here": nil}
	states, err := m.Observe(t.Context(), []drivers.Item{item("none.here", "x", `{}`)})
	if err != nil || len(states) != 1 || !errors.Is(states[0].Err, drivers.ErrPermanent) {
		t.Errorf("%+v, %v", states, err)
	}
}
