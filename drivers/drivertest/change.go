package drivertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// replace: what cannot be altered in place is made anew, and says which field
// is why.
func replace(b *bench) {
	it := b.sample(b.s.A)
	b.converge(it, nil)
	before := b.settled(it)
	b.want(it, b.s.spec(b.s.C, b.s.name()))
	_, c := b.plan(it)
	if c.Action != schema.Replace {
		b.blame("Plan answers what would make live equal declared", "an immutable field moved, and the action is %s", c.Action)
	}
	if !slices.ContainsFunc(c.Diff, func(d drivers.Delta) bool { return d.Op == schema.Replace }) {
		b.blame("Replace: this field is why it is made anew", "the diff names none: %s", paths(c.Diff))
	}
	b.converge(it, nil)
	if after := b.settled(it); !b.s.Opaque && after.Version == before.Version {
		b.blame("Version changes whenever Plan's answer could", "a replace left it at %q", after.Version)
	}
	b.restart()
	b.settled(it)
}

// refused: what the engine will never take is told as ErrPermanent.
func refused(b *bench) {
	it := b.sample(b.s.X)
	var refusal error
	b.until("a refusal", func() bool {
		live := b.look(it)
		c, err := b.d.Plan(b.Context(), *it, live)
		if b.note(err) == nil {
			c.Nonce = "nonce-refused"
			_, err = b.d.Apply(b.Context(), c)
			_ = b.note(err)
		}
		if err == nil {
			b.blame("ErrPermanent: will fail again until the declaration changes", "it was not refused")
		}
		refusal = err
		return !passing(err)
	})
	if drivers.Class(refusal) != drivers.ErrPermanent {
		b.blame("ErrPermanent: will fail again until the declaration changes", "the class of %v is %v", refusal, drivers.Class(refusal))
	}
}

// deterministic: the same item and state give the same Change, to another
// driver too.
func deterministic(b *bench) {
	it := b.sample(b.s.A)
	again := func(what string) {
		_, one := b.plan(it)
		_, two := b.plan(it)
		b.restart()
		_, three := b.plan(it)
		if !sameChange(b.T, one, two) || !sameChange(b.T, one, three) {
			b.blame("the same item and state give the same Action and Diff", "%s: %+v, then %+v, after a restart %+v", what, one, two, three)
		}
	}
	again("a create")
	b.converge(it, nil)
	again("no change")
	b.want(it, b.s.spec(b.s.B, b.s.name()))
	again("an update")
	it.Want = nil
	again("a delete")
}

// beside: two plans from one state are made at once, as for the environment and
// for a proposal. What either does to the state the race detector sees.
func beside(b *bench) {
	it := b.sample(b.s.A)
	b.converge(it, nil)
	live := b.settled(it)
	items := []drivers.Item{*it, *it, *it} // the third is planned alone
	b.want(it, b.s.spec(b.s.B, b.s.name()))
	items[1], items[2] = *it, *it
	got, errs := make([]drivers.Change, len(items)), make([]error, len(items))
	planned := func(which ...int) {
		b.until("planning beside another plan", func() bool {
			var all sync.WaitGroup
			for _, i := range which {
				all.Go(func() { got[i], errs[i] = b.d.Plan(b.Context(), items[i], live) })
			}
			all.Wait()
			which = slices.DeleteFunc(which, func(i int) bool {
				if b.note(errs[i]) != nil && !passing(errs[i]) {
					b.blame("A State is planned from by several calls at once", "%v", errs[i])
				}
				return errs[i] == nil
			})
			return len(which) == 0
		})
	}
	planned(0, 1)
	planned(2)
	if got[0].Action != schema.None || !sameChange(b.T, got[1], got[2]) {
		b.blame("A State is planned from by several calls at once", "%+v and %+v, alone %+v", got[0], got[1], got[2])
	}
}

// stale: live moved between Plan and Apply, so nothing is written.
func stale(b *bench) {
	it := b.sample(b.s.A)
	b.converge(it, nil)
	b.want(it, b.s.spec(b.s.B, b.s.name()))
	_, c := b.plan(it)
	b.e.Edit(b.T, it.Handle, b.s.spec(b.s.foreign(), b.s.name()))
	moved := b.look(it)
	var err error
	b.until("the stale apply", func() bool {
		_, err = b.d.Apply(b.Context(), c)
		return b.note(err) == nil || !passing(err)
	})
	if !errors.Is(err, drivers.ErrStale) && (err != nil || b.s.D != "") {
		b.blame("ErrStale: live moved since Plan, nothing was written", "live moved, and Apply answered: %v", err)
	}
	after := b.look(it)
	if after.Version != moved.Version || !same(after.Spec, moved.Spec) {
		b.blame("ErrStale: live moved since Plan, nothing was written", "before Apply %s, after it %s", moved.Spec, after.Spec)
	}
	b.converge(it, nil)
	b.settled(it)
}

// drift: what a foreign hand altered is seen and put back.
func drift(b *bench) {
	it := b.sample(b.s.A)
	b.converge(it, nil)
	before := b.settled(it)
	b.e.Edit(b.T, it.Handle, b.s.spec(b.s.foreign(), b.s.name()))
	moved, c := b.plan(it)
	if !b.s.Opaque && moved.Version == before.Version {
		b.blame("Version changes whenever Plan's answer could", "a foreign edit left it at %q", moved.Version)
	}
	if c.Action != schema.Update || len(c.Diff) == 0 {
		b.blame("Plan answers what would make live equal declared", "after a foreign edit it answers %s: %s", c.Action, paths(c.Diff))
	}
	b.converge(it, nil)
	if after := b.settled(it); !same(before.Spec, after.Spec) {
		b.blame("Plan answers what would make live equal declared", "before the drift %s, repaired %s", before.Spec, after.Spec)
	}
}

// gone: what a foreign hand deleted is made again.
func gone(b *bench) {
	it := b.sample(b.s.A)
	b.converge(it, nil)
	b.e.Delete(b.T, it.Handle)
	if s := b.look(it); s.Exists {
		b.blame("Exists", "it was deleted, and exists")
	}
	b.first(b.converge(it, nil), schema.Create)
	b.settled(it)
}

// deletedMeanwhile: a deletion that somebody else made first is no error.
func deletedMeanwhile(b *bench) {
	it := b.sample(b.s.A)
	b.converge(it, nil)
	it.Want = nil
	_, c := b.plan(it)
	b.e.Delete(b.T, it.Handle)
	b.until("the delete", func() bool {
		_, err := b.d.Apply(b.Context(), c)
		if b.note(err) != nil && !passing(err) && !errors.Is(err, drivers.ErrStale) {
			b.blame("Every call may be repeated", "a delete of what is gone already: %v", err)
		}
		return err == nil || errors.Is(err, drivers.ErrStale)
	})
	if b.look(it).Exists {
		b.blame("Exists", "it was deleted twice, and exists")
	}
}

// sameChange compares what a digest is made of.
func sameChange(t *testing.T, a, b drivers.Change) bool {
	t.Helper()
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	if err := errors.Join(errX, errY); err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}

// unknown: a reference's text is carried through, or the decision is deferred;
// once it is known the change can only be milder, and its promises hold.
func unknown(b *bench) {
	const text = "@{test.kind/other.output}"
	it := b.sample(b.s.A)
	known := it.Want
	asked := func(live bool) drivers.Change {
		b.want(it, with(b.T, b.s.spec(b.s.A, b.s.name()), b.s.Unknown, text))
		it.Want.Unknown = map[schema.Path]string{b.s.Unknown: text}
		_, c := b.plan(it)
		b.restart()
		if _, again := b.plan(it); !sameChange(b.T, c, again) {
			b.blame("the same item and state give the same Action and Diff", "%s, then %s", describe(c.Diff), describe(again.Diff))
		}
		if b.s.Deferred {
			if c.Action != schema.Deferred {
				b.blame("Where a field cannot hold text, the driver answers Deferred", "it answers %s", c.Action)
			}
			return c
		}
		if c.Action == schema.None || c.Action == schema.Deferred || !live && c.Action != schema.Create {
			b.blame("Unknown: After is known after a need is applied; it holds the reference's text", "the action is %s", c.Action)
		}
		carried := slices.ContainsFunc(c.Diff, func(d drivers.Delta) bool {
			return d.Unknown && b.s.Unknown.Within(d.Path) && strings.Contains(string(d.After), text)
		})
		if !carried {
			b.blame("Unknown: After is known after a need is applied; it holds the reference's text", "no delta of %s does", paths(c.Diff))
		}
		return c
	}
	c := asked(false)
	it.Want = known
	r := b.converge(it, nil)
	b.checkPromise(c, r.after)
	c = asked(true)
	it.Want = known
	_, now := b.plan(it)
	if now.Action != schema.None {
		b.blame("the same item and state give the same Action and Diff", "filled in with what lives, %s became %s", c.Action, now.Action)
	}
}
