package reconciler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/schema"
)

// slow is a memory driver whose applies wait until they are let through.
type slow struct {
	*memory.Driver
	mu    sync.Mutex
	began []string // what was sent, in order
	pass  chan struct{}
}

func (s *slow) Apply(ctx context.Context, c drivers.Change) (drivers.State, error) {
	s.mu.Lock()
	s.began = append(s.began, string(c.Action)+" "+c.ID.Name)
	s.mu.Unlock()
	select {
	case <-s.pass:
	case <-ctx.Done():
		return drivers.State{}, ctx.Err()
	}
	return s.Driver.Apply(ctx, c)
}

func (s *slow) sent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.began)
}

// names are those of what was sent.
func (s *slow) names() []string {
	var all []string
	for _, one := range s.sent() {
		_, name, _ := strings.Cut(one, " ")
		all = append(all, name)
	}
	return all
}

// slowHouse has room for two applies at once, in an engine where a write may
// outlive its call for so long. What can begin has begun.
func slowHouse(t *testing.T, linger time.Duration, res ...schema.Resource) (*house, *slow) {
	t.Helper()
	h, s := openSlowHouse(t, linger, res...)
	synctest.Wait()
	return h, s
}

// openSlowHouse is slowHouse outside of a bubble: it waits for nothing.
func openSlowHouse(t *testing.T, linger time.Duration, res ...schema.Resource) (*house, *slow) {
	t.Helper()
	s := &slow{pass: make(chan struct{})}
	h := newHouse(t, func(c *Config) {
		target := *c.Registry.Target("mem")
		s.Driver, _ = target.Driver.(*memory.Driver)
		target.Driver, target.Concurrency, target.Linger = s, 2, linger
		var err error
		if c.Registry, err = drivers.NewRegistry(target); err != nil {
			t.Fatal(err)
		}
	}, res...)
	return h, s
}

// TestTurnsOfPlenty: while a target has plenty to write turns are few, since
// each writes the journal; and its queue never runs dry for that.
func TestTurnsOfPlenty(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const n, each = 400, 5 * time.Millisecond
		h, s := slowHouse(t, 0, things(n, 1)...)
		before, began := h.Stats().Turns, time.Now()
		go func() {
			tick := time.NewTicker(each)
			defer tick.Stop()
			for range n {
				<-tick.C
				s.pass <- struct{}{}
			}
		}()
		h.until("all are applied", func(st Status) bool { return st.Converged })
		took, turns := time.Since(began), h.Stats().Turns-before
		if most := uint64(n*each/deepPace) * 2; turns > most {
			t.Errorf("%d turns, want at most %d", turns, most)
		}
		if most := n*each + 5*deepPace; took > most {
			t.Errorf("it took %v, want at most %v", took, most)
		}
	})
}

// TestNoCallWaitsForATurn: while a turn goes on, which holds the lock and writes
// the journal, what ends makes room, and what was begun is sent.
func TestNoCallWaitsForATurn(t *testing.T) {
	const n = 10
	h, s := openSlowHouse(t, 0, things(n, 1)...)
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	passed, late := 0, false
	for begun := 0; begun < n; {
		h.mu.Lock()
		moved := h.status.moved
		begun = len(h.flights)
		h.mu.Unlock()
		if begun == n {
			break
		}
		select {
		case <-moved:
		case <-limit.C:
			t.Fatalf("%d of %d are begun", begun, n)
		}
	}
	h.mu.Lock()
	for passed < n && !late {
		select {
		case s.pass <- struct{}{}:
			passed++
		case <-limit.C:
			late = true
		}
	}
	h.mu.Unlock()
	if late {
		close(s.pass)
		t.Errorf("%d of %d were sent while a turn went on", passed, n)
	}
	h.converged(h.tip())
}

// things are n declarations of one size.
func things(n, size int) []schema.Resource {
	var all []schema.Resource
	for i := range n {
		all = append(all, decl(fmt.Sprintf("r%d", i), fmt.Sprintf(`{"size":%d}`, size)))
	}
	return all
}

// TestSuspendFreezesQueued: what was begun and waits for its turn is not sent
// once a person has frozen the environment; what is on its way ends.
func TestSuspendFreezesQueued(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h, s := slowHouse(t, 30*time.Second, things(10, 1)...)
		if n := len(s.sent()); n != 2 {
			t.Fatalf("%d are sent, want 2", n)
		}
		h.must(h.Suspend(t.Context(), "ana", nil, ""))
		close(s.pass)
		later(time.Hour)
		if n := len(s.sent()); n != 2 || len(strings.Fields(h.live())) != 2 {
			t.Errorf("after the freeze %d are sent, live are %s", n, h.live())
		}
		if st := h.Status(); st.Counts[Suspended] != 8 || st.Counts[Converged] != 2 {
			t.Errorf("%v", st.Counts)
		}
		h.must(h.Resume(t.Context(), "ana", nil, ""))
		h.converged(h.tip())
		if n := len(s.sent()); n != 10 {
			t.Errorf("resumed, %d were sent in all", n)
		}
	})
}

// TestPauseFreezesQueued: the same for one resource; the others go on.
func TestPauseFreezesQueued(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h, s := slowHouse(t, 30*time.Second, things(6, 1)...)
		flying := s.names()
		queued := slices.DeleteFunc(things(6, 1), func(r schema.Resource) bool { return slices.Contains(flying, r.ID.Name) })
		id := queued[len(queued)-1].ID
		h.must(h.Suspend(t.Context(), "ana", &id, ""))
		close(s.pass)
		later(time.Hour)
		if got := strings.Fields(h.live()); len(got) != 5 || slices.Contains(got, id.Name) || slices.Contains(s.names(), id.Name) {
			t.Errorf("%s is frozen; live are %s, sent %v", id.Name, got, s.sent())
		}
	})
}

// TestNewerCommitOvertakes: while slow applies hold every slot, what a newer
// commit declares is looked at and planned, and of what was queued only that is
// sent which is still wanted so.
func TestNewerCommitOvertakes(t *testing.T) {
	for _, linger := range []time.Duration{0, 30 * time.Second} {
		inBubble(t, func(t *testing.T) {
			h, s := slowHouse(t, linger, things(10, 1)...)
			flying := s.names()
			left := slices.IndexFunc(things(10, 1), func(r schema.Resource) bool { return !slices.Contains(flying, r.ID.Name) })
			rev := h.commit(append(slices.Delete(things(10, 2), left, left+1), decl("fix", `{}`))...)
			synctest.Wait()
			later(DefaultInterval / 2)
			changes := h.Plan().Changes
			i := slices.IndexFunc(changes, func(c PlannedChange) bool { return c.ID.Name == "fix" })
			if i < 0 || changes[i].Action != schema.Create || h.Status().Revision.ID != rev.ID {
				t.Fatalf("linger %v: the plan of the newer commit is %+v", linger, changes)
			}
			before := len(s.sent())
			if linger > 0 && before != 2 {
				t.Errorf("%d are sent before one ended", before)
			}
			close(s.pass)
			h.converged(rev)
			if gone := fmt.Sprintf("create r%d", left); slices.Contains(s.sent(), gone) {
				t.Errorf("linger %v: what is no longer declared was sent: %v", linger, s.sent())
			}
			for _, o := range h.eng.Objects() {
				once := linger == 0 || !slices.Contains(flying, o.Name) // what was on its way is left to land there
				if writes := h.eng.Writes(o.Handle); o.Name != "fix" && (once && writes != 1 || string(o.Spec) != `{"size":2}`) {
					t.Errorf("linger %v: %s was written %d times and is %s", linger, o.Name, writes, o.Spec)
				}
			}
		})
	}
}

// TestSupersededLeavesNoIntent: an apply that was begun and never sent leaves
// nothing behind, and waits for nothing.
func TestSupersededLeavesNoIntent(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h, s := slowHouse(t, time.Hour, things(4, 1)...)
		flying := s.names()
		rev := h.commit(slices.DeleteFunc(things(4, 1), func(r schema.Resource) bool { return !slices.Contains(flying, r.ID.Name) })...)
		synctest.Wait()
		close(s.pass)
		began := time.Now()
		h.converged(rev)
		if waited := time.Since(began); waited > time.Minute {
			t.Errorf("it took %v", waited)
		}
		h.stop()
		h.run()
		h.converged(rev)
		loaded, err := h.cfg.Store.Load(t.Context())
		h.must(err)
		if len(loaded.Intents) != 0 || len(loaded.Owned) != 2 || len(s.sent()) != 2 {
			t.Errorf("begun %v, owned %v, sent %v", loaded.Intents, loaded.Owned, s.sent())
		}
	})
}

// TestReportsOutage: the status branch says that a target does not answer, and
// that it answers again.
func TestReportsOutage(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPage()
		h := newHouse(t, reporting(p), decl("a", `{}`))
		h.converged(h.tip())
		p.next(t, "| memory.thing/a | converged |")
		h.eng.SetUnreachable(true)
		later(2 * DefaultResync)
		p.next(t, "| memory.thing/a | degraded: mem is out of reach |")
		h.eng.SetUnreachable(false)
		later(2 * time.Minute)
		p.next(t, "| memory.thing/a | converged |")
	})
}

// TestLastReport: what happened since the last report is told at the end of a
// run, however long the next one would have had to wait.
func TestLastReport(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPage()
		h := newHouse(t, func(c *Config) { c.Reporter, c.ReportEvery = p, time.Hour }, decl("a", `{}`))
		h.converged(h.tip())
		p.next(t, "| memory.thing/a | converged |")
		h.converged(h.commit(decl("a", `{}`), decl("b", `{}`)))
		synctest.Wait()
		if n := len(p.reports); n != 0 {
			t.Fatalf("%d reports within the hour", n)
		}
		h.stop()
		p.next(t, "| memory.thing/b | converged |")
		h.run()
		h.converged(h.tip())
		h.stop()
		for len(p.reports) > 0 {
			if r := <-p.reports; !strings.Contains(string(r.Files["README.md"]), "| memory.thing/b | converged |") {
				t.Errorf("the next run told\n%s", r.Files["README.md"])
			}
		}
	})
}

// TestReadOnlySettles: a plan ends where there is nothing more to learn.
func TestReadOnlySettles(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*house) error
		want   map[State]int
	}{
		"what is undeclared is gone already": {func(h *house) error { return h.eng.ForeignDelete("memory.thing/a") }, map[State]int{Converged: 2}},
		"a target is out of reach":           {func(h *house) error { h.eng.SetUnreachable(true); return nil }, map[State]int{Degraded: 2}},
		"something is progressing": {func(h *house) error {
			h.eng.SetHealth("memory.thing/b", &drivers.Health{Status: drivers.Progressing, Reason: "starting"})
			return nil
		}, map[State]int{Progressing: 1, Waiting: 1}},
	} {
		inBubble(t, func(t *testing.T) {
			h := newHouse(t, nil, decl("a", `{}`), decl("b", `{}`))
			h.converged(h.tip())
			h.stop()
			h.Reconciler = nil
			rev := h.commit(decl("b", `{}`))
			h.must(c.before(h))
			h.cfg.ReadOnly, h.cfg.Once = true, true
			h.run()
			began := time.Now()
			s := h.rests(rev)
			if took := time.Since(began); took > 10*time.Second || h.cfg.Store.Writes() != 0 {
				t.Errorf("%s: it took %v, with %d writes", name, took, h.cfg.Store.Writes())
			}
			for state, n := range c.want {
				if s.Counts[state] != n {
					t.Errorf("%s: %v, want %v", name, s.Counts, c.want)
				}
			}
		})
	}
}
