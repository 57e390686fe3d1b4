package proposals

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// DefaultInterval is the time between two looks at the forge where nobody says
// that there is something to see.
const DefaultInterval = time.Minute

// mostPlanned bounds how many proposals are planned; of more, the oldest are.
const mostPlanned = 200

// Source is where proposals and the branch that they want to be merged into
// come from.
type Source interface {
	sources.Merger
	Head(ctx context.Context) (sources.Revision, error)
}

// Desk plans the proposals of one environment. Its fields are set before Run
// and not changed after; methods are safe for concurrent use.
type Desk struct {
	Environment string // its name, on screens
	Branch      string // that is followed
	Forge       forge.Forge
	Source      Source

	// Plan plans a tree read-only. It is called for one proposal at a time.
	Plan func(context.Context, *sources.Snapshot) (reconciler.Proposed, error)

	Book      *Book         // remembers what was shown; nil: nobody does
	Unplanned []string      // targets that Plan leaves alone, for the comment
	Signed    bool          // a head that nobody who may has signed fails
	Drafts    bool          // plan drafts too
	Forks     bool          // plan what comes from other repositories too
	Interval  time.Duration // zero: DefaultInterval
	Log       logrus.FieldLogger

	once sync.Once
	kick chan struct{}

	mu   sync.Mutex
	jobs map[string]*job // by the proposal's ID
	slot chan struct{}   // one plan at a time
}

func (d *Desk) init() {
	d.once.Do(func() {
		d.kick, d.jobs, d.slot = make(chan struct{}, 1), map[string]*job{}, make(chan struct{}, 1)
	})
}

// Kick asks for a look now. It does not wait.
func (d *Desk) Kick() {
	d.init()
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// Run looks for proposals and plans them until ctx ends; what is being planned
// then is waited for.
func (d *Desk) Run(ctx context.Context) {
	d.init()
	interval := d.Interval
	if interval == 0 {
		interval = DefaultInterval
	}
	var jobs sync.WaitGroup
	defer jobs.Wait()
	for {
		wait := interval + rand.N(interval/5+1)
		if err := d.look(ctx, &jobs); err != nil && ctx.Err() == nil {
			d.Log.WithError(err).WithField("env", d.Environment).Warn("the proposals cannot be looked at")
			if at := time.Until(forge.RetryAt(err)); at > wait {
				wait = at
			}
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-d.kick:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// look starts a job for each proposal that is not as it was, ends those of
// proposals that are gone, and lets the others go on.
func (d *Desk) look(ctx context.Context, jobs *sync.WaitGroup) error {
	open, err := d.Forge.Proposals(ctx, d.Branch)
	if err != nil {
		return err
	}
	if t, ok := d.Forge.(tidier); ok {
		if err := t.Tidy(ctx, open); err != nil {
			return err
		}
	}
	tip, err := d.Source.Head(ctx)
	if err != nil {
		return fmt.Errorf("look at branch %s: %w", d.Branch, err)
	}
	open = slices.DeleteFunc(open, func(p forge.Proposal) bool { return p.Draft && !d.Drafts || p.Fork && !d.Forks })
	if len(open) > mostPlanned { // of those that are planned at all: anybody can open others
		d.Log.WithFields(logrus.Fields{"env": d.Environment, "open": len(open)}).Warn("too many proposals are open: only the oldest are planned")
		open = open[:mostPlanned]
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	there := map[string]bool{}
	for _, p := range open {
		there[p.ID] = true
		key := p.Head + " " + tip.ID
		if j := d.jobs[p.ID]; j != nil {
			if j.key == key && !j.failed() {
				continue
			}
			j.cancel() // a newer push, or a moved branch, makes the old plan worthless
		}
		d.start(ctx, jobs, p, key)
	}
	for id, j := range d.jobs {
		if !there[id] {
			j.cancel()
			delete(d.jobs, id)
		}
	}
	return nil
}

// tidier is a forge on which what was said of a proposal does not go with it.
type tidier interface {
	Tidy(ctx context.Context, open []forge.Proposal) error
}

func (d *Desk) start(ctx context.Context, jobs *sync.WaitGroup, p forge.Proposal, key string) {
	ctx, cancel := context.WithCancel(ctx)
	j := &job{desk: d, proposal: p, key: key, cancel: cancel, done: make(chan struct{}), after: d.jobs[p.ID]}
	d.jobs[p.ID] = j
	jobs.Go(func() {
		defer cancel()
		defer close(j.done)
		if j.after != nil {
			<-j.after.done // one hand at a time on one comment
			j.after = nil
		}
		err := j.run(ctx)
		j.mu.Lock()
		j.err = err
		j.mu.Unlock()
		if err != nil && ctx.Err() == nil && !errors.Is(err, sources.ErrMoved) {
			d.Log.WithError(err).WithFields(logrus.Fields{"env": d.Environment, "proposal": p.ID}).Warn("a proposal could not be planned; it is tried again")
		}
	})
}
