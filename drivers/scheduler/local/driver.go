package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/detached"
	"github.com/aplomb-dev/aplomb/schema"
)

// Version is the version of this driver's logic, for drivers.Target.
const Version = "1"

// handlePrefix is before the name in every handle.
const handlePrefix = "process/"

// Driver runs processes. Its fields are set before the first call; the methods
// are safe for concurrent use. At most one Driver at a time works on a Dir:
// whoever opens the environment's store has it alone.
type Driver struct {
	Env  string        // environment id: the mark of what is ours, in group.json and in every process's environment
	Dir  string        // data folder for runs, absolute; made where it is missing
	Root string        // environment's root, absolute: what spec.dir is relative to and stays below
	Shim detached.Shim // zero: this very binary

	// Settle is how long an instance without a check must live to count as
	// up. Zero means DefaultSettle.
	Settle time.Duration
	// UpTimeout bounds how long a rolling update waits for one batch. Zero
	// means DefaultUpTimeout.
	UpTimeout time.Duration

	Log logrus.FieldLogger // nil: nothing is logged
	Now func() time.Time   // nil: time.Now

	mu      sync.Mutex
	groups  map[string]*entry // by name; what was last seen of each
	watches map[*watching]struct{}
}

// Defaults of a Driver's zero fields.
const (
	DefaultSettle    = 300 * time.Millisecond
	DefaultUpTimeout = time.Minute
)

var (
	_ drivers.Driver  = (*Driver)(nil)
	_ drivers.Watcher = (*Driver)(nil)
	_ drivers.Lister  = (*Driver)(nil)
	_ drivers.Checker = (*Driver)(nil)
)

func (d *Driver) now() time.Time {
	if d.Now == nil {
		return time.Now()
	}
	return d.Now()
}

// warn logs what a person may want to know of a group.
func (d *Driver) warn(name, message string, fields logrus.Fields) {
	if d.Log == nil {
		return
	}
	d.Log.WithFields(fields).WithFields(logrus.Fields{"env": d.Env, "resource": handlePrefix + name}).Warn(message)
}

func (d *Driver) settle() time.Duration {
	if d.Settle == 0 {
		return DefaultSettle
	}
	return d.Settle
}

// Address implements drivers.Driver: process/<spec.id or name>.
func (d *Driver) Address(kind, name string, raw json.RawMessage) (string, error) {
	if kind != Kind {
		return "", fail("find kind", kind, drivers.ErrPermanent, errors.New("no such kind"))
	}
	var s struct {
		ID *string `json:"id"`
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", fail("read spec", handlePrefix+name, drivers.ErrPermanent, err)
	}
	if s.ID != nil {
		name = *s.ID
	}
	if !schema.ValidName(name) {
		return "", fail("read spec", handlePrefix+name, drivers.ErrPermanent,
			fmt.Errorf("id: %q is not a name; as the address it may hold no reference", name))
	}
	return handlePrefix + name, nil
}

// nameOf is the name in a handle; ErrPermanent where it is none of ours.
func nameOf(handle string) (string, error) {
	name, ok := strings.CutPrefix(handle, handlePrefix)
	if !ok || !schema.ValidName(name) {
		return "", fail("find", handle, drivers.ErrPermanent, errors.New("it is not the handle of a process"))
	}
	return name, nil
}

// List implements drivers.Lister: every process group in the folder, by
// handle.
func (d *Driver) List(ctx context.Context) ([]drivers.State, error) {
	names, err := d.names()
	if err != nil {
		return nil, fail("list", d.Dir, drivers.ErrUnreachable, err)
	}
	var states []drivers.State
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return nil, fail("list", d.Dir, drivers.ErrRetryable, err)
		}
		if s := d.state(ctx, handlePrefix+n, false); s.Exists || s.Err != nil {
			states = append(states, s)
		}
	}
	return states, nil
}

// names lists the groups in the folder, sorted.
func (d *Driver) names() ([]string, error) {
	found, err := os.ReadDir(d.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range found {
		if e.IsDir() && schema.ValidName(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names, err
}

func (d *Driver) groupDir(name string) string { return filepath.Join(d.Dir, name) }

// entry is what the driver remembers of one group.
type entry struct {
	apply sync.Mutex // held by Apply: one writer a group

	mu    sync.Mutex // held by short looks; guards what follows
	stamp stamp
	group *group
	insts map[int]*slot

	probe   probe
	watched atomic.Int32 // how many Watch calls keep the probe young
}

// entry is the memory of a group, made at the first question about it.
func (d *Driver) entry(name string) *entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.groups == nil {
		d.groups = map[string]*entry{}
	}
	e := d.groups[name]
	if e == nil {
		e = &entry{}
		d.groups[name] = e
	}
	return e
}

// fail makes the error of a call.
func fail(op, subject string, class, err error) error {
	return &drivers.Error{Op: op, Subject: subject, Class: class, Err: err}
}
