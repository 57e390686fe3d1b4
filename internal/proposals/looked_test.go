package proposals

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aplomb-dev/aplomb/internal/reconcilertest"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// How each look at the reviews went is told, and nothing more is wrong where
// nobody needs one any more.
func TestApproverTellsHowItLooked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "book")
	down := &forge.Error{Op: "read", Class: forge.ErrUnreachable}
	for _, mended := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			a, _ := approver(t, people{board: newBoard()})
			var ok atomic.Bool
			a.Since = func(context.Context, sources.Revision, sources.Revision) ([]sources.Revision, error) {
				if ok.Load() {
					return nil, nil
				}
				return nil, down
			}
			h := reconcilertest.NewStatus()
			h.Set(at("merge", true, reconciler.Held))
			var said []error
			a.Book, a.Status, a.Wait, a.Interval = opened(t, path), h.Status, h.Wait, time.Minute
			a.Looked = func(err error) { said = append(said, err) }
			stop := running(t, a.Run)
			synctest.Wait()
			if mended {
				ok.Store(true)
				time.Sleep(time.Minute)
			} else {
				h.Set(at("merge", true, reconciler.Converged))
				time.Sleep(apart)
			}
			synctest.Wait()
			stop()
			if len(said) != 2 || !errors.Is(said[0], forge.ErrUnreachable) || said[1] != nil {
				t.Errorf("mended: %t, said %v", mended, said)
			}
		})
	}
}

// So is how each look at the proposals went.
func TestDeskTellsHowItLooked(t *testing.T) {
	said := make(chan error, 100)
	down := &forge.Error{Op: "list", Class: forge.ErrUnreachable}
	s := newStage(t, func(d *Desk) { d.Looked = func(err error) { said <- err } })
	all := []error{<-said}
	for _, what := range []error{down, nil} {
		s.board.set(func() { s.board.down = what })
		s.desk.Kick()
		all = append(all, <-said)
	}
	if !slices.Equal(all, []error{nil, down, nil}) {
		t.Errorf("%v", all)
	}
}

// running runs something until stop, which waits for its end.
func running(t *testing.T, run func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); run(ctx) }()
	return func() { cancel(); <-done }
}
