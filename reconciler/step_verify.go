package reconciler

import (
	"slices"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// mostFlaps is how often a change may be applied again, without having been
// settled between, before its driver is named.
const mostFlaps = 2

// verify judges a node that planning has nothing to do for: it is converged
// when it is healthy too. The inventory is told what it does not know yet.
func (t *turn) verify(n *Node, e *Eval) {
	live := &n.Live.State
	if !live.Exists {
		e.State, e.Why, e.Text = Degraded, failed, "the driver plans nothing for a thing that does not exist"
		return
	}
	if t.free(n, e) && t.recordable(n) {
		t.Record = append(t.Record, n)
	}
	if t.isPausedAlone(n) {
		e.State, e.Why, e.Settled = Suspended, paused, live.Health.Status == drivers.Healthy
		return
	}
	if live.Health.Status == drivers.Healthy || live.Health.Status == "" {
		e.State, e.Settled = Converged, true
		return
	}
	e.Why, e.Text = unhealthy, live.Health.Reason
	e.State, e.Until = Degraded, n.healthDeadline()
	if t.Now.Before(e.Until) && (live.Health.Status == drivers.Progressing || !n.wasWell) {
		e.State = Progressing
		t.wake(e.Until)
	}
}

// recordable says whether the inventory differs from what was just verified.
// The hold and the needs of the declaration in force replace older ones only
// here: at the end of an apply, even one that had nothing to do.
func (t *turn) recordable(n *Node) bool {
	o := n.Owned
	return o == nil || n.Intent != nil || o.ID != n.ID || o.Settled != t.settledAs(n) || o.Data != n.Decl.Res.Data ||
		!slices.Equal(o.Hold, n.Decl.Res.Hold) || !t.needsAre(n, o.Needs)
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

// Verified puts into the inventory what was verified.
func (w *World) Verified(n *Node, r *store.Result) {
	o := store.Owned{AppliedAt: w.Now, Revision: w.Revision.ID, Pos: n.Decl.Res.Pos}
	switch {
	case n.Owned != nil:
		o = *n.Owned
	case n.Intent != nil:
		o = n.Intent.Owned
	default:
		o.Action = schema.Adopt
	}
	o.ID, o.Settled, o.Hold, o.Data, o.Needs = n.ID, w.settledAs(n), n.Decl.Res.Hold, n.Decl.Res.Data, w.needsOf(n)
	o.Want, o.Inputs, o.Pos = n.Plan.WantSum, n.Plan.Inputs, n.Decl.Res.Pos
	o.Handle, o.Version, o.Spec, o.Files = n.Key.Handle, n.Live.State.Version, n.Plan.Want.Spec, n.Plan.Want.Files.Hash()
	n.Owned, n.Intent = &o, nil
	n.Plan.owned = n.Owned // the plan said "nothing to do" of exactly this
	n.Fail = nil
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
func (t *turn) settles(n *Node, e *Eval) bool {
	if n.flaps < mostFlaps || n.applied != n.Plan.Digest || n.Owned == nil {
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
