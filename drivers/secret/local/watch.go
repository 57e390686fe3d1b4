package local

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// schedule is when the values that were observed are due.
type schedule struct {
	mu   sync.Mutex
	at   map[string]time.Time
	wake chan struct{}
}

func (s *schedule) init() {
	s.at, s.wake = map[string]time.Time{}, make(chan struct{}, 1)
}

func (s *schedule) set(handle string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at[handle].Equal(at) {
		return
	}
	s.at[handle] = at
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *schedule) drop(handle string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.at, handle)
}

// between are the handles that became due after one time and not after
// another, and when the next one does; zero for none.
func (s *schedule) between(after, until time.Time) (due []string, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for handle, at := range s.at {
		switch {
		case at.After(until):
			if next.IsZero() || at.Before(next) {
				next = at
			}
		case at.After(after):
			due = append(due, handle)
		}
	}
	return due, next
}

// Watch hears of records that change or vanish, and of values that become due.
func (d *Driver) Watch(ctx context.Context, changed func(handles ...string)) error {
	d.setup()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.watched.Run(ctx, changed) })
	g.Go(func() error { return d.watchDue(ctx, changed) })
	return g.Wait()
}

// longest is how long the driver sleeps at most: the wall clock may be set.
const longest = time.Minute

func (d *Driver) watchDue(ctx context.Context, changed func(handles ...string)) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var seen time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.due.wake:
		case <-timer.C:
		}
		now := d.Now()
		due, next := d.due.between(seen, now)
		if len(due) > 0 {
			changed(due...)
		}
		seen = now
		wait := longest
		if !next.IsZero() {
			wait = min(wait, max(next.Sub(now), 0))
		}
		timer.Reset(wait)
	}
}
