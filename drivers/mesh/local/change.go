package local

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/internal/records"
	"github.com/aplomb-dev/aplomb/schema"
)

// plan is Change.Opaque.
type plan struct {
	delete, unknown bool
	token           string          // of the record when it was planned; "" for none
	spec            json.RawMessage // normalised
}

// Plan compares the declaration with the entry.
func (d *Driver) Plan(_ context.Context, it drivers.Item, state drivers.State) (drivers.Change, error) {
	d.setup()
	driverkit.Place(&it, state)
	c := drivers.Change{ID: it.ID, Handle: it.Handle, Action: schema.None}
	if it.ID.Kind != Kind {
		return c, unserved(it.ID.Kind)
	}
	if state.Err != nil {
		return c, state.Err
	}
	if err := driverkit.Foreign(state, d.Env); err != nil {
		return c, err
	}
	live, _ := state.Raw.(records.Record[record])
	if it.Want == nil {
		c.Opaque = plan{delete: true, token: live.Token}
		driverkit.Deletion(&c, state)
		return c, nil
	}
	want, s, err := d.wanted(it)
	if err != nil {
		return c, err
	}
	if c.Diff, err = driverkit.Diff(state.Spec, want, it.Want.Unknown); err != nil {
		return c, driverkit.Refuse("read", it.Handle, err, "")
	}
	if state.Exists && state.Owner == "" {
		c.Diff = append(c.Diff, driverkit.MarkDelta(d.Env))
	}
	c.Outputs = outputs(s)
	c.Opaque = plan{unknown: len(it.Want.Unknown) > 0, token: live.Token, spec: want}
	driverkit.Decide(&c, it, state, it.Last != nil || state.Owner == d.Env)
	return c, nil
}

// wanted is what is declared, normalised, and as far as it is known, read.
func (d *Driver) wanted(it drivers.Item) (json.RawMessage, serviceSpec, error) {
	name, err := nameOf(it.Handle)
	if err != nil {
		return nil, serviceSpec{}, err
	}
	refuse := func(err error) error { return driverkit.Refuse("read", it.Handle, err, "") }
	if len(it.Want.Unknown) == 0 {
		want, s, err := normalise(it.Want.Spec, name)
		if err == nil {
			err = s.check()
		}
		if err == nil {
			_, err = s.probes()
		}
		if err != nil {
			return nil, s, refuse(err)
		}
		return want, s, nil
	}
	s := serviceSpec{Address: "127.0.0.1"}
	if err := driverkit.Decode(it.Want, &s); err != nil {
		return nil, s, refuse(err)
	}
	if _, unknown := it.Want.Unknown["/address"]; unknown {
		s.Address = ""
	}
	tree, err := driverkit.Tree(it.Want.Spec)
	if err != nil {
		return nil, s, refuse(err)
	}
	words, ok := tree.(map[string]any)
	if !ok {
		return nil, s, refuse(errors.New("the spec is no object"))
	}
	if words["service"] == nil {
		words["service"] = name
	}
	want, err := driverkit.Text(words)
	return want, s, err
}

// Apply writes or deletes one entry.
func (d *Driver) Apply(ctx context.Context, c drivers.Change) (drivers.State, error) {
	d.setup()
	p, ok := c.Opaque.(plan)
	name, err := nameOf(c.Handle)
	switch {
	case c.ID.Kind != Kind:
		return drivers.State{}, unserved(c.ID.Kind)
	case err != nil:
		return drivers.State{}, err
	case ctx.Err() != nil:
		return drivers.State{}, driverkit.Fail("apply", c.Handle, ctx.Err())
	case !ok || p.unknown:
		return drivers.State{}, driverkit.Stale("apply", c.Handle)
	}
	defer d.locks.Lock(c.Handle)()
	live, err := d.folder.Get(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return drivers.State{}, driverkit.Fail("read", d.folder.Path(name), err)
	}
	if p.delete {
		return d.delete(name, c.Handle, live, p)
	}
	if live.Token != p.token {
		if live.Value != nil && live.Value.Environment == d.Env && string(live.Value.Spec) == string(p.spec) {
			return d.state(c.Handle, live), nil // it landed already
		}
		return drivers.State{}, driverkit.Stale("write", c.Handle)
	}
	return d.write(name, c.Handle, p, live.Value != nil)
}

func (d *Driver) write(name, handle string, p plan, exists bool) (drivers.State, error) {
	write := d.folder.Create
	if exists {
		write = d.folder.Replace
	}
	rec, err := write(name, record{Format: 1, Environment: d.Env, Spec: p.spec})
	if errors.Is(err, fs.ErrExist) {
		return drivers.State{}, driverkit.Stale("write", handle)
	}
	if err != nil {
		return drivers.State{}, driverkit.Fail("write", d.folder.Path(name), err)
	}
	d.checker.follow(handle, rec)
	return d.state(handle, rec), nil
}

func (d *Driver) delete(name, handle string, live records.Record[record], p plan) (drivers.State, error) {
	gone := drivers.State{Handle: handle}
	if live.Value != nil && live.Token != p.token {
		return gone, driverkit.Stale("delete", handle)
	}
	d.watched.Remove(d.folder.Path(name))
	d.checker.forget(handle)
	return gone, driverkit.Fail("delete", d.folder.Path(name), d.folder.Delete(name))
}
