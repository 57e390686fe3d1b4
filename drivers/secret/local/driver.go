// Package local drives the secret layer of one machine without a server:
// local.secret makes values and keeps them, or takes them from age ciphertext
// in the declaration. Every value is encrypted with the environment's own key
// before it reaches the disk. It must not know of other drivers, of sources or
// of the reconciler, and a plaintext leaves it through Reveal only.
//
// The data folder holds
//
//	key.txt        the age identity, mode 0600; who has it can read everything
//	recipient.txt  what people encrypt to: age -a -r "$(cat recipient.txt)"
//	secrets/       one record a secret: what may be known of it, and the sealed value
package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/internal/pathwatch"
	"github.com/aplomb-dev/aplomb/internal/records"
	"github.com/aplomb-dev/aplomb/schema"
)

// Kind is the kind that Driver serves.
const Kind = "local.secret"

// MaxSecret is the size in bytes of the largest value.
const MaxSecret = 64 << 10

const (
	prefix      = "secret/"
	valueOutput = "value"
)

// Driver serves local.secret. The fields are set before its first use and not
// changed after; its methods are safe for concurrent use. One process at a
// time may use a data folder.
type Driver struct {
	Env         string                // environment id; required
	Dir         string                // data folder of this driver; required, absolute
	Fingerprint drivers.Fingerprinter // required
	Log         logrus.FieldLogger    // nil: silent
	Now         func() time.Time      // nil: time.Now

	once    sync.Once
	locks   driverkit.Locks
	keys    keyring
	folder  records.Folder[record]
	watched pathwatch.Set
	due     schedule
}

var (
	_ drivers.Driver   = (*Driver)(nil)
	_ drivers.Watcher  = (*Driver)(nil)
	_ drivers.Lister   = (*Driver)(nil)
	_ drivers.Revealer = (*Driver)(nil)
	_ drivers.Checker  = (*Driver)(nil)
)

// Kinds are the kinds that the driver serves.
func (d *Driver) Kinds() []string { return []string{Kind} }

func (d *Driver) setup() {
	d.once.Do(func() {
		if d.Log == nil {
			silent := logrus.New()
			silent.SetOutput(io.Discard)
			d.Log = silent
		}
		if d.Now == nil {
			d.Now = time.Now
		}
		d.keys.dir = d.Dir
		d.folder = records.Folder[record]{Dir: filepath.Join(d.Dir, "secrets"), Check: checkRecord}
		d.watched.Log = d.Log
		d.due.init()
	})
}

// Address is secret/NAME.
func (d *Driver) Address(kind, name string, _ json.RawMessage) (string, error) {
	if kind != Kind {
		return "", unserved(kind)
	}
	if !schema.ValidName(name) {
		return "", driverkit.Refuse("find", prefix+name, errors.New("no name of a secret"), "")
	}
	return prefix + name, nil
}

func unserved(kind string) error {
	return driverkit.Refuse("serve", kind, fmt.Errorf("the local secret driver has no kind %q", kind), "")
}

func nameOf(handle string) (string, error) {
	name, ok := strings.CutPrefix(handle, prefix)
	if !ok || !schema.ValidName(name) {
		return "", driverkit.Refuse("find", handle, errors.New("no handle of a secret"), "")
	}
	return name, nil
}

// Observe reads what may be known of each secret; nothing is decrypted.
func (d *Driver) Observe(ctx context.Context, items []drivers.Item) ([]drivers.State, error) {
	d.setup()
	states := make([]drivers.State, len(items))
	for i, it := range items {
		if err := ctx.Err(); err != nil {
			return nil, driverkit.Fail("observe", d.Dir, err)
		}
		var err error
		if it.ID.Kind != Kind {
			err = unserved(it.ID.Kind)
		} else {
			states[i], err = d.look(it.Handle)
		}
		if err != nil {
			states[i] = drivers.State{Err: err}
		}
		states[i].Handle = it.Handle
	}
	return states, nil
}

func (d *Driver) look(handle string) (drivers.State, error) {
	name, err := nameOf(handle)
	if err != nil {
		return drivers.State{}, err
	}
	d.watched.Add(d.folder.Path(name), handle)
	rec, err := d.folder.Get(name)
	if errors.Is(err, fs.ErrNotExist) {
		d.due.drop(handle)
		return drivers.State{}, nil
	}
	if err != nil {
		return drivers.State{}, damaged(d.folder.Path(name), err)
	}
	return d.state(handle, rec)
}

// damaged says of a record that cannot be read what deleting it means.
func damaged(path string, err error) error {
	if !errors.Is(err, records.ErrCorrupt) {
		return driverkit.Fail("read", path, err)
	}
	return driverkit.Refuse("read", path, err, "restore the file from a backup, or delete it to have a new value made")
}

// observed is State.Raw.
type observed struct {
	records.Record[record]
	at time.Time // what is due is judged by it, so that a plan is the same whenever it is made
}

func (d *Driver) state(handle string, rec records.Record[record]) (drivers.State, error) {
	r, now := rec.Value, d.Now()
	out, err := outputs(r.Version, r.Fingerprint)
	if err != nil {
		return drivers.State{}, err
	}
	version := rec.Token
	if due := r.due(); !due.IsZero() {
		if !now.Before(due) {
			version += "-due"
		}
		d.due.set(handle, due)
	} else {
		d.due.drop(handle)
	}
	return drivers.State{
		Handle: handle, Owner: r.Environment, Version: version, Exists: true, Spec: r.Spec, Outputs: out,
		Health: drivers.Health{Status: drivers.Healthy}, Raw: observed{rec, now},
	}, nil
}

// outputs are value and version, as far as they are known.
func outputs(version int, fingerprint string) (map[string]drivers.Output, error) {
	n, err := driverkit.Text(version)
	out := map[string]drivers.Output{"version": {Value: n}}
	if fingerprint != "" {
		out[valueOutput] = drivers.Output{Secret: true, Fingerprint: fingerprint}
	}
	return out, err
}

// List answers every secret in the store.
func (d *Driver) List(ctx context.Context) ([]drivers.State, error) {
	d.setup()
	names, err := d.folder.Names()
	if err != nil {
		return nil, driverkit.Fail("list", d.folder.Dir, err)
	}
	var states []drivers.State
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, driverkit.Fail("list", d.folder.Dir, err)
		}
		state, err := d.look(prefix + name)
		if err != nil {
			state = drivers.State{Handle: prefix + name, Err: err}
		}
		states = append(states, state)
	}
	return states, nil
}

// Reveal decrypts a value, in memory. It is the one that fingerprint tells of;
// ErrStale if it moved since.
func (d *Driver) Reveal(ctx context.Context, item drivers.Item, output, fingerprint string) (schema.Secret, error) {
	d.setup()
	if err := ctx.Err(); err != nil {
		return schema.Secret{}, driverkit.Fail("reveal", item.Handle, err)
	}
	name, err := nameOf(item.Handle)
	if err != nil {
		return schema.Secret{}, err
	}
	if item.ID.Kind != Kind || output != valueOutput {
		return schema.Secret{}, driverkit.Refuse("reveal", item.Handle, fmt.Errorf("%s has no secret output %q", item.ID.Kind, output), "")
	}
	defer d.locks.Lock(item.Handle)()
	rec, err := d.folder.Get(name)
	if errors.Is(err, fs.ErrNotExist) {
		return schema.Secret{}, driverkit.Stale("reveal", item.Handle)
	}
	if err != nil {
		return schema.Secret{}, damaged(d.folder.Path(name), err)
	}
	if fingerprint != rec.Value.Fingerprint {
		return schema.Secret{}, driverkit.Stale("reveal", item.Handle)
	}
	return d.open(name, rec.Value)
}
