package nomad

import (
	"context"
	"fmt"
	"net/http"

	"github.com/hashicorp/nomad/api"
	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

func (d *Driver) applyJob(ctx context.Context, c drivers.Change, p *jobPlan) (drivers.State, error) {
	switch {
	case p.unknown:
		return drivers.State{}, driverkit.Stale("apply", c.Handle)
	case c.Action == schema.Delete:
		return drivers.State{Handle: c.Handle}, d.removeJob(ctx, p)
	case c.Action == schema.Replace:
		if err := d.removeJob(ctx, p); err != nil {
			return drivers.State{}, err
		}
		anew := *p
		anew.index = 0
		return d.register(ctx, &anew)
	case p.nothing || c.Action == schema.None:
		return d.lookAgain(ctx, p)
	case p.evaluate:
		return d.reevaluate(ctx, p)
	default:
		return d.register(ctx, p)
	}
}

// register writes a job, if what lives is what was planned from.
func (d *Driver) register(ctx context.Context, p *jobPlan) (drivers.State, error) {
	w, err := d.write(ctx, p.place.namespace)
	if err != nil {
		return drivers.State{}, err
	}
	opts := &api.RegisterOptions{EnforceIndex: true, ModifyIndex: p.index, Submission: p.source}
	answer, _, err := d.client.Jobs().RegisterOpts(p.job, opts, w)
	if err != nil {
		return drivers.State{}, fail("register", p.place.handle(), err)
	}
	if answer.Warnings != "" && d.Log != nil {
		d.Log.WithFields(logrus.Fields{"resource": p.place.handle(), "warning": clip(answer.Warnings)}).Warn("Nomad took the job, and warns")
	}
	return d.lookAgain(ctx, p)
}

// lookAgain is what lives now; of its health the next look tells.
func (d *Driver) lookAgain(ctx context.Context, p *jobPlan) (drivers.State, error) {
	job, f, err := d.readJob(ctx, p.place)
	if err != nil {
		return drivers.State{}, err
	}
	if job == nil {
		return drivers.State{}, driverkit.Stale("read", p.place.handle())
	}
	return jobState(p.place, f, registered(f)), nil
}

// reevaluate has Nomad place what is missing of a job that is as declared.
func (d *Driver) reevaluate(ctx context.Context, p *jobPlan) (drivers.State, error) {
	w, err := d.write(ctx, p.place.namespace)
	if err != nil {
		return drivers.State{}, err
	}
	if _, _, err := d.client.Jobs().EvaluateWithOpts(p.place.name, api.EvalOptions{ForceReschedule: true}, w); err != nil {
		return drivers.State{}, fail("evaluate", p.place.handle(), err)
	}
	return d.lookAgain(ctx, p)
}

// removeJob purges a job and what it launched. Nomad has no compare-and-set
// for that, so it is read again immediately before.
func (d *Driver) removeJob(ctx context.Context, p *jobPlan) error {
	there, err := d.stillPlanned(ctx, p)
	if err != nil {
		return err
	}
	if p.launches {
		if err := d.removeChildren(ctx, p.place); err != nil {
			return err
		}
		if there, err = d.stillPlanned(ctx, p); err != nil {
			return err
		}
	}
	if !there {
		return nil
	}
	if err := d.purge(ctx, p.place); err != nil {
		return err
	}
	d.jobs.drop(p.place.handle())
	if p.launches { // what it launched meanwhile
		return d.removeChildren(ctx, p.place)
	}
	return nil
}

// stillPlanned says whether a job is there, and fails where it is not the one
// that the change was planned on.
func (d *Driver) stillPlanned(ctx context.Context, p *jobPlan) (bool, error) {
	job, f, err := d.readJob(ctx, p.place)
	switch {
	case err != nil || job == nil:
		return false, err
	case f.owner != "" && f.owner != d.Env:
		return false, driverkit.Refuse("deregister", p.place.handle(), fmt.Errorf("it belongs to the environment %s", f.owner), "")
	case f.index != p.index:
		return false, driverkit.Stale("deregister", p.place.handle())
	}
	return true, nil
}

func (d *Driver) purge(ctx context.Context, p place) error {
	w, err := d.write(ctx, p.namespace)
	if err != nil {
		return err
	}
	_, _, err = d.client.Jobs().DeregisterOpts(p.name, &api.DeregisterOptions{Purge: true}, w)
	if isStatus(err, http.StatusNotFound) {
		return nil
	}
	return fail("deregister", p.handle(), err)
}

// removeChildren purges what a periodic or parameterized job launched: Nomad
// leaves that behind.
func (d *Driver) removeChildren(ctx context.Context, p place) error {
	q, err := d.query(ctx, p.namespace)
	if err != nil {
		return err
	}
	q.Prefix = p.name + "/"
	children, _, err := d.client.Jobs().List(q)
	if err != nil {
		return fail("list what was launched by", p.handle(), err)
	}
	for _, child := range children {
		if child.ParentID != p.name {
			continue
		}
		if err := d.purge(ctx, place{KindJob, p.namespace, child.ID}); err != nil {
			return err
		}
	}
	return nil
}
