package proposals

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/internal/reconcilertest"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// plainly is a repository in which everything merges.
type plainly struct{}

func (plainly) Head(context.Context) (sources.Revision, error) {
	return sources.Revision{ID: "tip"}, nil
}

func (plainly) Merge(_ context.Context, _, head string) (*sources.Merged, error) {
	snap := &sources.Snapshot{FS: fstest.MapFS{}, Close: func() error { return nil }}
	return &sources.Merged{Head: sources.Revision{ID: head}, Onto: sources.Revision{ID: "tip"}, Snapshot: snap}, nil
}

// based is a Desk in a bubble: so many proposals, which take their time.
type based struct {
	*reconcilertest.Status
	board *board
	plans int
	says  string // name of what changes
	last  [2]int // plans and comments, at the end of after
}

func newBased(t *testing.T, proposals int, takes time.Duration) *based {
	b := &based{Status: reconcilertest.NewStatus(), board: newBoard(), says: "a"}
	b.Set(at("one", true))
	for i := range proposals {
		b.board.open = append(b.board.open, forge.Proposal{ID: fmt.Sprint(i), Head: fmt.Sprint("head", i), Branch: "main", State: forge.Open})
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	d := &Desk{Environment: "prod", Branch: "main", Forge: b.board, Source: plainly{}, Log: log, Wait: b.Wait,
		Basis: func() string { return b.Status.Status().Revision.ID },
		Plan: func(context.Context, *sources.Snapshot) (reconciler.Proposed, error) {
			time.Sleep(takes)
			b.board.set(func() { b.plans++ })
			c := reconciler.PlannedChange{Layer: schema.Scheduler}
			c.ID, c.Action = schema.ID{Kind: "nomad.job", Name: b.says, Target: "eu"}, schema.Create
			return reconciler.Proposed{Plan: reconciler.PlanView{Complete: true, Changes: []reconciler.PlannedChange{c}}}, nil
		}}
	stop := running(t, d.Run)
	t.Cleanup(stop)
	return b
}

// after lets time pass, and answers how many plans were made in it and how often
// a comment was written.
func (b *based) after(d time.Duration) [2]int {
	time.Sleep(d)
	synctest.Wait()
	b.board.mu.Lock()
	defer b.board.mu.Unlock()
	was := b.last
	b.last = [2]int{b.plans, b.board.written}
	return [2]int{b.last[0] - was[0], b.last[1] - was[1]}
}

// Proposals are planned again when what their plans are made from is another,
// and not before; a comment is written only where it says something else, and its
// status stands meanwhile.
func TestBasis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBased(t, 2, time.Second)
		for i, step := range []struct {
			do   func()
			want [2]int
		}{
			{func() {}, [2]int{2, 2}},
			{func() {}, [2]int{}},
			{func() { b.Set(at("two", true)) }, [2]int{2, 0}},
			{func() { b.Set(at("two", true)) }, [2]int{}},
			{func() { b.says = "b"; b.Set(at("three", true)) }, [2]int{2, 2}},
		} {
			step.do()
			if got := b.after(10 * time.Minute); got != step.want {
				t.Errorf("step %d: %d plans, %d comments", i, got[0], got[1])
			}
		}
		if all := b.board.statuses["head0"]; len(all) != 2 {
			t.Errorf("said %q", all)
		}
	})
}

// It is soon, where nothing was planned for a while; but where it is another one
// all the time, no more than a fifth of the time goes into plans.
func TestBasisIsPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBased(t, 3, 10*time.Second)
		b.after(10 * time.Minute)
		b.Set(at("soon", true))
		if got := b.after(30 * time.Second); got[0] != 3 {
			t.Errorf("%d plans of 3, at once", got[0])
		}
		b.after(10 * time.Minute)
		plans := 0
		for i := range 3600 {
			b.Set(at(fmt.Sprint(i), true))
			plans += b.after(time.Second)[0]
		}
		if plans < 30 || plans > 3600/10/(1+restPerPlan)+3 {
			t.Errorf("%d plans of 10 seconds in an hour", plans)
		}
	})
}
