package vault

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// object is what the driver must know of a kind.
type object interface {
	// handle, check and needs are pure. check is asked of declarations whose
	// unknown fields are still text.
	handle(name string, spec json.RawMessage) (string, error)
	check(handle string, want *drivers.Desired) error
	needs(name string, want *drivers.Desired) []string

	// open prepares to find n things: by a bulk read, where the kind has one.
	open(ctx context.Context, d *Driver, n int) (source, error)

	// want is what is declared as it compares with view: in the words of the
	// spec, files read.
	want(handle string, w *drivers.Desired) (json.RawMessage, error)

	// view is what was found, in the words of the spec: what is declared (nil:
	// everything) and no more. last is what was applied, for what Vault does
	// not tell; nil where that is not sure.
	view(f *found, declared, last json.RawMessage) (json.RawMessage, error)

	// outputs are those of what was found; of f nil, as far as they are known
	// before it is made.
	outputs(handle string, declared json.RawMessage, f *found) (map[string]drivers.Output, error)

	// immutable says whether a field can only be set when the thing is made.
	immutable(path schema.Path, declared json.RawMessage) bool

	write(ctx context.Context, d *Driver, s *step) error
	remove(ctx context.Context, d *Driver, s *step) error
}

// source finds things, for one Observe or Apply. spec is the declaration, or
// what was last applied; nil if neither is known.
type source func(ctx context.Context, handle string, spec json.RawMessage) (*found, error)

// found is what was read of a thing. It is State.Raw.
type found struct {
	owner  string
	data   map[string]any // as Vault tells it
	health drivers.Health
	kv     *kvState // of a KV secret
}

// step is Change.Opaque: what is to be done, and on which find it was decided.
type step struct {
	handle  string
	env     string
	kind    object
	delete  bool
	unknown bool
	replace bool
	anew    bool            // it does not exist, was never ours, or is made again: all is written
	want    json.RawMessage // as object.want gives it
	spec    json.RawMessage // as declared, or of a deletion as last applied
	last    json.RawMessage // what was surely applied; nil: nothing
	version string          // of what was found; "" for nothing
	diff    []drivers.Delta
	found   *found                        // what lives just before the write
	secrets map[schema.Path]schema.Secret // of the change
	kv      *kvPlan
}

// declaredOf is the spec by which an item is read.
func declaredOf(it drivers.Item) json.RawMessage {
	switch {
	case it.Want != nil:
		return it.Want.Spec
	case it.Last != nil:
		return it.Last.Spec
	}
	return nil
}

// sure is what was applied to an item, where the apply is known to have ended.
func sure(it drivers.Item) json.RawMessage {
	if it.Last == nil || it.Last.Version == "" {
		return nil
	}
	return it.Last.Spec
}

// state reads one item.
func (d *Driver) state(ctx context.Context, k object, find source, it drivers.Item) (drivers.State, error) {
	spec := declaredOf(it)
	if it.Handle == "" {
		return drivers.State{}, driverkit.Refuse("find", it.ID.Kind, errors.New("it has no handle"), "")
	}
	f, err := find(ctx, it.Handle, spec)
	if err != nil {
		return drivers.State{}, err
	}
	if it.Want == nil && d.stays(k, it.Handle, spec) || it.Last == nil && always(k, it.Handle, spec) {
		f = nil
	}
	return stateOf(k, it.Handle, f, spec, sure(it))
}

// stays says whether a thing cannot be deleted, by what is known of it or by
// what Vault said: once it is not declared any more it counts as gone.
func (d *Driver) stays(k object, handle string, spec json.RawMessage) bool {
	_, refused := d.lasting.Load(handle)
	p, ok := k.(paths)
	return refused || ok && p.stays(handle, spec)
}

// always says whether a thing that was never ours counts as not there.
func always(k object, handle string, spec json.RawMessage) bool {
	p, ok := k.(paths)
	return ok && p.always(handle, spec)
}

// stateOf is what was found as a State; of nothing, that nothing lives.
func stateOf(k object, handle string, f *found, spec, last json.RawMessage) (drivers.State, error) {
	s := drivers.State{Handle: handle}
	if f == nil {
		return s, nil
	}
	view, err := k.view(f, spec, last)
	if err != nil {
		return s, driverkit.Refuse("read", handle, err, "")
	}
	if s.Version, err = versionOf(k, f, spec); err != nil {
		return s, driverkit.Refuse("read", handle, err, "")
	}
	if s.Outputs, err = k.outputs(handle, spec, f); err != nil {
		return s, driverkit.Refuse("read", handle, err, "")
	}
	s.Exists, s.Owner, s.Spec, s.Health, s.Raw = true, f.owner, view, f.health, f
	if s.Health.Status == "" {
		s.Health.Status = drivers.Healthy
	}
	return s, nil
}

// versioner is an object whose version is more, or less, than a hash of all
// that was read.
type versioner interface {
	version(f *found, spec json.RawMessage) (string, error)
}

// versionOf is the change token of what was found; "" for nothing.
func versionOf(k object, f *found, spec json.RawMessage) (string, error) {
	if f == nil {
		return "", nil
	}
	if v, ok := k.(versioner); ok {
		return v.version(f, spec)
	}
	return hash(f.owner, f.data)
}

// hash is a change token.
func hash(vs ...any) (string, error) {
	text, err := driverkit.Text(vs)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12]), nil
}

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

// Apply reads, compares with what was planned on, writes, and reads again.
func (d *Driver) Apply(ctx context.Context, c drivers.Change) (drivers.State, error) {
	d.setup()
	s, ok := c.Opaque.(*step)
	if _, err := d.served(c.ID.Kind); err != nil {
		return drivers.State{}, err
	}
	if !ok || s.unknown || s.handle != c.Handle {
		return drivers.State{}, driverkit.Stale("apply", c.Handle)
	}
	defer d.locks.Lock(c.Handle)()
	own := *s // a change may be applied again
	own.secrets = c.Secrets
	s = &own
	find, err := d.before(ctx, s)
	if err != nil {
		return drivers.State{}, err
	}
	if s.found, err = find(ctx, s.handle, s.spec); err != nil {
		return drivers.State{}, err
	}
	if s.delete {
		return d.delete(ctx, s)
	}
	if s.version == "" && always(s.kind, s.handle, s.spec) {
		s.found = nil
	}
	if err := s.moved("write"); err != nil {
		return drivers.State{}, err
	}
	if s.found != nil && len(s.diff) == 0 {
		return stateOf(s.kind, s.handle, s.found, s.spec, s.want) // it is taken over as it is
	}
	if s.replace {
		if err := s.kind.remove(ctx, d, s); err != nil {
			return drivers.State{}, err
		}
		s.found = nil
	}
	if err := s.kind.write(ctx, d, s); err != nil {
		return drivers.State{}, err
	}
	if find, err = s.kind.open(ctx, d, 1); err != nil {
		return drivers.State{}, err
	}
	f, err := find(ctx, s.handle, s.spec)
	if err != nil {
		return drivers.State{}, err
	}
	if f == nil {
		return drivers.State{}, &drivers.Error{Op: "read back", Subject: s.handle, Class: drivers.ErrRetryable, Err: errors.New("it was written and is not there")}
	}
	return stateOf(s.kind, s.handle, f, s.spec, s.want)
}

// before is the source that is asked just before a write.
func (d *Driver) before(ctx context.Context, s *step) (source, error) {
	if p, ok := s.kind.(policies); ok && s.version == "" && !s.delete {
		return p.absent(d), nil
	}
	return s.kind.open(ctx, d, 1)
}

// moved is ErrStale unless what lives just before the write is what the change
// was planned on.
func (s *step) moved(op string) error {
	now, err := versionOf(s.kind, s.found, s.spec)
	if err != nil {
		return driverkit.Refuse("read", s.handle, err, "")
	}
	if now != s.version || s.found != nil && s.found.owner != "" && s.found.owner != s.env {
		return driverkit.Stale(op, s.handle)
	}
	return nil
}

// delete removes what lives, if it is what was planned on.
func (d *Driver) delete(ctx context.Context, s *step) (drivers.State, error) {
	gone := drivers.State{Handle: s.handle}
	if s.found == nil {
		return gone, nil
	}
	if err := s.moved("delete"); err != nil {
		return gone, err
	}
	err := s.kind.remove(ctx, d, s)
	if status(err) == http.StatusMethodNotAllowed {
		d.lasting.Store(s.handle, true)
		d.Log.WithField("resource", s.handle).Warn("Vault cannot delete it: it is let go, and lives as long as its mount")
		return gone, nil
	}
	return gone, err
}
