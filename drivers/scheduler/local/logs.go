package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/detached"
)

// LogOptions says what of a process's output is wanted.
type LogOptions struct {
	Instance int
	Lines    int  // the last so many; 0 none of what was before
	Follow   bool // what comes, too, until the context ends
}

// Logs writes the output of one instance to w, over its restarts.
func (d *Driver) Logs(ctx context.Context, handle string, o LogOptions, w io.Writer) error {
	name, err := nameOf(handle)
	if err != nil {
		return err
	}
	seen, err := d.look(name)
	switch {
	case err != nil:
		return fail("read logs of", handle, drivers.ErrRetryable, err)
	case seen == nil:
		return fail("read logs of", handle, drivers.ErrPermanent, errors.New("it does not exist"))
	case o.Instance < 0 || o.Instance >= seen.spec.Count:
		return fail("read logs of", handle, drivers.ErrPermanent, fmt.Errorf("it has %d instances, and no number %d", seen.spec.Count, o.Instance))
	}
	file := filepath.Join(instanceDir(d.groupDir(name), o.Instance), "output.log")
	if err := detached.Tail(ctx, file, max(0, o.Lines), o.Follow, w); err != nil {
		return fail("read logs of", handle, drivers.ErrRetryable, err)
	}
	return nil
}
