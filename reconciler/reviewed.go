package reconciler

import (
	"context"
	"slices"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/reconciler/store"
)

// Reviewed records a person's yes that was given where a proposal is reviewed,
// to the very changes that were shown there: Proposed.Shown. digest is that of
// the plan they are from. Saying so again changes nothing. Safe for concurrent
// use.
func (r *Reconciler) Reviewed(ctx context.Context, by, digest, why string, shown []plan.Masked) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	given := func(a gate.Approval) bool { return a.By == by && a.ID == digest && a.Why == why }
	if len(shown) == 0 || slices.ContainsFunc(r.core.w.Approvals, given) {
		return nil
	}
	held := slices.DeleteFunc(slices.Clone(r.planNow().Changes), func(c PlannedChange) bool { return len(c.Held) == 0 })
	before := r.core.w.Approvals
	approvals := append(slices.Clone(r.core.w.Approvals), gate.Approval{ID: digest, By: by, At: time.Now(), Why: why, Changes: slices.Clone(shown)})
	r.core.w.Approvals = approvals
	let, more := audited(r.tellStill(held))
	entry := store.Entry{By: by, What: "approve", Subject: digest, Why: why, Let: let, LetMore: more}
	if err := r.record(ctx, entry, store.Result{Approvals: &approvals}); err != nil {
		r.core.w.Approvals = before
		return err
	}
	return nil
}
