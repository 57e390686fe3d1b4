package tofu

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/internal/records"
	"github.com/aplomb-dev/aplomb/schema"
)

// asideDir is where copies of stacks are planned: no stack is called so. What a
// crash leaves there goes when a Driver is first used.
const asideDir = ".aside"

// Aside is a Driver for plans of proposals: what is no longer declared is planned
// in a copy of its stack. A plan in the stack's own folder would take the place
// of one that is about to be applied. Safe for concurrent use.
type Aside struct{ *Driver }

var _ drivers.Driver = (*Aside)(nil)

// Plan implements drivers.Driver.
func (a *Aside) Plan(ctx context.Context, it drivers.Item, state drivers.State) (_ drivers.Change, err error) {
	if it.Want != nil || it.ID.Kind != Kind {
		return a.Driver.Plan(ctx, it, state)
	}
	driverkit.Place(&it, state)
	c := drivers.Change{ID: it.ID, Handle: it.Handle, Action: schema.None}
	if state.Err != nil {
		return c, state.Err
	}
	s, err := a.stackOf(it.Handle)
	if err != nil {
		return c, err
	}
	defer a.locks.Lock(s.handle)()
	if err := s.idle(); err != nil {
		return c, err
	}
	beside := &stack{name: s.name, handle: s.handle, dir: filepath.Join(a.Dir, a.Env, asideDir, s.name)}
	defer func() { err = errors.Join(err, driverkit.Fail("clean up", beside.dir, os.RemoveAll(beside.dir))) }()
	if err := s.copyTo(beside); err != nil {
		return c, driverkit.Fail("copy", s.handle, err)
	}
	if c, err = a.planDelete(ctx, c, beside, state); err == nil {
		c.Opaque = nil // it is never applied
	}
	return c, err
}

// copyTo copies what destroying needs, whatever a copy of before has left there.
// The caller has the stack's lock.
func (s *stack) copyTo(to *stack) error {
	rec, err := s.record()
	if err != nil || rec == nil {
		return err
	}
	if err := os.RemoveAll(to.dir); err != nil {
		return err
	}
	if err := records.MakeDir(to.path(stateDir)); err != nil {
		return err
	}
	for _, name := range []string{recordFile, secretsFile, rec.Files + treeSuffix, filepath.Join(stateDir, stateName)} {
		data, err := readBounded(s.path(name), maxTree)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = to.put(name, data)
		}
		if err != nil {
			return err
		}
	}
	to.lock, err = readBounded(s.path(moduleDir, tfLockFile), maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
