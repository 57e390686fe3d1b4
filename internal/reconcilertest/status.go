package reconcilertest

import (
	"context"
	"sync"

	"github.com/aplomb-dev/aplomb/reconciler"
)

// Status is a reconciler's status as a test says it, for what follows one: its
// methods answer as those of reconciler.Control do. Safe for concurrent use.
type Status struct {
	Idle chan struct{} // holds one where somebody has begun to wait since it was emptied

	mu   sync.Mutex
	now  reconciler.Status
	news chan struct{} // closed, and made anew, with each Set
}

// NewStatus is a status of nothing yet.
func NewStatus() *Status {
	return &Status{Idle: make(chan struct{}, 1), news: make(chan struct{})}
}

// Set makes it another one; its Seq grows.
func (s *Status) Set(now reconciler.Status) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now.Seq = s.now.Seq + 1
	s.now = now
	close(s.news)
	s.news = make(chan struct{})
}

// Status is what was set last.
func (s *Status) Status() reconciler.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// Wait blocks until ok says so of the status, or ctx ends.
func (s *Status) Wait(ctx context.Context, ok func(reconciler.Status) bool) (reconciler.Status, error) {
	for {
		s.mu.Lock()
		now, news := s.now, s.news
		s.mu.Unlock()
		if ok(now) {
			return now, nil
		}
		select {
		case s.Idle <- struct{}{}:
		default:
		}
		select {
		case <-news:
		case <-ctx.Done():
			return now, ctx.Err()
		}
	}
}
