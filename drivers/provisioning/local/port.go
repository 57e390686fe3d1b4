package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"strconv"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/internal/records"
	"github.com/aplomb-dev/aplomb/schema"
)

const (
	portPrefix = "port/"

	numberPath schema.Path = "/number"
	hostPath   schema.Path = "/host"
	chosenPath schema.Path = "/!port" // the number that is chosen where none is declared
)

// portRecord is a port in the registry.
type portRecord struct {
	Format      int    `json:"format"`
	Environment string `json:"environment"`
	Name        string `json:"name"`
	Host        string `json:"host"`
	Port        int    `json:"port"`
	Fixed       bool   `json:"fixed"` // declared, not chosen
}

func checkPort(name string, r *portRecord) error {
	switch {
	case r.Format != 1:
		return fmt.Errorf("format %d is not known", r.Format)
	case r.Name != name:
		return fmt.Errorf("it is the record of %q", r.Name)
	case r.Port < 1 || r.Port > 65535:
		return fmt.Errorf("port %d", r.Port)
	case r.Host == "":
		return errors.New("no host")
	}
	return nil
}

func (r portRecord) address() string { return net.JoinHostPort(r.Host, strconv.Itoa(r.Port)) }

// livePort is State.Raw of a port.
type livePort struct {
	record portRecord
	token  string
	taken  string // who else listens on it; "" for nobody
}

type portSpec struct {
	Number int    `json:"number"`
	Host   string `json:"host"`
}

// portPlan is Change.Opaque of a port.
type portPlan struct {
	delete, unknown bool
	token           string     // of the record when it was planned; "" for none
	want            portRecord // Port 0: choose one
}

func (d *Driver) observePort(sockets *sockets, handle string) (drivers.State, error) {
	name, err := trim(handle, portPrefix)
	if err != nil {
		return drivers.State{}, err
	}
	d.watched.Add(d.ports.folder.Path(name), handle)
	rec, err := d.ports.folder.Get(name)
	if errors.Is(err, fs.ErrNotExist) {
		return drivers.State{}, nil
	}
	if err != nil {
		return drivers.State{}, driverkit.Fail("read", d.ports.folder.Path(name), err)
	}
	taken, err := sockets.foreign(*rec.Value)
	if err != nil {
		return drivers.State{}, driverkit.Fail("look who listens on", rec.Value.address(), err)
	}
	d.ports.saw(handle, taken != "")
	return portState(handle, rec, taken)
}

func portState(handle string, rec records.Record[portRecord], taken string) (drivers.State, error) {
	r := *rec.Value
	words := map[string]any{"host": r.Host}
	health := drivers.Health{Status: drivers.Healthy}
	version := rec.Token
	if r.Fixed {
		words["number"] = r.Port
	}
	if taken != "" {
		version += "-taken"
		health = drivers.Health{Status: drivers.Unhealthy, Reason: fmt.Sprintf("%s is listened on by %s, which is not of this environment", r.address(), taken)}
		if r.Fixed { // another is moved
			health.Status = drivers.Failed
		}
	}
	spec, err := driverkit.Text(words)
	return drivers.State{
		Handle: handle, Owner: r.Environment, Version: version, Exists: true, Spec: spec,
		Outputs: portOutputs(r.Host, r.Port), Health: health, Raw: livePort{r, rec.Token, taken},
	}, err
}

// portOutputs are the outputs as far as host and number are known.
func portOutputs(host string, port int) map[string]drivers.Output {
	out := map[string]drivers.Output{}
	if port == 0 {
		return out
	}
	out["port"] = drivers.Output{Value: json.RawMessage(strconv.Itoa(port))}
	if host != "" {
		address, err := driverkit.Text(net.JoinHostPort(host, strconv.Itoa(port)))
		if err == nil {
			out["address"] = drivers.Output{Value: address}
		}
	}
	return out
}

// planPort compares. Which port is free is found when it is taken, since only
// then is it certain: until then the outputs are unknown.
func (d *Driver) planPort(it drivers.Item, state drivers.State) (drivers.Change, error) {
	c := drivers.Change{ID: it.ID, Handle: it.Handle, Action: schema.None}
	live, _ := state.Raw.(livePort)
	if err := driverkit.Foreign(state, d.Env); err != nil {
		return c, err
	}
	if it.Want == nil {
		c.Opaque = portPlan{delete: true, token: live.token}
		driverkit.Deletion(&c, state)
		return c, nil
	}
	want, err := d.wantedPort(it)
	if err != nil {
		return c, err
	}
	fixed := want.Port != 0
	_, numberUnknown := it.Want.Unknown[numberPath]
	if c.Diff, err = driverkit.Diff(state.Spec, it.Want.Spec, it.Want.Unknown); err != nil {
		return c, driverkit.Refuse("read", it.Handle, err, "")
	}
	if !fixed && !numberUnknown {
		d.choice(&c, &want, state.Exists, live)
	}
	if state.Exists && state.Owner == "" {
		c.Diff = append(c.Diff, driverkit.MarkDelta(d.Env))
	}
	c.Outputs = portOutputs(want.Host, want.Port)
	driverkit.Decide(&c, it, state, it.Last != nil || state.Owner == d.Env)
	if live.taken != "" && !fixed {
		c.Why = live.taken + " listens on it"
	}
	c.Opaque = portPlan{unknown: len(it.Want.Unknown) > 0, token: live.token, want: want}
	return c, nil
}

// choice keeps the port that lives, or says that one will be chosen.
func (d *Driver) choice(c *drivers.Change, want *portRecord, exists bool, live livePort) {
	if exists && live.taken == "" {
		want.Port = live.record.Port
		return
	}
	delta := drivers.Delta{Path: chosenPath, Op: schema.Create, After: json.RawMessage(`"a free port"`)}
	if exists {
		delta.Op, delta.Before = schema.Update, json.RawMessage(strconv.Itoa(live.record.Port))
	}
	c.Diff = append(c.Diff, delta)
}

func (d *Driver) wantedPort(it drivers.Item) (portRecord, error) {
	name, err := trim(it.Handle, portPrefix)
	if err != nil {
		return portRecord{}, err
	}
	var s portSpec
	if err := driverkit.Decode(it.Want, &s); err != nil {
		return portRecord{}, driverkit.Refuse("read", it.Handle, err, "")
	}
	_, hostUnknown := it.Want.Unknown[hostPath]
	if s.Host == "" && !hostUnknown {
		s.Host = "127.0.0.1"
	}
	if s.Number < 0 || s.Number > 65535 {
		return portRecord{}, driverkit.Refuse("read", it.Handle, fmt.Errorf("%d is not a port", s.Number), "")
	}
	if _, err := netip.ParseAddr(s.Host); err != nil && s.Host != "localhost" && !hostUnknown {
		return portRecord{}, driverkit.Refuse("read", it.Handle, fmt.Errorf("the host %q is neither an IP address nor localhost", s.Host), "")
	}
	return portRecord{Format: 1, Environment: d.Env, Name: name, Host: s.Host, Port: s.Number, Fixed: s.Number != 0}, nil
}
