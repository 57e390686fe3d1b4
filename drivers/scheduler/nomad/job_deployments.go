package nomad

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
)

// of are the deployments of a job, newest first. All are listed at once, the
// first time that somebody asks.
func (c *closer) of(ctx context.Context, p place) ([]*api.Deployment, error) {
	c.once.Do(func() {
		ctx, cancel := bounded(ctx)
		defer cancel()
		q, err := c.d.query(ctx, api.AllNamespacesNamespace)
		if err != nil {
			c.err = err
			return
		}
		q.Filter = filter("JobID", c.places)
		list, _, err := c.d.client.Deployments().List(q)
		if err != nil {
			c.err = fail("list", "deployments", err)
			return
		}
		slices.SortFunc(list, func(a, b *api.Deployment) int { return cmp.Compare(b.CreateIndex, a.CreateIndex) })
		c.deployments = map[place][]*api.Deployment{}
		for _, d := range list {
			at := place{KindJob, d.Namespace, d.JobID}
			c.deployments[at] = append(c.deployments[at], d)
		}
	})
	return c.deployments[p], c.err
}

// deployment is that of exactly one version of a job, or nil.
func (c *closer) deployment(ctx context.Context, p place, index uint64) (*api.Deployment, error) {
	all, err := c.of(ctx, p)
	for _, d := range all {
		if d.JobSpecModifyIndex == index {
			return d, nil
		}
	}
	return nil, err
}

// deploying judges a deployment that has not succeeded.
func (c *closer) deploying(ctx context.Context, p place, f *facts, dep *api.Deployment) (look, error) {
	var said []string
	placed := true
	for _, name := range slices.Sorted(maps.Keys(dep.TaskGroups)) {
		g := dep.TaskGroups[name]
		said = append(said, fmt.Sprintf("%s: %d of %d healthy", name, g.HealthyAllocs, g.DesiredTotal))
		placed = placed && g.PlacedAllocs >= g.DesiredTotal
	}
	switch dep.Status {
	case api.DeploymentStatusFailed, api.DeploymentStatusCancelled:
		l := healthy(f).with(drivers.Failed, fmt.Sprintf("the deployment of version %d has %s: %s; %s", dep.JobVersion, became(dep.Status), dep.StatusDescription, strings.Join(said, "; ")))
		return l, nil
	}
	l := progressing(f, "%s", orElse(strings.Join(said, "; "), dep.StatusDescription))
	if strings.Contains(dep.StatusDescription, "promotion") {
		l.health.Reason += "; it waits to be promoted"
	}
	if placed {
		return l, nil
	}
	e, err := c.evaluations(ctx, p, f)
	l.health.Reason = orElse(e.unplaced, l.health.Reason)
	return l, err
}

func became(status string) string {
	if status == api.DeploymentStatusCancelled {
		return "been cancelled"
	}
	return status
}

// reverted says whether what lives is what Nomad itself went back to after the
// version that was applied last had failed.
func (c *closer) reverted(ctx context.Context, p place, f *facts, was version) (look, bool, error) {
	l := healthy(f)
	l.version.state = vReverted
	switch {
	case was.index == 0 || was.index > f.index:
		return look{}, false, nil
	case was.index == f.index && was.state != vReverted:
		return look{}, false, nil
	case was.index == f.index:
		return l.with(drivers.Failed, fmt.Sprintf("what was declared failed, and Nomad went back: version %d runs", f.version)), true, nil
	}
	dep, err := c.deployment(ctx, p, was.index)
	if err != nil || dep == nil || dep.Status != api.DeploymentStatusFailed || dep.JobVersion+1 != f.version || !strings.Contains(dep.StatusDescription, "rolling back") {
		return look{}, false, err
	}
	return l.with(drivers.Failed, fmt.Sprintf("version %d failed (%s); version %d runs", dep.JobVersion, dep.StatusDescription, f.version)), true, nil
}

// evaluations say whether Nomad is at a job.
type evaluations struct {
	at       bool   // one is pending, or waits for its time
	done     bool   // the version was evaluated
	unplaced string // why allocations cannot be placed
}

func (c *closer) evaluations(ctx context.Context, p place, f *facts) (evaluations, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	q, err := c.d.query(ctx, p.namespace)
	if err != nil {
		return evaluations{}, err
	}
	list, _, err := c.d.client.Jobs().Evaluations(p.name, q)
	if err != nil {
		return evaluations{}, fail("list evaluations of", p.handle(), err)
	}
	var e evaluations
	for _, v := range list { // newest first
		if v.JobID != p.name {
			continue // Nomad answers by prefix: those of web-1 for web, too
		}
		switch v.Status {
		case api.EvalStatusPending:
			e.at = true
		case api.EvalStatusBlocked:
			e.unplaced = orElse(e.unplaced, whyUnplaced(v.FailedTGAllocs))
		case api.EvalStatusComplete:
			e.done = e.done || v.JobModifyIndex >= f.index
		}
	}
	return e, nil
}

// steady says whether what was listed still holds now that the evaluations are
// known to be over: what they placed came after the list, perhaps.
func (c *closer) steady(ctx context.Context, p place, stub *api.JobListStub, deployed bool) (bool, error) {
	again, err := c.d.jobStubs(ctx, []place{p})
	if err != nil {
		return false, err
	}
	now := again[p]
	if now == nil || now.JobModifyIndex != stub.JobModifyIndex || summaryOf(now, nil) != summaryOf(stub, nil) {
		return false, nil
	}
	if deployed {
		return true, nil
	}
	q, err := c.d.query(ctx, p.namespace)
	if err != nil {
		return false, err
	}
	dep, _, err := c.d.client.Jobs().LatestDeployment(p.name, q)
	if err != nil {
		return false, fail("read the deployment of", p.handle(), err)
	}
	return dep == nil || dep.JobSpecModifyIndex != stub.JobModifyIndex, nil
}

// whyUnplaced tells in words why allocations cannot be placed.
func whyUnplaced(failed map[string]*api.AllocationMetric) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		m := failed[name]
		var why []string
		for _, d := range slices.Sorted(maps.Keys(m.DimensionExhausted)) {
			why = append(why, fmt.Sprintf("%s exhausted on %s", d, nodes(m.DimensionExhausted[d])))
		}
		for _, d := range slices.Sorted(maps.Keys(m.ConstraintFiltered)) {
			why = append(why, fmt.Sprintf("the constraint %q leaves out %s", d, nodes(m.ConstraintFiltered[d])))
		}
		for _, d := range slices.Sorted(maps.Keys(m.ClassFiltered)) {
			why = append(why, fmt.Sprintf("class %s leaves out %s", d, nodes(m.ClassFiltered[d])))
		}
		for _, q := range m.QuotaExhausted {
			why = append(why, "quota exhausted: "+q)
		}
		if m.NodesEvaluated == 0 && len(why) == 0 {
			why = append(why, "no node is eligible")
		}
		all = append(all, fmt.Sprintf("%s cannot be placed: %s", name, orElse(strings.Join(why, ", "), "no node fits")))
	}
	return strings.Join(all, "; ")
}

func nodes(n int) string {
	if n == 1 {
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", n)
}
