// Package local drives the provisioning layer of one machine without a
// server: local.file writes files below a root, local.port keeps TCP ports for
// the processes of the environment. It must not know of other drivers, of
// sources or of the reconciler, and it starts no process.
//
// A file has no room for a mark: the inventory alone says whose it is. A port
// is a record in the data folder, and the record carries the mark.
package local

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/internal/pathwatch"
	"github.com/aplomb-dev/aplomb/internal/records"
)

// The kinds that Driver serves.
const (
	FileKind = "local.file"
	PortKind = "local.port"
)

// Driver serves local.file and local.port. The fields are set before its first
// use and not changed after; its methods are safe for concurrent use. One
// process at a time may use a data folder.
type Driver struct {
	Env         string                // environment id; required
	Root        string                // relative paths of files lie below it; made when the first is written; required, absolute
	Dir         string                // data folder of this driver: ports, and which folders it made; required, absolute, never written to as a file
	Allow       []string              // folders where absolute paths may lie; none: only Root
	Deny        []string              // folders that no file may lie in, such as the daemon's own data; Dir always is one
	Fingerprint drivers.Fingerprinter // required
	Log         logrus.FieldLogger    // nil: silent
	Ports       PortRange             // where ports are chosen from; zero: DefaultPorts
	Poll        time.Duration         // how often Watch looks who listens; zero: two seconds
	Proc        string                // where sockets and processes are read; "": /proc

	once     sync.Once
	locks    driverkit.Locks
	files    fileCache
	watched  pathwatch.Set
	folders  records.Folder[folderRecord]
	landings records.Folder[landingRecord]
	ports    registry
}

var (
	_ drivers.Driver  = (*Driver)(nil)
	_ drivers.Watcher = (*Driver)(nil)
	_ drivers.Lister  = (*Driver)(nil)
)

// Kinds are the kinds that the driver serves.
func (d *Driver) Kinds() []string { return []string{FileKind, PortKind} }

func (d *Driver) setup() {
	d.once.Do(func() {
		if d.Log == nil {
			silent := logrus.New()
			silent.SetOutput(io.Discard)
			d.Log = silent
		}
		d.watched.Log = d.Log
		d.folders.Dir = filepath.Join(d.Dir, "folders")
		d.landings.Dir = filepath.Join(d.Dir, "landings")
		d.ports.setup(d)
	})
}

// Address is file/PATH with the path cleaned, or port/NAME.
func (d *Driver) Address(kind, name string, spec json.RawMessage) (string, error) {
	switch kind {
	case FileKind:
		return d.fileAddress(spec)
	case PortKind:
		return portPrefix + name, nil
	default:
		return "", unserved(kind)
	}
}

func unserved(kind string) error {
	return driverkit.Refuse("serve", kind, fmt.Errorf("the local provisioning driver has no kind %q", kind), "")
}

// Observe reads what changed since it last looked; what did not costs a few
// system calls.
func (d *Driver) Observe(ctx context.Context, items []drivers.Item) ([]drivers.State, error) {
	d.setup()
	states := make([]drivers.State, len(items))
	rs := roots{}
	defer rs.close()
	sockets := d.ports.sockets()
	for i, it := range items {
		if err := ctx.Err(); err != nil {
			return nil, driverkit.Fail("observe", d.Root, err)
		}
		var err error
		switch it.ID.Kind {
		case FileKind:
			states[i], err = d.observeFile(rs, it)
		case PortKind:
			states[i], err = d.observePort(sockets, it.Handle)
		default:
			err = unserved(it.ID.Kind)
		}
		states[i].Handle = it.Handle
		if err != nil {
			states[i] = drivers.State{Handle: it.Handle, Err: err}
		}
	}
	return states, nil
}

// Plan compares; it reads nothing but its arguments.
func (d *Driver) Plan(_ context.Context, item drivers.Item, live drivers.State) (drivers.Change, error) {
	d.setup()
	if live.Err != nil {
		return drivers.Change{}, live.Err
	}
	driverkit.Place(&item, live)
	switch item.ID.Kind {
	case FileKind:
		return d.planFile(item, live)
	case PortKind:
		return d.planPort(item, live)
	default:
		return drivers.Change{}, unserved(item.ID.Kind)
	}
}

// Apply makes the change, whole or not at all.
func (d *Driver) Apply(ctx context.Context, c drivers.Change) (drivers.State, error) {
	d.setup()
	if err := ctx.Err(); err != nil {
		return drivers.State{}, driverkit.Fail("apply", c.Handle, err)
	}
	defer d.locks.Lock(c.Handle)()
	switch c.ID.Kind {
	case FileKind:
		return d.applyFile(c)
	case PortKind:
		return d.applyPort(ctx, c)
	default:
		return drivers.State{}, unserved(c.ID.Kind)
	}
}

// List answers the ports in the registry and the regular files below the
// root, at most maxListed of them and without their content: a file carries no
// mark, so whose it is only the inventory knows.
func (d *Driver) List(ctx context.Context) ([]drivers.State, error) {
	d.setup()
	states, err := d.listPorts()
	if err != nil {
		return nil, err
	}
	files, err := d.listFiles(ctx)
	return append(states, files...), err
}

func trim(handle, prefix string) (string, error) {
	s, ok := strings.CutPrefix(handle, prefix)
	if !ok || s == "" {
		return "", driverkit.Refuse("find", handle, fmt.Errorf("%q is no handle of this kind", handle), "")
	}
	return s, nil
}
