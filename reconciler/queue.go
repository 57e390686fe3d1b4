package reconciler

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/aplomb-dev/aplomb/reconciler/store"
)

// queue runs functions, at most n at once, in the order in which they came. It
// needs no goroutine while there is nothing to run.
type queue struct {
	mu      sync.Mutex
	waiting []func()
	running int
	most    int
	low     chan struct{} // told when it ceases to be deep; nil: nobody asks
}

func newQueue(most int, low chan struct{}) *queue { return &queue{most: most, low: low} }

// deepness is how many functions wait in a deep queue for each that runs: more
// than will have run by the end of a turn that fills it again.
const deepness = 4

// deep says whether plenty waits.
func (q *queue) deep() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting) >= deepness*q.most
}

func (q *queue) put(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, f)
	if q.running < q.most {
		q.running++
		go q.work()
	}
}

func (q *queue) work() {
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 {
			q.running--
			q.mu.Unlock()
			return
		}
		f := q.waiting[0]
		q.waiting[0] = nil
		q.waiting = q.waiting[1:]
		low := len(q.waiting) == deepness*q.most-1
		q.mu.Unlock()
		if low {
			nudge(q.low)
		}
		f()
	}
}

// air is what is in flight, and what has ended and no turn has heard of yet.
// Its lock is held for no longer than that takes: a call that ends must not
// wait for a turn. The zero air lacks empty.
type air struct {
	empty chan struct{} // no call is in flight any more

	mu    sync.Mutex
	ends  []end
	calls int // in flight
}

// take notes that calls are on their way.
func (a *air) take(calls int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls += calls
}

// land notes the end of one.
func (a *air) land(e end) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ends = append(a.ends, e)
	a.calls--
	if a.calls == 0 {
		nudge(a.empty)
	}
}

// landed hands over what has ended, and says how many calls are in flight.
func (a *air) landed() (ends []end, calls int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ends, a.ends = a.ends, nil
	return ends, a.calls
}

// count says how many calls are in flight, and how many ends no turn has heard
// of yet.
func (a *air) count() (calls, ends int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls, len(a.ends)
}

// flight is an apply that was begun. Either its turn in the queue comes and it
// is sent, or it is held before that: never both.
type flight struct {
	cancel context.CancelCauseFunc
	state  atomic.Int32
}

const (
	flightQueued int32 = iota
	flightSent
	flightHeld // it is not to be sent any more
)

// send says whether the call may go out.
func (f *flight) send(ctx context.Context) bool {
	return ctx.Err() == nil && f.state.CompareAndSwap(flightQueued, flightSent)
}

// hold keeps a call that was not sent from ever being so, and says whether it
// came in time.
func (f *flight) hold() bool {
	return f.state.CompareAndSwap(flightQueued, flightHeld) || f.state.Load() == flightHeld
}

// nudge asks for one more round of a loop, without a payload: what is to be
// done is found by looking.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// unfrozen says whether no person has frozen anything at all.
func unfrozen(s store.State) bool {
	return s.Suspended == nil && len(s.Paused) == 0 && !s.Down
}
