package vault

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// Plan compares what was read with what is declared.
func (d *Driver) Plan(_ context.Context, it drivers.Item, state drivers.State) (drivers.Change, error) {
	d.setup()
	driverkit.Place(&it, state)
	c := drivers.Change{ID: it.ID, Handle: it.Handle, Action: schema.None}
	k, err := d.served(it.ID.Kind)
	if err == nil {
		err = state.Err
	}
	if err == nil {
		err = driverkit.Foreign(state, d.Env)
	}
	if err != nil {
		return c, err
	}
	f, _ := state.Raw.(*found)
	if !state.Exists {
		f = nil
	}
	s := &step{handle: it.Handle, env: d.Env, kind: k, spec: declaredOf(it), last: sure(it), delete: it.Want == nil}
	c.Opaque = s
	if s.version = state.Version; f == nil {
		s.version = ""
	} else if _, bySpec := k.(versioner); bySpec { // it may have been observed by another declaration
		s.version, err = versionOf(k, f, s.spec)
	}
	if err != nil {
		return c, driverkit.Refuse("read", it.Handle, err, "")
	}
	if s.delete {
		driverkit.Deletion(&c, state)
		return c, nil
	}
	return c, d.compare(&c, s, it, state, f)
}

// compare fills in what a declared thing needs.
func (d *Driver) compare(c *drivers.Change, s *step, it drivers.Item, state drivers.State, f *found) error {
	refuse := func(err error) error { return driverkit.Refuse("read", it.Handle, err, "") }
	var err error
	if s.want, err = s.kind.want(it.Handle, it.Want); err != nil {
		return refuse(err)
	}
	s.unknown = len(it.Want.Unknown) > 0
	var live json.RawMessage
	if f != nil {
		if live, err = s.kind.view(f, s.spec, s.last); err != nil {
			return refuse(err)
		}
	}
	if !bytes.Equal(live, s.want) || s.unknown {
		if c.Diff, err = driverkit.Diff(live, s.want, it.Want.Unknown); err != nil {
			return refuse(err)
		}
	}
	if c.Outputs, err = s.kind.outputs(it.Handle, s.spec, f); err != nil {
		return refuse(err)
	}
	if kv, ok := s.kind.(secrets); ok {
		if err := kv.plan(d, c, s, it, f); err != nil {
			return err
		}
	}
	if f != nil && f.owner == "" && s.marks() {
		c.Diff = append(c.Diff, driverkit.MarkDelta(d.Env))
	}
	ours := it.Last != nil || state.Owner == d.Env
	why := c.Why
	driverkit.Decide(c, it, state, ours)
	if why != "" {
		c.Why = why
	}
	s.replaced(c, state)
	s.anew = f == nil || !ours || s.replace
	s.diff = c.Diff
	return nil
}

// marker is an object that has room for an ownership mark.
type marker interface {
	marked(want json.RawMessage) bool
}

func (s *step) marks() bool {
	m, ok := s.kind.(marker)
	return ok && m.marked(s.want)
}

// replaced makes the change a replacement where a field demands it.
func (s *step) replaced(c *drivers.Change, state drivers.State) {
	if !state.Exists {
		return
	}
	for i, delta := range c.Diff {
		if s.kind.immutable(delta.Path, s.want) {
			c.Diff[i].Op, s.replace = schema.Replace, true
			c.Why = delta.Path.String() + " can only be set when it is made"
		}
	}
	if s.replace {
		c.Action, c.Before, c.Outputs = schema.Replace, state.Spec, nil
	}
}
