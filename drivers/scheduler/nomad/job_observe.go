package nomad

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
)

// fewItems is up to how many items are asked for by name instead of listing
// all that lives.
const fewItems = 16

// observedJob is State.Raw of a job.
type observedJob struct {
	facts *facts
	look  look
	ended bool // a batch that ran, and that Nomad no longer has
}

// observeJobs fills in the states of the items at these indices: one list, the
// deployments where the health of one is open, and what has moved since it was
// read last.
func (d *Driver) observeJobs(ctx context.Context, items []drivers.Item, states []drivers.State, at []int) error {
	places := make([]place, len(at))
	for n, i := range at {
		places[n], _ = placeOf(items[i].Handle) // Observe has looked
	}
	stubs, err := d.jobStubs(ctx, places)
	if err != nil {
		return err
	}
	c := &closer{d: d, places: places}
	var open []int // those that ask for more than the list
	for n, i := range at {
		if s, ok := d.asBefore(places[n], stubs[places[n]], items[i]); ok {
			states[i] = s
			continue
		}
		open = append(open, n)
	}
	d.each(len(open), func(k int) {
		n := open[k]
		i := at[n]
		if stub := stubs[places[n]]; stub != nil {
			states[i] = d.observeJob(ctx, c, places[n], stub, items[i])
			return
		}
		states[i] = d.absentJob(ctx, places[n], items[i])
	})
	return nil
}

// asBefore is the state of a job of which the list says that it is as it was
// when it was looked at closely, or that it never was.
func (d *Driver) asBefore(p place, stub *api.JobListStub, it drivers.Item) (drivers.State, bool) {
	if stub == nil {
		return drivers.State{Handle: it.Handle}, it.Last == nil
	}
	f := d.jobs.get(it.Handle, stub.JobModifyIndex)
	if f == nil {
		return drivers.State{}, false
	}
	l, ok := d.jobs.concluded(it.Handle, f.index, summaryOf(stub, it.Last))
	return jobState(p, f, l), ok
}

// each calls f for 0 to n-1, as many at once as there may be connections.
func (d *Driver) each(n int, f func(int)) {
	limit := d.Concurrency
	if limit == 0 {
		limit = drivers.DefaultConcurrency
	}
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(n, limit) {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// jobStubs lists the jobs at these places, or all there are, by place. What
// Nomad itself launched of another job is left out.
func (d *Driver) jobStubs(ctx context.Context, places []place) (map[place]*api.JobListStub, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	q, err := d.query(ctx, api.AllNamespacesNamespace)
	if err != nil {
		return nil, err
	}
	q.Filter = filter("ID", places)
	list, _, err := d.client.Jobs().ListOptions(&api.JobListOptions{Fields: &api.JobListFields{Meta: true}}, q)
	if err != nil {
		return nil, fail("list", "jobs", err)
	}
	stubs := make(map[place]*api.JobListStub, len(list))
	for _, s := range list {
		if s.ParentID == "" {
			stubs[place{KindJob, orElse(s.Namespace, api.DefaultNamespace), s.ID}] = s
		}
	}
	return stubs, nil
}

// filter asks for a few places by name; "" asks for all.
func filter(id string, places []place) string {
	if len(places) > fewItems {
		return ""
	}
	var all []string
	for _, p := range places {
		if strings.ContainsAny(p.name+p.namespace, "\"`\\") {
			return ""
		}
		all = append(all, fmt.Sprintf("(Namespace == %q and %s == %q)", p.namespace, id, p.name))
	}
	return strings.Join(all, " or ")
}

// observeJob is the state of a job that lives.
func (d *Driver) observeJob(ctx context.Context, c *closer, p place, stub *api.JobListStub, it drivers.Item) drivers.State {
	broken := func(err error) drivers.State { return drivers.State{Handle: p.handle(), Err: err} }
	f := d.jobs.get(p.handle(), stub.JobModifyIndex)
	if f == nil {
		var err error
		if _, f, err = d.readJob(ctx, p); err != nil {
			return broken(err)
		}
		if f == nil { // it went meanwhile
			return d.absentJob(ctx, p, it)
		}
	}
	l, err := c.look(ctx, p, stub, f, it.Last)
	if err != nil {
		return broken(err)
	}
	return jobState(p, f, l)
}

func jobState(p place, f *facts, l look) drivers.State {
	return drivers.State{
		Handle: p.handle(), Exists: true, Owner: f.owner, Version: l.version.String(), Spec: f.spec, Health: l.health,
		Outputs: jobOutputs(p, strconv.FormatUint(f.version, 10)), Raw: &observedJob{facts: f, look: l},
	}
}

// jobOutputs are the outputs of a job; version "" is not known.
func jobOutputs(p place, version string) map[string]drivers.Output {
	outputs := map[string]drivers.Output{"id": {Value: quote(p.name)}, "namespace": {Value: quote(p.namespace)}}
	if version != "" {
		outputs["version"] = drivers.Output{Value: json.RawMessage(version)}
	}
	return outputs
}

func quote(s string) json.RawMessage {
	text, err := driverkit.Text(s)
	if err != nil { // a string always marshals
		return json.RawMessage(`""`)
	}
	return text
}

// absentJob is the state of a job that is in no list. A list leaves out what
// the token may not see, so what was applied once is asked for by name. A
// batch that ran is no more wanted than it is there: Nomad forgets jobs that
// have ended, and that one ran is in the inventory.
func (d *Driver) absentJob(ctx context.Context, p place, it drivers.Item) drivers.State {
	gone := drivers.State{Handle: p.handle()}
	if it.Last == nil {
		return gone
	}
	job, f, err := d.readJob(ctx, p)
	if err != nil {
		gone.Err = err
		return gone
	}
	if job != nil { // it came meanwhile
		return jobState(p, f, registered(f))
	}
	last := parseVersion(it.Last.Version)
	if it.Want == nil || !last.ranOnce() {
		return gone
	}
	return drivers.State{
		Handle: p.handle(), Exists: true, Owner: d.Env, Version: it.Last.Version, Spec: it.Last.Spec, Health: ended(last),
		Outputs: jobOutputs(p, "0"), Raw: &observedJob{ended: true, look: look{version: last}},
	}
}

// ended is the health of a batch that Nomad no longer has.
func ended(last version) drivers.Health {
	switch last.state {
	case vFinished:
		return drivers.Health{Status: drivers.Healthy, Reason: "it finished, and Nomad no longer keeps it"}
	case vSpent:
		return drivers.Health{Status: drivers.Failed, Reason: "it failed, and Nomad no longer keeps it; another declaration runs it again"}
	default:
		return drivers.Health{Status: drivers.Failed, Reason: "it is gone, and nobody saw it end; another declaration runs it again"}
	}
}

// listJobs are the jobs that carry a mark.
func (d *Driver) listJobs(ctx context.Context) ([]drivers.State, error) {
	stubs, err := d.jobStubs(ctx, make([]place, fewItems+1))
	if err != nil {
		return nil, err
	}
	var all []drivers.State
	for p, s := range stubs {
		if owner := s.Meta[Mark]; owner != "" {
			all = append(all, drivers.State{
				Handle: p.handle(), Exists: true, Owner: owner, Version: version{index: s.JobModifyIndex}.String(),
				Health: drivers.Health{Status: drivers.Healthy},
			})
		}
	}
	return sortStates(all), nil
}
