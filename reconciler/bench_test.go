package reconciler

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// many is the size of the benchmarks' environment.
const many = 10_000

// fixedSource is a source that never moves.
type fixedSource struct{ rev sources.Revision }

func (s fixedSource) Head(context.Context) (sources.Revision, error) { return s.rev, nil }

func (s fixedSource) Fetch(context.Context, sources.Revision) (*sources.Snapshot, error) {
	return &sources.Snapshot{Revision: s.rev, Close: func() error { return nil }}, nil
}

// bench is an environment of many resources on the memory driver with the real
// store on a real disk.
type bench struct {
	eng   *memory.Engine
	store *store.Store
	path  string
	res   []schema.Resource
}

func newBench(b *testing.B) *bench {
	return &bench{eng: &memory.Engine{}, path: filepath.Join(b.TempDir(), "store.db"), res: chainOf(many)}
}

// chainOf declares n resources; every tenth is needed by the nine after it.
func chainOf(n int) []schema.Resource {
	res := make([]schema.Resource, n)
	for i := range res {
		spec := map[string]any{"value": fmt.Sprintf("value of %d", i), "size": i, "labels": map[string]any{"team": "shop", "tier": "web"}}
		if i%10 != 0 {
			spec["value"] = fmt.Sprintf("@{memory.thing/r%d.value}", i-i%10)
		}
		res[i] = resource(memory.KindThing, fmt.Sprintf("r%d", i), spec)
	}
	return res
}

// open is a reconciler over the bench's store and engine, as after a restart.
func (s *bench) open(b *testing.B) *Reconciler {
	b.Helper()
	reg, err := drivers.NewRegistry(drivers.Target{Name: "mem", Kinds: memory.Kinds(), Identity: "mem-1", Concurrency: 16, Driver: &memory.Driver{Engine: s.eng, Env: simEnv}})
	if err != nil {
		b.Fatal(err)
	}
	if s.store, err = store.Open(s.path, simEnv); err != nil {
		b.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	r, err := New(b.Context(), Config{
		ID: simEnv, Name: "bench", Source: fixedSource{sources.Revision{ID: "1", Tree: "1"}}, Registry: reg, Store: s.store, Key: []byte("key"), Log: log,
		Gates: gate.Config{Unlimited: true},
		Compile: func(context.Context, Snapshots) (Compiled, error) {
			return Compiled{Resources: s.res, Files: 1}, nil
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// converge runs r until everything is converged, and answers how to stop it.
func converge(b *testing.B, r *Reconciler) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	within, cancelWait := context.WithTimeout(ctx, time.Minute)
	defer cancelWait()
	if err := r.await(within); err != nil {
		b.Fatalf("%v: %+v", err, r.Status().Counts)
	}
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

// await is Wait for converged, without making a status of 10,000 lines for
// every look.
func (r *Reconciler) await(ctx context.Context) error {
	for {
		r.mu.Lock()
		ok, moved := r.status.converged, r.status.moved
		r.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// BenchmarkApply plans and applies 10,000 resources from nothing.
func BenchmarkApply(b *testing.B) {
	for b.Loop() {
		s := newBench(b)
		r := s.open(b)
		converge(b, r)()
		b.ReportMetric(float64(s.store.Writes()), "writes/op")
		if err := s.store.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// settled is a bench that is converged, with its reconciler stopped and its
// World at hand.
func settled(b *testing.B) (*bench, *Reconciler) {
	s := newBench(b)
	r := s.open(b)
	converge(b, r)()
	b.Cleanup(func() { _ = s.store.Close() })
	return s, r
}

// BenchmarkKick is a turn over 10,000 resources with nothing changed.
func BenchmarkKick(b *testing.B) {
	_, r := settled(b)
	for b.Loop() {
		if _, err := r.turn(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkResync looks at all 10,000 resources again.
func BenchmarkResync(b *testing.B) {
	_, r := settled(b)
	w := r.core.w
	for b.Loop() {
		for _, n := range w.Nodes {
			n.Dirty = true
		}
		for {
			if _, err := r.turn(b.Context()); err != nil {
				b.Fatal(err)
			}
			if calls, ends := r.air.count(); calls == 0 && ends == 0 {
				break
			}
			<-r.wake
		}
	}
}

// BenchmarkRestart is from opening the store to ready, with 10,000 owned.
func BenchmarkRestart(b *testing.B) {
	s, _ := settled(b)
	for b.Loop() {
		if err := s.store.Close(); err != nil {
			b.Fatal(err)
		}
		r := s.open(b)
		converge(b, r)()
	}
}
