package reconciler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// Reconciler drives one environment. It implements Control.
type Reconciler struct {
	cfg     Config
	log     logrus.FieldLogger
	besides []*beside      // what declarations are compiled under
	looks   sync.WaitGroup // at what is beside, and watches of sources

	mu     sync.Mutex // guards everything below, the World first of all
	core   core
	status *statusKeeper
	source SourceStatus
	report ReportStatus
	forge  map[ForgeLook]SourceStatus
	refuse *Refusal
	looked bool // the source has been looked at since the start
	fatal  error
	trial  trial

	wake     chan struct{}     // one turn is worth making
	look     chan struct{}     // one look at the source is worth making
	reports  chan struct{}     // one report is worth considering
	low      chan struct{}     // a queue is not deep any more
	queues   map[string]queues // by target
	flights  map[*Node]*flight // of the applies in flight
	air      air               // what is in flight; it has a lock of its own
	unfrozen atomic.Bool       // nobody has frozen anything; set with mu held
}

var _ Control = (*Reconciler)(nil)

// New loads the store; nothing is started.
func New(ctx context.Context, cfg Config) (*Reconciler, error) {
	cfg.Interval = or(cfg.Interval, DefaultInterval)
	cfg.Resync = or(cfg.Resync, DefaultResync)
	cfg.ReportEvery = or(cfg.ReportEvery, DefaultReportEvery)
	if cfg.Log == nil {
		return nil, errors.New("reconciler: no logger")
	}
	loaded, err := cfg.Store.Load(ctx)
	if err != nil {
		return nil, err
	}
	env := Env{ID: cfg.ID, Name: cfg.Name, Gates: cfg.Gates, ReportDrift: cfg.ReportDrift, ReadOnly: cfg.ReadOnly, Resync: cfg.Resync, Started: time.Now()}
	r := &Reconciler{
		cfg: cfg, log: cfg.Log.WithField("env", cfg.Name),
		core: core{w: NewWorld(env, cfg.Registry, loaded), store: cfg.Store},
		wake: make(chan struct{}, 1), look: make(chan struct{}, 1), reports: make(chan struct{}, 1), low: make(chan struct{}, 1),
		queues: map[string]queues{}, flights: map[*Node]*flight{}, forge: map[ForgeLook]SourceStatus{}, air: air{empty: make(chan struct{}, 1)},
	}
	r.unfrozen.Store(unfrozen(r.core.w.State))
	r.besides = besides(&cfg)
	r.status = newStatusKeeper(r)
	for name, t := range r.core.w.Targets {
		r.queues[name] = queues{reads: newQueue(t.Concurrency, nil), writes: newQueue(t.Concurrency, r.low)}
	}
	return r, nil
}

func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Run follows the source and drives the engines until ctx ends; calls in
// flight then get a moment to end. An error is one that no retry mends: the
// store cannot be written.
func (r *Reconciler) Run(ctx context.Context) error {
	calls, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var group sync.WaitGroup
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, f := range []func(context.Context){r.follow, r.watchTargets, r.reportLoop} {
		group.Go(func() { f(inner) })
	}
	err := r.loop(inner, calls)
	cancel()
	r.drain(stop)
	group.Wait()
	if err == nil {
		r.lastReport()
	}
	return err
}

// loop makes turns: it sleeps until something has happened or is due.
func (r *Reconciler) loop(ctx, calls context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-timer.C:
		}
		began := time.Now()
		next, err := r.turn(calls)
		if err != nil {
			return err
		}
		r.breathe(ctx, time.Since(began))
		timer.Reset(next)
	}
}

// leastPace and mostPace bound the breath between two turns while calls are in
// flight: as long as the turn took, so that at most half of a core goes into
// deciding, and long enough for ends of calls to gather, since each turn that
// has some writes the journal durably. What waits for a single call does not
// wait for it: the breath ends with the last call in flight.
//
// deepPace is the breath while a target has so many begun applies waiting that
// what a turn could begin there would wait behind them: it ends as soon as they
// run low.
const (
	leastPace = 20 * time.Millisecond
	mostPace  = 50 * time.Millisecond
	deepPace  = 100 * time.Millisecond
)

// breathe waits for ends of calls to gather after a turn that took so long, or
// until no call is left whose end could come.
func (r *Reconciler) breathe(ctx context.Context, took time.Duration) {
	timer := time.NewTimer(min(max(took, leastPace), mostPace))
	defer timer.Stop()
	deep := time.NewTimer(deepPace)
	defer deep.Stop()
	for long := false; ; {
		if calls, _ := r.air.count(); calls == 0 || long && !r.deep() {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-deep.C:
			return
		case <-timer.C:
			long = true
		case <-r.air.empty:
		case <-r.low:
		}
	}
}

// deep says whether some target has plenty to write.
func (r *Reconciler) deep() bool {
	for _, q := range r.queues {
		if q.writes.deep() {
			return true
		}
	}
	return false
}

// idle is how long the loop sleeps where nothing is due before.
const idle = time.Hour

// turn absorbs what has ended, decides, and starts what was decided. It
// answers after what time the clock alone makes another worth while.
func (r *Reconciler) turn(calls context.Context) (time.Duration, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.core.w
	w.Now = time.Now()
	ends, _ := r.landed()
	if err := r.core.absorb(calls, ends); err != nil {
		return 0, r.broken(err)
	}
	r.status.ended(ends)
	d, started, err := r.core.step(calls)
	if err != nil {
		return 0, r.broken(err)
	}
	r.start(calls, started)
	r.status.turned(d)
	next := r.tried()
	if d.Wake.IsZero() {
		return next, nil
	}
	return min(max(time.Until(d.Wake), 0), next), nil // a clock that is set meanwhile is noticed
}

// broken ends everything: without a journal nothing may be written.
func (r *Reconciler) broken(err error) error {
	r.fatal = err
	r.status.changed()
	return err
}

// queues are a target's: what writes does not keep what reads waiting, so that
// a newer commit is looked at while a long rolling update goes on.
type queues struct{ reads, writes *queue }

// start hands calls to their targets' queues.
func (r *Reconciler) start(ctx context.Context, calls []call) {
	r.air.take(len(calls))
	for _, cl := range calls {
		if cl.op == Judging {
			go func() { r.ended(r.within(ctx, &cl)) }()
			continue
		}
		if cl.op != Applying {
			r.queues[cl.target.Name].reads.put(func() { r.ended(r.within(ctx, &cl)) })
			continue
		}
		within, cancel := context.WithCancelCause(drivers.WithProgress(ctx, r.progress(cl.nodes[0])))
		f := &flight{cancel: cancel}
		r.flights[cl.nodes[0]] = f
		r.queues[cl.target.Name].writes.put(func() {
			e := end{call: cl, err: errUnstarted}
			if r.mayStart(within, &cl, f) {
				e = r.within(within, &cl)
			}
			if e.err != nil && context.Cause(within) == drivers.ErrSuperseded {
				e.err = fmt.Errorf("%w (%w)", drivers.ErrSuperseded, e.err)
			}
			cancel(nil)
			r.ended(e)
		})
	}
}

// progress notes what an apply of n says of itself.
func (r *Reconciler) progress(n *Node) func(string) {
	return func(text string) {
		r.mu.Lock()
		if n.Op == Applying {
			n.progress = schema.Mask(text)
		}
		r.mu.Unlock()
		nudge(r.wake)
	}
}

// within makes a call within its time.
func (r *Reconciler) within(ctx context.Context, cl *call) end {
	ctx, stop := context.WithTimeout(ctx, cl.timeout())
	defer stop()
	began := time.Now()
	e := cl.make(ctx)
	e.took = time.Since(began)
	return e
}

// mayStart asks once more, when an apply's turn in the queue has come: a
// person may have frozen it meanwhile, its window have closed, or the run be
// over. Where nobody has frozen anything and every window is open it asks
// nobody: a turn holds the lock while it writes the journal, and the engine
// would stand still for that.
func (r *Reconciler) mayStart(ctx context.Context, cl *call, f *flight) bool {
	if r.unfrozen.Load() && r.cfg.Gates.Calendar.At(time.Now()) == nil {
		return f.send(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t := turn{World: r.core.w}
	return !t.isPaused(cl.nodes[0]) && !t.closedFor(cl, time.Now()) && f.send(ctx)
}

// timeout bounds one call: a plan or an apply may take as long as its kind may
// take to become healthy, such as a stack or a rolling update.
func (cl *call) timeout() time.Duration {
	if cl.op == Judging {
		return judgeTimeout
	}
	if cl.op != Observing {
		return max(drivers.CallTimeout, deadline(cl.kind))
	}
	return drivers.CallTimeout
}

// supersede cuts short the applies in flight that a new revision wants
// otherwise, so that a newer commit need not wait for a long one, such as a
// rolling update. An engine in which a write may outlive its call is left to
// finish: there, waiting for what was cut off takes longer.
func (r *Reconciler) supersede() {
	var cut []*flight
	for n, f := range r.flights {
		if n.doing == nil || sameDecl(n.doingFor(), n.Decl) {
			continue
		}
		if f.hold() || r.core.w.Targets[n.ID.Target].Linger == 0 {
			cut = append(cut, f)
		}
	}
	for _, f := range cut { // once all are held: each that ends makes room for the next
		f.cancel(drivers.ErrSuperseded)
	}
}

// ended keeps the end of a call for the next turn. It does not wait for one
// that goes on, so that what ended makes room for the next call at once.
func (r *Reconciler) ended(e end) {
	r.air.land(e)
	nudge(r.wake)
}

// landed are the calls that have ended since it was asked last, and how many
// are in flight still.
func (r *Reconciler) landed() (ends []end, left int) {
	ends, left = r.air.landed()
	for i := range ends {
		if ends[i].op == Applying {
			delete(r.flights, ends[i].nodes[0])
		}
	}
	return ends, left
}

// drainTime is how long calls in flight may take to end at the end of Run;
// then they are cancelled, and given cancelTime to notice. What they did is
// found by looking at the next start.
const (
	drainTime  = 3 * time.Second
	cancelTime = 3 * time.Second
)

func (r *Reconciler) drain(cancel func()) {
	deadline := time.NewTimer(drainTime)
	defer deadline.Stop()
	cancelled := false
	for {
		r.mu.Lock()
		ends, left := r.landed()
		r.core.w.Now = time.Now()
		err := r.core.absorb(context.Background(), ends)
		r.mu.Unlock()
		if err != nil || left == 0 {
			return
		}
		select {
		case <-r.wake:
		case <-deadline.C:
			if cancelled {
				return
			}
			cancelled = true
			cancel()
			deadline.Reset(cancelTime)
		}
	}
}
