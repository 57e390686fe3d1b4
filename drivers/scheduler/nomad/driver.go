// Package nomad drives the scheduler layer on a HashiCorp Nomad cluster: jobs,
// namespaces and variables, by Nomad's HTTP API. What differs of a job is what
// Nomad's own plan says, and nothing is registered where it says nothing; what
// Nomad's plan does not look at is compared here. The package must not know of
// other drivers, of sources or of the reconciler, and imports nothing of Nomad
// but its API client.
package nomad

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/hashicorp/nomad/api"
	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// The kinds that Driver serves.
const (
	KindJob       = "nomad.job"
	KindNamespace = "nomad.namespace"
	KindVariable  = "nomad.variable"
)

// DriverVersion is that of the driver's planning: plans of another version are
// made again.
const DriverVersion = "1"

// Mark is the key that holds the environment's id: in the Meta of a job and of
// a namespace, and among the items of a variable.
const Mark = "aplomb_environment"

// Driver serves the kinds of one Nomad cluster. Its fields are set before its
// first use and not changed after; its methods are safe for concurrent use.
type Driver struct {
	Env         string                        // environment id; required
	URL         string                        // base URL: https://nomad.example.org:4646; required
	Region      string                        // the region to talk to; empty: that of the agent at URL
	Token       func() (schema.Secret, error) // the ACL token, read at each use; nil: none
	TLS         *tls.Config                   // nil: the system's roots
	Fingerprint drivers.Fingerprinter         // required for nomad.variable
	Concurrency int                           // connections at once; zero: drivers.DefaultConcurrency
	Log         logrus.FieldLogger            // nil: silent

	once   sync.Once
	failed error       // of once
	client *api.Client // for calls
	stream *api.Client // for what stays open
	jobs   jobCache
	parsed parseCache
}

var (
	_ drivers.Driver  = (*Driver)(nil)
	_ drivers.Watcher = (*Driver)(nil)
	_ drivers.Lister  = (*Driver)(nil)
	_ drivers.Checker = (*Driver)(nil)
	_ drivers.Needer  = (*Driver)(nil)
)

// Kinds are the kinds that the driver serves.
func (d *Driver) Kinds() []string { return []string{KindJob, KindNamespace, KindVariable} }

func unserved(kind string) error {
	return driverkit.Refuse("serve", kind, fmt.Errorf("there is no such kind in Nomad's driver"), "")
}

// Address implements drivers.Driver.
func (d *Driver) Address(kind, name string, spec json.RawMessage) (string, error) {
	var s struct {
		ID, Namespace, Path, Name string
	}
	if err := json.Unmarshal(spec, &s); err != nil {
		return "", driverkit.Refuse("read", kind+"/"+name, err, "")
	}
	switch kind {
	case KindJob:
		return place{kind, orElse(s.Namespace, api.DefaultNamespace), orElse(s.ID, name)}.handle(), nil
	case KindVariable:
		return place{kind, orElse(s.Namespace, api.DefaultNamespace), orElse(s.Path, name)}.handle(), nil
	case KindNamespace:
		return place{kind, "", orElse(s.Name, name)}.handle(), nil
	default:
		return "", unserved(kind)
	}
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// Observe implements drivers.Driver: one list a kind, and what of the jobs is
// not known yet.
func (d *Driver) Observe(ctx context.Context, items []drivers.Item) ([]drivers.State, error) {
	states := make([]drivers.State, len(items))
	groups := map[string][]int{}
	for i := range items {
		states[i].Handle = items[i].Handle
		p, err := placeOf(items[i].Handle)
		if err != nil || p.kind != items[i].ID.Kind {
			continue // what has no address cannot exist
		}
		groups[p.kind] = append(groups[p.kind], i)
	}
	for _, kind := range d.Kinds() {
		if len(groups[kind]) == 0 {
			continue
		}
		var err error
		switch kind {
		case KindJob:
			err = d.observeJobs(ctx, items, states, groups[kind])
		case KindNamespace:
			err = d.observeNamespaces(ctx, items, states, groups[kind])
		case KindVariable:
			err = d.observeVariables(ctx, items, states, groups[kind])
		}
		if err != nil {
			return nil, err
		}
	}
	return states, nil
}

// Plan implements drivers.Driver.
func (d *Driver) Plan(ctx context.Context, it drivers.Item, state drivers.State) (drivers.Change, error) {
	driverkit.Place(&it, state)
	c := drivers.Change{ID: it.ID, Handle: it.Handle, Action: schema.None}
	if state.Err != nil {
		return c, state.Err
	}
	if err := driverkit.Foreign(state, d.Env); err != nil {
		return c, err
	}
	if state.Exists && state.Raw == nil {
		return c, driverkit.Stale("plan", it.Handle) // it has been where the driver's own is not kept
	}
	switch it.ID.Kind {
	case KindJob:
		return d.planJob(ctx, c, it, state)
	case KindNamespace:
		return d.planNamespace(c, it, state)
	case KindVariable:
		return d.planVariable(c, it, state)
	default:
		return c, unserved(it.ID.Kind)
	}
}

// Apply implements drivers.Driver.
func (d *Driver) Apply(ctx context.Context, c drivers.Change) (drivers.State, error) {
	if c.Action == schema.Deferred {
		return drivers.State{}, driverkit.Stale("apply", c.Handle)
	}
	switch p := c.Opaque.(type) {
	case *jobPlan:
		return d.applyJob(ctx, c, p)
	case *namespacePlan:
		return d.applyNamespace(ctx, c, p)
	case *variablePlan:
		return d.applyVariable(ctx, c, p)
	default:
		return drivers.State{}, driverkit.Stale("apply", c.Handle)
	}
}

// List implements drivers.Lister: what carries a mark.
func (d *Driver) List(ctx context.Context) ([]drivers.State, error) {
	jobs, err := d.listJobs(ctx)
	if err != nil {
		return nil, err
	}
	namespaces, err := d.listNamespaces(ctx)
	if err != nil {
		return nil, err
	}
	variables, err := d.listVariables(ctx)
	return append(append(jobs, namespaces...), variables...), err
}

// setup makes the clients.
func (d *Driver) setup() error {
	d.once.Do(func() {
		if d.client, d.failed = d.dial(d.Concurrency); d.failed == nil {
			d.stream, d.failed = d.dial(streams)
		}
	})
	return d.failed
}
