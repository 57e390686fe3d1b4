package drivers_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/aplomb-dev/aplomb/drivers"
)

// gated keeps every call until it may pass.
type gated struct {
	drivers.Driver
	inside atomic.Int32
	pass   chan struct{}
}

func (g *gated) call() {
	g.inside.Add(1)
	<-g.pass
	g.inside.Add(-1)
}

func (g *gated) Observe(context.Context, []drivers.Item) ([]drivers.State, error) {
	g.call()
	return nil, nil
}

func (g *gated) Plan(context.Context, drivers.Item, drivers.State) (drivers.Change, error) {
	g.call()
	return drivers.Change{}, nil
}

func (g *gated) Apply(context.Context, drivers.Change) (drivers.State, error) {
	g.call()
	return drivers.State{}, nil
}

func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gated{pass: make(chan struct{})}
		l := &drivers.Limit{Driver: g, Calls: 2}
		var ended atomic.Int32
		for range 2 {
			go func() { _, _ = l.Observe(t.Context(), nil); ended.Add(1) }()
			go func() { _, _ = l.Plan(t.Context(), drivers.Item{}, drivers.State{}); ended.Add(1) }()
			go func() { _, _ = l.Apply(t.Context(), drivers.Change{}); ended.Add(1) }()
		}
		for n := range int32(6) {
			synctest.Wait()
			if got, want := g.inside.Load(), min(2, 6-n); got != want || ended.Load() != n {
				t.Fatalf("%d calls inside and %d ended, want %d and %d", got, ended.Load(), want, n)
			}
			g.pass <- struct{}{}
		}
	})
}

func TestLimitGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gated{pass: make(chan struct{})}
		l := &drivers.Limit{Driver: g, Calls: 1}
		go func() { _, _ = l.Observe(t.Context(), nil) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error, 3)
		go func() { _, err := l.Observe(ctx, nil); got <- err }()
		go func() { _, err := l.Plan(ctx, drivers.Item{}, drivers.State{}); got <- err }()
		go func() { _, err := l.Apply(ctx, drivers.Change{}); got <- err }()
		synctest.Wait()
		cancel()
		for range 3 {
			if err := <-got; !errors.Is(err, context.Canceled) || !errors.Is(err, drivers.ErrRetryable) {
				t.Errorf("error %v", err)
			}
		}
		if n := g.inside.Load(); n != 1 {
			t.Errorf("%d calls inside", n)
		}
		close(g.pass)
	})
}

func TestLimitOfNothingSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gated{pass: make(chan struct{})}
		l := &drivers.Limit{Driver: g}
		for range 2 * drivers.DefaultConcurrency {
			go func() { _, _ = l.Observe(t.Context(), nil) }()
		}
		synctest.Wait()
		if n := g.inside.Load(); n != drivers.DefaultConcurrency {
			t.Errorf("%d calls at once, want %d", n, drivers.DefaultConcurrency)
		}
		close(g.pass)
	})
}
