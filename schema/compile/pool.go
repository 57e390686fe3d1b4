package compile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/aplomb-dev/aplomb/schema"
)

// A request holds files until one of these is reached.
const (
	batchFiles = 64
	batchBytes = 256 << 10
)

// pool is the runner that has worker processes.
type pool struct {
	options Options
	places  chan struct{} // one token a worker that may run

	mu   sync.Mutex
	idle *worker // at most one is kept between compiles
	peak int64   // most memory that one worker ever had, in bytes

	quit   context.Context // ends with close
	cancel context.CancelFunc
}

var errClosed = errors.New("the compiler is closed")

func newPool(o Options) *pool {
	p := &pool{options: o, places: make(chan struct{}, o.Limits.Workers)}
	p.quit, p.cancel = context.WithCancel(context.Background())
	return p
}

func (p *pool) close() error {
	if p.quit.Err() != nil {
		return nil
	}
	p.cancel() // what is in flight ends with errClosed
	for range cap(p.places) {
		p.places <- struct{}{} // and is waited for
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

// job is one run.
type job struct {
	*pool
	inputs []input
	done   func(int, fileResult, bool)

	mu    sync.Mutex
	from  int // the first input that nobody has taken
	kills int
}

func (p *pool) run(ctx context.Context, inputs []input, done func(int, fileResult, bool)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.quit, func() { cancel(errClosed) })()
	j := &job{pool: p, inputs: inputs, done: done}
	g, gctx := errgroup.WithContext(ctx)
	for range min(p.options.Limits.Workers, (len(inputs)+batchFiles-1)/batchFiles+j.large()) {
		g.Go(func() error { return j.drain(gctx) })
	}
	err := g.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// large is 1 if there is more than one batch by size.
func (j *job) large() int {
	total := 0
	for _, in := range j.inputs {
		if total += len(in.Data); total > batchBytes {
			return 1
		}
	}
	return 0
}

// take answers the inputs of the next batch, as a range.
func (j *job) take() (from, to int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	from, to = j.from, j.from
	for bytes := 0; to < len(j.inputs) && to-from < batchFiles && (to == from || bytes < batchBytes); to++ {
		bytes += len(j.inputs[to].Data)
	}
	j.from = to
	return from, to
}

// drain checks batches with one worker at a time until there are no more.
func (j *job) drain(ctx context.Context) error {
	select {
	case j.places <- struct{}{}:
		defer func() { <-j.places }()
	case <-ctx.Done():
		return ctx.Err()
	}
	var w *worker
	defer func() { j.release(w) }()
	for {
		from, to := j.take()
		if from == to {
			return nil
		}
		var err error
		if w, err = j.batch(ctx, w, from, to); err != nil {
			return err
		}
	}
}

// batch checks inputs[from:to], blaming the files over which workers end. It
// answers the worker that is left, or nil.
func (j *job) batch(ctx context.Context, w *worker, from, to int) (*worker, error) {
	for from < to {
		if j.stop(from, to) {
			return w, nil
		}
		var err error
		if w == nil {
			if w, err = j.acquire(ctx); err != nil {
				return nil, err
			}
		}
		fresh := w.fresh
		w.fresh = false
		w.send(request{Limits: j.options.Limits, Files: j.inputs[from:to]})
		n, err := j.answers(ctx, w, from, to)
		from, fresh = from+n, fresh && n == 0
		if err == nil {
			continue
		}
		j.end(w)
		w = nil
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !fresh && !errors.Is(err, errDeadline) { // what others left in the worker may be to blame
			if w, err = j.alone(ctx, from); err != nil {
				return nil, err
			}
		} else {
			j.blame(from, err)
		}
		from++
	}
	return w, nil
}

// alone checks one input in a worker that has checked nothing else.
func (j *job) alone(ctx context.Context, i int) (*worker, error) {
	w, err := startWorker(ctx, j.options.Worker(), j.options.Limits)
	if err != nil {
		return nil, err
	}
	w.fresh = false
	w.send(request{Limits: j.options.Limits, Files: j.inputs[i : i+1]})
	if _, err = j.answers(ctx, w, i, i+1); err == nil {
		return w, nil
	}
	j.end(w)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	j.blame(i, err)
	return nil, nil
}

// answers takes the results of inputs[from:to]; n is how many came.
func (j *job) answers(ctx context.Context, w *worker, from, to int) (n int, err error) {
	for i := from; i < to; i++ {
		frame, err := w.next(ctx, j.options.Limits.Deadline)
		if err != nil {
			return i - from, err
		}
		var r fileResult
		if err := json.Unmarshal(frame, &r); err != nil {
			return i - from, errDied
		}
		j.done(i, r, true)
	}
	return to - from, nil
}

// blame makes a finding of a file over which a worker ended.
func (j *job) blame(i int, err error) {
	l := j.options.Limits
	message := map[error]string{
		errDeadline: fmt.Sprintf("checking it takes longer than %s", l.Deadline),
		errMemory:   fmt.Sprintf("checking it needs more than %d MiB of memory", l.Memory>>20),
		errDied:     "checking it ended the process that checks: it is too deep or too large",
	}[err]
	j.options.Log.WithError(err).WithField("file", j.inputs[i].Path).Warn("a declaration ended its compile worker")
	j.mu.Lock()
	j.kills++
	j.mu.Unlock()
	j.fail(i, message)
}

func (j *job) fail(i int, message string) {
	j.done(i, fileResult{Broken: []fragment{{}}, Findings: []schema.Diagnostic{{
		Pos: schema.Pos{File: j.inputs[i].Path, Line: 1, Col: 1}, Message: message, Hint: "split the file up",
	}}}, false)
}

// stop says whether so many files were blamed that the rest is left alone.
func (j *job) stop(from, to int) bool {
	j.mu.Lock()
	enough := j.kills >= maxKills
	j.mu.Unlock()
	for i := from; enough && i < to; i++ {
		j.fail(i, fmt.Sprintf("not checked: %d files before it took too much time or memory", maxKills))
	}
	return enough
}

// acquire takes the idle worker or starts one.
func (p *pool) acquire(ctx context.Context) (*worker, error) {
	p.mu.Lock()
	w := p.idle
	p.idle = nil
	p.mu.Unlock()
	if w != nil {
		return w, nil
	}
	return startWorker(ctx, p.options.Worker(), p.options.Limits)
}

// release keeps one small worker for the next time.
func (p *pool) release(w *worker) {
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

func (p *pool) end(w *worker) {
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
