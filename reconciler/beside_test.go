package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// add makes a revision a branch's tip.
func (b *branch) add(tree string, res ...schema.Resource) sources.Revision {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.revs) + 1
	rev := sources.Revision{ID: fmt.Sprintf("%07d%033d", n, 0), Tree: tree, Title: fmt.Sprintf("commit %d", n)}
	b.revs, b.tree[rev.ID] = append(b.revs, rev), res
	return rev
}

// ruled is a house whose declarations are compiled under templates and
// policies: what the templates' branch holds is made beside what is declared,
// and where the policies' holds anything at all, there are findings.
type ruled struct {
	*house
	templates, policies *moody
	compiles            atomic.Int32
	outside             atomic.Bool
}

func (r *ruled) alter(c *Config) {
	declared := c.Compile
	c.Templates, c.Policies = Followed{Source: r.templates}, Followed{Source: r.policies}
	c.Compile = func(ctx context.Context, all Snapshots) (Compiled, error) {
		r.compiles.Add(1)
		got, err := declared(ctx, all)
		if err != nil {
			return got, err
		}
		for b, snap := range map[*branch]*sources.Snapshot{r.templates.branch: all.Templates, r.policies.branch: all.Policies} {
			id, err := fs.ReadFile(snap.FS, "rev")
			if err != nil {
				return got, err
			}
			b.mu.Lock()
			if b == r.templates.branch {
				got.Resources = append(got.Resources, b.tree[string(id)]...)
			} else if len(b.tree[string(id)]) > 0 {
				got.Findings = []schema.Diagnostic{{Message: "a policy does not load"}}
			}
			b.mu.Unlock()
		}
		got.Outside = r.outside.Load()
		if len(got.Findings) > 0 {
			got.Resources = nil
		}
		return got, nil
	}
}

func newRuled(t *testing.T, res ...schema.Resource) *ruled {
	r := &ruled{templates: &moody{branch: &branch{tree: map[string][]schema.Resource{}}}, policies: &moody{branch: &branch{tree: map[string][]schema.Resource{}}}}
	r.templates.add("t1", decl("t1", `{}`))
	r.policies.add("p1")
	r.house = newHouse(t, r.alter, res...)
	return r
}

// fails makes a source fail from now on; nil heals it.
func (m *moody) fails(head error, fetch func(sources.Revision) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.head, m.fetch = head, fetch
}

func (r *ruled) under(what string, t sources.Revision) Status {
	r.t.Helper()
	return r.until(what, func(s Status) bool { return s.Converged && s.Templates.Revision.ID == t.ID })
}

// TestTemplatesChange: a new revision of the templates alone makes a new
// revision of the environment, which is told and kept.
func TestTemplatesChange(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRuled(t, decl("a", `{}`))
		first := r.converged(r.tip())
		if r.live() != "a t1" || first.Policies.Revision.Tree != "p1" || !first.Policies.Source.OK {
			t.Fatalf("live are %s, %+v", r.live(), first.Policies)
		}
		second := r.templates.add("t2", decl("t2", `{}`))
		r.Kick()
		if s := r.under("the new templates", second); s.Revision.ID != first.Revision.ID || r.live() != "a t2" {
			t.Errorf("at %s, live are %s", s.Revision.Short(), r.live())
		}
		third := r.templates.add("t3", decl("t3", `{}`))
		later(2 * DefaultInterval) // nobody kicks
		r.under("the interval", third)
		records, err := r.History(t.Context(), 0)
		r.must(err)
		var said []string
		for _, rec := range records {
			if rec.ID == (schema.ID{}) {
				said = append(said, fmt.Sprintf("%s %.7s %.7s %.7s", rec.What, rec.Revision, rec.Templates, rec.Policies))
			}
		}
		want := "converged 0000001 0000003 0000001; in force 0000001 0000003 0000001; converged 0000001 0000002 0000001; " +
			"in force 0000001 0000002 0000001; converged 0000001 0000001 0000001; in force 0000001 0000001 0000001"
		if got := strings.Join(said, "; "); got != want {
			t.Errorf("the history: %s", got)
		}
	})
}

// TestTreesBeside: commits that change no content compile nothing, unless what
// lies outside of the folders has a part in it.
func TestTreesBeside(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRuled(t, decl("a", `{}`))
		r.converged(r.tip())
		one := r.templates.add("t1", decl("t1", `{}`))
		r.Kick()
		r.under("templates elsewhere", one)
		r.src.mu.Lock()
		last := r.src.revs[len(r.src.revs)-1]
		r.src.mu.Unlock()
		two := r.src.add(last.Tree, decl("a", `{}`))
		r.Kick()
		r.converged(two)
		if n := r.compiles.Load(); n != 1 {
			t.Errorf("%d compiles of one content", n)
		}
		r.outside.Store(true)
		r.converged(r.commit(decl("a", `{}`)))
		same := r.tip().Tree
		three := r.src.add(same, decl("a", `{}`), decl("b", `{}`))
		r.Kick()
		if r.converged(three); r.live() != "a b t1" {
			t.Errorf("what lies outside changed; live are %s", r.live())
		}
	})
}

// TestBesideFails: what was read of templates and policies stays in force
// while it cannot be read again, also over a restart, and the status says so.
func TestBesideFails(t *testing.T) {
	reset := errors.New("connection reset")
	for name, fails := range map[string]func(*moody){
		"no head": func(m *moody) { m.fails(reset, nil) },
		"a rewound": func(m *moody) {
			m.fails(nil, func(rev sources.Revision) error { return map[bool]error{true: sources.ErrRewound}[rev.Tree == "t2"] })
		},
	} {
		inBubble(t, func(t *testing.T) {
			r := newRuled(t, decl("a", `{}`))
			r.converged(r.tip())
			fails(r.templates)
			r.templates.add("t2", decl("t2", `{}`))
			next := r.commit(decl("b", `{}`))
			s := r.converged(next)
			if s.Templates.Source.OK || s.Templates.Source.Error == "" || s.Templates.Revision.Tree != "t1" || !s.Source.OK || r.live() != "b t1" {
				t.Fatalf("%s: %+v, live are %s", name, s.Templates, r.live())
			}
			r.stop()
			r.house.Reconciler = nil
			next = r.commit(decl("c", `{}`))
			r.run()
			if s := r.converged(next); s.Templates.Source.OK || r.live() != "c t1" {
				t.Errorf("%s, after a restart: %+v, live are %s", name, s.Templates, r.live())
			}
			r.templates.fails(nil, nil)
			later(2 * DefaultInterval)
			if s := r.until(name, func(s Status) bool { return s.Converged && s.Templates.Source.OK }); s.Templates.Revision.Tree != "t2" || r.live() != "c t2" {
				t.Errorf("%s, healed: %+v, live are %s", name, s.Templates, r.live())
			}
		})
	}
}

// TestBesideNever: templates or policies that could never be read stop
// everything: nothing is planned, nothing is pruned.
func TestBesideNever(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHouse(t, nil, decl("a", `{}`))
		h.converged(h.tip())
		h.stop()
		h.Reconciler = nil
		r := &ruled{house: h, templates: &moody{branch: &branch{tree: map[string][]schema.Resource{}}}, policies: &moody{branch: &branch{tree: map[string][]schema.Resource{}}}}
		r.alter(&h.cfg)
		r.templates.add("t1", decl("t1", `{}`))
		r.policies.fails(errors.New("connection reset"), nil)
		next := h.commit(decl("b", `{}`))
		h.run()
		s := h.until("it is said", func(s Status) bool { return !s.Source.OK && s.Source.Error != "" })
		later(3 * DefaultInterval)
		if s.Source.Error != "policies: connection reset" || h.Status().Revision.ID != "" || h.live() != "a" {
			t.Errorf("%+v, live are %s", s.Source, h.live())
		}
		r.policies.fails(nil, nil)
		r.policies.add("p1")
		later(2 * DefaultInterval)
		if h.converged(next); h.live() != "b t1" {
			t.Errorf("live are %s", h.live())
		}
	})
}

// TestBesideRefused: findings in policies refuse a revision as findings in
// declarations do, and a restart finds what was in force.
func TestBesideRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRuled(t, decl("a", `{}`))
		r.converged(r.tip())
		bad := r.policies.add("p2", decl("x", `{}`))
		r.Kick()
		refused := func(s Status) bool { return s.Refused != nil && s.Refused.Under.Policies.ID == bad.ID && !s.Converged }
		if s := r.until("refused", refused); len(s.Refused.Findings) != 1 || s.Policies.Revision.Tree != "p1" || r.live() != "a t1" {
			t.Fatalf("%+v, live are %s", s.Refused, r.live())
		}
		compiles := r.compiles.Load()
		later(3 * DefaultInterval)
		if n := r.compiles.Load(); n != compiles {
			t.Errorf("what is refused was compiled %d times more", n-compiles)
		}
		r.stop()
		r.run()
		s := r.until("the last good one", func(s Status) bool { return refused(s) && s.Counts[Converged] == 2 })
		if s.Policies.Revision.Tree != "p1" || r.live() != "a t1" {
			t.Errorf("after a restart: %+v, live are %s", s.Policies, r.live())
		}
		r.policies.add("p3")
		r.Kick()
		if s := r.until("mended", func(s Status) bool { return s.Converged }); s.Policies.Revision.Tree != "p3" || s.Refused != nil {
			t.Errorf("%+v", s.Policies)
		}
	})
}

// TestPoliciesOverABrokenTip: a commit that is refused does not keep newer
// policies from being in force over what is.
func TestPoliciesOverABrokenTip(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRuled(t, decl("a", `{}`))
		good := r.tip()
		r.converged(good)
		broken := r.commit(decl("a", `{}`), decl("a", `{}`)) // twice
		r.until("refused", func(s Status) bool { return s.Refused != nil && s.Refused.Revision.ID == broken.ID })
		r.policies.add("p2")
		r.templates.add("t2", decl("t2", `{}`))
		r.Kick()
		later(2 * DefaultInterval)
		s := r.until("under the new ones", func(s Status) bool {
			return s.Policies.Revision.Tree == "p2" && s.Templates.Revision.Tree == "t2" && s.Settled
		})
		if s.Revision.ID != good.ID || s.Refused == nil || s.Refused.Revision.ID != broken.ID || r.live() != "a t2" {
			t.Errorf("at %s, refused %+v, live are %s", s.Revision.Short(), s.Refused, r.live())
		}
		compiles := r.compiles.Load()
		later(3 * DefaultInterval)
		if n := r.compiles.Load(); n != compiles {
			t.Errorf("what is refused was compiled %d times more", n-compiles)
		}
	})
}

// TestRollbackUnder: a rollback goes back in the declarations only.
func TestRollbackUnder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRuled(t, decl("a", `{}`))
		first := r.converged(r.tip()).Revision
		r.converged(r.commit(decl("b", `{}`)))
		two := r.templates.add("t2", decl("t2", `{}`))
		r.Kick()
		r.under("today's templates", two)
		if _, err := r.Rollback(t.Context(), "ana", "", ""); err != nil {
			t.Fatal(err)
		}
		if s := r.converged(first); s.Templates.Revision.ID != two.ID || r.live() != "a t2" {
			t.Errorf("%+v, live are %s", s.Templates, r.live())
		}
		three := r.templates.add("t3", decl("t3", `{}`))
		r.Kick()
		if s := r.under("newer templates", three); s.Revision.ID != first.ID || s.Rollback == nil || r.live() != "a t3" {
			t.Errorf("at %s, live are %s", s.Revision.Short(), r.live())
		}
	})
}

// hanging is a source whose server takes connections and says nothing.
type hanging struct {
	*moody
	hangs atomic.Bool
}

func (h *hanging) Head(ctx context.Context) (sources.Revision, error) {
	if h.hangs.Load() {
		<-ctx.Done()
		return sources.Revision{}, ctx.Err()
	}
	return h.moody.Head(ctx)
}

// TestBesideHangs: a server of policies that hangs keeps no commit waiting for
// long.
func TestBesideHangs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := &ruled{templates: &moody{branch: &branch{tree: map[string][]schema.Resource{}}}, policies: &moody{branch: &branch{tree: map[string][]schema.Resource{}}}}
		r.templates.add("t1")
		r.policies.add("p1")
		slow := &hanging{moody: r.policies}
		r.house = newHouse(t, func(c *Config) { r.alter(c); c.Policies.Source = slow }, decl("a", `{}`))
		r.converged(r.tip())
		slow.hangs.Store(true)
		began := time.Now()
		r.converged(r.commit(decl("b", `{}`)))
		if took := time.Since(began); took > patience+time.Second {
			t.Errorf("the commit waited for %s", took)
		}
		began = time.Now()
		r.converged(r.commit(decl("c", `{}`)))
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("a second commit waited for the same look: %s", took)
		}
	})
}
