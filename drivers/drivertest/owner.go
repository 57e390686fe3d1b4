package drivertest

import (
	"encoding/json"
	"errors"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// handles: an address is a pure function of kind, name and spec, and two kinds
// do not meet in one.
func handles(b *bench) {
	it := b.sample(b.s.A)
	for range 2 {
		if again := b.sample(b.s.A); again.Handle != it.Handle {
			b.blame("Address is the engine's own address of a resource, without I/O", "%q, then %q", it.Handle, again.Handle)
		}
		b.restart()
	}
	for _, other := range b.h.Samples {
		spec := json.RawMessage(other.spec(other.A, b.s.name()))
		h, err := b.d.Address(other.Kind, b.s.name(), spec)
		if err != nil {
			b.blame("Address is the engine's own address of a resource", "of kind %s: %v", other.Kind, err)
		}
		if other.Kind != b.s.Kind && h != "" && h == it.Handle {
			b.blame("handles of different kinds differ unless they mean the same thing", "%s and %s are both %q", b.s.Kind, other.Kind, h)
		}
	}
	if _, err := b.d.Address("no.such-kind", b.s.name(), it.Want.Spec); b.note(err) == nil {
		b.blame("Address is the engine's own address of a resource", "a kind that does not exist has one")
	}
	if b.s.P != "" {
		one := b.item(b.s.P, b.s.name())
		two := b.renamed(one)
		if one.Handle == "" || one.Handle != two.Handle {
			b.blame("Two resources with one handle are a finding", "one address was spelled out, and gave %q and %q", one.Handle, two.Handle)
		}
	}
}

// renamed is the same declaration under another name.
func (b *bench) renamed(it *drivers.Item) *drivers.Item {
	b.Helper()
	two := *it
	two.ID.Name = "renamed"
	h, err := b.d.Address(two.ID.Kind, two.ID.Name, two.Want.Spec)
	if err != nil {
		b.blame("Address is the engine's own address of a resource", "%v", err)
	}
	two.Handle = h
	return &two
}

// transfer: a rename that leaves the address as it was writes nothing.
func transfer(b *bench) {
	it := b.item(b.s.P, b.s.name())
	b.converge(it, nil)
	two := b.renamed(it)
	before := b.settled(it)
	if after := b.settled(two); after.Version != before.Version {
		b.blame("A rename that leaves the engine's own address as it was writes nothing", "version %q became %q", before.Version, after.Version)
	}
}

// givenID: the engine's own id is told, is its own for each, is found again,
// and survives a rename by `was`.
func givenID(b *bench) {
	one, two := b.item(b.s.A, "one"), b.item(b.s.A, "two")
	b.converge(one, nil)
	b.converge(two, nil)
	if one.Handle == "" || one.Handle == two.Handle {
		b.blame("\"\" means that the engine gives it", "two creates gave %q and %q", one.Handle, two.Handle)
	}
	b.restart()
	b.settled(one)
	renamed := *one
	renamed.ID.Name = "three"
	b.settled(&renamed)
}

// adopt: what lives already and was never ours is taken over, and that says so.
func adopt(b *bench) {
	it := b.sample(b.s.A)
	it.Handle = b.e.Create(b.T, b.s, it.Handle, b.s.spec(b.s.B, b.s.name()), "")
	_, c := b.plan(it)
	if c.Action != schema.Adopt || len(c.Diff) == 0 {
		b.blame("Last nil: this environment never owned it", "it lives, unmarked, and the action is %s: %s", c.Action, paths(c.Diff))
	}
	b.converge(it, nil)
	if live := b.settled(it); b.s.Marks && !b.s.Shy && live.Owner != b.h.Env {
		b.blame("Owner is the environment id of the mark in the engine", "after an adoption it is %q", live.Owner)
	}
}

// ownMark: what carries our mark is ours, whatever the inventory forgot.
func ownMark(b *bench) {
	it := b.sample(b.s.A)
	it.Handle = b.e.Create(b.T, b.s, it.Handle, b.s.spec(b.s.A, b.s.name()), b.h.Env)
	live, c := b.plan(it)
	if live.Owner != b.h.Env {
		b.blame("Owner is the environment id of the mark in the engine", "it is %q", live.Owner)
	}
	if c.Action != schema.None && c.Action != schema.Update {
		b.blame("Own mark, not in the inventory: owned again", "the action is %s", c.Action)
	}
	b.converge(it, nil)
	b.settled(it)
}

// foreignMark: another's mark is told, and nothing is written below it.
func foreignMark(b *bench) {
	it := b.sample(b.s.A)
	b.converge(it, nil)
	b.e.Mark(b.T, it.Handle, "another")
	live := b.look(it)
	if live.Owner != "another" {
		b.blame("Owner is the environment id of the mark in the engine", "it is %q", live.Owner)
	}
	it.Want, it.Last = nil, nil
	b.until("a refusal", func() bool {
		c, err := b.d.Plan(b.Context(), *it, live)
		if b.note(err) == nil {
			_, err = b.d.Apply(b.Context(), c)
		}
		return b.note(err) == nil || !passing(err)
	})
	if s := b.look(it); !s.Exists || s.Version != live.Version {
		b.blame("Another's mark: refused always", "it was altered or deleted")
	}
}

// lostMark: a mark that somebody removed is put back, or nothing is done where
// that would disturb; either way it settles.
func lostMark(b *bench) {
	it := b.sample(b.s.A)
	b.converge(it, nil)
	b.e.Mark(b.T, it.Handle, "")
	r := b.converge(it, nil)
	switch {
	case r.first.Action == schema.None:
	case r.first.Action == schema.Update && len(r.first.Diff) == 1 && r.first.Diff[0].Path == drivers.MarkPath:
		if r.after.Owner != b.h.Env {
			b.blame("A missing mark on an owned thing is drift", "put back, the owner is %q", r.after.Owner)
		}
	default:
		b.blame("A missing mark on an owned thing is drift", "it answers %s: %s", r.first.Action, paths(r.first.Diff))
	}
	b.settled(it)
}

// crashAfterCreate: the daemon died before it heard of its create; the same
// intent, planned as if nothing lived, does not make it twice.
func crashAfterCreate(b *bench) {
	it := b.sample(b.s.A)
	it.Nonce = "nonce-crash"
	absent := b.look(it)
	create := func() error {
		var c drivers.Change
		b.until("planning", func() bool {
			var err error
			c, err = b.d.Plan(b.Context(), *it, absent)
			return b.note(err) == nil
		})
		c.Nonce = it.Nonce
		_, err := b.d.Apply(b.Context(), c)
		return b.note(err)
	}
	b.until("the create", func() bool {
		err := create()
		return err == nil || errors.Is(err, drivers.ErrStale)
	})
	b.restart()
	first := b.look(it)
	if !first.Exists {
		b.blame("Nonce: what a create that may have landed is found again by", "it landed, and is not found")
	}
	b.until("the same create", func() bool {
		err := create()
		return err == nil || !passing(err)
	})
	second := b.look(it)
	if second.Handle != first.Handle || len(b.listed()) > 1 {
		b.blame("Apply of a change that has already landed answers ErrStale or does nothing", "%q lives, and %q", first.Handle, second.Handle)
	}
	b.converge(it, nil)
	b.settled(it)
}

// listed is everything that lives, or nothing where the driver cannot say.
func (b *bench) listed() []drivers.State {
	b.Helper()
	l, ok := drivers.As[drivers.Lister](b.d)
	if !ok {
		return nil
	}
	var all []drivers.State
	b.until("a list", func() bool {
		var err error
		all, err = l.List(b.Context())
		return b.note(err) == nil
	})
	return all
}
