package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// minDigest is how many hex digits of a digest a person must type at least.
const minDigest = 12

// Approve implements Control.
func (r *Reconciler) Approve(ctx context.Context, by string, yes Yes) ([]PlannedChange, error) {
	digest := yes.Digest
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := CheckDigest(digest); err != nil {
		return nil, err
	}
	v := r.planNow()
	chosen := v.Changes
	if !strings.HasPrefix(v.Digest, digest) {
		chosen = slices.DeleteFunc(slices.Clone(v.Changes), func(c PlannedChange) bool { return !strings.HasPrefix(c.Digest, digest) })
	}
	if !slices.ContainsFunc(chosen, func(c PlannedChange) bool { return len(c.Held) > 0 }) {
		return nil, r.noDigest(digest, v)
	}
	if several(chosen, digest, v.Digest) {
		return nil, misnamed(digest + "… names several changes; give more digits")
	}
	if err := mayApprove(chosen, yes); err != nil {
		return nil, err
	}
	a := gate.Approval{ID: digest, By: by, At: time.Now(), Why: yes.Why, Overrides: yes.Overrides, Outside: yes.Outside, Speaks: yes.Speaks}
	for _, c := range chosen {
		if c.Action == schema.Deferred {
			continue // it asks once it is known
		}
		a.Changes = append(a.Changes, r.masked(c))
	}
	before := r.core.w.Approvals
	approvals := append(slices.Clone(before), a)
	r.core.w.Approvals = approvals
	let, more := audited(r.tellStill(chosen))
	entry := store.Entry{By: by, What: "approve", Subject: digest, Why: a.Why, Overrides: a.Overrides, Outside: a.Outside, Let: let, LetMore: more}
	if err := r.record(ctx, entry, store.Result{Approvals: &approvals}); err != nil {
		r.core.w.Approvals = before
		return nil, err
	}
	return chosen, nil
}

// mayApprove refuses an approval that could not let anything run, and one that
// overrides what it may not.
func mayApprove(chosen []PlannedChange, yes Yes) error {
	if err := yes.CheckReason(); err != nil {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	for _, name := range yes.Overrides {
		level := levelOf(chosen, name)
		switch level {
		case "":
			return advised{misnamed(fmt.Sprintf("no policy %q speaks against that", name)), "aplomb plan names the policies that do"}
		case schema.SoftMandatory:
		default:
			return advised{fmt.Errorf("%w: the policy %s is %s: nobody overrides it", ErrRefused, name, level), "change the declaration"}
		}
	}
	var none error
	for i := range chosen {
		if len(chosen[i].Held) == 0 {
			continue
		}
		err := chosen[i].helped(yes)
		if err == nil {
			return nil
		}
		none = cmp.Or(none, err)
	}
	return none
}

// helped says why an approval would not let a held change run, nor bring it
// nearer to that.
func (c *PlannedChange) helped(yes Yes) error {
	digest := clipDigest(c.Digest)
	if c.Timed() && !yes.Outside {
		return advised{fmt.Errorf("%w: %s waits for its time, and for nobody's approval: %s", ErrRefused, c.ID.Short(), c.Shut),
			fmt.Sprintf(`wait; in an incident: aplomb approve %s --outside-window --why "…"`, digest)}
	}
	for _, v := range c.Violations {
		switch {
		case !slices.Contains(c.Blocked, v.Policy) || v.Approvers > 0 || slices.Contains(yes.Overrides, v.Policy):
		case v.Level == schema.SoftMandatory:
			return advised{fmt.Errorf("%w: the policy %s refuses %s", ErrRefused, v.Policy, c.ID.Short()),
				fmt.Sprintf("override it by name: aplomb approve %s --override %s --reason \"…\"", digest, v.Policy)}
		default:
			return advised{fmt.Errorf("%w: the policy %s (%s) refuses %s: no approval helps", ErrRefused, v.Policy, v.Level, c.ID.Short()), "change the declaration"}
		}
	}
	return nil
}

// levelOf is how much a policy weighs that speaks against one of the changes.
func levelOf(chosen []PlannedChange, policy string) (level schema.Level) {
	for _, c := range chosen {
		for _, v := range c.Violations {
			if v.Policy == policy && level != schema.HardMandatory {
				level = v.Level
			}
		}
	}
	return level
}

// advised is an error with what to do about it.
type advised struct {
	error
	hint string
}

func (a advised) Unwrap() error { return a.error }

// Hint says what to do about it.
func (a advised) Hint() string { return a.hint }

func several(chosen []PlannedChange, digest, whole string) bool {
	return !strings.HasPrefix(whole, digest) && len(chosen) > 1
}

func (r *Reconciler) noDigest(digest string, v PlanView) error {
	switch {
	case v.Digest == "":
		return fmt.Errorf("%w: nothing is pending", ErrDigest)
	case strings.HasPrefix(v.Digest, digest):
		return misnamed("nothing of that plan is held")
	default:
		return fmt.Errorf("%w: the pending plan is %s; look at it again: aplomb plan", ErrDigest, clipDigest(v.Digest))
	}
}

// pull records a lever with what it changes, and wakes the loop.
func (r *Reconciler) pull(ctx context.Context, by, what, subject, why string, res store.Result) error {
	return r.record(ctx, store.Entry{By: by, What: what, Subject: subject, Why: why}, res)
}

func (r *Reconciler) record(ctx context.Context, e store.Entry, res store.Result) error {
	if r.cfg.ReadOnly {
		return fmt.Errorf("%w: this environment is open for reading only", ErrRefused)
	}
	if e.By == "" {
		return errors.New("who pulls a lever must be named")
	}
	e.At, e.Via = time.Now(), string(MeansOf(ctx))
	if err := r.core.store.Pull(ctx, e, res); err != nil {
		return err
	}
	if res.State != nil {
		r.core.w.State = *res.State
		r.unfrozen.Store(unfrozen(r.core.w.State))
	}
	r.status.emit(Event{Type: "lever", Message: strings.TrimSpace(e.By + ": " + e.Does() + " " + e.Subject)})
	r.status.say()
	r.status.settled = false // what it set going is yet to be seen
	r.status.changed()
	nudge(r.wake)
	return nil
}

// Suspend implements Control.
func (r *Reconciler) Suspend(ctx context.Context, by string, id *schema.ID, why string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	lever := Lever{By: by, At: time.Now(), Why: why}
	state := r.core.w.State
	subject := ""
	if id == nil {
		state.Suspended = &lever
	} else {
		n, err := r.find(*id)
		if err != nil {
			return err
		}
		subject = n.ID.String()
		state.Paused = maps.Clone(state.Paused)
		if state.Paused == nil {
			state.Paused = map[string]Lever{}
		}
		state.Paused[n.Key.String()] = lever
	}
	return r.pull(ctx, by, "suspend", subject, why, store.Result{State: &state})
}

// Resume implements Control.
func (r *Reconciler) Resume(ctx context.Context, by string, id *schema.ID, why string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	state, wasDown := r.core.w.State, r.core.w.State.Down
	subject := ""
	if id == nil {
		state.Suspended, state.Down = nil, false
	} else {
		n, err := r.find(*id)
		if err != nil {
			return err
		}
		subject = n.ID.String()
		state.Paused = maps.Clone(state.Paused)
		delete(state.Paused, n.Key.String())
		defer n.again()
	}
	if err := r.pull(ctx, by, "resume", subject, why, store.Result{State: &state}); err != nil {
		return err
	}
	if wasDown && !state.Down {
		r.core.w.Declared, r.core.w.DownAlso, r.refuse, r.looked = false, nil, nil, false
	}
	if id == nil {
		for _, n := range r.core.w.Nodes {
			n.again()
		}
	}
	nudge(r.look)
	return nil
}

// again lets what failed be tried at once.
func (n *Node) again() {
	n.Fail, n.flaps = nil, 0
	if n.Plan != nil && n.Plan.Err != nil {
		n.Plan = nil
	}
	n.Dirty = true
}

// Rollback implements Control.
func (r *Reconciler) Rollback(ctx context.Context, by, revision, why string) (Rollback, error) {
	head, err := r.cfg.Source.Head(ctx)
	if err != nil {
		return Rollback{}, fmt.Errorf("the tip is needed to be quarantined: %w", err)
	}
	to, err := r.rollbackTarget(revision, head)
	if err != nil {
		return Rollback{}, err
	}
	snap, err := r.cfg.Source.Fetch(ctx, to)
	if err != nil {
		if errors.Is(err, sources.ErrGone) {
			err = fmt.Errorf("%w: the source keeps no older content to go back to (%w)", ErrNoRevision, err)
		}
		return Rollback{}, err
	}
	if err := snap.Close(); err != nil {
		return Rollback{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	back := Rollback{To: to, Quarantined: head, Lever: Lever{By: by, At: time.Now(), Why: why}}
	state := r.core.w.State
	state.Quarantined = &back
	rec := recordOf(tuple{Revision: to}, back.Lever.At, "rollback")
	if err := r.pull(ctx, by, "rollback", to.ID, why, store.Result{State: &state, History: []any{rec}}); err != nil {
		return Rollback{}, err
	}
	r.refuse, r.looked = nil, false
	nudge(r.look)
	return back, nil
}

// rollbackTarget is the converged revision that a person names, or the last
// one before the tip.
func (r *Reconciler) rollbackTarget(name string, head sources.Revision) (sources.Revision, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, rev := range slices.Backward(r.core.w.State.Converged) {
		if name == "" && rev.ID != head.ID || name != "" && strings.HasPrefix(rev.ID, name) {
			return rev, nil
		}
		names = append(names, rev.Short())
	}
	if name == "" {
		return sources.Revision{}, fmt.Errorf("%w: no other revision has converged yet", ErrNoRevision)
	}
	return sources.Revision{}, fmt.Errorf("%w: %s has not converged here; these have: %s", ErrNoRevision, name, strings.Join(names, ", "))
}

// Down implements Control.
func (r *Reconciler) Down(ctx context.Context, by string, also []schema.ID, why string) (Status, error) {
	if err := r.goDown(ctx, by, also, why); err != nil {
		return Status{}, err
	}
	return r.Wait(ctx, func(s Status) bool {
		return s.Down && s.Settled
	})
}

func (r *Reconciler) goDown(ctx context.Context, by string, also []schema.ID, why string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.core.w
	state := w.State
	state.Down, state.Suspended = true, &Lever{By: by, At: time.Now(), Why: or(why, "taken down")}
	if w.DownAlso == nil {
		w.DownAlso = map[schema.ID]bool{}
	}
	for _, id := range also {
		n, err := r.find(id)
		if err != nil {
			return err
		}
		w.DownAlso[n.ID] = true
	}
	if err := r.pull(ctx, by, "down", "", why, store.Result{State: &state}); err != nil {
		return err
	}
	w.Now = time.Now()
	if w.Judge == nil && r.cfg.Policies.Source != nil { // nothing was compiled yet: who judges deletions is found first
		w.Declared, r.looked = false, false
		nudge(r.look)
	} else {
		w.Declare(w.Revision, nil)
		r.supersede()
		r.looked = true
	}
	r.status.settled, r.status.converged = false, false
	return nil
}
