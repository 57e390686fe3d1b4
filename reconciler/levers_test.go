package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// branch is a source in memory, with its history in one line.
type branch struct {
	mu   sync.Mutex
	revs []sources.Revision
	tree map[string][]schema.Resource // by revision
}

func (b *branch) Head(context.Context) (sources.Revision, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.revs[len(b.revs)-1], nil
}

func (b *branch) Fetch(_ context.Context, rev sources.Revision) (*sources.Snapshot, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.tree[rev.ID]; !ok {
		return nil, sources.ErrGone
	}
	return &sources.Snapshot{Revision: rev, FS: fstest.MapFS{"rev": {Data: []byte(rev.ID)}}, Close: func() error { return nil }}, nil
}

func (b *branch) Contains(_ context.Context, descendant, ancestor sources.Revision) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := func(r sources.Revision) int {
		return slices.IndexFunc(b.revs, func(x sources.Revision) bool { return x.ID == r.ID })
	}
	return at(ancestor) >= 0 && at(descendant) >= at(ancestor), nil
}

func (b *branch) Resolve(_ context.Context, name string) (sources.Revision, error) {
	return sources.Revision{}, fmt.Errorf("%s: %w", name, sources.ErrGone)
}

// compile reads what Fetch gave.
func (b *branch) compile(_ context.Context, all Snapshots) (Compiled, error) {
	id, err := fs.ReadFile(all.Declarations.FS, "rev")
	b.mu.Lock()
	defer b.mu.Unlock()
	return Compiled{Resources: b.tree[string(id)], Files: 1}, err
}

// house is a running Reconciler over a branch, a memory engine and the store.
type house struct {
	*Reconciler
	t    *testing.T
	src  *branch
	eng  *memory.Engine
	cfg  Config
	path string
	stop func()
}

// newHouse runs one with what is declared first; alter does the rest.
func newHouse(t *testing.T, alter func(*Config), res ...schema.Resource) *house {
	t.Helper()
	h := &house{t: t, src: &branch{tree: map[string][]schema.Resource{}}, eng: &memory.Engine{}, path: filepath.Join(t.TempDir(), "store.db")}
	reg, err := drivers.NewRegistry(drivers.Target{Name: "mem", Kinds: memory.Kinds(), Identity: "mem-1", Driver: &memory.Driver{Engine: h.eng, Env: deskEnv}})
	h.must(err)
	log := logrus.New()
	log.SetOutput(io.Discard)
	h.cfg = Config{ID: deskEnv, Name: "house", Source: h.src, Compile: h.src.compile, Registry: reg, Key: []byte("key of the environment"), Log: log}
	if alter != nil {
		alter(&h.cfg)
	}
	h.commit(res...)
	h.run()
	t.Cleanup(func() { h.stop() })
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// run starts a process.
func (h *house) run() {
	h.t.Helper()
	st, err := store.Open(h.path, deskEnv)
	h.must(err)
	h.cfg.Store = st
	h.Reconciler, err = New(h.t.Context(), h.cfg)
	h.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, st.Close()); err != nil {
			h.t.Error(err)
		}
	})
}

// commit makes a revision the tip.
func (h *house) commit(res ...schema.Resource) sources.Revision {
	h.src.mu.Lock()
	n := len(h.src.revs) + 1
	rev := sources.Revision{ID: fmt.Sprintf("%07d%033d", n, 0), Tree: fmt.Sprint(n), Title: fmt.Sprintf("commit %d", n)}
	h.src.revs = append(h.src.revs, rev)
	h.src.tree[rev.ID] = res
	h.src.mu.Unlock()
	if h.Reconciler != nil {
		h.Kick()
	}
	return rev
}

// until waits for a status.
func (h *house) until(what string, ok func(Status) bool) Status {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	s, err := h.Wait(ctx, ok)
	if err != nil {
		h.t.Fatalf("%s: %v: %+v", what, err, s)
	}
	return s
}

// converged waits until a revision is.
func (h *house) converged(rev sources.Revision) Status {
	h.t.Helper()
	return h.until("converged at "+rev.Short(), func(s Status) bool { return s.Converged && s.Revision.ID == rev.ID })
}

// rests waits until a revision is in force and nothing moves.
func (h *house) rests(rev sources.Revision) Status {
	h.t.Helper()
	return h.until("at rest at "+rev.Short(), func(s Status) bool { return s.Settled && s.Revision.ID == rev.ID })
}

func (h *house) tip() sources.Revision { rev, _ := h.src.Head(context.Background()); return rev }

// live are the names of what lives.
func (h *house) live() string {
	var names []string
	for _, o := range h.eng.Objects() {
		names = append(names, o.Name)
	}
	return strings.Join(names, " ")
}

func (h *house) audit() string {
	h.t.Helper()
	entries, err := h.Audit(h.t.Context(), 0)
	h.must(err)
	var all []string
	for _, e := range slices.Backward(entries) {
		all = append(all, strings.TrimSpace(e.By+" "+e.What+" "+e.Subject+" "+e.Why))
	}
	return strings.Join(all, "; ")
}

func TestApprove(t *testing.T) {
	h := newHouse(t, nil, decl("a", `{}`, hold(schema.Create)), decl("b", `{}`, hold(schema.Create)), decl("c", `{}`))
	ctx := t.Context()
	h.rests(h.tip())
	plan := h.Plan()
	if len(plan.Changes) != 2 || plan.Digest == "" || plan.Digest != h.Status().PlanDigest {
		t.Fatalf("%+v", plan)
	}
	one := plan.Changes[0].Digest
	for name, digest := range map[string]string{"empty": "", "too short": one[:11], "no hex": strings.ToUpper(one[:12]) + "X", "of nothing": strings.Repeat("0", 64), "longer than one": one + "00"} {
		if _, err := h.Approve(ctx, "ana", Yes{Digest: digest}); !errors.Is(err, ErrDigest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := h.Approve(ctx, "", Yes{Digest: one}); err == nil {
		t.Error("somebody without a name approved")
	}
	done, err := h.Approve(ctx, "ana", Yes{Digest: one[:12], Why: "why not"})
	if err != nil || len(done) != 1 || done[0].ID != plan.Changes[0].ID {
		t.Fatalf("%+v, %v", done, err)
	}
	h.until("one of two", func(s Status) bool { return s.Settled && s.Counts[Converged] == 2 && s.Counts[Held] == 1 })
	if _, err := h.Approve(ctx, "ana", Yes{Digest: plan.Digest}); !errors.Is(err, ErrDigest) || !strings.Contains(err.Error(), "look at it again") {
		t.Errorf("the digest of a plan that is no more: %v", err)
	}
	if done, err = h.Approve(ctx, "ben", Yes{Digest: h.Plan().Digest}); err != nil || len(done) != 1 {
		t.Errorf("the whole plan: %v, %v", done, err)
	}
	h.converged(h.tip())
	if _, err := h.Approve(ctx, "ana", Yes{Digest: one}); !errors.Is(err, ErrDigest) {
		t.Errorf("with nothing pending: %v", err)
	}
	if got := h.audit(); !strings.HasPrefix(got, "ana approve "+one[:12]+" why not; ben approve ") || strings.Count(got, ";") != 1 {
		t.Errorf("the audit: %s", got)
	}
}

func TestSuspend(t *testing.T) {
	h := newHouse(t, nil, decl("a", `{"size":1}`))
	ctx := t.Context()
	h.converged(h.tip())
	h.must(h.Suspend(ctx, "ana", nil, "holiday"))
	rev := h.commit(decl("a", `{"size":2}`), decl("b", `{}`))
	both := func(s Status) bool { return s.Settled && s.Counts[Suspended] == 2 }
	if s := h.until("both suspended", both); s.Suspended == nil || s.Suspended.By != "ana" || h.live() != "a" {
		t.Errorf("%+v, live are %s", s, h.live())
	}
	h.stop()
	h.run() // a suspension outlives the process
	if s := h.until("both still suspended", both); s.Suspended == nil || h.live() != "a" {
		t.Errorf("after a restart: %+v, live are %s", s.Suspended, h.live())
	}
	id := schema.ID{Kind: memory.KindThing, Name: "b"}
	h.must(h.Suspend(ctx, "ana", &id, ""))
	h.must(h.Resume(ctx, "ana", nil, ""))
	h.until("all but b", func(s Status) bool { return s.Settled && s.Counts[Converged] == 1 && s.Counts[Suspended] == 1 })
	h.must(h.Resume(ctx, "ana", &id, ""))
	h.converged(rev)
	none := schema.ID{Kind: memory.KindThing, Name: "none"}
	if err := errors.Join(h.Suspend(ctx, "ana", &none, ""), h.Resume(ctx, "ana", &none, "")); !errors.Is(err, ErrUnknown) {
		t.Errorf("what there is not: %v", err)
	}
	if got := h.audit(); got != "ana suspend  holiday; ana suspend memory.thing/b@mem; ana resume; ana resume memory.thing/b@mem" {
		t.Errorf("the audit: %s", got)
	}
}

func TestRollback(t *testing.T) {
	h := newHouse(t, nil, decl("a", `{"size":1}`))
	ctx := t.Context()
	first := h.converged(h.tip()).Revision
	if _, err := h.Rollback(ctx, "ana", "", ""); !errors.Is(err, ErrNoRevision) {
		t.Errorf("with nothing to go back to: %v", err)
	}
	second := h.commit(decl("a", `{"size":2}`), decl("b", `{}`))
	h.converged(second)
	if _, err := h.Rollback(ctx, "ana", "9999999", ""); !errors.Is(err, ErrNoRevision) {
		t.Errorf("to what never converged: %v", err)
	}
	back, err := h.Rollback(ctx, "ana", "", "it is slow")
	if err != nil || back.To.ID != first.ID || back.Quarantined.ID != second.ID {
		t.Fatalf("%+v, %v", back, err)
	}
	if s := h.converged(first); s.Rollback == nil || h.live() != "a" {
		t.Errorf("%+v, live are %s", s.Rollback, h.live())
	}
	h.Kick() // the tip is still the quarantined one
	h.stop()
	h.run()
	if s := h.converged(first); s.Rollback == nil {
		t.Error("a restart ended the rollback")
	}
	third := h.commit(decl("a", `{"size":3}`))
	if s := h.converged(third); s.Rollback != nil {
		t.Errorf("a newer commit did not end the rollback: %+v", s.Rollback)
	}
	if got := h.audit(); got != "ana rollback "+first.ID+" it is slow" {
		t.Errorf("the audit: %s", got)
	}
}

func TestDown(t *testing.T) {
	data := func(r *schema.Resource) { r.Data = true }
	h := newHouse(t, nil, decl("a", `{}`), decl("b", `{}`, needs("a")), decl("db", `{}`, data), decl("tmp", `{}`, data))
	ctx := t.Context()
	h.converged(h.tip())
	if _, err := h.Down(ctx, "ana", []schema.ID{{Kind: memory.KindThing, Name: "none"}}, ""); !errors.Is(err, ErrUnknown) || h.Status().Down {
		t.Errorf("naming what there is not: %v", err)
	}
	s, err := h.Down(ctx, "ana", []schema.ID{{Kind: memory.KindThing, Name: "tmp"}}, "moving")
	if err != nil || len(s.Resources) != 1 || s.Counts[Held] != 1 || h.live() != "db" {
		t.Fatalf("%+v, %v, live are %s", s.Resources, err, h.live())
	}
	if got := h.audit(); got != "ana down  moving" {
		t.Errorf("the audit: %s", got)
	}
}

// TestRefused: findings, and an empty tree: nothing is planned, nothing is
// pruned, and the next good commit goes on.
func TestRefused(t *testing.T) {
	h := newHouse(t, nil, decl("a", `{}`))
	first := h.converged(h.tip()).Revision
	for name, res := range map[string][]schema.Resource{"empty": nil, "dangling": {decl("b", `{}`, needs("none"))}} {
		bad := h.commit(res...)
		s := h.until(name, func(s Status) bool { return s.Refused != nil && s.Refused.Revision.ID == bad.ID && !s.Converged })
		if len(s.Refused.Findings) != 1 || s.Revision.ID != first.ID || h.live() != "a" {
			t.Errorf("%s: %+v at %s, live are %s", name, s.Refused, s.Revision.Short(), h.live())
		}
	}
	h.stop()
	h.run() // at a refused tip the last good revision is in force
	h.until("the last good one", func(s Status) bool { return s.Revision.ID == first.ID && s.Refused != nil && s.Counts[Converged] == 1 })
	good := h.commit(decl("a", `{}`), decl("b", `{}`))
	if s := h.converged(good); s.Refused != nil || h.live() != "a b" {
		t.Errorf("%+v, live are %s", s.Refused, h.live())
	}
}

func TestReadOnly(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.ReadOnly = true }, decl("a", `{}`))
	h.rests(h.tip())
	if h.live() != "" || len(h.Plan().Changes) != 1 {
		t.Errorf("live are %s, the plan is %+v", h.live(), h.Plan())
	}
	if err := h.Suspend(t.Context(), "ana", nil, ""); !errors.Is(err, ErrRefused) {
		t.Errorf("a lever was pulled: %v", err)
	}
	if n := h.cfg.Store.Writes(); n != 0 {
		t.Errorf("%d writes to the store", n)
	}
}
