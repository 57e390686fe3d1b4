package memory

import (
	"context"
	"errors"
	"fmt"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// request is one write on its way to the engine.
type request struct {
	op         string // "create", "fill" (the second call of a create), "patch", "delete"
	kind, name string
	handle     string // "" in a create whose id the engine gives
	env        string
	nonce      string
	expect     uint64 // revision that it depends on; 0 for none
	half       bool   // a create without its second call
	mark       bool
	spec       map[string]any // of a create
	edits      []edit         // of a fill or patch
	late       bool
}

// edit sets or removes one path.
type edit struct {
	path   schema.Path
	value  any
	remove bool
}

// send carries a request to the engine, with everything that may happen to it
// on the way there and back.
func (e *Engine) send(ctx context.Context, d *Driver, req request) (*object, error) {
	if err := e.admit(ctx, d, req); err != nil {
		return nil, err
	}
	if err := e.depart(ctx, d, req); err != nil {
		return nil, err
	}
	e.lock()
	e.step()
	o, err := e.land(req)
	lost := err == nil && e.chance(e.Quirks.FaultAfter)
	e.unlock()
	if err != nil {
		return nil, err
	}
	handle := req.handle
	if o != nil {
		handle = o.handle
	}
	if err := e.hook("after "+req.op, handle); err != nil {
		return nil, fail(req.op, handle, drivers.ErrRetryable, err)
	}
	if lost {
		return nil, fail(req.op, handle, drivers.ErrRetryable, errFault)
	}
	return o, nil
}

// admit refuses what never leaves the client or is turned away at the door.
func (e *Engine) admit(ctx context.Context, d *Driver, req request) error {
	if err := ctx.Err(); err != nil {
		return fail(req.op, req.handle, drivers.ErrRetryable, err)
	}
	e.lock()
	defer e.unlock()
	switch {
	case d.dead.Load():
		return fail(req.op, req.handle, drivers.ErrRetryable, errDead)
	case e.unreachable:
		return fail(req.op, req.handle, drivers.ErrUnreachable, errDown)
	case e.denied:
		return &drivers.Error{Op: req.op, Subject: req.handle, Class: drivers.ErrDenied, Err: errForbid, Hint: "give the credentials the right to write"}
	case e.chance(e.Quirks.FaultBefore):
		return fail(req.op, req.handle, drivers.ErrRetryable, errFault)
	}
	return nil
}

// depart calls the hook before a write. If the caller dies there the request
// is on its way already.
func (e *Engine) depart(ctx context.Context, d *Driver, req request) error {
	through := false
	defer func() {
		if !through {
			e.strand(req)
		}
	}()
	err := e.hook("before "+req.op, req.handle)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && d.dead.Load() {
		err = errDead
	}
	if err != nil {
		return fail(req.op, req.handle, drivers.ErrRetryable, err)
	}
	through = true
	return nil
}

// strand lets a request whose caller died land later, in an engine that does.
func (e *Engine) strand(req request) {
	e.lock()
	defer e.unlock()
	if n := e.Quirks.LateLanding; n > 0 {
		e.late = append(e.late, lateWrite{at: e.steps + n, req: req})
	}
}

func (e *Engine) hook(op, handle string) error {
	if e.Hook == nil {
		return nil
	}
	return e.Hook(op, handle)
}

func (e *Engine) chance(p float64) bool { return p > 0 && e.rng.Float64() < p }

// land does what a request says, under the lock.
func (e *Engine) land(req request) (*object, error) {
	if req.op == "create" {
		return e.create(req)
	}
	o := e.objects[req.handle]
	switch {
	case o == nil && req.op == "delete":
		return nil, nil
	case o == nil:
		return nil, fail(req.op, req.handle, drivers.ErrStale, errGone)
	case o.goneAt > 0 && req.op == "delete":
		return o, nil
	case req.expect != 0 && req.expect != o.rev:
		return nil, fail(req.op, req.handle, drivers.ErrStale, errMoved)
	case o.goneAt > 0:
		return nil, fail(req.op, req.handle, drivers.ErrWaiting, errDeleting)
	}
	e.witness(o, req)
	if req.op == "delete" {
		return e.condemn(o), nil
	}
	o = o.clone()
	for _, ed := range req.edits {
		ed.apply(o.spec)
	}
	if req.mark {
		o.owner = req.env
	}
	o.half = false
	if err := refuse(req.op, o); err != nil {
		return nil, err
	}
	e.put(o)
	e.count(o)
	return o, nil
}

func (e *Engine) create(req request) (*object, error) {
	if req.handle == "" {
		if o := e.objects[e.nonces[req.nonce]]; o != nil && req.nonce != "" {
			return o, nil
		}
		e.seq++
		req.handle = fmt.Sprintf("%s/e-%06d", req.kind, e.seq)
	}
	old := e.objects[req.handle]
	switch {
	case old != nil && old.goneAt > 0:
		return nil, fail(req.op, req.handle, drivers.ErrWaiting, errDeleting)
	case old != nil && !e.Quirks.NoCAS:
		return nil, fail(req.op, req.handle, drivers.ErrStale, errExists)
	case old != nil:
		e.witness(old, req)
	}
	o := &object{handle: req.handle, kind: req.kind, name: req.name, nonce: req.nonce, half: req.half, spec: map[string]any{}}
	if req.mark {
		o.owner = req.env
	}
	if !req.half {
		o.spec = cloneTree(req.spec).(map[string]any)
	}
	if err := refuse(req.op, o); err != nil {
		return nil, err
	}
	e.put(o)
	e.creates[o.handle]++
	e.count(o)
	return o, nil
}

// condemn deletes o, at once or over some steps.
func (e *Engine) condemn(o *object) *object {
	e.count(o)
	if e.Quirks.SlowDeletes == 0 {
		e.remove(o)
		return nil
	}
	o = o.clone()
	e.seq++
	o.rev, o.goneAt = e.seq, e.steps+e.Quirks.SlowDeletes
	o.render()
	e.objects[o.handle], e.going[o.handle] = o, true
	e.changed = append(e.changed, o.handle)
	return o
}

func (e *Engine) count(o *object) {
	e.writes[o.handle]++
	e.total++
}

// witness notes a write to what is another's. A late one under NoCAS cannot be
// helped by anybody.
func (e *Engine) witness(o *object, req request) {
	if o.owner != "" && o.owner != req.env && !req.late {
		e.trespass = append(e.trespass, fmt.Sprintf("%s %s of %s by %s", req.op, o.handle, o.owner, req.env))
	}
}

// refuse is the engine's own validation.
func refuse(op string, o *object) error {
	if n, ok := o.spec["size"].(float64); ok && n < 0 {
		return fail(op, o.handle, drivers.ErrPermanent, errors.New("size is negative"))
	}
	if why, ok := o.spec["fail"].(string); ok && why != "" {
		return fail(op, o.handle, drivers.ErrPermanent, errors.New(why))
	}
	return nil
}
