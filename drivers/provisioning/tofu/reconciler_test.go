//go:build e2e

package tofu

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// revisions is a source whose revisions a test says.
type revisions struct {
	mu  sync.Mutex
	rev int
	all []schema.Resource
}

func (s *revisions) say(all ...schema.Resource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rev++
	s.all = all
}

// Head implements sources.Source.
func (s *revisions) Head(context.Context) (sources.Revision, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sources.Revision{ID: strconv.Itoa(s.rev), Tree: strconv.Itoa(s.rev)}, nil
}

// Fetch implements sources.Source.
func (s *revisions) Fetch(_ context.Context, r sources.Revision) (*sources.Snapshot, error) {
	return &sources.Snapshot{Revision: r, FS: fstest.MapFS{}, Close: func() error { return nil }}, nil
}

func (s *revisions) compile(context.Context, fs.FS) (reconciler.Compiled, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return reconciler.Compiled{Resources: s.all, Files: 1}, nil
}

// planning counts the plans that are made.
type planning struct {
	drivers.Driver
	plans atomic.Int64
}

func (p *planning) Plan(ctx context.Context, it drivers.Item, s drivers.State) (drivers.Change, error) {
	p.plans.Add(1)
	return p.Driver.Plan(ctx, it, s)
}

// Unwrap lets what else the driver can be found.
func (p *planning) Unwrap() drivers.Driver { return p.Driver }

const resync = 12 * time.Second

func reconciled(t *testing.T, p *planning, src *revisions) *reconciler.Reconciler {
	t.Helper()
	reg, err := drivers.NewRegistry(drivers.Target{Name: "tofu", Engine: "tofu", Kinds: []string{Kind}, Driver: p, Identity: "here", Version: DriverVersion, Resync: resync})
	drivertest.Must(t, err)
	st, err := store.Open(filepath.Join(t.TempDir(), "store.db"), "env-1")
	drivertest.Must(t, err)
	log := &drivertest.Log{}
	r, err := reconciler.New(t.Context(), reconciler.Config{
		ID: "env-1", Name: "test", Source: src, Registry: reg, Store: st, Key: make([]byte, 32), Compile: src.compile,
		Gates: gate.Config{Unlimited: true}, Interval: time.Second, Log: log.Logger(),
	})
	drivertest.Must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		drivertest.Must(t, st.Close())
		if t.Failed() {
			t.Log(log)
		}
	})
	return r
}

// comes waits until a status is as wanted.
func comes(t *testing.T, r *reconciler.Reconciler, what string, yes func(reconciler.Status) bool) reconciler.Status {
	t.Helper()
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	r.Kick()
	for {
		s := r.Status()
		if yes(s) {
			return s
		}
		select {
		case <-tick.C:
		case <-limit.C:
			for _, res := range s.Resources {
				t.Logf("%s is %s (%s): %s; hint: %s", res.ID.Short(), res.State, res.Action, res.Reason, res.Hint)
			}
			t.Fatalf("%s: it does not come about", what)
		}
	}
}

func (s *revisions) converged(st reconciler.Status) bool {
	want, err := s.Head(context.Background())
	return err == nil && st.Revision.ID == want.ID && st.Converged && st.Settled
}

// TestReconciled: between resyncs an idle stack costs no plan, a resync finds
// drift, an output moves its dependents, a deletion is held.
func TestReconciled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver(t.TempDir())
	d.Now, d.Refresh = nil, resync*9/10
	p := &planning{Driver: d}
	src := &revisions{}
	stack := func(name, content string, fields ...schema.FieldRef) schema.Resource {
		want := w.things(t, thingsVars{Names: []string{name}, Content: content}, "")
		return schema.Resource{ID: schema.ID{Kind: Kind, Name: name}, Spec: want.Spec, Files: want.Files, Refs: fields, Data: true, Pos: schema.Pos{File: "a.yaml", Line: 1}}
	}
	const ref = "of @{tofu.stack/net.ids[0]}"
	app := func() schema.Resource {
		return stack("app", ref, schema.FieldRef{Path: "/vars/content", Text: ref})
	}
	src.say(stack("net", "one"), app())
	r := reconciled(t, p, src)
	comes(t, r, "two stacks, one of which waits for an output", src.converged)
	if data, err := os.ReadFile(w.file("app")); err != nil || !strings.Contains(string(data), "of id-net") {
		t.Fatalf("%s, %v", data, err)
	}
	before := p.plans.Load()
	idle := time.NewTimer(resync / 3)
	defer idle.Stop()
	<-idle.C
	if n := p.plans.Load() - before; n > 2 { // a resync of both may lie within
		t.Errorf("%d plans of what did not change", n)
	}
	w.edit(t, "net", func(m map[string]any) { m["content"] = "by hand" })
	comes(t, r, "a repair of what drifted", func(reconciler.Status) bool {
		data, err := os.ReadFile(w.file("net"))
		return err == nil && strings.Contains(string(data), `"content":"one"`)
	})
	comes(t, r, "convergence after it", src.converged)

	src.say(stack("net", "two"))
	s := comes(t, r, "a deletion that is held", func(st reconciler.Status) bool {
		for _, res := range st.Resources {
			if res.ID.Name == "app" && res.State == reconciler.Held && res.Action == schema.Delete {
				return true
			}
		}
		return false
	})
	if _, err := os.Stat(w.file("app")); err != nil {
		t.Fatalf("it was destroyed without asking: %v", err)
	}
	for _, res := range s.Resources {
		if res.ID.Name == "app" {
			_, err := r.Approve(t.Context(), "ana", res.Digest, "it is not needed")
			drivertest.Must(t, err)
		}
	}
	comes(t, r, "the deletion", src.converged)
	if made := w.made(t); len(made) != 1 || made[0] != "net" {
		t.Errorf("%v", made)
	}
}
