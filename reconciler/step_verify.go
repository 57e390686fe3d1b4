package reconciler

import (
	"maps"
	"slices"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// mostFlaps is how often a change may be applied again, without having been
// settled between, before its driver is named.
const mostFlaps = 2

// mostRepairs is how often drift may be repaired, without the thing being well
// between, before it counts as degraded: it comes and goes.
const mostRepairs = 3

// verify judges a node that planning has nothing to do for: it is converged
// when it is healthy too. The inventory is told what it does not know yet.
func (t *turn) verify(n *Node, e *Eval) {
	live := &n.Live.State
	if !live.Exists {
		e.State, e.Why, e.Text = Degraded, failed, "the driver plans nothing for a thing that does not exist"
		return
	}
	well := live.Health.Status == drivers.Healthy
	if t.free(n, e) && !t.Env.ReadOnly && t.recordable(n, well) {
		t.Record = append(t.Record, n)
	}
	if t.isPausedAlone(n) {
		e.State, e.Why, e.Settled = Suspended, paused, well
		return
	}
	if well {
		e.State, e.Settled = Converged, true
		return
	}
	e.Why, e.Text = unhealthy, live.Health.Reason
	e.State, e.Until = Degraded, n.healthDeadline()
	hopeless := live.Health.Status == drivers.Failed || n.repairs >= mostRepairs
	if t.Now.Before(e.Until) && !hopeless && (live.Health.Status == drivers.Progressing || !n.wasWell) {
		e.State = Progressing
		t.wake(e.Until)
	}
}

// recordable says whether the inventory differs from what was just verified.
// The holds and the needs of the declaration in force replace older ones only
// once the thing is well: at the end of an apply, even of one that had nothing
// to do.
func (t *turn) recordable(n *Node, well bool) bool {
	o := n.Owned
	if o == nil || n.Intent != nil || o.ID != n.ID || o.Settled != t.settledAs(n) {
		return true
	}
	if o.Labels == nil || !maps.Equal(o.Labels, n.Decl.Res.Labels) || o.Said == nil || !slices.Equal(o.Said.Files, faceOf(n.Decl.Res).Files) {
		return true
	}
	return well && (o.Data != n.Decl.Res.Data || !slices.Equal(o.Hold, n.Decl.Res.Hold) || !t.needsAre(n, o.Needs))
}

// needsAre says whether the recorded needs are the declared ones.
func (w *World) needsAre(n *Node, recorded []store.Key) bool {
	if len(recorded) != len(n.Decl.Needs) {
		return false
	}
	for i, g := range n.Decl.Needs {
		if recorded[i] != w.need(g).Key {
			return false
		}
	}
	return true
}

func (w *World) settledAs(n *Node) store.Settled {
	return store.Settled{Want: n.Plan.WantSum, Version: n.Live.State.Version, Driver: w.Targets[n.ID.Target].made}
}

// Verified puts into the inventory what was verified. An intent ends here too,
// where a look found what its call never told.
func (w *World) Verified(n *Node, r *store.Result) {
	w.finished(n, r)
	if n.Plan.Change.Action != schema.None {
		w.stood(n, r)
		return
	}
	o := store.Owned{AppliedAt: w.Now, Revision: w.Revision.ID, Action: schema.Adopt}
	if before := n.recorded(); before != nil {
		o = *before
	}
	if n.Intent != nil {
		o.AppliedAt, o.Revision, o.Action = n.Intent.AppliedAt, n.Intent.Revision, n.Intent.Action
	}
	if o.Since.IsZero() || o.Want != n.Plan.WantSum {
		o.Since = w.Now
	}
	res := n.Decl.Res
	if n.Live.State.Health.Status == drivers.Healthy {
		o.Hold, o.Data, o.Needs = res.Hold, res.Data, w.needsOf(n)
	} else {
		o.Hold, o.Data, o.Needs = union(o.Hold, res.Hold), o.Data || res.Data, union(o.Needs, w.needsOf(n))
	}
	o.Face, o.Said = n.facing(), faceOf(res)
	o.ID, o.Settled, o.Want, o.Inputs, o.Pos, o.Use = n.ID, w.settledAs(n), n.Plan.WantSum, n.Plan.Inputs, res.Pos, res.Use
	o.Labels = labels(res)
	o.Handle, o.Version, o.Spec, o.Files = n.Key.Handle, n.Live.State.Version, n.Plan.Want.Spec, n.Plan.Want.Files.Hash()
	n.Owned, n.Intent, n.Fail, n.Back = &o, nil, nil, nil
	n.Plan.owned = n.Owned // the plan said "nothing to do" of exactly this
	done(r, n)
}

// healthDeadline is when a thing that is not healthy becomes degraded: counted
// from when something new was applied, or from when it was well last.
func (n *Node) healthDeadline() time.Time {
	from := n.healthFrom
	if n.unwell.After(from) {
		from = n.unwell
	}
	return from.Add(deadline(n.ID.Kind))
}

// settles says whether applying again makes sense: a change that has been
// applied more than once without planning ever answering "nothing to do" is
// the driver's fault, and it is tried ever more slowly.
func (t *turn) settles(n *Node, p *Planned, e *Eval) bool {
	if n.flaps <= mostFlaps || n.applied != p.WantSum || n.Owned == nil {
		return true
	}
	next := n.Owned.AppliedAt.Add(backoff(n.flaps+3, nil))
	if !t.Now.Before(next) {
		return true
	}
	e.State, e.Why, e.Until = Degraded, flapping, next
	t.wake(next)
	return false
}
