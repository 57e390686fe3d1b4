package drivertest

import (
	"errors"
	"maps"
	"reflect"
	"slices"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// absent: what does not exist is told so, and there is nothing to delete.
func absent(b *bench) {
	it := b.sample(b.s.A)
	if s := b.look(it); s.Exists {
		b.blame("Exists", "nothing was made yet, but %s exists", s.Handle)
	}
	it.Want = nil
	if _, c := b.plan(it); c.Action != schema.None {
		b.blame("Item.Want nil asks for the deletion", "of what does not exist, the action is %s", c.Action)
	}
}

// create: planned, it is not there; applied, it is, as planned, and settled.
func create(b *bench) {
	it := b.sample(b.s.A)
	_, c := b.plan(it)
	if c.Action != schema.Create {
		b.blame("Plan answers what would make live equal declared", "nothing lives, and the action is %s", c.Action)
	}
	if s := b.look(it); s.Exists {
		b.blame("Plan never writes", "after it, %s exists", s.Handle)
	}
	r := b.converge(it, nil)
	b.first(r, schema.Create)
	if b.s.Marks && r.after.Owner != b.h.Env {
		b.blame("Owner is the environment id of the mark in the engine", "after a create it is %q", r.after.Owner)
	}
	live := b.settled(it)
	b.checkOutputs(r.after, live)
	b.until("health", func() bool { return b.look(it).Health.Status == drivers.Healthy })
	b.settled(it)
}

// checkOutputs holds what Apply answered against what was observed then.
func (b *bench) checkOutputs(told, live drivers.State) {
	b.Helper()
	if !reflect.DeepEqual(plain(told.Outputs), plain(live.Outputs)) {
		b.blame("The State answered is what lives now, its outputs included", "answered %v, observed %v", plain(told.Outputs), plain(live.Outputs))
	}
	if b.s.Outputs == nil {
		return
	}
	want := slices.Sorted(slices.Values(b.s.Outputs))
	if got := slices.Sorted(maps.Keys(live.Outputs)); !slices.Equal(got, want) {
		b.blame("Outputs are those of the kind's schema", "%v, want %v", got, want)
	}
	for name, o := range live.Outputs {
		if o.Secret != slices.Contains(b.s.Secrets, name) {
			b.blame("a secret output is told as one", "%s: secret is %t", name, o.Secret)
		}
	}
}

func plain(outputs map[string]drivers.Output) map[string]string {
	all := map[string]string{}
	for name, o := range outputs {
		all[name] = string(o.Value) + o.Fingerprint
	}
	return all
}

// restart: a driver made anew finds everything as it was.
func restart(b *bench) {
	it := b.sample(b.s.A)
	b.converge(it, nil)
	before := b.settled(it)
	b.restart()
	after := b.settled(it)
	if !reflect.DeepEqual(plain(before.Outputs), plain(after.Outputs)) || before.Owner != after.Owner {
		b.blame("Every call may be repeated", "outputs before a restart %v, after it %v", plain(before.Outputs), plain(after.Outputs))
	}
	if before.Version != after.Version {
		b.blame("Version changes whenever Plan's answer could", "%q became %q by a restart alone", before.Version, after.Version)
	}
}

// twice: a change that has landed does nothing when it comes again.
func twice(b *bench) {
	it := b.sample(b.s.A)
	it.Nonce = "nonce-twice"
	live, c := b.plan(it)
	b.until("the first apply", func() bool {
		_, err := b.apply(it, live, c, nil)
		return err == nil || errors.Is(err, drivers.ErrStale)
	})
	before := b.look(it)
	c.Nonce = it.Nonce
	b.until("the second apply", func() bool {
		_, err := b.d.Apply(b.Context(), c)
		return b.note(err) == nil || !passing(err)
	})
	if err := b.last(); err != nil && !errors.Is(err, drivers.ErrStale) && !passing(err) {
		b.blame("Apply of a change that has already landed answers ErrStale or does nothing", "%v", err)
	}
	after := b.look(it)
	if before.Version != after.Version || before.Handle != after.Handle || !same(before.Spec, after.Spec) {
		b.blame("Apply of a change that has already landed answers ErrStale or does nothing",
			"version %q became %q, handle %q became %q", before.Version, after.Version, before.Handle, after.Handle)
	}
}

// remove: a deletion is a plan too, is seen gone, and may be repeated.
func remove(b *bench) {
	it, other := b.sample(b.s.A), (*drivers.Item)(nil)
	b.converge(it, nil)
	if !b.s.Alone {
		other = b.item(b.s.A, "neighbour")
		b.converge(other, nil)
	}
	gone := *it
	gone.Want = nil
	_, c := b.plan(&gone)
	if c.Action != schema.Delete {
		b.blame("Item.Want nil asks for the deletion", "the action is %s", c.Action)
	}
	b.converge(&gone, nil)
	b.until("its being gone", func() bool { return !b.look(&gone).Exists })
	b.until("the repeated delete", func() bool {
		s, err := b.d.Apply(b.Context(), c)
		if b.note(err) != nil && !passing(err) {
			b.blame("Every call may be repeated", "a delete of what is gone already: %v", err)
		}
		if err == nil && s.Exists {
			b.blame("The State answered is what lives now", "a repeated delete says that it exists")
		}
		return err == nil
	})
	if other != nil {
		b.settled(other)
	}
}

// update: what is altered in place is exactly what the diff names.
func update(b *bench) {
	it := b.sample(b.s.A)
	b.converge(it, nil)
	b.want(it, b.s.spec(b.s.B, b.s.name()))
	r := b.converge(it, nil)
	b.first(r, schema.Update)
	if len(r.first.Diff) == 0 {
		b.blame("Diff is complete", "an update names no field")
	}
	live := b.settled(it)
	if live.Handle != r.before.Handle {
		b.blame("an update is in place", "the handle %q became %q", r.before.Handle, live.Handle)
	}
	if !b.s.Opaque && live.Version == r.before.Version {
		b.blame("Version changes whenever Plan's answer could", "an update left it at %q", live.Version)
	}
	b.checkOutputs(r.after, live)
}
