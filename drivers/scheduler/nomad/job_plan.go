package nomad

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// filePath is the delta of a job file that is another one.
const filePath schema.Path = "/!file"

// allocationsPath is above the deltas of allocations that are gone.
const allocationsPath schema.Path = "/!allocations"

// jobPlan is Change.Opaque of a job.
type jobPlan struct {
	place    place
	job      *api.Job // as it is registered
	source   *api.JobSubmission
	index    uint64 // JobModifyIndex of what was planned from; 0: nothing lived
	launches bool   // what lives makes other jobs
	unknown  bool
	nothing  bool // live is as declared
	evaluate bool // live is as declared, but allocations are gone
}

func (d *Driver) planJob(ctx context.Context, c drivers.Change, it drivers.Item, state drivers.State) (drivers.Change, error) {
	p, err := placeOf(it.Handle)
	if err != nil {
		return c, driverkit.Refuse("plan", it.Handle, err, "")
	}
	live, _ := state.Raw.(*observedJob)
	plan := &jobPlan{place: p}
	if live != nil && live.facts != nil {
		plan.index, plan.launches = live.facts.index, live.facts.launches()
	}
	c.Opaque = plan
	if it.Want == nil {
		driverkit.Deletion(&c, state)
		return c, nil
	}
	if live != nil && live.holds(it) {
		plan.nothing = true
		driverkit.Decide(&c, it, state, true)
		return c, nil
	}
	w, err := d.desired(ctx, p, it.Want)
	if errors.Is(err, errUnknown) {
		return deferred(c, it, state), nil
	}
	if err != nil {
		return c, err
	}
	plan.job, plan.source, plan.unknown = w.job, w.source, len(it.Want.Unknown) > 0
	c, err = d.compareJob(ctx, c, it, state, live, plan, w)
	if err != nil && plan.unknown && errors.Is(err, drivers.ErrPermanent) {
		return deferred(c, it, state), nil
	}
	return c, err
}

// compareJob fills in what differs between what lives and plan.job.
func (d *Driver) compareJob(ctx context.Context, c drivers.Change, it drivers.Item, state drivers.State, live *observedJob, plan *jobPlan, w desiredJob) (drivers.Change, error) {
	c.Outputs = jobOutputs(plan.place, "")
	var err error
	switch {
	case live == nil:
		c.Diff, err = createDiff(w)
		d.mark(plan.job)
	case live.ended:
		c.Diff, err = againDiff(it)
		d.mark(plan.job)
	default:
		if reasons := refusedTransitions(live.facts, plan.job); len(reasons) > 0 {
			if err := d.validate(ctx, plan); err != nil {
				return c, err
			}
			return d.replaceJob(c, it, state, reasons, plan)
		}
		if live.facts.owner == d.Env {
			d.mark(plan.job)
		}
		keepScaled(plan.job, live.facts)
		err = d.askNomad(ctx, &c, live, plan)
	}
	if _, known := errors.AsType[*drivers.Error](err); err != nil && !known {
		err = driverkit.Refuse("plan", it.Handle, err, "")
	}
	if err != nil {
		return c, err
	}
	c.Diff = markUnknown(c.Diff, it.Want.Unknown, state.Exists)
	plan.nothing = len(c.Diff) == 0
	if plan.nothing {
		c.Outputs = state.Outputs
	}
	driverkit.Decide(&c, it, state, it.Last != nil || state.Owner == d.Env)
	switch {
	case plan.evaluate && c.Action == schema.Update:
		c.Why = "allocations are gone, and Nomad replaces none"
	case live != nil && live.ended:
		c.Why = "it ran as declared before, and runs again as declared now"
	case live != nil && live.facts.stopped && c.Action == schema.Update:
		c.Why = "it was stopped"
	}
	return c, nil
}

// holds says whether what was declared had its turn, and is declared still: a
// batch that ran, or a version that Nomad itself went back from.
func (o *observedJob) holds(it drivers.Item) bool {
	if it.Last == nil || !bytes.Equal(it.Want.Spec, it.Last.Spec) || it.Want.Files.Hash() != it.Last.Files {
		return false
	}
	return o.ended || o.look.version.state == vReverted || o.facts.stopped && o.look.version.ended()
}

// mark puts the ownership mark into a job that is registered for the first
// time, or keeps it: what alters Meta restarts every task.
func (d *Driver) mark(j *api.Job) {
	meta := maps.Clone(j.Meta)
	if meta == nil {
		meta = map[string]string{}
	}
	meta[Mark] = d.Env
	j.Meta = meta
}

// keepScaled leaves the counts of autoscaled groups as they are, within the
// declared bounds.
func keepScaled(j *api.Job, live *facts) {
	for _, g := range j.TaskGroups {
		n, lives := live.counts[value(g.Name)]
		if g.Scaling == nil || !lives || g.Scaling.Enabled != nil && !*g.Scaling.Enabled {
			continue
		}
		if g.Scaling.Min != nil {
			n = max(n, int(*g.Scaling.Min))
		}
		if g.Scaling.Max != nil {
			n = min(n, int(*g.Scaling.Max))
		}
		g.Count = &n
	}
}

// askNomad takes the difference from Nomad's own plan, and adds what that does
// not look at.
func (d *Driver) askNomad(ctx context.Context, c *drivers.Change, live *observedJob, plan *jobPlan) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	w, err := d.write(ctx, plan.place.namespace)
	if err != nil {
		return err
	}
	answer, _, err := d.client.Jobs().PlanOpts(plan.job, &api.PlanOptions{Diff: true}, w)
	if err != nil {
		return fail("plan", plan.place.handle(), err)
	}
	if answer.JobModifyIndex != live.facts.index {
		return driverkit.Stale("plan", plan.place.handle())
	}
	c.Diff = deltasOf(answer.Diff)
	more, err := unseenDeltas(live.facts.unseen, live.facts.tasks, plan.job)
	if err != nil {
		return driverkit.Refuse("plan", plan.place.handle(), err, "")
	}
	c.Diff = append(c.Diff, unnamed(more, c.Diff)...)
	if len(c.Diff) == 0 && live.mendable() && len(answer.FailedTGAllocs) == 0 && answer.Annotations != nil {
		c.Diff = missing(answer.Annotations.DesiredTGUpdates)
		plan.evaluate = len(c.Diff) > 0
	}
	return nil
}

// mendable says whether allocations that a plan would place are missing because
// Nomad has nothing more in mind for them.
func (o *observedJob) mendable() bool {
	f, l := o.facts, o.look
	return l.quiet && !f.batch() && !f.launches() && !f.stopped && (l.health.Status == drivers.Healthy || l.version.state == vMissing || l.version.state == vRunning)
}

// missing are the deltas of allocations that a plan would alter while it alters
// nothing of the job. What is only updated in place says nothing: the token
// that planned is enough for that.
func missing(updates map[string]*api.DesiredUpdates) []drivers.Delta {
	var all []drivers.Delta
	for _, name := range slices.Sorted(maps.Keys(updates)) {
		u := updates[name]
		var words []string
		for _, n := range []struct {
			n    uint64
			what string
		}{{u.Place, "missing"}, {u.Stop, "too many"}, {u.DestructiveUpdate, "of another version"}} {
			if n.n > 0 {
				words = append(words, fmt.Sprintf("%d %s", n.n, n.what))
			}
		}
		if len(words) > 0 {
			all = append(all, drivers.Delta{Path: allocationsPath.Child(name), Op: schema.Update, Before: quote(strings.Join(words, ", ")), After: quote("as declared")})
		}
	}
	return all
}

// transition is a change of a job that Nomad refuses.
type transition struct {
	path          schema.Path
	before, after json.RawMessage
}

// refusedTransitions are those between what lives and what is declared.
func refusedTransitions(live *facts, j *api.Job) []transition {
	var all []transition
	truth := func(b bool) json.RawMessage { return json.RawMessage(fmt.Sprint(b)) }
	if want := orElse(value(j.Type), api.JobTypeService); want != live.kind {
		all = append(all, transition{"/job/Type", quote(live.kind), quote(want)})
	}
	if live.periodic != j.IsPeriodic() {
		all = append(all, transition{"/job/Periodic", truth(live.periodic), truth(j.IsPeriodic())})
	}
	if live.parameterized != j.IsParameterized() {
		all = append(all, transition{"/job/ParameterizedJob", truth(live.parameterized), truth(j.IsParameterized())})
	}
	return all
}

// replaceJob plans to purge what lives and to register the job anew. Nomad does
// not plan that, so it is compared field by field.
func (d *Driver) replaceJob(c drivers.Change, it drivers.Item, state drivers.State, reasons []transition, plan *jobPlan) (drivers.Change, error) {
	want, err := canonicalSpec(plan.job)
	if err == nil {
		c.Diff, err = driverkit.Diff(state.Spec, want, nil)
	}
	if err != nil {
		return c, driverkit.Refuse("plan", it.Handle, err, "")
	}
	for _, r := range reasons {
		c.Diff = slices.DeleteFunc(c.Diff, func(delta drivers.Delta) bool { return delta.Path.Within(r.path) })
		c.Diff = append(c.Diff, drivers.Delta{Path: r.path, Op: schema.Replace, Before: r.before, After: r.after})
	}
	c.Diff = markUnknown(c.Diff, it.Want.Unknown, true)
	driverkit.SortDeltas(c.Diff)
	d.mark(plan.job)
	c.Action, c.Before, c.Why = schema.Replace, state.Spec, fmt.Sprintf("Nomad alters no %s of a job that lives", strings.TrimPrefix(string(reasons[0].path), "/job/"))
	c.Hold = "what runs of the job stops before it is made anew"
	return c, nil
}

// validate asks Nomad whether it would take a job: what it refuses must not be
// found out after the old one is gone.
func (d *Driver) validate(ctx context.Context, plan *jobPlan) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	w, err := d.write(ctx, plan.place.namespace)
	if err != nil {
		return err
	}
	answer, _, err := d.client.Jobs().Validate(plan.job, w)
	if err != nil {
		return fail("validate", plan.place.handle(), err)
	}
	if answer.Error != "" {
		return driverkit.Refuse("validate", plan.place.handle(), errors.New(clip(answer.Error)), "")
	}
	return nil
}

// canonicalSpec is a declared job in the words of State.Spec, with the defaults
// that Nomad's client knows.
func canonicalSpec(j *api.Job) (json.RawMessage, error) {
	whole, err := copyJob(j)
	if err != nil {
		return nil, err
	}
	whole.Canonicalize()
	raw, err := json.Marshal(whole)
	if err != nil {
		return nil, err
	}
	tree, err := jobTree(raw)
	if err != nil {
		return nil, err
	}
	return driverkit.Text(map[string]any{"job": tree})
}

// deferred is the answer where a field cannot hold a reference's text.
func deferred(c drivers.Change, it drivers.Item, state drivers.State) drivers.Change {
	c.Action, c.Outputs, c.Why = schema.Deferred, nil, "it depends on what is not known yet"
	c.Diff = markUnknown(nil, it.Want.Unknown, state.Exists)
	return c
}
