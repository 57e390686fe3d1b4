package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// order: many items in one call are answered each in its place, whatever is
// wrong with another.
func order(b *bench) {
	one, two, never := b.item(b.s.A, "one"), b.item(b.s.A, "two"), b.item(b.s.A, "never")
	b.converge(one, nil)
	b.converge(two, nil)
	nonsense := drivers.Item{ID: schema.ID{Kind: b.s.Kind, Name: "nonsense", Target: "target"}, Handle: "no such/../..\x00/handle"}
	items := []drivers.Item{*two, *never, nonsense, *one, *two}
	exists := []bool{true, false, false, true, true}
	var states []drivers.State
	b.until("observing many", func() bool {
		var err error
		states, err = b.d.Observe(b.Context(), items)
		if b.note(err) != nil {
			b.blame("State.Err is that item's alone", "one item with a handle that means nothing failed all: %v", err)
		}
		return !slices.ContainsFunc(states, func(s drivers.State) bool { return s.Err != nil && passing(s.Err) && s.Handle != nonsense.Handle })
	})
	if len(states) != len(items) {
		b.blame("Observe answers one State an Item, in the same order", "%d states for %d items", len(states), len(items))
	}
	for i, s := range states {
		if s.Exists != exists[i] || s.Exists && s.Handle != items[i].Handle {
			b.blame("Observe answers one State an Item, in the same order", "item %d, %q: exists is %t, handle is %q", i, items[i].Handle, s.Exists, s.Handle)
		}
	}
	none, err := b.d.Observe(b.Context(), nil)
	if err != nil || len(none) != 0 {
		b.blame("Observe answers one State an Item, in the same order", "of no item: %d states, %v", len(none), err)
	}
}

// concurrent: whole lives at once, on different handles; run it with -race.
func concurrent(b *bench) {
	b.Run("lives", func(t *testing.T) {
		for i := range 8 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				b := &bench{T: t, h: b.h, s: b.s, e: b.e, d: b.d}
				it := b.item(b.s.A, fmt.Sprintf("life-%d", i))
				b.converge(it, nil)
				b.settled(it)
				if b.s.B != "" {
					b.want(it, b.s.spec(b.s.B, it.ID.Name))
					b.converge(it, nil)
					b.settled(it)
				}
				it.Want = nil
				b.converge(it, nil)
			})
		}
	})
	if !b.s.AtLeastOnce {
		b.until("everything being gone", func() bool { return len(b.listed()) == 0 })
	}
}

// cancelled: a call whose caller has given up returns.
func cancelled(b *bench) {
	it := b.sample(b.s.A)
	live, c := b.plan(it)
	c.Nonce = "nonce-cancelled"
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	prompt := func(what string, call func() error) {
		done := make(chan error, 1)
		go func() { done <- call() }()
		limit := time.NewTimer(10 * time.Second)
		defer limit.Stop()
		select {
		case err := <-done:
			_ = b.note(err)
		case <-limit.C:
			b.blame("ctx ends a call", "%s did not return within 10 s of it", what)
		}
	}
	prompt("Observe", func() error { _, err := b.d.Observe(ctx, []drivers.Item{*it}); return err })
	prompt("Plan", func() error { _, err := b.d.Plan(ctx, *it, live); return err })
	prompt("Apply", func() error { _, err := b.d.Apply(ctx, c); return err })
	it.Nonce = c.Nonce
	b.converge(it, nil)
	b.settled(it)
}

// cutOff: a call whose caller gives up in the middle of it has landed or has
// not, and either is found and finished.
func cutOff(b *bench) {
	for n := range 4 {
		it := b.item(b.s.A, fmt.Sprintf("cut-%d", n))
		it.Nonce = "nonce-" + it.ID.Name
		_, c := b.plan(it)
		c.Nonce = it.Nonce
		ctx, cancel := context.WithCancel(b.Context())
		timer := time.AfterFunc(time.Duration(n*n)*time.Millisecond, cancel)
		_, err := b.d.Apply(ctx, c)
		_ = b.note(err)
		timer.Stop()
		cancel()
		b.restart()
		b.converge(it, nil)
		b.settled(it)
		it.Want = nil
		b.converge(it, nil)
	}
	if left := len(b.listed()); left > 0 && !b.s.AtLeastOnce {
		b.blame("Apply of a change that has already landed answers ErrStale or does nothing", "%d are left of lives that were cut off and deleted", left)
	}
}

func lister(b *bench) string {
	_, ok := drivers.As[drivers.Lister](b.d)
	return lacking(!ok, "driver that lists")
}

// list: what lives is listed, with its owner.
func list(b *bench) {
	it := b.sample(b.s.A)
	b.converge(it, nil)
	i := slices.IndexFunc(b.listed(), func(s drivers.State) bool { return s.Handle == it.Handle })
	if i < 0 {
		b.blame("Lister is a Driver that can say what lives in its engine", "%q lives and is not listed", it.Handle)
	}
	if s := b.listed()[i]; !s.Exists || b.s.Marks && s.Owner != b.h.Env {
		b.blame("Lister is a Driver that can say what lives in its engine", "%q: exists is %t, owner %q", s.Handle, s.Exists, s.Owner)
	}
}

func watcher(b *bench) string {
	_, ok := drivers.As[drivers.Watcher](b.d)
	return lacking(!ok, "driver that watches")
}

// watch: a foreign edit is heard of, by its handle or by none. A watch that
// ends with an error is begun again, as the contract has it.
func watch(b *bench) {
	it := b.sample(b.s.A)
	b.converge(it, nil)
	w, _ := drivers.As[drivers.Watcher](b.d)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	heard, ended := make(chan []string, 1000), make(chan error)
	go func() {
		defer close(ended)
		every := time.NewTicker(20 * time.Millisecond)
		defer every.Stop()
		for ; ctx.Err() == nil; <-every.C {
			err := w.Watch(ctx, func(handles ...string) {
				select {
				case heard <- handles:
				default:
				}
			})
			select {
			case ended <- b.note(err):
			case <-ctx.Done():
			}
		}
	}()
	edits := 0
	b.heard(heard, ended, it.Handle, func() {
		spec := b.s.foreign()
		if edits++; edits%2 == 0 {
			spec = b.s.A
		}
		b.e.Edit(b.T, it.Handle, b.s.spec(spec, b.s.name()))
	})
	cancel()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for {
		select {
		case _, open := <-ended:
			if !open {
				return
			}
		case <-limit.C:
			b.blame("Watch returns when ctx ends", "it did not within 10 s")
		}
	}
}

// heard edits, ever less often, until a hint about handle comes: nothing tells
// when a watch has begun, and hints may wait until edits pause.
func (b *bench) heard(hints <-chan []string, ended <-chan error, handle string, edit func()) {
	b.Helper()
	limit := time.NewTimer(b.h.patience())
	defer limit.Stop()
	pause := 5 * time.Millisecond
	again := time.NewTimer(pause)
	defer again.Stop()
	var broken error
	for {
		select {
		case handles := <-hints:
			if len(handles) == 0 || slices.Contains(handles, handle) {
				return
			}
		case broken = <-ended:
			if broken == nil {
				b.blame("Watch returns when ctx ends, or with an error to be started again", "it returned nil before that")
			}
			b.Logf("a watch ended, and is begun again: %v", broken)
		case <-again.C:
			edit()
			pause *= 2
			again.Reset(pause)
		case <-limit.C:
			b.blame("Watch calls changed with the handles that are worth observing now", "%q was edited, and nothing heard within %s; the last watch that ended: %v", handle, b.h.patience(), broken)
		}
	}
}

// unreachable: the target being out of reach is told as that, and not as
// things being gone.
func unreachable(b *bench) {
	it := b.sample(b.s.A)
	b.converge(it, nil)
	b.e.Reach(false)
	_, err := b.d.Observe(b.Context(), []drivers.Item{*it})
	if b.note(err) == nil || !errors.Is(err, drivers.ErrUnreachable) {
		b.blame("the returned error means that the whole target is out of reach", "it is, and Observe answered: %v", err)
	}
	b.e.Reach(true)
	b.settled(it)
}

// denied: credentials that do not allow a write are told as that, and nothing
// is written.
func denied(b *bench) {
	it := b.sample(b.s.A)
	_, c := b.plan(it)
	c.Nonce = "nonce-denied"
	b.e.Deny(true)
	var err error
	b.until("a denial", func() bool {
		_, err = b.d.Apply(b.Context(), c)
		return b.note(err) == nil || !passing(err)
	})
	if !errors.Is(err, drivers.ErrDenied) {
		b.blame("ErrDenied: credentials do not allow it", "Apply answered: %v", err)
	}
	b.e.Deny(false)
	if b.look(it).Exists {
		b.blame("ErrDenied: credentials do not allow it", "it was made all the same")
	}
	b.converge(it, nil)
	b.settled(it)
}
