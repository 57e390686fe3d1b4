package proposals

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/internal/reconcilertest"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// at is a status with so many resources in each state.
func at(rev string, settled bool, states ...reconciler.State) reconciler.Status {
	s := reconciler.Status{Revision: sources.Revision{ID: rev}, Settled: settled, Counts: map[reconciler.State]int{}}
	for _, st := range states {
		s.Counts[st]++
		s.Resources = append(s.Resources, reconciler.ResourceStatus{State: st})
	}
	return s
}

func telling(t *testing.T, h *reconcilertest.Status) *board {
	t.Helper()
	b := newBoard()
	t.Cleanup(tell(t, h, b, filepath.Join(t.TempDir(), "book")))
	return b
}

// tell lets a teller run that remembers in a file, until stop.
func tell(t *testing.T, h *reconcilertest.Status, on forge.Forge, book string) (stop func()) {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	teller := &Teller{Environment: "prod", Forge: on, Status: h.Status, Wait: h.Wait, Book: opened(t, book), Log: log, First: time.Millisecond, Most: time.Millisecond}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); teller.Run(ctx) }()
	return func() { cancel(); <-done }
}

func opened(t *testing.T, path string) *Book {
	t.Helper()
	b, err := OpenBook(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *board) says(t *testing.T, commit string, want ...string) {
	t.Helper()
	for i := range want {
		state, text, _ := strings.Cut(want[i], " ")
		want[i] = state + " aplomb/apply: prod " + text
	}
	if !b.until(t.Context(), func() bool { return slices.Equal(b.statuses[commit], want) }) {
		t.Fatalf("%s: %q, want %q", commit, b.statuses[commit], want)
	}
}

func TestTeller(t *testing.T) {
	h := reconcilertest.NewStatus()
	h.Set(at("aaa", false, reconciler.Waiting))
	b := telling(t, h)
	h.Set(at("aaa", true, reconciler.Converged))
	b.says(t, "aaa", "success 1 converged") // no pending: a start is no news
	h.Set(at("bbb", false, reconciler.Converged, reconciler.Progressing))
	b.says(t, "bbb", "pending 1 converged, 1 progressing")
	h.Set(at("bbb", true, reconciler.Converged, reconciler.Degraded))
	b.says(t, "bbb", "pending 1 converged, 1 progressing", "failure 1 converged, 1 degraded")
	h.Set(at("bbb", true, reconciler.Converged, reconciler.Converged))
	b.says(t, "bbb", "pending 1 converged, 1 progressing", "failure 1 converged, 1 degraded", "success 2 converged")
	h.Set(at("bbb", false, reconciler.Converged, reconciler.Progressing)) // drift, which is being repaired
	h.Set(at("ccc", true, reconciler.Converged, reconciler.Held))
	b.says(t, "ccc", "pending 1 converged, 1 held")
	s := at("ccc", true, reconciler.Converged, reconciler.Held)
	s.Refused = &reconciler.Refusal{Revision: sources.Revision{ID: "ddd"}, Findings: make([]schema.Diagnostic, 3)}
	h.Set(s)
	b.says(t, "ddd", "failure 3 findings, not in force")
	h.Set(at("eee", true, reconciler.Converged))
	b.says(t, "eee", "success 1 converged")
	b.says(t, "ccc", "pending 1 converged, 1 held", "error overtaken by eee")
	b.says(t, "bbb", "pending 1 converged, 1 progressing", "failure 1 converged, 1 degraded", "success 2 converged")
}

// What was said before a restart is known after it: a commit that was overtaken
// meanwhile is told so.
func TestTellerStartedAgain(t *testing.T) {
	h := reconcilertest.NewStatus()
	h.Set(at("aaa", true, reconciler.Converged, reconciler.Held))
	b, book := newBoard(), filepath.Join(t.TempDir(), "book")
	stop := tell(t, h, b, book)
	b.says(t, "aaa", "pending 1 converged, 1 held")
	stop()
	h.Set(at("bbb", true, reconciler.Converged))
	t.Cleanup(tell(t, h, b, book))
	b.says(t, "bbb", "success 1 converged")
	b.says(t, "aaa", "pending 1 converged, 1 held", "error overtaken by bbb")
}

// A revision that was gone back from has failed, and not been overtaken.
func TestTellerQuarantine(t *testing.T) {
	h := reconcilertest.NewStatus()
	h.Set(at("aaaaaaa1", true, reconciler.Converged))
	b := telling(t, h)
	b.says(t, "aaaaaaa1", "success 1 converged")
	h.Set(at("bbbbbbb1", false, reconciler.Progressing))
	b.says(t, "bbbbbbb1", "pending 1 progressing")
	s := at("aaaaaaa1", true, reconciler.Converged)
	s.Rollback = &reconciler.Rollback{To: sources.Revision{ID: "aaaaaaa1"}, Quarantined: sources.Revision{ID: "bbbbbbb1"}}
	h.Set(s)
	b.says(t, "bbbbbbb1", "pending 1 progressing", "failure rolled back, at aaaaaaa")
	again := *s.Rollback
	again.Faults = []string{"local.process/web is degraded: exit 1"}
	s.Rollback = &again
	h.Set(s)
	b.says(t, "bbbbbbb1", "pending 1 progressing", "failure rolled back, at aaaaaaa", "failure quarantined, back at aaaaaaa: local.process/web is degraded: exit 1")
}

// What the forge does not take is said again; what was overtaken meanwhile is
// not.
func TestTellerForgeDown(t *testing.T) {
	h := reconcilertest.NewStatus()
	h.Set(at("old", true, reconciler.Converged))
	b := newBoard()
	tried := make(chan struct{}, 1000)
	t.Cleanup(tell(t, h, counting{b, tried}, filepath.Join(t.TempDir(), "book")))
	b.says(t, "old", "success 1 converged")
	<-tried
	b.set(func() { b.down = &forge.Error{Op: "status", Class: forge.ErrUnreachable} })
	h.Set(at("aaa", false, reconciler.Progressing))
	<-tried
	<-tried
	h.Set(at("aaa", true, reconciler.Converged))
	<-tried
	<-tried
	b.set(func() { b.down = nil })
	b.until(t.Context(), func() bool { return len(b.statuses["aaa"]) > 0 })
	if got := b.statuses["aaa"]; !strings.HasPrefix(got[len(got)-1], "success") {
		t.Errorf("%q", got)
	}
}

// What a forge says is not there may only be out of the token's sight: it is said
// again, and keeps nothing else from being said.
func TestTellerOutOfSight(t *testing.T) {
	h := reconcilertest.NewStatus()
	s := at("bbb", true, reconciler.Converged)
	s.Refused = &reconciler.Refusal{Revision: sources.Revision{ID: "ccc"}, Findings: make([]schema.Diagnostic, 1)}
	h.Set(s)
	b := newBoard()
	b.hidden = "bbb"
	t.Cleanup(tell(t, h, b, filepath.Join(t.TempDir(), "book")))
	b.says(t, "ccc", "failure 1 finding, not in force")
	b.set(func() { b.hidden = "" })
	b.says(t, "bbb", "success 1 converged")
}

// A commit of which the last thing has expired is green once it is gone, and one under
// which all was taken down is not overtaken by itself.
func TestTellerNothingLeft(t *testing.T) {
	h := reconcilertest.NewStatus()
	h.Set(at("aaa", true, reconciler.Converged))
	b := telling(t, h)
	b.says(t, "aaa", "success 1 converged")
	h.Set(at("bbb", true, reconciler.Held))
	b.says(t, "bbb", "pending 1 held")
	none := at("bbb", true)
	none.Down = true
	h.Set(none)
	none.Down, none.Converged = false, true
	h.Set(none)
	b.says(t, "bbb", "pending 1 held", "success nothing is declared")
}

// counting tells of each attempt.
type counting struct {
	*board
	tried chan struct{}
}

func (c counting) Status(ctx context.Context, commit string, s forge.Status) error {
	select {
	case c.tried <- struct{}{}:
	default:
	}
	return c.board.Status(ctx, commit, s)
}

// After a restart the reviews of everything that came since all was settled are
// read, not of the newest revision alone.
func TestApproverStartedAgain(t *testing.T) {
	h := reconcilertest.NewStatus()
	path := filepath.Join(t.TempDir(), "book")
	asked := make(chan [2]string, 1000)
	start := func() (stop func()) {
		log := logrus.New()
		log.SetOutput(io.Discard)
		a := &Approver{Environment: "prod", Forge: people{board: newBoard()}, Book: opened(t, path), Status: h.Status, Wait: h.Wait, Interval: time.Millisecond, Log: log,
			Since: func(_ context.Context, older, newer sources.Revision) ([]sources.Revision, error) {
				asked <- [2]string{older.ID, newer.ID}
				return nil, nil
			}}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); a.Run(ctx) }()
		return func() { cancel(); <-done }
	}
	h.Set(at("000", true, reconciler.Converged, reconciler.Degraded)) // a beginning
	stop := start()
	for _, rev := range []string{"000", "aaa"} {
		if !within(func() bool { return opened(t, path).lastSettled().ID == rev }) {
			t.Fatalf("what was settled is not remembered: %s", rev)
		}
		h.Set(at("aaa", true, reconciler.Converged))
	}
	h.Set(at("bbb", true, reconciler.Converged, reconciler.Degraded))
	stop()
	h.Set(at("ccc", true, reconciler.Held)) // bbb and ccc were merged meanwhile
	stop = start()
	defer stop()
	if got := <-asked; got != [2]string{"aaa", "ccc"} {
		t.Errorf("reviews are looked for since %s up to %s", got[0], got[1])
	}
}

// What is not held now may ask later, when a person resumes it, its need is well
// or its engine answers: its reviews are not done with.
func TestApproverNotDoneYet(t *testing.T) {
	down := at("bbb", true)
	down.Down = true
	for name, c := range map[string]struct {
		now  reconciler.Status
		done bool
	}{
		"converged":    {at("bbb", true, reconciler.Converged, reconciler.Drifted), true},
		"nothing":      {at("bbb", true), true},
		"suspended":    {at("bbb", true, reconciler.Converged, reconciler.Suspended), false},
		"out of reach": {at("bbb", true, reconciler.Converged, reconciler.Degraded), false},
		"needs":        {at("bbb", true, reconciler.Converged, reconciler.Waiting), false},
		"conflict":     {at("bbb", true, reconciler.Conflict), false},
		"working":      {at("bbb", false, reconciler.Converged), false},
		"down":         {down, false},
	} {
		if got := wordsDone(c.now); got != c.done {
			t.Errorf("%s: its reviews are done with: %t", name, got)
		}
	}
}

// What a forge did not take before a restart is said after it.
func TestTellerDownOverRestart(t *testing.T) {
	h := reconcilertest.NewStatus()
	b, book := newBoard(), filepath.Join(t.TempDir(), "book")
	h.Set(at("bbb", false, reconciler.Progressing))
	b.down = &forge.Error{Op: "status", Class: forge.ErrUnreachable}
	tried := make(chan struct{}, 1000)
	stop := tell(t, h, counting{b, tried}, book)
	h.Set(at("bbb", true, reconciler.Converged))
	<-tried
	<-tried
	stop()
	b.set(func() { b.down = nil })
	t.Cleanup(tell(t, h, b, book))
	b.says(t, "bbb", "success 1 converged")
}

// Somebody who says something is heard at once, where the forge tells of it.
func TestApproverKick(t *testing.T) {
	h := reconcilertest.NewStatus()
	h.Set(at("aaa", true, reconciler.Held))
	asked := make(chan struct{}, 10)
	log := logrus.New()
	log.SetOutput(io.Discard)
	a := &Approver{Environment: "prod", Forge: people{board: newBoard()}, Book: opened(t, filepath.Join(t.TempDir(), "book")), Status: h.Status, Wait: h.Wait, Interval: time.Hour, Log: log,
		Since: func(context.Context, sources.Revision, sources.Revision) ([]sources.Revision, error) {
			asked <- struct{}{}
			return nil, nil
		}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); a.Run(ctx) }()
	<-asked
	a.Kick()
	<-asked
	cancel()
	<-done
}

// within looks again and again.
func within(yes func() bool) bool {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !yes(); <-tick.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
