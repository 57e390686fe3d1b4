package drivertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// bench is one case at work: an engine, a driver on it, and the little of a
// reconciler that is needed to get from a declaration to a converged resource.
type bench struct {
	*testing.T
	h Harness
	s Sample
	e *Engine
	d drivers.Driver

	mu        sync.Mutex
	calls     []error  // every error that a call answered
	said      []string // all that may be stored or printed of what calls answered, once listening
	listening bool
	nonce     int
}

// blame fails the test: the driver breaks a sentence of the contract.
func (b *bench) blame(sentence, format string, args ...any) {
	b.Helper()
	b.Fatalf("driver %s, kind %s, breaks the contract: %q: %s", b.h.Driver, b.s.Kind, sentence, fmt.Sprintf(format, args...))
}

// restart throws the driver away and makes another on the same engine.
func (b *bench) restart() { b.d = b.e.New(b.T) }

// item is the declaration of a variant under a name; the suite's own keeping of
// Handle and Last is that of a reconciler.
func (b *bench) item(variant, name string) *drivers.Item {
	b.Helper()
	it := &drivers.Item{ID: schema.ID{Kind: b.s.Kind, Name: name, Target: "target"}}
	b.want(it, b.s.spec(variant, name))
	handle, err := b.d.Address(b.s.Kind, name, it.Want.Spec)
	if err != nil {
		b.blame("Address is the engine's own address of a resource, without I/O", "%v", err)
	}
	it.Handle = handle
	return it
}

func (b *bench) sample(variant string) *drivers.Item {
	b.Helper()
	return b.item(variant, b.s.name())
}

// want declares another spec for it.
func (b *bench) want(it *drivers.Item, spec string) {
	b.Helper()
	var compact bytes.Buffer
	var tree any
	if err := json.Unmarshal([]byte(spec), &tree); err != nil {
		b.Fatalf("the harness of %s: a sample is not JSON: %v", b.h.Driver, err)
	}
	enc := json.NewEncoder(&compact)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(tree) // it was just decoded
	it.Want = &drivers.Desired{Spec: bytes.TrimSpace(compact.Bytes()), Files: b.s.Files}
}

func (b *bench) note(err error) error {
	if err != nil {
		b.mu.Lock()
		b.calls = append(b.calls, err)
		b.mu.Unlock()
	}
	return err
}

// passing says whether an error is of a class that time heals.
func passing(err error) bool {
	c := drivers.Class(err)
	return c == drivers.ErrRetryable || c == drivers.ErrWaiting
}

// until calls f until it says true, letting time pass in between.
func (b *bench) until(what string, f func() bool) {
	b.Helper()
	deadline := time.NewTimer(b.h.patience())
	defer deadline.Stop()
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	for n := 0; !f(); n++ {
		if b.e.Tick != nil {
			if n > 10_000 {
				b.Fatalf("driver %s, kind %s: %s did not come about in %d ticks", b.h.Driver, b.s.Kind, what, n)
			}
			b.e.Tick()
			continue
		}
		select {
		case <-deadline.C:
			b.Fatalf("driver %s, kind %s: %s did not come about in %s; last error: %v", b.h.Driver, b.s.Kind, what, b.h.patience(), b.last())
		case <-every.C:
		}
	}
}

func (b *bench) last() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.calls) == 0 {
		return nil
	}
	return b.calls[len(b.calls)-1]
}

// look observes one item until it can be.
func (b *bench) look(it *drivers.Item) drivers.State {
	b.Helper()
	var s drivers.State
	b.until("observing "+it.ID.Short(), func() bool {
		states, err := b.d.Observe(b.Context(), []drivers.Item{*it})
		if b.note(err) != nil {
			if !passing(err) {
				b.blame("the returned error means that the whole target is out of reach", "Observe of one item: %v", err)
			}
			return false
		}
		if len(states) != 1 {
			b.blame("Observe answers one State an Item, in the same order", "%d states for one item", len(states))
		}
		s = states[0]
		if b.note(s.Err) != nil && !passing(s.Err) {
			b.blame("State.Err: this item alone could not be observed", "%v", s.Err)
		}
		return s.Err == nil
	})
	b.checkState(it, s)
	return s
}

// record keeps a State or Change as it may be stored or printed: without what
// is the driver's own.
func (b *bench) record(v any) {
	b.Helper()
	switch x := v.(type) {
	case drivers.State:
		x.Raw = nil
		v = x
	case drivers.Change:
		x.Opaque = nil
		v = x
	}
	js, err := json.Marshal(v)
	if err != nil {
		b.blame("What can be marshalled of it holds no secret", "it cannot be marshalled: %v", err)
	}
	if !b.listening {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.said = append(b.said, string(js), fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v))
}

// plan observes and plans, until neither has to be asked again.
func (b *bench) plan(it *drivers.Item) (drivers.State, drivers.Change) {
	b.Helper()
	var live drivers.State
	var c drivers.Change
	b.until("planning "+it.ID.Short(), func() bool {
		live = b.look(it)
		var err error
		c, err = b.d.Plan(b.Context(), *it, live)
		if b.note(err) != nil && !passing(err) && !errors.Is(err, drivers.ErrStale) {
			b.blame("Plan answers what would make live equal declared", "%s: %v", it.ID, err)
		}
		return err == nil
	})
	b.checkChange(it, live, c)
	return live, c
}

func paths(diff []drivers.Delta) string {
	var all []string
	for _, d := range diff {
		all = append(all, string(d.Op)+" "+string(d.Path))
	}
	return strings.Join(all, ", ")
}

// applied is what came of converge.
type applied struct {
	first         drivers.Change // what was planned first
	before, after drivers.State
}

// converge does as a reconciler does until nothing is left to change, and keeps
// in it what it would keep in its inventory.
func (b *bench) converge(it *drivers.Item, secrets map[schema.Path]schema.Secret) applied {
	b.Helper()
	var r applied
	if it.Nonce == "" { // else the intent is pending already
		b.nonce++
		it.Nonce = fmt.Sprintf("nonce-%s-%d", it.ID.Name, b.nonce)
	}
	started := false
	b.until("converging "+it.ID.Short(), func() bool {
		live, c := b.plan(it)
		if !started {
			started, r.first, r.before = true, c, live
		}
		r.after = live
		if c.Action == schema.None {
			return true
		}
		s, err := b.apply(it, live, c, secrets)
		if err == nil {
			r.after = s
		}
		return err == nil && (it.Want != nil || !s.Exists)
	})
	it.Nonce = ""
	if it.Want == nil {
		it.Last = nil
		return r
	}
	it.Handle = r.after.Handle
	it.Last = &drivers.Applied{Handle: it.Handle, Version: r.after.Version, Spec: it.Want.Spec, Files: it.Want.Files.Hash()}
	return r
}

// apply makes one attempt. An error that it answers is of a class after which a
// reconciler plans again.
func (b *bench) apply(it *drivers.Item, live drivers.State, c drivers.Change, secrets map[schema.Path]schema.Secret) (drivers.State, error) {
	b.Helper()
	c.Nonce, c.Secrets = it.Nonce, secrets
	s, err := b.d.Apply(b.Context(), c)
	if b.note(err) != nil {
		if !passing(err) && !errors.Is(err, drivers.ErrStale) {
			b.blame("Apply makes exactly the change", "%s of %s: %v", c.Action, it.ID, err)
		}
		return s, err
	}
	b.record(s)
	if s.Err != nil {
		b.blame("The State answered is what lives now", "its Err is %v", s.Err)
	}
	if c.Action == schema.Delete {
		return s, nil
	}
	if !s.Exists {
		b.blame("The State answered is what lives now, its outputs included", "after %s of %s it does not exist", c.Action, it.ID)
	}
	if c.Action == schema.Update || c.Action == schema.Adopt {
		b.checkComplete(c, live, s)
	}
	b.checkPromise(c, s)
	return s, nil
}

// settled fails unless planning gives no change, also for a driver made anew.
func (b *bench) settled(it *drivers.Item) drivers.State {
	b.Helper()
	live, c := b.plan(it)
	if c.Action != schema.None {
		b.blame("Plan answers what would make live equal declared", "after an apply, planning again gives %s: %s", c.Action, describe(c.Diff))
	}
	return live
}

func describe(diff []drivers.Delta) string {
	var all []string
	for _, d := range diff {
		all = append(all, fmt.Sprintf("%s %s from %s to %s", d.Op, d.Path, d.Before, d.After))
	}
	return strings.Join(all, "; ")
}

// first fails unless what was planned first is this action.
func (b *bench) first(r applied, want schema.Action) {
	b.Helper()
	if r.first.Action != want {
		b.blame("Plan answers what would make live equal declared", "the action is %s, want %s: %s", r.first.Action, want, describe(r.first.Diff))
	}
}
