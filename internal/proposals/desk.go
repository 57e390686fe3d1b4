package proposals

import (
	"cmp"
	"context"
	"errors"
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
	Path        string // below which declarations lie; "" is all of it
	Forge       forge.Forge
	Source      Source

	// Plan plans a tree read-only. It is called for one proposal at a time.
	Plan func(context.Context, *sources.Snapshot) (reconciler.Proposed, error)

	// Basis stands for what plans are made from beside the proposal and the tip:
	// where it is another, they are made again. Wait says when it may be; see
	// reconciler.Basis. nil: only a push and a new tip count.
	Basis func() string
	Wait  func(context.Context, func(reconciler.Status) bool) (reconciler.Status, error)

	// Pages holds what comments cannot, in PagesFolder of the environment's folder
	// on PagesBranch; nil: they are cut.
	Pages                    Pages
	PagesBranch, PagesFolder string

	Book      *Book         // remembers what was shown; nil: nobody does
	Unplanned []string      // targets that Plan leaves alone, for the comment
	Signed    bool          // a head that nobody who may has signed fails
	Drafts    bool          // plan drafts too
	Forks     bool          // plan what comes from other repositories too
	Interval  time.Duration // zero: DefaultInterval
	Looked    func(error)   // hears how each look went; nil: nobody does
	Log       logrus.FieldLogger

	once sync.Once
	kick chan struct{}

	mu    sync.Mutex
	jobs  map[string]*job // by the proposal's ID
	slot  chan struct{}   // one plan at a time
	tired time.Time       // nothing is planned for another basis before
	paged map[string]bool // proposals that have a page
	swept bool            // pages of before are gone
}

func (d *Desk) init() {
	d.once.Do(func() {
		d.kick, d.jobs, d.slot, d.paged = make(chan struct{}, 1), map[string]*job{}, make(chan struct{}, 1), map[string]bool{}
	})
}

func (d *Desk) every() time.Duration { return cmp.Or(d.Interval, DefaultInterval) }

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
	interval := d.every()
	var jobs sync.WaitGroup
	defer jobs.Wait()
	if d.Basis != nil {
		jobs.Go(func() { d.follow(ctx) })
	}
	var wrong grumble
	for {
		wait := interval + rand.N(interval/5+1)
		if err := d.look(ctx, &jobs); ctx.Err() == nil {
			if d.Looked != nil {
				d.Looked(err)
			}
			wrong.about(d.Log.WithField("env", d.Environment), err, "the proposals cannot be looked at")
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
		return err
	}
	open = slices.DeleteFunc(open, func(p forge.Proposal) bool { return p.Draft && !d.Drafts || p.Fork && !d.Forks })
	if len(open) > mostPlanned { // of those that are planned at all: anybody can open others
		d.Log.WithFields(logrus.Fields{"env": d.Environment, "open": len(open)}).Warn("too many proposals are open: only the oldest are planned")
		open = open[:mostPlanned]
	}
	there, stale := d.arrange(ctx, jobs, open, tip.ID)
	if !stale {
		return nil
	}
	if err := d.sweep(ctx, there); err != nil {
		d.mu.Lock()
		d.swept = false
		d.mu.Unlock()
		return err
	}
	return nil
}

// arrange starts and ends jobs. It answers the proposals that are looked after,
// and whether there are pages of others.
func (d *Desk) arrange(ctx context.Context, jobs *sync.WaitGroup, open []forge.Proposal, tip string) (there map[string]bool, stale bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	there = map[string]bool{}
	now, basis := time.Now(), d.basis()
	for _, p := range open {
		there[p.ID] = true
		key, tries := p.Head+" "+tip, 0
		if j := d.jobs[p.ID]; j != nil {
			switch {
			case j.key != key:
			case j.failed() || j.due(now):
				tries = j.tries + 1
			case j.overtaken(basis) && !now.Before(d.tired):
				tries = 1
			default:
				continue
			}
			j.cancel() // a newer push, or a moved branch, makes the old plan worthless
		}
		d.start(ctx, jobs, p, key, tries)
	}
	for id, j := range d.jobs {
		if !there[id] {
			j.cancel()
			delete(d.jobs, id)
		}
	}
	stale = !d.swept
	d.swept = true
	for id := range d.paged {
		if !there[id] {
			delete(d.paged, id)
			stale = true
		}
	}
	return there, stale
}

// tidier is a forge on which what was said of a proposal does not go with it.
type tidier interface {
	Tidy(ctx context.Context, open []forge.Proposal) error
}

func (d *Desk) start(ctx context.Context, jobs *sync.WaitGroup, p forge.Proposal, key string, tries int) {
	ctx, cancel := context.WithCancel(ctx)
	j := &job{desk: d, proposal: p, key: key, tries: tries, cancel: cancel, done: make(chan struct{}), after: d.jobs[p.ID]}
	d.jobs[p.ID] = j
	jobs.Go(func() {
		defer cancel()
		defer close(j.done)
		if j.after != nil {
			<-j.after.done // one hand at a time on one comment
			j.wrong, j.told, j.after = j.after.wrong, j.after.told, nil
		}
		err := j.run(ctx)
		j.mu.Lock()
		j.err = err
		j.mu.Unlock()
		if ctx.Err() == nil && !errors.Is(err, sources.ErrMoved) {
			j.wrong.about(d.Log.WithFields(logrus.Fields{"env": d.Environment, "proposal": p.ID}), err, "a proposal could not be planned; it is tried again")
		}
	})
}
