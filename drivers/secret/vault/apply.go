package vault

import (
	"context"
	"errors"
	"net/http"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
)

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
	if p, ok := s.kind.(paths); ok {
		if err := p.took(s.handle, s.want, f); err != nil {
			return drivers.State{}, err
		}
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
