package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// Itself is whom the audit names where no person pulled a lever.
const Itself = "aplomb"

// trial is how long the revision in force has had to converge.
type trial struct {
	of    tuple
	spent time.Duration // that counts
	at    time.Time     // up to when it was counted
	runs  bool          // it counts since then
	due   []string      // what is at fault, once the time is over; nil: nothing is to be done
}

// tried counts the time that a revision has had, after each turn, and has the
// source looked at once it is over: going back is a revision like any other. It
// answers after what time to look again.
func (r *Reconciler) tried() time.Duration {
	if r.cfg.Quarantine <= 0 || r.cfg.ReadOnly || r.cfg.Once {
		return idle
	}
	w, t := r.core.w, &r.trial
	now := tuple{w.Revision, w.Under}
	if !w.alike(now, t.of) {
		*t = trial{}
	}
	t.of = now
	if t.runs {
		t.spent += w.Now.Sub(t.at)
	}
	was := t.due
	t.at, t.runs, t.due = w.Now, r.onTrial(), nil
	if !t.runs {
		return idle
	}
	if left := r.cfg.Quarantine - t.spent; left > 0 {
		return min(left, idle)
	}
	if t.due = r.atFault(); t.due != nil && was == nil {
		nudge(r.look)
	}
	return idle
}

// alike says whether two revisions declare the same, the first of which is in
// force: commits elsewhere in a repository come all the time.
func (w *World) alike(now, other tuple) bool {
	return now.same(other) || !w.Outside && now.Tree != "" && now.Tree == other.Tree && now.SameTrees(other.Under)
}

// onTrial says whether the time of now counts: the revision in force is the
// first since one that converged, and neither a person, nor a target out of
// reach, nor the source is what it waits for. What was gone back to, and what
// converged once, is not on trial.
func (r *Reconciler) onTrial() bool {
	w := r.core.w
	s := &w.State
	switch {
	case !w.Declared, s.Down, s.Suspended != nil, s.Quarantined != nil, r.refuse != nil, r.status.converged:
		return false
	case len(s.Converged) == 0, r.status.convergedAt.IsZero():
		return false
	case slices.ContainsFunc(s.Converged, func(c sources.Revision) bool { return c.ID == w.Revision.ID }):
		return false
	case w.Revision.Tree != "" && s.Converged[len(s.Converged)-1].Tree == w.Revision.Tree: // to go back to the same is no way out
		return false
	}
	for _, n := range w.Nodes {
		if n.Decl == nil {
			continue
		}
		if t := w.Targets[n.ID.Target]; t != nil && t.Down != nil {
			return false
		}
		if n.puttingBack() { // it waits for a person meanwhile
			return false
		}
		if n.said != nil && (n.said.State == Held || n.said.State == Suspended || n.said.State == Drifted) && r.newlyDeclared(n) {
			return false
		}
	}
	return true
}

// atFault is what the revision in force declares newly and what does not get
// well, in words; nil: it is at fault for nothing. What broke although it is as
// it was when all was well, and what an engine forbids, is not its fault.
func (r *Reconciler) atFault() []string {
	var all []string
	for _, n := range r.core.w.Nodes {
		e := n.said
		if n.Decl == nil || e == nil || !blames(n, e) || !r.newlyDeclared(n) {
			continue
		}
		reason, _ := explain(n, e)
		all = append(all, schema.Mask(fmt.Sprintf("%s is %s: %s", n.ID.Short(), e.State, reason)))
	}
	return all
}

// blames says whether n's state speaks against what declares it.
func blames(n *Node, e *Eval) bool {
	if e.State == Conflict {
		return true
	}
	if e.State != Degraded {
		return false
	}
	switch e.Why {
	case unhealthy, flapping, needUnknown:
		return true
	case failed:
		var err error
		if n.Fail != nil {
			err = n.Fail.Err
		} else if n.Plan != nil {
			err = n.Plan.Err
		}
		return !errors.Is(err, drivers.ErrUnreachable) && !errors.Is(err, drivers.ErrDenied)
	}
	return false
}

// newlyDeclared says whether what is wanted of n now is not what was wanted when
// all was well last.
func (r *Reconciler) newlyDeclared(n *Node) bool {
	if n.Plan == nil || n.Plan.Want == nil {
		return !n.ours()
	}
	since := func(o *store.Owned) bool {
		return o.Want != n.Plan.WantSum || o.Since.After(r.status.convergedAt)
	}
	if n.Owned != nil {
		return since(n.Owned)
	}
	return n.Intent == nil || since(&n.Intent.Owned)
}

// quarantine goes back to the revision that converged last, where the time of
// the one in force is over and it is at fault. Only the tip is quarantined: a
// newer commit is tried first.
func (r *Reconciler) quarantine(ctx context.Context, head sources.Revision) error {
	to, ok := r.wayBack(head)
	if !ok {
		return nil
	}
	if err := r.compiles(ctx, to); err != nil {
		return fmt.Errorf("%s did not converge in time, and there is no way back to %s: %w", head.Short(), to.Short(), err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now, ok := r.overdue(head); !ok || now.ID != to.ID {
		return nil // it converged after all, or a person pulled a lever
	}
	faults := r.trial.due
	r.trial = trial{}
	why := fmt.Sprintf("not converged after %s: %s", Span(r.cfg.Quarantine), strings.Join(faults[:min(len(faults), mostWhy)], "; "))
	if more := len(faults) - mostWhy; more > 0 {
		why += fmt.Sprintf("; and %d more", more)
	}
	back := Rollback{To: to, Quarantined: head, Lever: Lever{By: Itself, At: time.Now(), Why: why}, Faults: faults[:min(len(faults), mostFaults)]}
	if r.core.w.Outside {
		back.Quarantined.Tree = "" // it does not say all that is declared
	}
	state := r.core.w.State
	state.Quarantined = &back
	rec := recordOf(tuple{Revision: head}, back.Lever.At, "quarantined")
	rec.Error = why
	if err := r.pull(WithMeans(ctx, MeansItself), Itself, "quarantine", head.ID, why, store.Result{State: &state, History: []any{rec}}); err != nil {
		return err
	}
	r.log.WithField("revision", head.Short()).WithField("to", to.Short()).Warn("the revision did not converge in time and is quarantined")
	r.refuse = nil
	return nil
}

// compiles says why a revision could not be put in force: the source has lost it,
// or it does not go with today's templates and policies.
func (r *Reconciler) compiles(ctx context.Context, rev sources.Revision) error {
	now, err := r.under()
	if err != nil {
		return err
	}
	all, closeAll, err := r.fetch(ctx, tuple{rev, now})
	if err != nil {
		return err
	}
	compiled, err := r.cfg.Compile(ctx, all)
	if err = errors.Join(err, closeAll()); err != nil {
		return err
	}
	findings := compiled.Findings
	if len(findings) == 0 {
		_, findings = r.cfg.Rules.Build(compiled.Resources, r.cfg.Registry)
	}
	if len(findings) > 0 {
		return fmt.Errorf("it does not compile any more: %s", findings[0])
	}
	return nil
}

// Bounds of what is kept of faults.
const (
	mostWhy    = 3  // in the audit
	mostFaults = 20 // for a proposal
)

// wayBack is where quarantine has to go back to, and whether it has to.
func (r *Reconciler) wayBack(head sources.Revision) (sources.Revision, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.overdue(head)
}

func (r *Reconciler) overdue(head sources.Revision) (sources.Revision, bool) {
	w := r.core.w
	if r.trial.due == nil || head.ID != w.Revision.ID || !r.trial.of.same(tuple{w.Revision, w.Under}) || !r.onTrial() {
		return sources.Revision{}, false
	}
	return w.State.Converged[len(w.State.Converged)-1], true
}

// Span is a time for people, as configurations have it: 30m, 1h30m, 5s.
func Span(d time.Duration) string {
	s := d.String() // "30m0s", "1h0m0s"
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
