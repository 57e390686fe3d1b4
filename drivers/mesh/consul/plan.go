package consul

import (
	"bytes"
	"context"
	"slices"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// plan is Change.Opaque.
type plan struct {
	delete, unknown bool
	live            any // State.Raw: the indices that compare-and-set compares
	object          any // of wanted
	anew            bool
}

// Plan compares what is declared with what lives; both were normalised as
// Consul normalises.
func (d *Driver) Plan(_ context.Context, it drivers.Item, state drivers.State) (drivers.Change, error) {
	driverkit.Place(&it, state)
	c := drivers.Change{ID: it.ID, Handle: it.Handle, Action: schema.None}
	f, err := d.family(it.ID.Kind)
	if err != nil {
		return c, err
	}
	if state.Err != nil {
		return c, state.Err
	}
	if err := driverkit.Foreign(state, d.Env); err != nil {
		return c, err
	}
	if it.Want == nil {
		c.Opaque = plan{delete: true, live: state.Raw}
		driverkit.Deletion(&c, state)
		return c, nil
	}
	w, err := f.want(it, state)
	if err != nil {
		return c, err
	}
	if len(w.unknown) > 0 || !bytes.Equal(state.Spec, w.spec) {
		if c.Diff, err = driverkit.Diff(state.Spec, w.spec, w.unknown); err != nil {
			return c, driverkit.Refuse("read", it.Handle, err, "")
		}
	}
	c.Diff = append(c.Diff, w.extra...)
	if state.Exists && state.Owner == "" {
		c.Diff = append(c.Diff, driverkit.MarkDelta(d.Env))
	}
	c.Outputs = w.outputs
	driverkit.Decide(&c, it, state, it.Last != nil || state.Owner == d.Env)
	if w.disturbs != nil && c.Action != schema.None {
		return c, w.disturbs
	}
	anew := state.Exists && replaces(&c, state, w.anew)
	if anew {
		delete(c.Outputs, "id") // Consul gives another one
	}
	c.Opaque = plan{unknown: len(w.unknown) > 0, live: state.Raw, object: w.object, anew: anew}
	return c, nil
}

// replaces makes an update a replace where it alters what Consul never alters
// in place.
func replaces(c *drivers.Change, state drivers.State, anew []schema.Path) bool {
	if c.Action != schema.Update && c.Action != schema.Adopt {
		return false
	}
	found := false
	for i, delta := range c.Diff {
		if slices.ContainsFunc(anew, func(p schema.Path) bool { return delta.Path.Within(p) }) {
			c.Diff[i].Op, found = schema.Replace, true
		}
	}
	if found {
		c.Action, c.Before, c.Why = schema.Replace, state.Spec, "Consul does not alter this in place"
	}
	return found
}

// Apply writes one thing, by compare-and-set where Consul has it.
func (d *Driver) Apply(ctx context.Context, c drivers.Change) (drivers.State, error) {
	gone := drivers.State{Handle: c.Handle}
	f, err := d.family(c.ID.Kind)
	if err != nil {
		return gone, err
	}
	p, ok := c.Opaque.(plan)
	switch {
	case d.err != nil:
		return gone, d.err
	case ctx.Err() != nil:
		return gone, driverkit.Fail("apply", c.Handle, ctx.Err())
	case !ok || p.unknown:
		return gone, driverkit.Stale("apply", c.Handle)
	}
	d.seen.begin(c.ID.Kind, c.Handle)
	defer d.seen.end(c.ID.Kind, c.Handle)
	if p.delete || p.anew {
		if err := f.remove(ctx, c, p); err != nil {
			return gone, err
		}
		d.seen.forget(c.ID.Kind, c.Handle)
		if p.delete {
			return gone, nil
		}
		p.live = nil
	}
	state, err := f.write(ctx, c, p)
	if err == nil {
		d.seen.note(drivers.Item{ID: c.ID, Handle: state.Handle}, state)
	}
	return state, err
}
