package reconciler

import (
	"reflect"

	"github.com/aplomb-dev/aplomb/drivers"
)

// seed gives a proposal's reconciler what the environment has seen and goes by
// itself, so that the plan of a proposal costs what is new in it. Only what is as
// good as a look is given: what is at rest and well, is owned as both know it, and
// lives on a target that answers and is spoken to by the very same driver; an
// identity of its own looks for itself. What has not been seen for a resync is
// looked at by either. What an environment does not know of, since only the
// proposal declares it, is looked at anew.
func (r *Reconciler) seed(p *Reconciler) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := p.core.w
	for key, n := range w.byKey {
		of := r.core.w.byKey[key]
		if of == nil || !of.asSeen() || n.Owned == nil || n.Intent != nil || !n.Owned.AppliedAt.Equal(of.Owned.AppliedAt) ||
			n.Owned.Version != of.Owned.Version || n.Owned.Want != of.Owned.Want || !r.sameDriver(p, key.Target) {
			continue
		}
		w.seq++
		live := *of.Live
		live.Seq = w.seq
		n.Live = &live
	}
}

// asSeen says that what was observed of n last is what it goes by now.
func (n *Node) asSeen() bool {
	return n.Live != nil && !n.Dirty && n.Op == Idle && n.Owned != nil && n.Intent == nil && n.Fail == nil && n.recheckAt.IsZero() &&
		n.Live.State.Err == nil && n.Live.State.Exists && n.Live.State.Handle == n.Key.Handle && !n.Live.At.Before(n.quiet)
}

func (r *Reconciler) sameDriver(p *Reconciler, target string) bool {
	a, b := r.core.w.Targets[target], p.core.w.Targets[target]
	return a != nil && b != nil && a.Down == nil && same(a.Driver, b.Driver)
}

func same(a, b drivers.Driver) bool {
	return reflect.TypeOf(a).Comparable() && a == b
}
