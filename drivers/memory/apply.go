package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// Apply implements drivers.Driver.
func (d *Driver) Apply(ctx context.Context, c drivers.Change) (drivers.State, error) {
	if err := d.reach(ctx, "apply"); err != nil {
		return drivers.State{}, err
	}
	if c.Action == schema.None {
		return d.look(c)
	}
	p, ok := c.Opaque.(*planned)
	if !ok {
		return drivers.State{}, fail("apply", c.Handle, drivers.ErrStale, errors.New("plan it again"))
	}
	for _, delta := range c.Diff {
		if delta.Unknown && c.Action != schema.Delete {
			return drivers.State{}, fail("apply", c.Handle, drivers.ErrPermanent, fmt.Errorf("%s is not known yet", delta.Path))
		}
	}
	switch c.Action {
	case schema.Create:
		return d.create(ctx, c, p)
	case schema.Update, schema.Adopt:
		return d.patch(ctx, c, p)
	case schema.Replace:
		return d.replace(ctx, c, p)
	case schema.Delete:
		return d.remove(ctx, c, p)
	default:
		return drivers.State{}, fail("apply", c.Handle, drivers.ErrPermanent, fmt.Errorf("%s cannot be applied", c.Action))
	}
}

// look is what lives where a change was made.
func (d *Driver) look(c drivers.Change) (drivers.State, error) {
	e := d.Engine
	e.lock()
	defer e.unlock()
	if e.unreachable {
		return drivers.State{}, fail("read", c.Handle, drivers.ErrUnreachable, errDown)
	}
	s := d.state(e.find(c.Handle, c.Nonce))
	s.Handle = cmpOr(s.Handle, c.Handle)
	return s, nil
}

// answer is the State of an object that a write answered; nil if it is gone.
func (d *Driver) answer(o *object, handle string) drivers.State {
	if o == nil {
		return drivers.State{Handle: handle}
	}
	d.Engine.lock()
	defer d.Engine.unlock()
	return d.state(o)
}

// whole is the wanted spec with its secrets in the clear.
func (d *Driver) whole(c drivers.Change, p *planned) (map[string]any, error) {
	spec := cloneTree(p.want).(map[string]any)
	if token, has := spec[secretField]; has {
		clear, err := d.unmask(c, p, token)
		if err != nil {
			return nil, err
		}
		spec[secretField] = clear
	}
	return spec, nil
}

func (d *Driver) unmask(c drivers.Change, p *planned, token any) (any, error) {
	if s, given := c.Secrets[secretPath]; given {
		return s.Reveal(), nil
	}
	if p.literal != "" {
		return p.literal, nil
	}
	if s, ok := token.(string); ok && schema.HasToken(s) {
		return nil, fail("apply", c.Handle, drivers.ErrPermanent, errors.New("the secret of password was not given"))
	}
	return token, nil
}

func (d *Driver) create(ctx context.Context, c drivers.Change, p *planned) (drivers.State, error) {
	spec, err := d.whole(c, p)
	if err != nil {
		return drivers.State{}, err
	}
	req := request{op: "create", kind: c.ID.Kind, name: c.ID.Name, env: d.Env, spec: spec, mark: p.mark, half: d.Engine.Quirks.TwoCallCreates}
	if p.nonced {
		req.nonce = c.Nonce
	}
	if !d.given(c.ID.Kind) {
		req.handle = c.Handle
		if d.Engine.Quirks.NoCAS { // the engine would overwrite
			if err := d.still(c.Handle, 0); err != nil {
				return drivers.State{}, err
			}
		}
	}
	o, err := d.Engine.send(ctx, d, req)
	if err != nil {
		return drivers.State{}, err
	}
	if o.half {
		fill := request{op: "fill", kind: o.kind, name: o.name, handle: o.handle, env: d.Env, expect: d.expect(o.rev)}
		for k, v := range spec {
			fill.edits = append(fill.edits, edit{path: schema.Path("").Child(k), value: v})
		}
		if o, err = d.Engine.send(ctx, d, fill); err != nil {
			return drivers.State{}, err
		}
	}
	return d.answer(o, c.Handle), nil
}

// expect is what a write may depend on.
func (d *Driver) expect(rev uint64) uint64 {
	if d.Engine.Quirks.NoCAS {
		return 0
	}
	return rev
}

// still reads again immediately before a write, for engines without
// compare-and-set: ErrStale unless the revision is the planned one.
func (d *Driver) still(handle string, rev uint64) error {
	e := d.Engine
	e.lock()
	defer e.unlock()
	o := e.objects[handle]
	switch {
	case o == nil && rev == 0, o != nil && o.rev == rev:
		return nil
	case o == nil:
		return fail("apply", handle, drivers.ErrStale, errGone)
	default:
		return fail("apply", handle, drivers.ErrStale, errMoved)
	}
}

func (d *Driver) patch(ctx context.Context, c drivers.Change, p *planned) (drivers.State, error) {
	if err := d.still(c.Handle, p.rev); err != nil {
		return drivers.State{}, err
	}
	req := request{op: "patch", kind: c.ID.Kind, name: c.ID.Name, handle: c.Handle, env: d.Env, expect: d.expect(p.rev)}
	for _, delta := range c.Diff {
		if delta.Path == drivers.MarkPath {
			req.mark = true
			continue
		}
		ed := edit{path: delta.Path, remove: delta.Op == schema.Delete}
		if !ed.remove {
			if err := json.Unmarshal(delta.After, &ed.value); err != nil {
				return drivers.State{}, fail("apply", c.Handle, drivers.ErrPermanent, err)
			}
			if delta.Path == secretPath {
				var err error
				if ed.value, err = d.unmask(c, p, ed.value); err != nil {
					return drivers.State{}, err
				}
			}
		}
		req.edits = append(req.edits, ed)
	}
	if len(c.Diff) == 0 && !p.half {
		return d.look(c)
	}
	o, err := d.Engine.send(ctx, d, req)
	if err != nil {
		return drivers.State{}, err
	}
	return d.answer(o, c.Handle), nil
}

// replace deletes and creates. Where the delete takes its time the rest is for
// a later plan.
func (d *Driver) replace(ctx context.Context, c drivers.Change, p *planned) (drivers.State, error) {
	if _, err := d.whole(c, p); err != nil {
		return drivers.State{}, err
	}
	p = &planned{want: p.want, literal: p.literal, rev: p.rev, nonced: p.nonced, mark: !d.Engine.Quirks.NoMarks}
	if s, err := d.remove(ctx, c, p); err != nil {
		return drivers.State{}, err
	} else if s.Exists && !d.given(c.ID.Kind) {
		return drivers.State{}, fail("create", c.Handle, drivers.ErrWaiting, errDeleting)
	}
	return d.create(ctx, c, p)
}

func (d *Driver) remove(ctx context.Context, c drivers.Change, p *planned) (drivers.State, error) {
	e := d.Engine
	e.lock()
	o := e.objects[c.Handle]
	e.unlock()
	if o == nil {
		return drivers.State{Handle: c.Handle}, nil
	}
	if o.goneAt == 0 {
		if err := d.still(c.Handle, p.rev); err != nil {
			return drivers.State{}, err
		}
	}
	o, err := e.send(ctx, d, request{op: "delete", kind: c.ID.Kind, name: c.ID.Name, handle: c.Handle, env: d.Env, expect: d.expect(p.rev)})
	if err != nil {
		return drivers.State{}, err
	}
	return d.answer(o, c.Handle), nil
}
