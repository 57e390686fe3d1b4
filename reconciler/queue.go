package reconciler

import "sync"

// queue runs functions, at most n at once, in the order in which they came. It
// needs no goroutine while there is nothing to run.
type queue struct {
	mu      sync.Mutex
	waiting []func()
	running int
	most    int
}

func newQueue(most int) *queue { return &queue{most: most} }

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
		q.mu.Unlock()
		f()
	}
}

// nudge asks for one more round of a loop, without a payload: what is to be
// done is found by looking.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
