// Package local drives the mesh layer of one machine without a server:
// local.service is an entry in a registry, with checks that this driver runs
// and that make up the entry's health. It must not know of other drivers, of
// sources or of the reconciler, nor what serves behind an address.
package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
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
const Kind = "local.service"

const prefix = "service/"

// Driver serves local.service. The fields are set before its first use and not
// changed after; its methods are safe for concurrent use. One process at a
// time may use a data folder.
type Driver struct {
	Env      string             // environment id; required
	Dir      string             // data folder of this driver; required, absolute
	Log      logrus.FieldLogger // nil: silent
	Now      func() time.Time   // nil: time.Now
	Parallel int                // checks at once; zero: 64

	once    sync.Once
	locks   driverkit.Locks
	folder  records.Folder[record]
	watched pathwatch.Set
	checker checker
}

var (
	_ drivers.Driver  = (*Driver)(nil)
	_ drivers.Watcher = (*Driver)(nil)
	_ drivers.Lister  = (*Driver)(nil)
	_ drivers.Checker = (*Driver)(nil)
)

// record is an entry of the registry.
type record struct {
	Format      int             `json:"format"`
	Environment string          `json:"environment"`
	Spec        json.RawMessage `json:"spec"` // normalised: service is always said

	service serviceSpec // Spec, read
	probes  []probe     // its checks
}

type serviceSpec struct {
	Service string      `json:"service"`
	Address string      `json:"address"`
	Port    int         `json:"port"`
	Tags    []string    `json:"tags"`
	Checks  []checkSpec `json:"checks"`
}

func (s serviceSpec) endpoint() string { return net.JoinHostPort(s.Address, strconv.Itoa(s.Port)) }

func checkRecord(name string, r *record) error {
	if r.Format != 1 {
		return fmt.Errorf("format %d is not known", r.Format)
	}
	normal, s, err := normalise(r.Spec, name)
	if err != nil {
		return err
	}
	if s.Service != name {
		return fmt.Errorf("it is the record of %q", s.Service)
	}
	if r.probes, err = s.probes(); err != nil {
		return err
	}
	r.Spec, r.service = normal, s
	return s.check()
}

// normalise says the service's name, also where the declaration leaves it to
// the resource's, so that a rename that keeps the address differs in nothing.
func normalise(spec json.RawMessage, name string) (json.RawMessage, serviceSpec, error) {
	var s serviceSpec
	tree, err := driverkit.Tree(spec)
	if err != nil {
		return nil, s, err
	}
	words, ok := tree.(map[string]any)
	if !ok {
		return nil, s, errors.New("the spec is no object")
	}
	if words["service"] == nil {
		words["service"] = name
	}
	normal, err := driverkit.Text(words)
	if err != nil {
		return nil, s, err
	}
	s.Address = "127.0.0.1"
	return normal, s, driverkit.Decode(&drivers.Desired{Spec: normal}, &s)
}

func (s serviceSpec) check() error {
	if s.Port < 1 || s.Port > 65535 {
		return fmt.Errorf("%d is not a port", s.Port)
	}
	if s.Address == "" || strings.ContainsAny(s.Address, "/@?# ") {
		return fmt.Errorf("%q is not an address", s.Address)
	}
	return nil
}

// Check says what is wrong with a declaration, without looking at anything;
// a part of it with a reference is not judged.
func (d *Driver) Check(kind, name string, want drivers.Desired) error {
	if kind != Kind {
		return unserved(kind)
	}
	s := serviceSpec{Address: "127.0.0.1"}
	err := driverkit.Decode(&want, &s)
	if _, unknown := want.Unknown["/port"]; unknown {
		s.Port = 1
	}
	if _, unknown := want.Unknown["/address"]; unknown {
		s.Address = "127.0.0.1"
	}
	for p := range want.Unknown {
		if p.Within("/checks") {
			s.Checks = nil
		}
	}
	if err == nil {
		err = s.check()
	}
	if err == nil {
		_, err = s.probes()
	}
	if err != nil {
		return driverkit.Refuse("read", prefix+name, err, "")
	}
	return nil
}

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
		d.folder = records.Folder[record]{Dir: filepath.Join(d.Dir, "services"), Check: checkRecord}
		d.watched.Log = d.Log
		d.checker.init(d.Parallel, d.Now)
	})
}

// Address is service/NAME, where NAME is spec.service or the resource's name.
func (d *Driver) Address(kind, name string, spec json.RawMessage) (string, error) {
	if kind != Kind {
		return "", unserved(kind)
	}
	var s struct {
		Service string `json:"service"`
	}
	if err := json.Unmarshal(spec, &s); err != nil {
		return "", driverkit.Refuse("read", prefix+name, fmt.Errorf("service: %w", err), "")
	}
	if s.Service != "" {
		name = s.Service
	}
	if _, err := nameOf(prefix + name); err != nil {
		return "", err
	}
	return prefix + name, nil
}

func nameOf(handle string) (string, error) {
	name, ok := strings.CutPrefix(handle, prefix)
	if !ok || !schema.ValidName(name) {
		return "", driverkit.Refuse("find", handle, errors.New("no name of a service (lower-case letters, digits and inner hyphens, at most 63; no reference)"), "")
	}
	return name, nil
}

func unserved(kind string) error {
	return driverkit.Refuse("serve", kind, fmt.Errorf("the local mesh driver has no kind %q", kind), "")
}

// Observe reads the entries and the last results of their checks. A check that
// has no fresh result, as before Watch runs, is run here.
func (d *Driver) Observe(ctx context.Context, items []drivers.Item) ([]drivers.State, error) {
	d.setup()
	states := make([]drivers.State, len(items))
	found := make([]records.Record[record], len(items))
	var stale []probed
	for i, it := range items {
		rec, err := d.find(it)
		if err != nil {
			states[i].Err = err
		} else if rec.Value != nil {
			found[i] = rec
			stale = append(stale, d.checker.stale(it.Handle, rec.Value.probes)...)
		}
	}
	d.checker.runAll(ctx, stale)
	if err := ctx.Err(); err != nil {
		return nil, driverkit.Fail("observe", d.folder.Dir, err)
	}
	for i, it := range items {
		if found[i].Value != nil {
			states[i] = d.state(it.Handle, found[i])
		}
		states[i].Handle = it.Handle
	}
	return states, nil
}

// find reads an entry; one that is not there is the zero record.
func (d *Driver) find(it drivers.Item) (records.Record[record], error) {
	if it.ID.Kind != Kind {
		return records.Record[record]{}, unserved(it.ID.Kind)
	}
	name, err := nameOf(it.Handle)
	if err != nil {
		return records.Record[record]{}, err
	}
	d.watched.Add(d.folder.Path(name), it.Handle)
	rec, err := d.folder.Get(name)
	if errors.Is(err, fs.ErrNotExist) {
		d.checker.forget(it.Handle)
		return records.Record[record]{}, nil
	}
	if err != nil {
		return rec, driverkit.Fail("read", d.folder.Path(name), err)
	}
	d.checker.follow(it.Handle, rec)
	return rec, nil
}

func (d *Driver) state(handle string, rec records.Record[record]) drivers.State {
	return drivers.State{
		Handle: handle, Owner: rec.Value.Environment, Version: rec.Token, Exists: true, Spec: rec.Value.Spec,
		Outputs: outputs(rec.Value.service), Health: d.checker.health(handle, rec.Value.probes), Raw: rec,
	}
}

// outputs are the outputs as far as address and port are known.
func outputs(s serviceSpec) map[string]drivers.Output {
	out := map[string]drivers.Output{}
	put := func(name string, v any) {
		if text, err := driverkit.Text(v); err == nil { // strings and numbers always marshal
			out[name] = drivers.Output{Value: text}
		}
	}
	if s.Address != "" {
		put("address", s.Address)
	}
	if s.Port != 0 {
		put("port", s.Port)
	}
	if s.Address != "" && s.Port != 0 {
		put("endpoint", s.endpoint())
	}
	return out
}

// List answers every entry of the registry.
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
		rec, err := d.folder.Get(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			states = append(states, drivers.State{Handle: prefix + name, Err: driverkit.Fail("read", d.folder.Path(name), err)})
		default:
			states = append(states, d.state(prefix+name, rec))
		}
	}
	return states, nil
}
