package nomad

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
)

// look is what a close look at a job says.
type look struct {
	health  drivers.Health
	version version
	quiet   bool // Nomad is at nothing: no evaluation waits, no deployment runs
}

func healthy(f *facts) look {
	return look{health: drivers.Health{Status: drivers.Healthy}, version: version{index: f.index}, quiet: true}
}

func progressing(f *facts, format string, args ...any) look {
	return look{health: drivers.Health{Status: drivers.Progressing, Reason: fmt.Sprintf(format, args...)}, version: version{index: f.index}}
}

// with says other of a look.
func (l look) with(status drivers.HealthStatus, reason string) look {
	l.health = drivers.Health{Status: status, Reason: reason}
	return l
}

// registered is the look of a job that was just written.
func registered(f *facts) look {
	switch {
	case f.launches() && !f.stopped:
		return healthy(f)
	case f.batch():
		l := progressing(f, "registered")
		l.version.state = vBatch
		return l
	default:
		return progressing(f, "registered")
	}
}

// closer looks closely at the jobs of one Observe. What it needs beside the
// list it asks for once, and only if a job's health is open.
type closer struct {
	d      *Driver
	places []place

	once        sync.Once
	deployments map[place][]*api.Deployment
	err         error
}

// look judges a job. A conclusion holds until the job or its summary moves.
func (c *closer) look(ctx context.Context, p place, stub *api.JobListStub, f *facts, last *drivers.Applied) (look, error) {
	summary := summaryOf(stub, last)
	if l, ok := c.d.jobs.concluded(p.handle(), f.index, summary); ok {
		return l, nil
	}
	l, err := c.judge(ctx, p, stub, f, last)
	if err == nil && l.quiet {
		c.d.jobs.conclude(p.handle(), settled{index: f.index, summary: summary, look: l})
	}
	return l, err
}

// summaryOf is all that a look depends on, but for deployments and evaluations.
func summaryOf(stub *api.JobListStub, last *drivers.Applied) string {
	text := append(make([]byte, 0, 64), stub.Status...)
	text = strconv.AppendBool(append(text, ' '), stub.Stop)
	if stub.JobSummary != nil {
		for _, name := range slices.Sorted(maps.Keys(stub.JobSummary.Summary)) {
			g := stub.JobSummary.Summary[name]
			text = append(append(text, ' '), name...)
			for _, n := range [...]int{g.Queued, g.Complete, g.Failed, g.Running, g.Starting, g.Lost, g.Unknown} {
				text = strconv.AppendInt(append(text, ' '), int64(n), 10)
			}
		}
	}
	if last != nil {
		text = append(append(text, ' '), last.Version...)
	}
	return string(text)
}

func (c *closer) judge(ctx context.Context, p place, stub *api.JobListStub, f *facts, last *drivers.Applied) (look, error) {
	var was version
	if last != nil {
		was = parseVersion(last.Version)
	}
	switch {
	case f.stopped:
		l := healthy(f).with(drivers.Unhealthy, "it is stopped")
		if f.batch() && was.ended() { // stopped after its end: it ran all the same
			l.version.state, l.health = was.state, ended(was)
		}
		return l, nil
	case f.launches():
		return healthy(f), nil
	case f.batch():
		return c.batch(ctx, p, stub, f)
	case f.kind == api.JobTypeSystem:
		return c.system(ctx, p, stub, f)
	}
	if l, ok, err := c.reverted(ctx, p, f, was); ok || err != nil {
		return l, err
	}
	return c.service(ctx, p, stub, f)
}

// totals are the allocations of all groups.
func totals(stub *api.JobListStub) api.TaskGroupSummary {
	var t api.TaskGroupSummary
	if stub.JobSummary == nil {
		return t
	}
	for _, g := range stub.JobSummary.Summary {
		t.Queued += g.Queued
		t.Complete += g.Complete
		t.Failed += g.Failed
		t.Running += g.Running
		t.Starting += g.Starting
		t.Lost += g.Lost
		t.Unknown += g.Unknown
	}
	return t
}

func (c *closer) batch(ctx context.Context, p place, stub *api.JobListStub, f *facts) (look, error) {
	t := totals(stub)
	if stub.Status != "dead" {
		l := progressing(f, "%d run, %d ended well, %d failed", t.Running+t.Starting, t.Complete, t.Failed)
		if t.Running+t.Starting == 0 {
			e, err := c.evaluations(ctx, p, f)
			if err != nil {
				return look{}, err
			}
			l.health.Reason = orElse(e.unplaced, l.health.Reason)
		}
		l.version.state = vBatch
		return l, nil
	}
	l := healthy(f)
	l.version.state = vFinished
	var bad []string
	for _, name := range slices.Sorted(maps.Keys(f.counts)) {
		g := groupOf(stub, name)
		if f.kind == api.JobTypeBatch && g.Complete < f.counts[name] || f.kind == api.JobTypeSysbatch && g.Failed+g.Lost > 0 {
			bad = append(bad, fmt.Sprintf("%s: %d ended well, %d failed", name, g.Complete, g.Failed+g.Lost))
		}
	}
	if len(bad) > 0 {
		l = l.with(drivers.Failed, strings.Join(bad, "; "))
		l.version.state = vSpent
	}
	return l, nil
}

// system judges a system job, which has no deployments before Nomad 1.11.
func (c *closer) system(ctx context.Context, p place, stub *api.JobListStub, f *facts) (look, error) {
	t := totals(stub)
	e, err := c.evaluations(ctx, p, f)
	switch {
	case err != nil:
		return look{}, err
	case e.at || t.Starting > 0 || stub.Status == "pending" && !e.done:
		return progressing(f, "%d run, %d start", t.Running, t.Starting), nil
	case t.Queued > 0 || e.unplaced != "":
		return progressing(f, "%s", orElse(e.unplaced, fmt.Sprintf("%d wait to be placed", t.Queued))), nil
	}
	if same, err := c.steady(ctx, p, stub, true); !same || err != nil {
		return progressing(f, "%d run", t.Running), err
	}
	l := healthy(f)
	l.version.state, l.version.rest = vRunning, strconv.Itoa(t.Running)
	if t.Running == 0 && t.Failed+t.Lost > 0 {
		return l.with(drivers.Unhealthy, fmt.Sprintf("none runs, %d failed", t.Failed+t.Lost)), nil
	}
	return l, nil
}

// service judges a service by the deployment of exactly its version, and, that
// being over, by what runs of it.
func (c *closer) service(ctx context.Context, p place, stub *api.JobListStub, f *facts) (look, error) {
	t, want := totals(stub), 0
	for _, n := range f.counts {
		want += n
	}
	if want == 0 {
		switch {
		case t.Running+t.Starting > 0:
			return progressing(f, "%d run still", t.Running+t.Starting), nil
		case stub.Status == "pending":
			return c.pending(ctx, p, f)
		}
		return healthy(f), nil
	}
	dep, err := c.deployment(ctx, p, f.index)
	if err != nil {
		return look{}, err
	}
	if dep != nil && dep.Status != api.DeploymentStatusSuccessful {
		return c.deploying(ctx, p, f, dep)
	}
	return c.running(ctx, p, stub, f, dep != nil)
}

// pending judges a job that wants nothing to run and that Nomad calls pending.
// Nomad takes a job's evaluations by the prefix of its id: while one of web-1 is
// not over when that of web ends, web stays pending until it is registered
// again. So its own evaluations are asked.
func (c *closer) pending(ctx context.Context, p place, f *facts) (look, error) {
	e, err := c.evaluations(ctx, p, f)
	if err != nil || e.done && !e.at {
		return healthy(f), err
	}
	return progressing(f, "not evaluated yet"), nil
}

// running judges what runs of a version whose deployment, if it has one, is
// over.
func (c *closer) running(ctx context.Context, p place, stub *api.JobListStub, f *facts, deployed bool) (look, error) {
	var short, lost []string
	for _, name := range slices.Sorted(maps.Keys(f.counts)) {
		g, n := groupOf(stub, name), f.counts[name]
		if g.Running < n {
			short = append(short, fmt.Sprintf("%s: %d of %d run", name, g.Running, n))
		}
		if g.Running+g.Starting+g.Unknown < n {
			lost = append(lost, name)
		}
	}
	if deployed && len(short) == 0 {
		return healthy(f), nil
	}
	e, err := c.evaluations(ctx, p, f)
	switch {
	case err != nil:
		return look{}, err
	case e.unplaced != "":
		return progressing(f, "%s", e.unplaced), nil
	case e.at || !deployed && !e.done:
		return progressing(f, "%s", orElse(strings.Join(short, "; "), "being evaluated")), nil
	case len(short) > 0 && len(lost) == 0:
		return progressing(f, "%s", strings.Join(short, "; ")), nil
	}
	if same, err := c.steady(ctx, p, stub, deployed); !same || err != nil {
		return progressing(f, "%s", orElse(strings.Join(short, "; "), "being placed")), err
	}
	if len(short) == 0 {
		return healthy(f), nil
	}
	l := healthy(f).with(drivers.Unhealthy, strings.Join(short, "; ")+", and Nomad replaces nothing")
	l.version.state, l.version.rest = vMissing, strings.Join(lost, ",")
	return l, nil
}

// groupOf is the summary of one group; zero where Nomad gives none.
func groupOf(stub *api.JobListStub, name string) api.TaskGroupSummary {
	if stub.JobSummary == nil {
		return api.TaskGroupSummary{}
	}
	return stub.JobSummary.Summary[name]
}
