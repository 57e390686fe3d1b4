package reconciler

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// tuple is what a revision is made of: the declarations, and what they are
// compiled under.
type tuple struct {
	sources.Revision // of the declarations
	Under
}

func (t tuple) same(o tuple) bool { return t.ID == o.ID && t.Under.Same(o.Under) }

// words is the title of the declarations, with what they are under.
func (t tuple) words() string {
	words := []string{t.Title}
	if t.Title == "" {
		words = nil
	}
	for _, u := range []struct {
		name string
		rev  sources.Revision
	}{{"templates", t.Templates}, {"policies", t.Policies}} {
		if u.rev.ID != "" {
			words = append(words, u.name+" at "+u.rev.Short())
		}
	}
	return strings.Join(words, ", ")
}

// recordOf is a line of the history about a revision.
func recordOf(t tuple, at time.Time, what string) Record {
	return Record{At: at, Revision: t.ID, Title: t.Title, Templates: t.Templates.ID, Policies: t.Policies.ID, What: what}
}

// follow looks at the sources at their intervals, and whenever something says
// that it is worth while.
func (r *Reconciler) follow(ctx context.Context) {
	defer r.looks.Wait()
	if !r.cfg.Once {
		r.watch(ctx, r.cfg.Source, r.cfg.Interval, func() { nudge(r.look) })
		for _, b := range r.besides {
			r.watch(ctx, b.Source, b.Interval, func() { nudge(b.asked); nudge(r.look) })
		}
	}
	for {
		r.lookAtSource(ctx)
		next := r.cfg.Interval + rand.N(r.cfg.Interval/5+1)
		for _, b := range r.besides {
			next = max(0, min(next, time.Until(b.next)))
		}
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

// watch asks a source that can tell when it is worth asking for its tip.
func (r *Reconciler) watch(ctx context.Context, s sources.Source, interval time.Duration, changed func()) {
	w, ok := s.(sources.Watcher)
	if !ok {
		return
	}
	r.looks.Go(func() {
		for ctx.Err() == nil {
			if err := w.Watch(ctx, changed); err != nil && ctx.Err() == nil {
				r.log.WithError(err).Debug("watching the source ended; the interval goes on")
			}
			pause(ctx, interval)
		}
	})
}

// lookAtSource asks for the tips and puts them in force, or says why not. What
// was in force stays so.
func (r *Reconciler) lookAtSource(ctx context.Context) {
	r.lookBeside(ctx)
	err := r.advance(ctx)
	r.fallBack(ctx)
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.source
	r.source = looked(was, err)
	r.looked = true
	r.status.sourced("", was, r.source)
	nudge(r.wake)
}

func hint(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return drivers.HintOf(err)
}

// advance is the straight line from the tip to a revision in force. That there
// is no way back from one keeps no newer one, nor newer templates, from coming.
func (r *Reconciler) advance(ctx context.Context) error {
	head, err := r.cfg.Source.Head(ctx)
	if err != nil {
		return err
	}
	noWay := r.quarantine(ctx, head)
	if err := r.advanceTo(ctx, head); err != nil {
		return err
	}
	return noWay
}

func (r *Reconciler) advanceTo(ctx context.Context, head sources.Revision) error {
	rev, err := r.wanted(ctx, head)
	if err != nil {
		return err
	}
	t := tuple{Revision: rev}
	if !r.isDown() {
		if t.Under, err = r.under(); err != nil {
			return err
		}
	}
	if r.known(t) {
		return nil
	}
	if err := r.take(ctx, t, r.refused); err != nil {
		return err
	}
	return r.keepUnder(ctx, t)
}

// wanted is the revision to follow: the tip, or while that is quarantined the
// one that was gone back to. A commit that contains the quarantined
// tip ends the rollback; where no person went back, one that declares something
// else.
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
	if len(q.Faults) > 0 && head.Tree != "" && head.Tree == q.Quarantined.Tree {
		return q.To, nil // a commit elsewhere in the repository: it declares what was at fault
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
func (r *Reconciler) known(t tuple) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.core.w
	switch {
	case w.State.Down:
		return w.Declared
	case w.Declared && r.refuse != nil && r.refuse.of().same(t) && r.refuse.Error == "":
		return true
	case w.Declared && t.same(tuple{w.Revision, w.Under}):
		r.refuse = nil
		return true
	}
	return false
}

// of is what was refused.
func (f *Refusal) of() tuple { return tuple{f.Revision, f.Under} }

// take fetches, compiles and orders a revision, and puts it in force; or it
// notes the findings, and nothing is planned and nothing pruned.
func (r *Reconciler) take(ctx context.Context, t tuple, refused func(Refusal)) error {
	refusal := Refusal{Revision: t.Revision, Under: t.Under, At: time.Now()}
	if r.isDown() {
		judge, err := r.judgeDown(ctx)
		if err != nil {
			return err
		}
		return r.declare(ctx, t, order{judge: judge}, refusal.At)
	}
	all, closeAll, err := r.fetch(ctx, t)
	if err != nil {
		var own declarationsError
		if errors.As(err, &own) && (errors.Is(err, sources.ErrRewound) || errors.Is(err, sources.ErrUnsigned) || errors.Is(err, sources.ErrTooLarge)) { // looking again will not mend it
			refusal.Error = schema.Mask(err.Error())
			refused(refusal)
		}
		return err
	}
	if same, ok := r.sameTree(t); ok { // commits elsewhere in the repositories
		return errors.Join(closeAll(), r.declare(ctx, t, same, refusal.At))
	}
	compiled, err := r.cfg.Compile(ctx, all)
	if err = errors.Join(err, closeAll()); err != nil {
		return fmt.Errorf("compile %s: %w", t.Short(), err)
	}
	if len(compiled.Findings) == 0 && len(compiled.Resources) == 0 {
		compiled.Findings = []schema.Diagnostic{{Message: "nothing is declared: an empty tree prunes nothing", Hint: "to delete everything: aplomb down"}}
	}
	refusal.Files = compiled.Files
	if len(compiled.Findings) > 0 {
		refusal.Findings = schema.SortDiagnostics(append(compiled.Findings, r.cfg.Rules.Check(compiled.Seen, r.cfg.Registry)...))
		refused(refusal)
		return nil
	}
	nodes, findings := r.cfg.Rules.Build(compiled.Resources, r.cfg.Registry)
	if len(findings) > 0 {
		refusal.Findings = findings
		refused(refusal)
		return nil
	}
	return r.declare(ctx, t, order{nodes, compiled.Outside, compiled.Judge}, refusal.At)
}

// sameTree answers the order in force, where t declares exactly that under the
// same.
func (r *Reconciler) sameTree(t tuple) (order, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.core.w
	if !w.Declared || w.Outside || t.Tree == "" || w.Revision.Tree != t.Tree || !w.Under.SameTrees(t.Under) {
		return order{}, false
	}
	same := order{judge: w.Judge}
	for _, n := range w.Nodes {
		if n.Decl != nil {
			same.nodes = append(same.nodes, n.Decl)
		}
	}
	return same, true
}

// order is what a revision comes to.
type order struct {
	nodes   []*graph.Node
	outside bool
	judge   *Judge
}

func (r *Reconciler) isDown() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.core.w.State.Down
}

// declare puts a compiled revision in force.
func (r *Reconciler) declare(ctx context.Context, t tuple, o order, began time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	state := r.core.w.State
	switch q := state.Quarantined; { // a person may have pulled a lever meanwhile
	case state.Down:
		o.nodes = nil
	case q != nil && q.Quarantined.ID == t.ID:
		nudge(r.look)
		return nil
	}
	if !t.same(tuple{state.InForce, state.Under}) && !state.Down {
		state.InForce, state.Under = t.Revision, t.Under
		r.status.fresh = true
		r.status.say()
		if err := r.setState(ctx, state, []any{recordOf(t, began, "in force")}); err != nil {
			return err
		}
	}
	r.refuse = nil
	r.core.w.Now = time.Now()
	w := r.core.w
	w.Judge = o.judge
	w.Declare(t.Revision, o.nodes)
	w.Under, w.Outside = t.Under, o.outside
	r.supersede()
	r.status.declared(t, began)
	nudge(r.wake)
	return nil
}

func (r *Reconciler) refused(f Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse == nil || !r.refuse.of().same(f.of()) || r.refuse.Error != f.Error {
		r.status.refused(f)
	}
	r.refuse = &f
}

// fallBack puts the last good revision in force where nothing is, such as
// after a start at a refused tip or with a source that cannot be read, as far
// as the sources still have it: under what it was compiled under then, or else
// under what is followed now. Without one nothing is declared, and nothing is
// pruned.
func (r *Reconciler) fallBack(ctx context.Context) {
	r.mu.Lock()
	last, refusal := r.core.w.State.InForce, r.refuse
	r.mu.Unlock()
	if last.ID == "" {
		return
	}
	tries := []tuple{{last, r.lastUnder()}}
	if now, err := r.under(); err == nil && !now.Same(tries[0].Under) {
		tries = append(tries, tuple{last, now})
	}
	for _, t := range tries {
		if r.inForce() || refusal != nil && refusal.of().same(t) {
			continue
		}
		if err := r.take(ctx, t, func(Refusal) {}); err != nil {
			r.log.WithError(err).WithField("revision", last.Short()).Debug("the last good revision cannot be read again")
		}
		r.mu.Lock()
		r.refuse = refusal
		r.mu.Unlock()
	}
}

func (r *Reconciler) inForce() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.core.w.Declared
}

// rememberConverged keeps the revisions that a rollback may name.
func rememberConverged(s store.State, rev sources.Revision, at time.Time) store.State {
	const most = 50
	s.Converged = slices.DeleteFunc(slices.Clone(s.Converged), func(r sources.Revision) bool { return r.ID == rev.ID })
	s.Converged = append(s.Converged, rev)
	s.Converged = s.Converged[max(0, len(s.Converged)-most):]
	s.ConvergedAt = at
	return s
}
