package reconciler

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// follow looks at the source at its interval, and whenever something says that
// it is worth while.
func (r *Reconciler) follow(ctx context.Context) {
	if w, ok := r.cfg.Source.(sources.Watcher); ok && !r.cfg.Once {
		watched := make(chan struct{})
		defer func() { <-watched }()
		go func() {
			defer close(watched)
			for ctx.Err() == nil {
				if err := w.Watch(ctx, func() { nudge(r.look) }); err != nil && ctx.Err() == nil {
					r.log.WithError(err).Debug("watching the source ended; the interval goes on")
				}
				pause(ctx, r.cfg.Interval)
			}
		}()
	}
	for {
		r.lookAtSource(ctx)
		next := r.cfg.Interval + rand.N(r.cfg.Interval/5+1)
		if r.cfg.Once {
			next = idle
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-r.look:
			timer.Stop()
		}
	}
}

// lookAtSource asks for the tip and puts it in force, or says why not. What
// was in force stays so.
func (r *Reconciler) lookAtSource(ctx context.Context) {
	err := r.advance(ctx)
	r.fallBack(ctx)
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	was := r.source
	r.source = SourceStatus{OK: err == nil, At: now}
	if err != nil {
		r.source.Error, r.source.Hint, r.source.Since = schema.Mask(err.Error()), hint(err), now
		if !was.OK && !was.At.IsZero() {
			r.source.Since = was.Since
		}
	}
	r.looked = true
	r.status.sourced(was, r.source)
	nudge(r.wake)
}

func hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return drivers.HintOf(err)
}

// advance is the straight line from the tip to a revision in force.
func (r *Reconciler) advance(ctx context.Context) error {
	head, err := r.cfg.Source.Head(ctx)
	if err != nil {
		return err
	}
	rev, err := r.wanted(ctx, head)
	if err != nil {
		return err
	}
	if r.known(rev) {
		return nil
	}
	return r.take(ctx, rev, r.refused)
}

// wanted is the revision to follow: the tip, or while that is quarantined the
// one that a person rolled back to. A commit that contains the quarantined
// tip ends the rollback.
func (r *Reconciler) wanted(ctx context.Context, head sources.Revision) (sources.Revision, error) {
	r.mu.Lock()
	q := r.core.w.State.Quarantined
	r.mu.Unlock()
	if q == nil {
		return head, nil
	}
	if head.ID == q.Quarantined.ID {
		return q.To, nil
	}
	a, ok := r.cfg.Source.(sources.Ancestry)
	if !ok {
		return head, r.release(ctx)
	}
	newer, err := a.Contains(ctx, head, q.Quarantined)
	if err != nil || !newer {
		return q.To, err
	}
	return head, r.release(ctx)
}

// release ends a rollback.
func (r *Reconciler) release(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	state := r.core.w.State
	state.Quarantined = nil
	return r.setState(ctx, state, nil)
}

// setState makes a new state durable, then puts it into the world.
func (r *Reconciler) setState(ctx context.Context, state store.State, history []any) error {
	if !r.cfg.ReadOnly {
		if err := r.core.store.Finish(ctx, store.Result{State: &state, History: history}); err != nil {
			return err
		}
	}
	r.core.w.State = state
	return nil
}

// known says whether a revision is in force already, or has been refused.
func (r *Reconciler) known(rev sources.Revision) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.core.w
	switch {
	case w.State.Down:
		return w.Declared
	case w.Declared && r.refuse != nil && r.refuse.Revision.ID == rev.ID && r.refuse.Error == "":
		return true
	case w.Declared && w.Revision.ID == rev.ID:
		r.refuse = nil
		return true
	}
	return false
}

// take fetches, compiles and orders a revision, and puts it in force; or it
// notes the findings, and nothing is planned and nothing pruned.
func (r *Reconciler) take(ctx context.Context, rev sources.Revision, refused func(Refusal)) error {
	began := time.Now()
	if r.isDown() {
		return r.declare(ctx, rev, nil, began)
	}
	snap, err := r.cfg.Source.Fetch(ctx, rev)
	if err != nil {
		if errors.Is(err, sources.ErrRewound) || errors.Is(err, sources.ErrTooLarge) { // looking again will not mend it
			refused(Refusal{Revision: rev, Error: schema.Mask(err.Error()), At: began})
		}
		return err
	}
	if nodes, same := r.sameTree(rev); same { // a commit elsewhere in the repository
		return errors.Join(snap.Close(), r.declare(ctx, rev, nodes, began))
	}
	compiled, err := r.cfg.Compile(ctx, Snapshots{Declarations: snap})
	if err = errors.Join(err, snap.Close()); err != nil {
		return fmt.Errorf("compile %s: %w", rev.Short(), err)
	}
	if len(compiled.Findings) == 0 && len(compiled.Resources) == 0 {
		compiled.Findings = []schema.Diagnostic{{Message: "nothing is declared: an empty tree prunes nothing", Hint: "to delete everything: aplomb down"}}
	}
	if len(compiled.Findings) > 0 {
		findings := schema.SortDiagnostics(append(compiled.Findings, graph.Check(compiled.Seen, r.cfg.Registry)...))
		refused(Refusal{Revision: rev, Findings: findings, Files: compiled.Files, At: began})
		return nil
	}
	nodes, findings := graph.Build(compiled.Resources, r.cfg.Registry)
	if len(findings) > 0 {
		refused(Refusal{Revision: rev, Findings: findings, Files: compiled.Files, At: began})
		return nil
	}
	return r.declare(ctx, rev, nodes, began)
}

// sameTree answers the order in force, where rev declares exactly that.
func (r *Reconciler) sameTree(rev sources.Revision) ([]*graph.Node, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.core.w
	if !w.Declared || rev.Tree == "" || w.Revision.Tree != rev.Tree {
		return nil, false
	}
	var nodes []*graph.Node
	for _, n := range w.Nodes {
		if n.Decl != nil {
			nodes = append(nodes, n.Decl)
		}
	}
	return nodes, true
}

func (r *Reconciler) isDown() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.core.w.State.Down
}

// declare puts a compiled revision in force.
func (r *Reconciler) declare(ctx context.Context, rev sources.Revision, nodes []*graph.Node, began time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	state := r.core.w.State
	switch q := state.Quarantined; { // a person may have pulled a lever meanwhile
	case state.Down:
		nodes = nil
	case q != nil && q.Quarantined.ID == rev.ID:
		nudge(r.look)
		return nil
	}
	if state.InForce.ID != rev.ID && !state.Down {
		state.InForce = rev
		r.status.say()
		if err := r.setState(ctx, state, []any{Record{At: began, Revision: rev.ID, Title: rev.Title, What: "in force"}}); err != nil {
			return err
		}
	}
	r.refuse = nil
	r.core.w.Now = time.Now()
	r.core.w.Declare(rev, nodes)
	r.supersede()
	r.status.declared(rev, began)
	nudge(r.wake)
	return nil
}

func (r *Reconciler) refused(f Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse == nil || r.refuse.Revision.ID != f.Revision.ID || r.refuse.Error != f.Error {
		r.status.refused(f)
	}
	r.refuse = &f
}

// fallBack puts the last good revision in force where nothing is, such as
// after a start at a refused tip or with a source that cannot be read, as far
// as the source still has it. Without one nothing is declared, and nothing is
// pruned.
func (r *Reconciler) fallBack(ctx context.Context) {
	r.mu.Lock()
	last, declared, refusal := r.core.w.State.InForce, r.core.w.Declared, r.refuse
	r.mu.Unlock()
	if declared || last.ID == "" || refusal != nil && refusal.Revision.ID == last.ID {
		return
	}
	if err := r.take(ctx, last, func(Refusal) {}); err != nil {
		r.log.WithError(err).WithField("revision", last.Short()).Debug("the last good revision cannot be read again")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = refusal
}

// rememberConverged keeps the revisions that a rollback may name.
func rememberConverged(s store.State, rev sources.Revision) store.State {
	const most = 50
	s.Converged = slices.DeleteFunc(slices.Clone(s.Converged), func(r sources.Revision) bool { return r.ID == rev.ID })
	s.Converged = append(s.Converged, rev)
	s.Converged = s.Converged[max(0, len(s.Converged)-most):]
	return s
}
