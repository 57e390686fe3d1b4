package reconciler

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// Followed is a source that is followed beside the declarations. The zero
// Followed is none.
type Followed struct {
	Source   sources.Source
	Interval time.Duration // between two looks; zero: DefaultInterval
}

// Under is what declarations are compiled under.
type Under = store.Under

// beside is a source that declarations are compiled under: the operator's
// templates, or the policies. Unlike the declarations' its tip is always what
// is wanted: a rollback does not reach it.
type beside struct {
	Followed
	name string                                // "templates" or "policies"
	of   func(u *Under) *sources.Revision      // its part of what declarations are compiled under
	in   func(s *Snapshots) **sources.Snapshot // its snapshot

	asked chan struct{} // one look is worth making before its time

	// Of the goroutine that follows:
	next    time.Time     // the next look
	running chan struct{} // closed at the end of the look that was begun; nil: none was
	late    bool          // nobody waits for that look any more

	// Of the reconciler's lock:
	rev    sources.Revision // the newest that could be read: what to compile under; zero: none could yet
	status SourceStatus
	err    error // of the last look
}

// besides are the sources of a configuration.
func besides(cfg *Config) []*beside {
	var all []*beside
	for _, b := range []*beside{
		{Followed: cfg.Templates, name: "templates", of: func(u *Under) *sources.Revision { return &u.Templates }, in: func(s *Snapshots) **sources.Snapshot { return &s.Templates }},
		{Followed: cfg.Policies, name: "policies", of: func(u *Under) *sources.Revision { return &u.Policies }, in: func(s *Snapshots) **sources.Snapshot { return &s.Policies }},
	} {
		if b.Source != nil {
			b.Interval = or(b.Interval, DefaultInterval)
			b.asked = make(chan struct{}, 1)
			all = append(all, b)
		}
	}
	return all
}

// patience is how long a look at the declarations waits for the looks at
// templates and policies, where something of them could be read before: a
// server that hangs does not keep a commit waiting.
const patience = 10 * time.Second

// lookBeside looks at the sources that are due or asked for, side by side, and
// waits for them.
func (r *Reconciler) lookBeside(ctx context.Context) {
	for _, b := range r.besides {
		if b.begins(time.Now()) {
			done := make(chan struct{})
			b.running, b.late = done, false
			r.looks.Go(func() {
				defer close(done)
				r.lookAt(ctx, b)
			})
		}
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for _, b := range r.besides {
		read := r.hasRead(b)
		if b.running == nil || b.late && read {
			continue
		}
		over := timer.C
		if !read {
			over = nil // without it nothing can be compiled
		}
		select {
		case <-b.running:
			b.running = nil
		case <-over:
			b.late = true
			timer.Reset(0) // nor is anybody else waited for
		case <-ctx.Done():
			return
		}
	}
}

// begins says whether a look is to be begun now.
func (b *beside) begins(now time.Time) bool {
	if b.running != nil {
		select {
		case <-b.running:
			b.running = nil
		default:
			b.next = now.Add(b.Interval)
			return false
		}
	}
	select {
	case <-b.asked:
	default:
		if now.Before(b.next) {
			return false
		}
	}
	b.next = now.Add(b.Interval + rand.N(b.Interval/5+1))
	return true
}

func (r *Reconciler) hasRead(b *beside) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return b.rev.ID != ""
}

// lookAt asks for the tip and makes sure that it can be read. What was read
// before, also by an earlier process, stays what is compiled under where it
// cannot.
func (r *Reconciler) lookAt(ctx context.Context, b *beside) {
	r.mu.Lock()
	was, last := b.rev, *b.of(&r.core.w.State.Under)
	r.mu.Unlock()
	rev, err := b.newest(ctx, was)
	if err != nil && was.ID == "" && last.ID != "" {
		if b.readable(ctx, last) == nil {
			rev = last
		}
	}
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	before := b.status
	b.rev, b.err, b.status = rev, err, looked(before, err)
	r.status.sourced(b.name, before, b.status)
	if was.ID != "" && rev.ID != was.ID {
		nudge(r.look) // who waited for it may have lost patience
	}
}

// newest is the tip, where it can be read, and else what was before.
func (b *beside) newest(ctx context.Context, was sources.Revision) (sources.Revision, error) {
	tip, err := b.Source.Head(ctx)
	if err != nil || tip.ID == was.ID {
		return was, err
	}
	if err := b.readable(ctx, tip); err != nil {
		return was, err
	}
	return tip, nil
}

func (b *beside) readable(ctx context.Context, rev sources.Revision) error {
	snap, err := b.Source.Fetch(ctx, rev)
	if err != nil {
		return err
	}
	return snap.Close()
}

// looked is the status after a look.
func looked(was SourceStatus, err error) SourceStatus {
	now := SourceStatus{OK: err == nil, At: time.Now()}
	if err != nil {
		now.Error, now.Hint, now.Since = schema.Mask(err.Error()), hint(err), now.At
		if !was.OK && !was.At.IsZero() {
			now.Since = was.Since
		}
	}
	return now
}

// under is what declarations are to be compiled under now. It is an error
// where templates or policies are named, and none could be read yet.
func (r *Reconciler) under() (Under, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var u Under
	for _, b := range r.besides {
		if b.rev.ID == "" {
			return u, fmt.Errorf("%s: %w", b.name, or(b.err, errUnlooked))
		}
		*b.of(&u) = b.rev
	}
	return u, nil
}

var errUnlooked = errors.New("not looked at yet")

// lastUnder is what the last good revision was compiled under, as far as that
// is followed still; of what was not followed then, what it is now.
func (r *Reconciler) lastUnder() Under {
	r.mu.Lock()
	defer r.mu.Unlock()
	var u Under
	for _, b := range r.besides {
		*b.of(&u) = *b.of(&r.core.w.State.Under)
		if b.of(&u).ID == "" {
			*b.of(&u) = b.rev
		}
	}
	return u
}

// fetch gives the snapshots that a revision is made of; the answer's last
// closes them.
func (r *Reconciler) fetch(ctx context.Context, t tuple) (Snapshots, func() error, error) {
	var all Snapshots
	var open []*sources.Snapshot
	closeAll := func() error {
		var err error
		for _, s := range open {
			err = errors.Join(err, s.Close())
		}
		return err
	}
	for _, b := range r.besides {
		rev := *b.of(&t.Under)
		if rev.ID == "" {
			return all, nil, errors.Join(fmt.Errorf("%s: %w", b.name, errUnlooked), closeAll())
		}
		snap, err := b.Source.Fetch(ctx, rev)
		if err != nil {
			return all, nil, errors.Join(fmt.Errorf("%s: %w", b.name, err), closeAll())
		}
		*b.in(&all) = snap
		open = append(open, snap)
	}
	snap, err := r.cfg.Source.Fetch(ctx, t.Revision)
	if err != nil {
		return all, nil, errors.Join(declarationsError{err}, closeAll())
	}
	all.Declarations = snap
	open = append(open, snap)
	return all, closeAll, nil
}

// judgeDown is what judges deletions while nothing is declared: the policies in
// force, or after a start those that are followed. Without them nothing is
// deleted.
func (r *Reconciler) judgeDown(ctx context.Context) (*Judge, error) {
	r.mu.Lock()
	judge := r.core.w.Judge
	r.mu.Unlock()
	if judge != nil || r.cfg.Policies.Source == nil {
		return judge, nil
	}
	rev, err := r.policiesNow()
	if err != nil {
		return nil, err
	}
	snap, err := r.cfg.Policies.Source.Fetch(ctx, rev)
	if err != nil {
		return nil, fmt.Errorf("policies: %w", err)
	}
	compiled, err := r.cfg.Compile(ctx, Snapshots{Policies: snap})
	return compiled.Judge, errors.Join(err, snap.Close())
}

// policiesNow is the newest revision of the policies that could be read.
func (r *Reconciler) policiesNow() (sources.Revision, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.besides {
		if b.name == "policies" && b.rev.ID == "" {
			return b.rev, fmt.Errorf("policies: %w", or(b.err, errUnlooked))
		} else if b.name == "policies" {
			return b.rev, nil
		}
	}
	return sources.Revision{}, fmt.Errorf("policies: %w", errUnlooked)
}

// declarationsError is an error of the declarations' own source.
type declarationsError struct{ error }

func (e declarationsError) Unwrap() error { return e.error }

// followed is what the status says of a source beside the declarations.
func (r *Reconciler) followed(name string) *FollowedStatus {
	for _, b := range r.besides {
		if b.name == name {
			return &FollowedStatus{Revision: *b.of(&r.core.w.Under), Source: b.status}
		}
	}
	return nil
}

// keepUnder puts what is in force under newer templates and policies, where the
// tip was refused under them: a commit that does not compile must not keep a
// rule of the operator's from being in force. Where what is in force does not
// compile under both, it goes under the policies alone.
func (r *Reconciler) keepUnder(ctx context.Context, t tuple) error {
	r.mu.Lock()
	refusal, now, declared := r.refuse, tuple{r.core.w.Revision, r.core.w.Under}, r.core.w.Declared
	r.mu.Unlock()
	if !declared || refusal == nil || !refusal.of().same(t) || refusal.Error != "" || now.Under.Same(t.Under) {
		return nil
	}
	var tries []tuple
	if whole := (tuple{now.Revision, t.Under}); !whole.same(t) {
		tries = append(tries, whole)
	}
	if under := now.Under; under.Policies.ID != t.Under.Policies.ID && under.Templates.ID != t.Under.Templates.ID {
		under.Policies = t.Under.Policies
		tries = append(tries, tuple{now.Revision, under})
	}
	var err error
	for _, try := range tries {
		taken := true
		if err = r.take(ctx, try, func(Refusal) { taken = false }); err == nil && taken {
			break
		}
	}
	r.mu.Lock()
	r.refuse = refusal // what is wrong with the tip is so still
	r.mu.Unlock()
	return err
}
