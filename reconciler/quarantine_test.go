package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// patient is a house that quarantines after half an hour.
func patient(t *testing.T, res ...schema.Resource) (*house, sources.Revision) {
	t.Helper()
	h := newHouse(t, func(c *Config) { c.Quarantine = 30 * time.Minute }, res...)
	first := h.converged(h.tip()).Revision
	later(time.Second)
	return h, first
}

// commitAs makes a revision the tip whose tree is that of another.
func (h *house) commitAs(tree string, res ...schema.Resource) sources.Revision {
	h.src.mu.Lock()
	n := len(h.src.revs) + 1
	rev := sources.Revision{ID: fmt.Sprintf("%07d%033d", n, 0), Tree: tree, Title: fmt.Sprintf("commit %d", n)}
	h.src.revs = append(h.src.revs, rev)
	h.src.tree[rev.ID] = res
	h.src.mu.Unlock()
	h.Kick()
	return rev
}

const sick = `{"unhealthy":"no route to the database"}`

// A revision that does not get well in time is gone back from; a newer commit
// is tried; what is gone back to is never gone back from; all over restarts.
func TestQuarantine(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h, first := patient(t, decl("a", `{"size":1}`), decl("b", `{}`))
		bad := h.commit(decl("a", `{"size":2}`), decl("b", sick))
		later(29 * time.Minute)
		if s := h.Status(); s.Revision.ID != bad.ID || s.Rollback != nil || s.Counts[Degraded] != 1 {
			t.Fatalf("before its time: %s, %+v, %v", s.Revision.Short(), s.Rollback, s.Counts)
		}
		later(2 * time.Minute)
		s := h.converged(first)
		if s.Rollback == nil || s.Rollback.To.ID != first.ID || s.Rollback.Quarantined.ID != bad.ID || s.Rollback.Lever.By != Itself ||
			len(s.Rollback.Faults) != 1 || s.Rollback.Faults[0] != "memory.thing/b is degraded: no route to the database" {
			t.Fatalf("%+v", s.Rollback)
		}
		if got := h.audit(); got != "aplomb quarantine "+bad.ID+" not converged after 30m: memory.thing/b is degraded: no route to the database" {
			t.Errorf("the audit: %s", got)
		}
		h.stop()
		h.run()
		later(2 * time.Hour)
		if s := h.converged(first); s.Rollback == nil || s.Rollback.Quarantined.ID != bad.ID {
			t.Errorf("after a restart: %+v", s.Rollback)
		}
		worse := h.commit(decl("a", sick), decl("b", sick))
		later(time.Hour)
		if s := h.converged(first); s.Rollback == nil || s.Rollback.Quarantined.ID != worse.ID || len(s.Rollback.Faults) != 2 {
			t.Errorf("a second one: %+v", s.Rollback)
		}
		good := h.commit(decl("a", `{"size":3}`), decl("b", `{}`))
		if s := h.converged(good); s.Rollback != nil {
			t.Errorf("a newer commit did not end it: %+v", s.Rollback)
		}
	})
}

// What is gone back to and does not get well either is stayed with.
func TestQuarantineStops(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h, first := patient(t, decl("b", `{"size":1}`))
		h.commit(decl("b", sick))
		later(10 * time.Minute)
		h.eng.SetHealth("memory.thing/b", &drivers.Health{Status: drivers.Unhealthy, Reason: "the host is gone"})
		later(10 * time.Hour)
		if s := h.Status(); s.Revision.ID != first.ID || s.Rollback == nil || s.Counts[Degraded] != 1 {
			t.Fatalf("%s, %+v, %v", s.Revision.Short(), s.Rollback, s.Counts)
		}
		// A commit that brings back the very same is nothing to go back from.
		revert := h.commitAs(first.Tree, decl("b", `{"size":1}`))
		later(10 * time.Hour)
		if s := h.Status(); s.Revision.ID != revert.ID || s.Rollback != nil {
			t.Fatalf("%s, %+v", s.Revision.Short(), s.Rollback)
		}
		if n := strings.Count(h.audit(), "quarantine"); n != 1 {
			t.Errorf("it flapped: %s", h.audit())
		}
	})
}

// Whose fault something is decides: what breaks without having been touched,
// what waits for a person, an engine that is out of reach or forbids.
func TestQuarantineNot(t *testing.T) {
	for name, c := range map[string]struct {
		off    bool
		next   []schema.Resource
		before func(*house)
		after  func(*house)
	}{
		"broken by itself": {next: []schema.Resource{decl("a", `{}`), decl("b", `{}`), decl("c", `{}`)},
			before: func(h *house) {
				h.eng.SetHealth("memory.thing/a", &drivers.Health{Status: drivers.Unhealthy, Reason: "the host is gone"})
			}},
		"held": {next: []schema.Resource{decl("a", `{"size":2}`, func(r *schema.Resource) { r.Hold = []schema.Action{schema.Update} }), decl("b", sick)}},
		"suspended": {next: []schema.Resource{decl("a", `{}`), decl("b", sick)}, after: func(h *house) {
			h.must(h.Suspend(context.Background(), "ana", nil, ""))
		}},
		"suspended alone": {next: []schema.Resource{decl("a", `{"size":2}`), decl("b", sick)}, before: func(h *house) {
			h.must(h.Suspend(context.Background(), "ana", &schema.ID{Kind: memory.KindThing, Name: "a"}, ""))
		}},
		"out of reach": {next: []schema.Resource{decl("a", `{}`), decl("b", sick)}, after: func(h *house) { h.eng.SetUnreachable(true) }},
		"denied":       {next: []schema.Resource{decl("a", `{}`), decl("b", `{"size":2}`)}, before: func(h *house) { h.eng.SetDenied(true) }},
		"converged once": {next: []schema.Resource{decl("a", `{}`), decl("b", `{"size":2}`)}, after: func(h *house) {
			h.converged(h.tip())
			h.eng.SetHealth("memory.thing/b", &drivers.Health{Status: drivers.Unhealthy, Reason: "later"})
		}},
		"rolled back": {next: []schema.Resource{decl("a", `{}`), decl("b", sick)}, after: func(h *house) {
			_, err := h.Rollback(context.Background(), "ana", "", "")
			h.must(err)
		}},
		"a newer tip is refused": {next: []schema.Resource{decl("a", `{}`), decl("b", sick)}, after: func(h *house) { h.commit() }},
		"switched off":           {off: true, next: []schema.Resource{decl("a", `{}`), decl("b", sick)}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				h := newHouse(t, func(cfg *Config) {
					if cfg.Quarantine = 30 * time.Minute; c.off {
						cfg.Quarantine = 0
					}
				}, decl("a", `{}`), decl("b", `{}`))
				h.converged(h.tip())
				later(time.Second)
				if c.before != nil {
					c.before(h)
				}
				h.commit(c.next...)
				later(time.Minute)
				if c.after != nil {
					c.after(h)
				}
				later(24 * time.Hour)
				if s := h.Status(); s.Rollback != nil && s.Rollback.Lever.By == Itself || strings.Contains(h.audit(), "quarantine") {
					t.Errorf("%+v; %s", s.Rollback, h.audit())
				}
			})
		})
	}
}

// Commits elsewhere in the repository neither give a revision more time, nor end
// its quarantine.
func TestQuarantineElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h, first := patient(t, decl("b", `{}`))
		bad := h.commit(decl("b", sick))
		elsewhere := func() sources.Revision { return h.commitAs(bad.Tree, decl("b", sick)) }
		var last sources.Revision
		for range 5 {
			later(7 * time.Minute)
			if h.Status().Rollback == nil {
				last = elsewhere()
			}
		}
		later(time.Minute)
		if s := h.Status(); s.Revision.ID != first.ID || s.Rollback == nil || s.Rollback.Quarantined.ID != last.ID {
			t.Fatalf("%s, %+v", s.Revision.Short(), s.Rollback)
		}
		elsewhere()
		later(time.Hour)
		if s := h.converged(first); s.Rollback == nil || strings.Count(h.audit(), "quarantine") != 1 {
			t.Errorf("%+v, %s", s.Rollback, h.audit())
		}
		h.converged(h.commit(decl("b", `{"size":2}`)))
	})
}

// Where what converged last does not compile any more there is no way back:
// that is said, and the next commit is tried as ever.
func TestQuarantineNoWayBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		broken := &atomic.Bool{}
		h := newHouse(t, func(c *Config) {
			c.Quarantine = 30 * time.Minute
			compile := c.Compile
			c.Compile = func(ctx context.Context, all Snapshots) (Compiled, error) {
				if all.Declarations.Revision.Title == "commit 1" && broken.Load() {
					return Compiled{Findings: []schema.Diagnostic{{Message: "the template has gone"}}}, nil
				}
				return compile(ctx, all)
			}
		}, decl("b", `{}`))
		h.converged(h.tip())
		broken.Store(true)
		later(time.Second)
		bad := h.commit(decl("b", sick))
		later(2 * time.Hour)
		s := h.Status()
		if s.Revision.ID != bad.ID || s.Rollback != nil || s.Refused != nil || !strings.Contains(s.Source.Error, "no way back to 0000001: it does not compile any more: ") {
			t.Fatalf("%s, %+v, %+v, %q", s.Revision.Short(), s.Rollback, s.Refused, s.Source.Error)
		}
		if s := h.converged(h.commit(decl("b", `{"size":3}`))); s.Source.Error != "" {
			t.Errorf("%q", s.Source.Error)
		}
	})
}

// Time that a revision waits for a person does not count, and what counted
// before does.
func TestQuarantineClock(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h, first := patient(t, decl("a", `{}`), decl("b", `{}`))
		bad := h.commit(decl("a", `{}`), decl("b", sick))
		later(20 * time.Minute)
		h.must(h.Suspend(t.Context(), "ana", nil, "lunch"))
		later(5 * time.Hour)
		h.must(h.Resume(t.Context(), "ana", nil, ""))
		later(9 * time.Minute)
		if s := h.Status(); s.Revision.ID != bad.ID {
			t.Fatalf("the time that it was suspended counted: %+v", s.Rollback)
		}
		later(3 * time.Minute)
		h.converged(first)
	})
}

// A process that dies before or after the journal has the quarantine, or takes
// it up again: never half of it, and never twice.
func TestQuarantineKilled(t *testing.T) {
	for _, step := range []string{"pull:before", "pull:after"} {
		inBubble(t, func(t *testing.T) {
			h, first := patient(t, decl("b", `{}`))
			killed := make(chan struct{})
			h.cfg.Store.Hook = func(at string) error {
				if at != step {
					return nil
				}
				select {
				case <-killed:
				default:
					close(killed)
				}
				return errors.New("killed")
			}
			bad := h.commit(decl("b", sick))
			later(31 * time.Minute)
			select {
			case <-killed:
			default:
				t.Fatal("nothing was killed")
			}
			h.stop()
			h.run()
			later(2 * time.Hour)
			if s := h.converged(first); s.Rollback == nil || s.Rollback.Quarantined.ID != bad.ID {
				t.Errorf("%s: %+v", step, s.Rollback)
			}
			if n := strings.Count(h.audit(), "quarantine"); n != 1 {
				t.Errorf("%s: %s", step, h.audit())
			}
		})
	}
}

// The history and the report say it.
func TestQuarantineTold(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h, first := patient(t, decl("b", `{}`))
		bad := h.commit(decl("b", sick))
		later(time.Hour)
		h.converged(first)
		records, err := h.History(t.Context(), 0)
		h.must(err)
		if !slices.ContainsFunc(records, func(r Record) bool {
			return r.What == "quarantined" && r.Revision == bad.ID && strings.Contains(r.Error, "no route")
		}) {
			t.Errorf("%+v", records)
		}
		if page := string(reportPage(h.Status())); !strings.Contains(page, "`"+bad.Short()+"` is quarantined") || !strings.Contains(page, "no route to the database") {
			t.Errorf("%s", page)
		}
	})
}

// All has been well since it converged; drift that is repaired does not change
// that, what fails and what is new does.
func TestWellSince(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h, _ := patient(t, decl("a", `{"size":1}`))
		began := h.Status().WellSince
		if began.IsZero() {
			t.Fatal("it is not well")
		}
		later(time.Minute)
		h.must(h.eng.ForeignEdit("memory.thing/a", []byte(`{"size":9}`)))
		later(time.Hour)
		if s := h.Status(); !s.Converged || !s.WellSince.Equal(began) || h.eng.Writes("memory.thing/a") < 2 {
			t.Errorf("after drift: %s, was %s", s.WellSince, began)
		}
		h.eng.SetHealth("memory.thing/a", &drivers.Health{Status: drivers.Unhealthy, Reason: "ill"})
		later(time.Hour)
		if s := h.Status(); !s.WellSince.IsZero() {
			t.Errorf("degraded, and well since %s", s.WellSince)
		}
		h.eng.SetHealth("memory.thing/a", nil)
		later(time.Hour)
		again := h.Status().WellSince
		if !again.After(began) {
			t.Errorf("well again since %s", again)
		}
		h.commit(decl("a", `{"size":2}`))
		later(time.Minute)
		if s := h.Status(); !s.Converged || !s.WellSince.After(again) {
			t.Errorf("something new is well since %s", s.WellSince)
		}
	})
}

// The way back is a plan like any other: what a hold names waits for a person,
// and is not taken for a revision that does not converge.
func TestQuarantineHeldBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		hold := func(r *schema.Resource) { r.Hold = []schema.Action{schema.Delete} }
		h, first := patient(t, decl("a", `{}`))
		bad := h.commit(decl("a", sick), decl("b", `{}`, hold))
		later(24 * time.Hour)
		s := h.Status()
		if s.Revision.ID != first.ID || s.Rollback == nil || s.Rollback.Quarantined.ID != bad.ID || s.Counts[Held] != 1 || h.live() != "a b" {
			t.Fatalf("%s, %+v, %v, live are %s", s.Revision.Short(), s.Rollback, s.Counts, h.live())
		}
		_, err := h.Approve(t.Context(), "ana", Yes{Digest: s.PlanDigest, Why: "back"})
		h.must(err)
		h.converged(first)
	})
}
