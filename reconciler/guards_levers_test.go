package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// inBubble runs a test on a clock that moves when nothing else does.
func inBubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// later lets so much time pass, and then all that follows from it.
func later(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// anvil is a compiler that can be stopped in the middle.
type anvil struct {
	mu   sync.Mutex
	stop map[string]chan struct{} // by revision
	hot  chan string              // revisions whose compile has begun and stopped
}

func newAnvil() *anvil {
	return &anvil{stop: map[string]chan struct{}{}, hot: make(chan string, 1)}
}

func (a *anvil) alter(c *Config) {
	compile := c.Compile
	c.Compile = func(ctx context.Context, all Snapshots) (Compiled, error) {
		id, err := fs.ReadFile(all.Declarations.FS, "rev")
		if err != nil {
			return Compiled{}, err
		}
		a.mu.Lock()
		stop := a.stop[string(id)]
		a.mu.Unlock()
		if stop != nil {
			a.hot <- string(id)
			<-stop
		}
		return compile(ctx, all)
	}
}

// engineOf is a house's engine, before it runs.
func engineOf(c *Config) *memory.Engine {
	mem, _ := c.Registry.Target("mem").Driver.(*memory.Driver)
	return mem.Engine
}

// hold stops the compile of the next revision until the answer is called.
func (a *anvil) hold(h *house) (release func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	h.src.mu.Lock()
	defer h.src.mu.Unlock()
	stop := make(chan struct{})
	a.stop[fmt.Sprintf("%07d%033d", len(h.src.revs)+1, 0)] = stop
	return sync.OnceFunc(func() { close(stop) })
}

// TestDownDuringCompile: what a compile in flight yields is not put in force
// once a person has taken the environment down.
func TestDownDuringCompile(t *testing.T) {
	for _, first := range []string{"the compile ends first", "down ends first"} {
		inBubble(t, func(t *testing.T) {
			a := newAnvil()
			slow := func(c *Config) { engineOf(c).Quirks.SlowDeletes = 3; a.alter(c) }
			h := newHouse(t, slow, decl("a", `{"size":1}`))
			h.converged(h.tip())
			release := a.hold(h)
			defer release()
			h.commit(decl("a", `{"size":2}`), decl("b", `{}`))
			<-a.hot
			if first == "the compile ends first" {
				go func() { later(100 * time.Millisecond); release() }()
			}
			if s, err := h.Down(t.Context(), "ana", nil, ""); err != nil || len(s.Resources) != 0 || h.live() != "" {
				t.Fatalf("%s: %+v, %v, live are %s", first, s.Resources, err, h.live())
			}
			release()
			later(time.Hour)
			if s := h.Status(); !s.Down || len(s.Resources) != 0 || h.live() != "" || h.eng.Creates("memory.thing/b") != 0 {
				t.Errorf("%s: an hour later: down %t, %+v, live are %s", first, s.Down, s.Resources, h.live())
			}
		})
	}
}

// TestRollbackDuringCompile: a tip that is quarantined while it is compiled
// never comes into force.
func TestRollbackDuringCompile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		a := newAnvil()
		h := newHouse(t, a.alter, decl("a", `{"size":1}`))
		first := h.converged(h.tip()).Revision
		release := a.hold(h)
		defer release()
		bad := h.commit(decl("a", `{"size":2}`), decl("b", `{}`))
		<-a.hot
		if back, err := h.Rollback(t.Context(), "ana", "", ""); err != nil || back.To.ID != first.ID || back.Quarantined.ID != bad.ID {
			t.Fatalf("%+v, %v", back, err)
		}
		release()
		later(time.Hour)
		if s := h.converged(first); s.Rollback == nil || h.live() != "a" || h.eng.Writes("memory.thing/a") != 1 {
			t.Errorf("%+v, live are %s", s.Rollback, h.live())
		}
		records, err := h.History(t.Context(), 0)
		h.must(err)
		for _, rec := range records {
			if rec.What == "in force" && rec.Revision == bad.ID {
				t.Error("the quarantined revision was in force")
			}
		}
	})
}

// TestDownReturns: with what is suspended, and with what is out of reach, down
// ends all the same, and says what is left.
func TestDownReturns(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*house)
		left   State
		live   string
	}{
		"a suspended resource": {func(h *house) {
			h.must(h.Suspend(context.Background(), "ana", &schema.ID{Kind: memory.KindThing, Name: "a"}, ""))
		}, Suspended, "a"},
		"a target out of reach": {func(h *house) { h.eng.SetUnreachable(true) }, Degraded, "a b"},
	} {
		inBubble(t, func(t *testing.T) {
			h := newHouse(t, nil, decl("a", `{}`), decl("b", `{}`))
			h.converged(h.tip())
			c.before(h)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			s, err := h.Down(ctx, "ana", nil, "")
			if err != nil || len(s.Resources) != len(strings.Fields(c.live)) || s.Counts[c.left] != len(s.Resources) || h.live() != c.live {
				t.Errorf("%s: %+v, %v, live are %s", name, s.Resources, err, h.live())
			}
		})
	}
}

// TestDownComesBack: what was out of reach goes when it answers.
func TestDownComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHouse(t, nil, decl("a", `{}`))
		h.converged(h.tip())
		h.eng.SetUnreachable(true)
		_, err := h.Down(t.Context(), "ana", nil, "")
		h.must(err)
		h.eng.SetUnreachable(false)
		h.until("gone", func(s Status) bool { return len(s.Resources) == 0 })
		if h.live() != "" {
			t.Errorf("live are %s", h.live())
		}
	})
}

// TestResumeRefused: resuming what was taken down, while the tip is refused,
// brings the last good revision back.
func TestResumeRefused(t *testing.T) {
	for _, restart := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			h := newHouse(t, nil, decl("a", `{}`))
			first := h.converged(h.tip()).Revision
			bad := h.commit(decl("b", `{}`, needs("none")))
			refused := func(s Status) bool { return s.Refused != nil && s.Refused.Revision.ID == bad.ID }
			h.until("refused", refused)
			_, err := h.Down(t.Context(), "ana", nil, "")
			h.must(err)
			if restart {
				h.stop()
				h.run()
				later(time.Hour)
			}
			if h.live() != "" {
				t.Fatalf("live are %s", h.live())
			}
			h.must(h.Resume(t.Context(), "ana", nil, ""))
			h.until("the last good one", func(s Status) bool {
				return refused(s) && !s.Down && s.Revision.ID == first.ID && s.Counts[Converged] == 1
			})
			if h.live() != "a" {
				t.Errorf("restart %t: live are %s", restart, h.live())
			}
		})
	}
}

// moody is a source that fails where it is told to.
type moody struct {
	*branch
	mu    sync.Mutex
	head  error
	fetch func(sources.Revision) error
}

func (m *moody) Head(ctx context.Context) (sources.Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.head != nil {
		return sources.Revision{}, m.head
	}
	return m.branch.Head(ctx)
}

func (m *moody) Fetch(ctx context.Context, rev sources.Revision) (*sources.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fetch != nil {
		if err := m.fetch(rev); err != nil {
			return nil, err
		}
	}
	return m.branch.Fetch(ctx, rev)
}

// TestBootFallsBack: a start at a tip that cannot be put in force follows the
// last good revision, and tries again where that cannot be read at once.
func TestBootFallsBack(t *testing.T) {
	reset := errors.New("connection reset")
	for name, c := range map[string]struct {
		next    []schema.Resource
		head    error
		fetch   func(first sources.Revision) func(sources.Revision) error
		refused bool // the tip
		ok      bool // the source
	}{
		"a refused tip, and one failed fetch": {next: []schema.Resource{decl("b", `{}`, needs("none"))}, refused: true, ok: true,
			fetch: func(first sources.Revision) func(sources.Revision) error {
				failed := false
				return func(rev sources.Revision) error {
					if rev.ID != first.ID || failed {
						return nil
					}
					failed = true
					return reset
				}
			}},
		"a rewound tip": {next: []schema.Resource{decl("b", `{}`)}, refused: true,
			fetch: func(first sources.Revision) func(sources.Revision) error {
				return func(rev sources.Revision) error {
					if rev.ID != first.ID {
						return sources.ErrRewound
					}
					return nil
				}
			}},
		"a source that does not answer": {next: []schema.Resource{decl("b", `{}`)}, head: reset},
	} {
		inBubble(t, func(t *testing.T) {
			m := &moody{}
			h := newHouse(t, func(c *Config) { m.branch = c.Source.(*branch); c.Source = m }, decl("a", `{}`))
			first := h.converged(h.tip()).Revision
			h.stop()
			h.Reconciler = nil
			h.commit(c.next...)
			m.head = c.head
			if c.fetch != nil {
				m.fetch = c.fetch(first)
			}
			h.run()
			s := h.until(name, func(s Status) bool { return s.Revision.ID == first.ID && s.Counts[Converged] == 1 })
			later(2 * DefaultInterval)
			if s = h.Status(); (s.Refused != nil) != c.refused || s.Source.OK != c.ok || h.live() != "a" {
				t.Errorf("%s: refused %+v, source %+v, live are %s", name, s.Refused, s.Source, h.live())
			}
		})
	}
}
