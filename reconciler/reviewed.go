package reconciler

import (
	"context"
	"slices"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// WasShown tells what a proposal showed that came with the revision in force, so
// that it can be said how what is planned differs. It lets nothing run. Safe for
// concurrent use.
func (r *Reconciler) WasShown(proposal string, at time.Time, shown []plan.Masked) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.core.w
	news := false
	for _, m := range shown {
		if was, ok := w.Shown[m.ID]; ok && !at.After(was.At) {
			continue
		}
		if w.Shown == nil {
			w.Shown = map[schema.ID]gate.Shown{}
		}
		w.Shown[m.ID] = gate.Shown{Proposal: proposal, At: at, Change: m}
		news = true
	}
	if news {
		r.status.settled = false // what is said of it is yet to be seen
		r.status.changed()
		nudge(r.wake)
	}
}

// Heard says that somebody's word is still there where it was given: what
// Reviewed recorded of them for a digest with these words. Safe for concurrent
// use.
func (r *Reconciler) Heard(by, digest, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	approvals := slices.Clone(r.core.w.Approvals)
	for i, a := range approvals {
		if a.Elsewhere && a.By == by && a.ID == digest && a.Why == why {
			stale := time.Since(a.Heard) > gate.HeardTime/2
			if approvals[i].Heard = time.Now(); stale {
				nudge(r.wake)
			}
		}
	}
	r.core.w.Approvals = approvals
}

// Reviewed records a person's yes that was given where a proposal is reviewed,
// to the very changes that were shown there: Proposed.Shown. Its ID is the
// digest of the plan that they are from; its time is now. Saying so again
// changes nothing. Safe for concurrent use.
func (r *Reconciler) Reviewed(ctx context.Context, a gate.Approval) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	given := func(g gate.Approval) bool { return g.By == a.By && g.ID == a.ID && g.Why == a.Why }
	if len(a.Changes) == 0 || slices.ContainsFunc(r.core.w.Approvals, given) {
		return nil
	}
	a.At, a.Changes, a.Elsewhere = time.Now(), slices.Clone(a.Changes), true
	a.Heard = a.At
	held := slices.DeleteFunc(slices.Clone(r.planNow().Changes), func(c PlannedChange) bool { return len(c.Held) == 0 })
	before := r.core.w.Approvals
	approvals := append(slices.Clone(before), a)
	r.core.w.Approvals = approvals
	let, more := audited(r.tellStill(held))
	entry := store.Entry{By: a.By, What: "approve", Subject: a.ID, Why: a.Why, Let: let, LetMore: more}
	if err := r.record(ctx, entry, store.Result{Approvals: &approvals}); err != nil {
		r.core.w.Approvals = before
		return err
	}
	return nil
}
