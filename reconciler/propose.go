package reconciler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// Proposed is what a proposal would make of the environment.
type Proposed struct {
	Plan    PlanView `json:"plan"`
	Refused *Refusal `json:"refused,omitempty"` // its findings; there is no plan then

	// Shown are the changes of Plan as an approval keeps them, without those
	// that are deferred: those ask once they are known. See Reviewed.
	Shown []plan.Masked `json:"shown,omitempty"`

	Seen time.Time `json:"seen,omitzero"` // the oldest look at what lives that it is planned against; zero: nothing does
}

// Propose plans declarations that are not in force, under the templates and
// policies of now and beside what runs: neither an engine nor the store is
// written, and what is in force stays so. What lives is known from
// the environment's own looks where those are good still (see seed), and else
// looked at anew, by registry, whose targets are those of the environment with
// the identity under which proposals are planned; nil is the environment's own.
// It waits until there is nothing more to learn, or ctx ends. Safe for
// concurrent use.
func (r *Reconciler) Propose(ctx context.Context, declared *sources.Snapshot, registry *drivers.Registry) (Proposed, error) {
	cfg := r.cfg
	cfg.Source, cfg.Reporter, cfg.ReadOnly, cfg.Once, cfg.Unwatched = proposal{declared}, nil, true, true, true
	if registry != nil {
		cfg.Registry = registry
	}
	p, err := New(ctx, cfg)
	if err != nil {
		return Proposed{}, fmt.Errorf("plan a proposal: %w", err)
	}
	state := p.core.w.State // as it would be planned if nobody had pulled a lever
	state.Suspended, state.Down, state.Quarantined = nil, false, nil
	p.core.w.State = state
	r.seed(p)
	run, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.Run(run) }()
	st, err := p.Wait(ctx, func(s Status) bool { return s.Settled || s.Refused != nil || !s.Source.At.IsZero() && !s.Source.OK })
	stop()
	if err = errors.Join(err, <-ended); err != nil {
		return Proposed{}, fmt.Errorf("plan a proposal: %w", err)
	}
	switch {
	case st.Refused != nil:
		return Proposed{Refused: st.Refused}, nil
	case !st.Source.OK:
		return Proposed{}, fmt.Errorf("plan a proposal: %s", st.Source.Error)
	}
	return p.shown(), nil
}

// shown is the plan of now, with what an approval of it would keep.
func (r *Reconciler) shown() Proposed {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := Proposed{Plan: r.planNow()}
	for _, c := range got.Plan.Changes {
		if c.Action != schema.Deferred {
			got.Shown = append(got.Shown, r.masked(c))
		}
	}
	for _, n := range r.core.w.Nodes {
		if n.Live != nil && (got.Seen.IsZero() || n.Live.At.Before(got.Seen)) {
			got.Seen = n.Live.At
		}
	}
	return got
}

// masked is a change of now as an approval keeps it. It is called with mu held.
func (r *Reconciler) masked(c PlannedChange) plan.Masked {
	m := plan.Mask(r.cfg.ID, r.core.w.Targets[c.ID.Target].Identity, c.Change)
	m.Declared = c.declared
	return m
}

// proposal is a source of one tree. Whoever gave the tree closes it.
type proposal struct{ snapshot *sources.Snapshot }

// Head implements sources.Source.
func (p proposal) Head(context.Context) (sources.Revision, error) { return p.snapshot.Revision, nil }

// Fetch implements sources.Source.
func (p proposal) Fetch(context.Context, sources.Revision) (*sources.Snapshot, error) {
	again := *p.snapshot
	again.Close = func() error { return nil }
	return &again, nil
}
