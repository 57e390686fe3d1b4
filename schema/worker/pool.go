package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
)

// A request holds items until one of these is reached.
const (
	batchItems = 64
	batchBytes = 256 << 10
)

// Options configure a Pool.
type Options struct {
	// Command makes the command of a worker process, whose body is Serve; see
	// the function Command. nil handles in this process, without limits.
	Command func() *exec.Cmd
	// Services are the handlers of this process, where Command is nil.
	Services Services
	// Limits bound each process.
	Limits Limits
	// Log hears of workers that were ended; nil is silence.
	Log logrus.FieldLogger
}

// Job is items of one service.
type Job struct {
	Service string
	Setup   []byte // what the items share; sent to a process once
	Items   []Item
	// Done takes the answer to Items[i], from several goroutines at once. An
	// error is a fault of this program, and ends the job.
	Done func(i int, answer []byte) error
	// Blame says why Items[i] has no answer: a worker ended over it, or it was
	// not handled since that happened too often. Likewise.
	Blame func(i int, why string)
}

// Item is one thing to handle.
type Item struct {
	Name string          // in the log
	Data json.RawMessage // for the handler
}

// Pool runs jobs. It is safe for concurrent use; Close it when it is no longer
// needed. The zero value is not usable: see New.
type Pool struct {
	options Options
	places  chan struct{} // one token a worker that may run

	mu   sync.Mutex
	idle *process // at most one is kept between jobs
	peak int64    // most memory that one worker ever had, in bytes

	here sync.Mutex // guards desk
	desk desk       // of this process, without a Command

	quit   context.Context // ends with Close
	cancel context.CancelFunc
}

// ErrClosed is the end of jobs whose Pool is closed.
var ErrClosed = errors.New("the pool of workers is closed")

// New makes a Pool. It starts nothing yet.
func New(o Options) *Pool {
	o.Limits = o.Limits.withDefaults()
	if o.Log == nil {
		o.Log = silent()
	}
	p := &Pool{options: o, places: make(chan struct{}, o.Limits.Processes), desk: desk{services: o.Services}}
	p.quit, p.cancel = context.WithCancel(context.Background())
	return p
}

// Close ends the worker processes, and with ErrClosed what is in flight.
func (p *Pool) Close() error {
	if p.quit.Err() != nil {
		return nil
	}
	p.cancel()
	for range cap(p.places) {
		p.places <- struct{}{} // what is in flight is waited for
	}
	p.mu.Lock()
	w := p.idle
	p.idle = nil
	p.mu.Unlock()
	if w != nil {
		p.end(w)
	}
	return nil
}

// Peak is the most memory that one worker process ever had, in bytes.
func (p *Pool) Peak() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.peak
}

// Run does a job. An error means that it could not be done: ctx ended, no
// worker could be started, or the Pool is closed.
func (p *Pool) Run(ctx context.Context, j Job) error {
	if len(j.Items) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.quit, func() { cancel(ErrClosed) })()
	r := &run{Pool: p, Job: j, setup: sha256.Sum256(j.Setup)}
	if p.options.Command == nil {
		return r.here(ctx)
	}
	g, gctx := errgroup.WithContext(ctx)
	for range min(p.options.Limits.Processes, (len(j.Items)+batchItems-1)/batchItems+r.large()) {
		g.Go(func() error { return r.drain(gctx) })
	}
	err := g.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// run is one job that is being done.
type run struct {
	*Pool
	Job
	setup Sum

	mu    sync.Mutex
	from  int // the first item that nobody has taken
	kills int
}

// here does the job in this process.
func (r *run) here(ctx context.Context) error {
	r.Pool.here.Lock()
	defer r.Pool.here.Unlock()
	h, err := r.desk.handler(request{Service: r.Service, Setup: r.Setup})
	if err != nil {
		return fmt.Errorf("prepare %s: %w", r.Service, err)
	}
	for i, item := range r.Items {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var buf bytes.Buffer
		if err := encode(&buf, h.Handle(item.Data)); err != nil {
			return err
		}
		if err := r.Done(i, buf.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// large is 1 if there is more than one batch by size.
func (r *run) large() int {
	total := 0
	for _, item := range r.Items {
		if total += len(item.Data); total > batchBytes {
			return 1
		}
	}
	return 0
}

// take answers the items of the next batch, as a range.
func (r *run) take() (from, to int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from, to = r.from, r.from
	for size := 0; to < len(r.Items) && to-from < batchItems && (to == from || size < batchBytes); to++ {
		size += len(r.Items[to].Data)
	}
	r.from = to
	return from, to
}

// drain handles batches with one worker at a time until there are no more.
func (r *run) drain(ctx context.Context) error {
	select {
	case r.places <- struct{}{}:
		defer func() { <-r.places }()
	case <-ctx.Done():
		return ctx.Err()
	}
	var w *process
	defer func() { r.release(w) }()
	for {
		from, to := r.take()
		if from == to {
			return nil
		}
		var err error
		if w, err = r.batch(ctx, w, from, to); err != nil {
			return err
		}
	}
}

// batch handles Items[from:to], blaming those over which workers end. It
// answers the worker that is left, or nil.
func (r *run) batch(ctx context.Context, w *process, from, to int) (*process, error) {
	for from < to {
		if r.stop(from, to) {
			return w, nil
		}
		var err error
		if w == nil {
			if w, err = r.acquire(ctx); err != nil {
				return nil, err
			}
		}
		fresh := w.fresh
		n, err := r.ask(ctx, w, from, to)
		from, fresh = from+n, fresh && n == 0
		if err == nil {
			continue
		}
		r.end(w)
		w = nil
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var fault faultError
		if errors.As(err, &fault) {
			return nil, fault.error
		}
		if !fresh && !errors.Is(err, errDeadline) { // what others left in the worker may be to blame
			if w, err = r.alone(ctx, from); err != nil {
				return nil, err
			}
		} else {
			r.blame(from, err)
		}
		from++
	}
	return w, nil
}

// alone handles one item in a worker that has handled nothing else.
func (r *run) alone(ctx context.Context, i int) (*process, error) {
	w, err := startProcess(ctx, r.options.Command(), r.options.Limits)
	if err != nil {
		return nil, err
	}
	if _, err = r.ask(ctx, w, i, i+1); err == nil {
		return w, nil
	}
	r.end(w)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	r.blame(i, err)
	return nil, nil
}

// faultError is an error that is no item's fault.
type faultError struct{ error }

// ask sends Items[from:to] and takes the answers; n is how many came.
func (r *run) ask(ctx context.Context, w *process, from, to int) (n int, err error) {
	req := request{Service: r.Service, Setup: r.Setup}
	if last, ok := w.setups[r.Service]; ok && last == r.setup {
		req.Setup, req.Known = nil, true
	}
	w.setups[r.Service], w.fresh = r.setup, false
	for _, item := range r.Items[from:to] {
		req.Items = append(req.Items, item.Data)
	}
	w.send(req)
	for i := from; i < to; i++ {
		frame, err := w.next(ctx, r.options.Limits.Deadline)
		if err != nil {
			return i - from, err
		}
		if err := r.Done(i, frame); err != nil {
			return i - from, faultError{err}
		}
	}
	return to - from, nil
}

// blame says of an item why a worker ended over it.
func (r *run) blame(i int, err error) {
	l := r.options.Limits
	why := map[error]string{
		errDeadline: fmt.Sprintf("takes longer than %s", l.Deadline),
		errMemory:   fmt.Sprintf("needs more than %d MiB of memory", l.Memory>>20),
		errDied:     "ended the process that does it: it is too deep or too large",
	}[err]
	r.options.Log.WithError(err).WithField("item", r.Items[i].Name).Warn("an item ended its worker")
	r.mu.Lock()
	r.kills++
	r.mu.Unlock()
	r.Blame(i, why)
}

// stop says whether so many items were blamed that the rest is left alone.
func (r *run) stop(from, to int) bool {
	r.mu.Lock()
	enough := r.kills >= maxKills
	r.mu.Unlock()
	for i := from; enough && i < to; i++ {
		r.Blame(i, fmt.Sprintf("was not tried: %d others before it took too much time or memory", maxKills))
	}
	return enough
}

// acquire takes the idle worker or starts one.
func (p *Pool) acquire(ctx context.Context) (*process, error) {
	p.mu.Lock()
	w := p.idle
	p.idle = nil
	p.mu.Unlock()
	if w != nil {
		return w, nil
	}
	return startProcess(ctx, p.options.Command(), p.options.Limits)
}

// release keeps one small worker for the next time.
func (p *Pool) release(w *process) {
	if w == nil {
		return
	}
	rss, peak := memoryOf(w.cmd.Process.Pid)
	p.mu.Lock()
	p.peak = max(p.peak, peak)
	keep := p.idle == nil && rss <= p.options.Limits.Recycle && p.quit.Err() == nil
	if keep {
		p.idle = w
	}
	p.mu.Unlock()
	if !keep {
		p.end(w)
	}
}

func (p *Pool) end(w *process) {
	w.kill()
	p.mu.Lock()
	p.peak = max(p.peak, w.peakRSS)
	p.mu.Unlock()
}

// silent is the logger of those who gave none.
func silent() logrus.FieldLogger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}
