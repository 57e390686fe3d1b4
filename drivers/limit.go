package drivers

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Limit lets so many of the calls Observe, Plan and Apply run at once; others
// wait for their turn or for their context's end. It is not for a driver whose
// calls call it again.
type Limit struct {
	Driver
	Calls int // at once; zero means DefaultConcurrency

	once sync.Once
	room *semaphore.Weighted
}

var _ Driver = (*Limit)(nil)

// Unwrap gives As the decorated driver.
func (l *Limit) Unwrap() Driver { return l.Driver }

// enter waits for room.
func (l *Limit) enter(ctx context.Context, op, subject string) error {
	l.once.Do(func() {
		n := int64(l.Calls)
		if n == 0 {
			n = DefaultConcurrency
		}
		l.room = semaphore.NewWeighted(n)
	})
	if err := l.room.Acquire(ctx, 1); err != nil {
		return &Error{Op: op, Subject: subject, Class: ErrRetryable, Err: err}
	}
	return nil
}

// Observe implements Driver.
func (l *Limit) Observe(ctx context.Context, items []Item) ([]State, error) {
	if err := l.enter(ctx, "observe", "target"); err != nil {
		return nil, err
	}
	defer l.room.Release(1)
	return l.Driver.Observe(ctx, items)
}

// Plan implements Driver.
func (l *Limit) Plan(ctx context.Context, item Item, live State) (Change, error) {
	if err := l.enter(ctx, "plan", item.ID.String()); err != nil {
		return Change{}, err
	}
	defer l.room.Release(1)
	return l.Driver.Plan(ctx, item, live)
}

// Apply implements Driver.
func (l *Limit) Apply(ctx context.Context, c Change) (State, error) {
	if err := l.enter(ctx, "apply", c.ID.String()); err != nil {
		return State{}, err
	}
	defer l.room.Release(1)
	return l.Driver.Apply(ctx, c)
}
