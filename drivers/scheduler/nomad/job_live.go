package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"sync"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// facts are what is kept of one version of a job: enough to judge its health
// and to plan without reading it again.
type facts struct {
	index         uint64 // JobModifyIndex
	version       uint64
	kind          string // "service", "batch", "system", "sysbatch"
	periodic      bool
	parameterized bool
	stopped       bool
	owner         string
	counts        map[string]int  // by group
	unseen        unseen          // what Nomad's plan does not compare
	tasks         []schema.Path   // of the groups and their tasks
	spec          json.RawMessage // State.Spec
}

func (f *facts) batch() bool { return f.kind == api.JobTypeBatch || f.kind == api.JobTypeSysbatch }

// launches says whether the job itself never runs, but others that Nomad makes
// of it.
func (f *facts) launches() bool { return f.periodic || f.parameterized }

// factsOf takes the facts out of a job, and of the same as Nomad answered it.
func factsOf(j *api.Job, raw json.RawMessage) (*facts, error) {
	f := &facts{
		index: value(j.JobModifyIndex), version: value(j.Version), kind: value(j.Type),
		periodic: j.IsPeriodic(), parameterized: j.IsParameterized(), stopped: value(j.Stop), owner: j.Meta[Mark],
		counts: map[string]int{}, tasks: tasksOf(j),
	}
	for _, g := range j.TaskGroups {
		f.counts[value(g.Name)] = value(g.Count)
	}
	var err error
	if f.unseen, err = unseenOf(j); err != nil {
		return nil, err
	}
	tree, err := jobTree(raw)
	if err != nil {
		return nil, err
	}
	f.spec, err = driverkit.Text(map[string]any{"job": tree})
	return f, err
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

// serverOwned are the fields of a job that Nomad fills in, and that say nothing
// about what was declared.
var serverOwned = []string{
	"Status", "StatusDescription", "Stable", "Version", "SubmitTime", "CreateIndex", "ModifyIndex", "JobModifyIndex",
	"Dispatched", "DispatchIdempotencyToken", "NomadTokenID", "VersionTag", "ParentID", "Payload",
}

// jobTree is a job in the words of the spec: what is unset, what Nomad itself
// keeps in it and the mark are left out.
func jobTree(raw json.RawMessage) (map[string]any, error) {
	tree, err := driverkit.Tree(raw)
	if err != nil {
		return nil, err
	}
	job, ok := tree.(map[string]any)
	if !ok {
		return nil, errors.New("a job is an object")
	}
	for _, name := range serverOwned {
		delete(job, name)
	}
	if stop, _ := job["Stop"].(bool); !stop {
		delete(job, "Stop")
	}
	if meta, ok := job["Meta"].(map[string]any); ok {
		delete(meta, Mark)
	}
	groups, _ := job["TaskGroups"].([]any)
	for _, g := range groups {
		if group, ok := g.(map[string]any); ok {
			policyTree(group["Scaling"])
		}
	}
	prune(job)
	return job, nil
}

// policyTree drops what Nomad gives a scaling policy.
func policyTree(v any) {
	if policy, ok := v.(map[string]any); ok {
		for _, name := range []string{"ID", "CreateIndex", "ModifyIndex", "Namespace", "Target"} {
			delete(policy, name)
		}
	}
}

// prune drops what is unset: null, "", and what is empty.
func prune(v any) (empty bool) {
	switch t := v.(type) {
	case nil:
		return true
	case string:
		return t == ""
	case map[string]any:
		for k, e := range t {
			if prune(e) {
				delete(t, k)
			}
		}
		return len(t) == 0
	case []any:
		for _, e := range t {
			prune(e)
		}
		return len(t) == 0
	}
	return false
}

// jobCache keeps the facts of the jobs that were read, by handle. The zero
// value is ready.
type jobCache struct {
	mu      sync.Mutex
	known   map[string]*facts
	settled map[string]settled
}

// settled is what was concluded of a job when it was looked at closely.
type settled struct {
	index   uint64
	summary string
	look    look
}

func (c *jobCache) get(handle string, index uint64) *facts {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.known[handle]; f != nil && f.index == index {
		return f
	}
	return nil
}

// has says whether a job was read as it was registered at an index, or later.
func (c *jobCache) has(handle string, index uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.known[handle]
	return f != nil && f.index >= index
}

func (c *jobCache) put(handle string, f *facts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil {
		c.known = map[string]*facts{}
	}
	c.known[handle] = f
}

func (c *jobCache) drop(handle string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, handle)
	delete(c.settled, handle)
}

func (c *jobCache) concluded(handle string, index uint64, summary string) (look, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.settled[handle]
	return s.look, ok && s.index == index && s.summary == summary
}

func (c *jobCache) conclude(handle string, s settled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.settled == nil {
		c.settled = map[string]settled{}
	}
	c.settled[handle] = s
}

// readJob reads one job and keeps its facts; nil where there is none.
func (d *Driver) readJob(ctx context.Context, p place) (*api.Job, *facts, error) {
	q, err := d.query(ctx, p.namespace)
	if err != nil {
		return nil, nil, err
	}
	var raw json.RawMessage
	_, err = d.client.Raw().Query("/v1/job/"+url.PathEscape(p.name), &raw, q)
	if isStatus(err, http.StatusNotFound) {
		d.jobs.drop(p.handle())
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fail("read", p.handle(), err)
	}
	job := &api.Job{}
	if err := json.Unmarshal(raw, job); err != nil {
		return nil, nil, driverkit.FailHTTP("read", p.handle(), http.StatusOK, err)
	}
	f, err := factsOf(job, raw)
	if err != nil {
		return nil, nil, driverkit.Refuse("read", p.handle(), err, "")
	}
	d.jobs.put(p.handle(), f)
	return job, f, nil
}
