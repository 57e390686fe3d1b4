package proposals

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// job is the planning of one proposal at one head, onto one tip.
type job struct {
	desk     *Desk
	proposal forge.Proposal
	key      string
	cancel   context.CancelFunc
	done     chan struct{} // closed at its end
	after    *job          // of the same proposal, that has to end first
	tries    int           // of this head onto this tip before
	wrong    grumble       // what went wrong with the proposal before, too

	told said // what was told of the proposal last, before too

	mu    sync.Mutex
	err   error
	basis string    // that its plan was made from
	again time.Time // the plan is not whole, and is made again then; zero: it is
}

// failed says that it has ended and must be done again.
func (j *job) failed() bool {
	select {
	case <-j.done:
	default:
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err != nil
}

// mostWait is the longest time until a plan that is not whole is made again.
const mostWait = time.Hour

// due says that it has ended with a plan that is not whole, and that it is time
// to see whether it would be now.
func (j *job) due(now time.Time) bool {
	select {
	case <-j.done:
	default:
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return !j.again.IsZero() && !now.Before(j.again)
}

// ended notes whether it has to be done again, and when.
func (j *job) ended(t told) {
	if t.merged.Apart != "" || len(t.merged.Conflicts) > 0 || t.proposed.Refused != nil || t.proposed.Plan.Complete && unseen(t.proposed.Plan) == 0 {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.again = time.Now().Add(min(j.desk.every()<<min(j.tries, 10), mostWait))
}

// unseen is how much could not be planned and may be yet, such as what lies on a
// target that is out of reach.
func unseen(v reconciler.PlanView) (n int) {
	for _, r := range v.Unplanned {
		if r.State == reconciler.Degraded {
			n++
		}
	}
	return n
}

// run merges, plans and tells. Writes to the forge are idempotent, so that a
// run that was cut off is done again as a whole.
func (j *job) run(ctx context.Context) error {
	d := j.desk
	select {
	case d.slot <- struct{}{}:
		defer func() { <-d.slot }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if j.tries == 0 { // what was told of it stands until there is something better
		if err := d.Forge.Status(ctx, j.proposal.Head, j.status(forge.Pending, "being planned")); err != nil {
			return err
		}
	}
	t, err := j.measured(ctx)
	if err != nil {
		if ctx.Err() == nil {
			_ = d.Forge.Status(ctx, j.proposal.Head, j.status(forge.Errored, "it cannot be planned at present: the daemon's log says why")) // the error that is told is the first one
		}
		return err
	}
	t = j.told.still(t)
	if err := d.Forge.Comment(ctx, j.proposal, "plan/"+d.Environment, j.body(ctx, t)); err != nil {
		return err
	}
	j.told = sayingOf(t)
	if d.Book != nil && t.proposed.Plan.Complete {
		v := t.proposed
		// It is there to see since now: who agreed while it was made agreed to
		// what stood there before, if anything did.
		if err := d.Book.write(j.proposal.Head, page{Proposal: j.proposal.ID, Branch: j.proposal.HeadBranch, Digest: v.Plan.Digest, Shown: v.Shown, At: time.Now()}); err != nil {
			return err
		}
	}
	j.ended(t)
	return d.Forge.Status(ctx, j.proposal.Head, j.verdict(t))
}

// plan makes the plan that is told.
func (j *job) plan(ctx context.Context) (told, error) {
	d := j.desk
	t := told{environment: d.Environment, unplanned: d.Unplanned}
	merged, err := d.Source.Merge(ctx, j.proposal.Ref, j.proposal.Head)
	if err != nil {
		return t, err
	}
	t.merged, t.at = merged, time.Now()
	if d.Signed {
		t.unsigned = merged.Unsigned
	}
	if merged.Snapshot == nil {
		return t, nil
	}
	err = j.planned(ctx, &t, merged.Snapshot)
	if seen := t.proposed.Seen; !seen.IsZero() {
		t.at = seen
	}
	return t, err
}

// verdict is the status of a proposal that was planned.
func (j *job) verdict(t told) forge.Status {
	v := t.proposed.Plan
	switch {
	case t.merged.Apart != "", len(t.merged.Conflicts) > 0:
		return j.status(forge.Failure, "needs rebase")
	case t.proposed.Refused != nil:
		return j.status(forge.Failure, count(max(1, len(t.proposed.Refused.Findings)), "finding"))
	case t.unsigned != "":
		return j.status(forge.Failure, t.unsigned)
	case !v.Complete:
		return j.status(forge.Errored, "not everything could be looked at")
	case unseen(v) > 0:
		return j.status(forge.Errored, fmt.Sprintf("%s, and %d not planned: the comment says why", count(len(v.Changes), "change"), unseen(v)))
	}
	held, refused, changes := 0, 0, len(v.Changes)
	for _, c := range v.Changes {
		if len(c.Held) > 0 {
			held++
		}
		if c.Refused {
			refused++
		}
	}
	switch {
	case refused > 0:
		return j.status(forge.Failure, fmt.Sprintf("%s, %d refused by policies", count(changes, "change"), refused))
	case changes == 0 && len(v.Unplanned) > 0:
		return j.status(forge.Success, fmt.Sprintf("%d not planned: the comment says why", len(v.Unplanned)))
	case changes == 0:
		return j.status(forge.Success, "nothing to do")
	case held > 0:
		return j.status(forge.Success, fmt.Sprintf("%s, %d held", count(changes, "change"), held))
	}
	return j.status(forge.Success, count(changes, "change")+", "+string(worst(v))+" at worst")
}

// worst is the most destructive action of a plan.
func worst(v reconciler.PlanView) schema.Action {
	for _, a := range []schema.Action{schema.Replace, schema.Delete, schema.Deferred, schema.Update, schema.Adopt} {
		if v.Counts[a] > 0 {
			return a
		}
	}
	return schema.Create
}

func (j *job) status(state forge.StatusState, text string) forge.Status {
	return forge.Status{Context: "aplomb/plan: " + j.desk.Environment, State: state, Description: text, URL: j.proposal.URL}
}
