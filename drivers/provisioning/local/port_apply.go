package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/internal/records"
)

// PortRange is a range of TCP ports, both ends included.
type PortRange struct{ First, Last int }

// DefaultPorts lies below what the system hands out for outgoing connections,
// which on Linux starts at 32768.
var DefaultPorts = PortRange{20000, 29999}

// registry is the ports that are kept, and who has which.
type registry struct {
	folder  records.Folder[portRecord]
	span    PortRange
	scanner *scanner

	choosing sync.Mutex       // one port is chosen at a time
	used     map[string][]int // handle -> its port; nil: not read yet
	mu       sync.Mutex       // guards known
	known    map[string]bool  // handle that was observed -> taken by somebody else
}

func (r *registry) setup(d *Driver) {
	r.folder = records.Folder[portRecord]{Dir: filepath.Join(d.Dir, "ports"), Check: checkPort}
	r.span = d.Ports
	if r.span == (PortRange{}) {
		r.span = DefaultPorts
	}
	r.scanner = newScanner(d.Proc, d.Env)
	r.known = map[string]bool{}
}

func (r *registry) sockets() *sockets { return &sockets{scanner: r.scanner} }

func (r *registry) saw(handle string, taken bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[handle] = taken
}

func (r *registry) forget(handle string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, handle)
}

func (d *Driver) applyPort(ctx context.Context, c drivers.Change) (drivers.State, error) {
	plan, ok := c.Opaque.(portPlan)
	name, err := trim(c.Handle, portPrefix)
	if err != nil {
		return drivers.State{}, err
	}
	if !ok || plan.unknown {
		return drivers.State{}, driverkit.Stale("apply", c.Handle)
	}
	d.ports.choosing.Lock()
	defer d.ports.choosing.Unlock()
	live, err := d.ports.folder.Get(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return drivers.State{}, driverkit.Fail("read", d.ports.folder.Path(name), err)
	}
	if plan.delete {
		return d.deletePort(name, c.Handle, live, plan)
	}
	if live.Token != plan.token {
		if live.Value != nil && landed(*live.Value, plan.want) {
			return d.observePort(d.ports.sockets(), c.Handle)
		}
		return drivers.State{}, driverkit.Stale("keep", c.Handle)
	}
	if err := d.pick(ctx, &plan.want); err != nil {
		return drivers.State{}, err
	}
	write := d.ports.folder.Replace
	if live.Value == nil {
		write = d.ports.folder.Create
	}
	if _, err := write(name, plan.want); errors.Is(err, fs.ErrExist) {
		return drivers.State{}, driverkit.Stale("keep", c.Handle)
	} else if err != nil {
		return drivers.State{}, driverkit.Fail("write", d.ports.folder.Path(name), err)
	}
	d.ports.used[name] = []int{plan.want.Port}
	return d.observePort(d.ports.sockets(), c.Handle)
}

// landed says whether a record is what a plan wanted, whichever port it chose.
func landed(r, want portRecord) bool {
	if want.Port == 0 {
		want.Port = r.Port
	}
	return r == want
}

func (d *Driver) deletePort(name, handle string, live records.Record[portRecord], plan portPlan) (drivers.State, error) {
	gone := drivers.State{Handle: handle}
	if live.Value != nil && live.Token != plan.token {
		return gone, driverkit.Stale("delete", handle)
	}
	d.watched.Remove(d.ports.folder.Path(name))
	d.ports.forget(handle)
	if err := d.ports.folder.Delete(name); err != nil {
		return gone, driverkit.Fail("delete", d.ports.folder.Path(name), err)
	}
	delete(d.ports.used, name)
	return gone, nil
}

// pick checks a declared port against the registry, or chooses a free one.
func (d *Driver) pick(ctx context.Context, want *portRecord) error {
	used, err := d.ports.inUse(want.Name)
	if err != nil {
		return driverkit.Fail("read", d.ports.folder.Dir, err)
	}
	if want.Port != 0 {
		if other := used[want.Port]; want.Fixed && other != "" {
			return driverkit.Refuse("keep", want.address(), fmt.Errorf("port %d is kept by port/%s", want.Port, other), "declare another number, or none")
		}
		return nil
	}
	span := d.ports.span
	n := span.Last - span.First + 1
	if n < 1 {
		return driverkit.Refuse("choose", portPrefix+want.Name, fmt.Errorf("the range of ports %d-%d is empty", span.First, span.Last), "")
	}
	start := rand.IntN(n) //nolint:gosec // nothing depends on it being hard to guess
	for i := range n {
		port := span.First + (start+i)%n
		if used[port] == "" && free(ctx, want.Host, port) {
			want.Port = port
			return nil
		}
	}
	return &drivers.Error{Op: "choose", Subject: portPrefix + want.Name, Class: drivers.ErrRetryable, Err: fmt.Errorf("none of the ports %d-%d is free on %s", span.First, span.Last, want.Host)}
}

// free tries the port out.
func free(ctx context.Context, host string, port int) bool {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// inUse is who keeps which port, but for the record name. A damaged record
// keeps no port: what listens is found by trying.
func (r *registry) inUse(name string) (map[int]string, error) {
	if r.used == nil {
		names, err := r.folder.Names()
		if err != nil {
			return nil, err
		}
		r.used = map[string][]int{}
		for _, n := range names {
			if rec, err := r.folder.Get(n); err == nil {
				r.used[n] = []int{rec.Value.Port}
			}
		}
	}
	by := map[int]string{}
	for n, ports := range r.used {
		for _, p := range ports {
			if n != name {
				by[p] = n
			}
		}
	}
	return by, nil
}

func (d *Driver) listPorts() ([]drivers.State, error) {
	names, err := d.ports.folder.Names()
	if err != nil {
		return nil, driverkit.Fail("list", d.ports.folder.Dir, err)
	}
	var states []drivers.State
	sockets := d.ports.sockets()
	for _, n := range names {
		state, err := d.observePort(sockets, portPrefix+n)
		if err != nil {
			state = drivers.State{Handle: portPrefix + n, Err: err}
		}
		states = append(states, state)
	}
	return states, nil
}
