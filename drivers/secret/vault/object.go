package vault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"

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

	// open prepares to find things, n of which were never applied and may well
	// not be there: by a bulk read, where the kind has one.
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
