package drivers

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Retry asks again, within one call, what failed with ErrRetryable: Observe and
// Plan, which have no effect. Of an Observe only the items that failed are
// asked again. Apply is never repeated, since it may have landed: the reconciler
// observes, and plans it again. An error without that class, or a context that
// ended, is answered at once.
type Retry struct {
	Driver
	Attempts int           // in all; zero means 3
	Wait     time.Duration // before the second attempt, about; doubled before each further one; zero means 100 ms
	Most     time.Duration // between two attempts; zero means 2 s
}

var _ Driver = (*Retry)(nil)

// Unwrap gives As the decorated driver.
func (r *Retry) Unwrap() Driver { return r.Driver }

// Observe implements Driver.
func (r *Retry) Observe(ctx context.Context, items []Item) ([]State, error) {
	var states []State
	ask, at := items, []int(nil) // at: where the answers belong; nil while all are asked
	err := r.again(ctx, func() (bool, error) {
		told, err := r.Driver.Observe(ctx, ask)
		if err != nil {
			return retryable(err), err
		}
		if states == nil {
			states = told
		} else {
			for j := range min(len(at), len(told)) {
				states[at[j]] = told[j]
			}
		}
		ask, at = failed(items, states)
		return len(ask) > 0, nil
	})
	if states != nil {
		return states, nil // what was told stays told, if asking again then failed as a whole
	}
	return nil, err
}

// retryable says whether an error has that class itself: not for want of any,
// and not as the cause of one with another.
func retryable(err error) bool { return errors.Is(err, ErrRetryable) && Class(err) == ErrRetryable }

// failed are the items worth asking for again.
func failed(items []Item, states []State) (ask []Item, at []int) {
	for i := range min(len(items), len(states)) {
		if retryable(states[i].Err) {
			ask, at = append(ask, items[i]), append(at, i)
		}
	}
	return ask, at
}

// Plan implements Driver.
func (r *Retry) Plan(ctx context.Context, item Item, live State) (c Change, err error) {
	err = r.again(ctx, func() (bool, error) {
		c, err = r.Driver.Plan(ctx, item, live)
		return retryable(err), err
	})
	return c, err
}

// again calls f until it says that it need not be called again, or attempts or
// ctx are at an end; its last error is the answer.
func (r *Retry) again(ctx context.Context, f func() (bool, error)) error {
	attempts, wait, most := r.Attempts, r.Wait, r.Most
	if attempts == 0 {
		attempts = 3
	}
	if wait == 0 {
		wait = 100 * time.Millisecond
	}
	if most == 0 {
		most = 2 * time.Second
	}
	for n := 1; ; n++ {
		more, err := f()
		if !more || n >= attempts || ctx.Err() != nil {
			return err
		}
		wait = min(wait, most)
		timer := time.NewTimer(wait/2 + rand.N(wait/2+1)) // jitter: half of it
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		wait *= 2
	}
}
