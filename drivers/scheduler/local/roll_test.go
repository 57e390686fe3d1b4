package local

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/detached"
	"github.com/aplomb-dev/aplomb/schema"
)

// sampler counts, all the time, which instances live.
type sampler struct {
	mu          sync.Mutex
	least, most int
	twice       string // an instance that lived twice at once
	stop        func()
}

// sample looks at the processes of a folder until stop. The least is that of
// moments after all have been seen.
func (b *bench) sample() *sampler {
	s := &sampler{least: 1 << 30}
	ctx, cancel := context.WithCancel(b.Context())
	done, dir := make(chan struct{}), b.d.Dir+"/"
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			found, err := detached.Find(dir)
			if err != nil {
				b.Error(err)
				return
			}
			s.note(found)
		}
	}()
	s.stop = func() { cancel(); <-done }
	return s
}

// note counts processes. A listing takes its time: two of one instance count
// only if both are there still.
func (s *sampler) note(found []detached.Marked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[string]detached.Marked{}
	for _, p := range found {
		instance := filepath.Dir(p.Dir)
		if other, has := seen[instance]; has && exists(other) && exists(p) {
			s.twice = instance
		}
		seen[instance] = p
	}
	s.least, s.most = min(s.least, len(seen)), max(s.most, len(seen))
}

func exists(p detached.Marked) bool {
	again, err := detached.Find(p.Dir)
	return err == nil && slices.Contains(again, p)
}

func TestRollKeepsTheOthersUp(t *testing.T) {
	b := newBench(t)
	b.want(program("stay"), `"count":4`)
	b.turn(schema.Create)
	b.healthy()
	before := b.pids()
	s := b.sample()
	b.want(program("stay", "next"), `"count":4`)
	b.turn(schema.Update)
	s.stop()
	b.healthy()
	b.settled()
	for i, pid := range b.pids() {
		if pid == before[i] || pid == 0 {
			t.Errorf("instance %d was not replaced", i)
		}
	}
	if s.least < 3 || s.most != 4 || s.twice != "" {
		t.Errorf("%d to %d of 4 lived; twice: %s", s.least, s.most, s.twice)
	}
}

func TestRollInParallel(t *testing.T) {
	b := newBench(t)
	b.d.Settle = 400 * time.Millisecond
	b.want(program("stay"), `"count":4`, `"update":{"parallel":4}`)
	b.turn(schema.Create)
	b.healthy()
	b.want(program("stay", "next"), `"count":4`, `"update":{"parallel":4}`)
	at := time.Now()
	b.turn(schema.Update)
	if took := time.Since(at); took > 3*b.d.Settle {
		t.Errorf("one batch took %v: it waited in between", took)
	}
	b.healthy()
}

// TestBadVersionStops: one instance is lost to it, the others stay, and going
// back touches only the one.
func TestBadVersionStops(t *testing.T) {
	b := newBench(t)
	b.want(program("stay"), `"count":3`)
	b.turn(schema.Create)
	b.healthy()
	before := b.pids()
	b.want(program("exit", "1"), `"count":3`)
	for range 2 { // trying again does no more harm
		_, err := b.d.Apply(t.Context(), b.plan())
		if err == nil || !strings.Contains(err.Error(), "instance 0 exited (status 1)") {
			t.Fatalf("got %v", err)
		}
		if now := b.pids(); now[0] != 0 || !slices.Equal(now[1:], before[1:]) {
			t.Fatalf("pids %v became %v", before, now)
		}
		if c := b.plan(); c.Action != schema.Update || c.Diff[0].Path != "/argv" {
			t.Fatalf("what remains: %+v", c)
		}
		if h := b.look().Health; h.Status != drivers.Unhealthy {
			t.Fatalf("health %+v", h)
		}
	}
	b.restart()
	b.want(program("stay"), `"count":3`)
	b.turn(schema.Update)
	b.healthy()
	b.settled()
	if now := b.pids(); now[0] == 0 || !slices.Equal(now[1:], before[1:]) {
		t.Fatalf("going back, pids %v became %v", before, now)
	}
}

func TestCheckThatNeverPassesStops(t *testing.T) {
	b := newBench(t)
	b.d.UpTimeout = 500 * time.Millisecond
	b.want(program("stay"), `"count":2`)
	b.turn(schema.Create)
	b.healthy()
	before := b.pids()
	b.want(program("stay", "next"), `"count":2`, `"check":{"tcp":"127.0.0.1:1"}`)
	_, err := b.d.Apply(t.Context(), b.plan())
	if err == nil || !strings.Contains(err.Error(), "not up within 500ms") || !strings.Contains(err.Error(), "refused") {
		t.Fatalf("got %v", err)
	}
	if now := b.pids(); now[1] != before[1] || now[0] == before[0] {
		t.Fatalf("pids %v became %v", before, now)
	}
}

func TestRollGoesOn(t *testing.T) {
	b := newBench(t)
	b.want(program("stay"), `"count":3`)
	b.turn(schema.Create)
	b.healthy()
	b.want(program("stay", "next"), `"count":3`)
	before, c := b.pids()[0], b.plan()
	b.d.Settle = time.Hour // the first batch is waited for, until the context ends
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := b.d.Apply(ctx, c)
		done <- err
	}()
	b.eventually("the first batch", func() bool { return b.pids()[0] != before && b.pids()[0] != 0 })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	first := b.pids()
	b.restart()
	if c := b.turn(schema.Update); len(c.Diff) != 1 || c.Diff[0].Path != "/argv" {
		t.Fatalf("got %+v", c)
	}
	b.healthy()
	b.settled()
	if now := b.pids(); now[0] != first[0] || now[2] == first[2] {
		t.Errorf("pids %v became %v", first, now)
	}
}

// applier is the daemon of TestDaemonKilled: it applies one spec after the
// other, in turn, until it is killed.
func applier(args []string) int {
	d := &Driver{Env: env, Dir: args[0], Root: args[0], Settle: time.Millisecond}
	it := drivers.Item{ID: schema.ID{Kind: Kind, Name: "web"}, Handle: "process/web"}
	for n := 0; ; n++ {
		it.Want = &drivers.Desired{Spec: json.RawMessage(args[1+n%(len(args)-1)])}
		if args[1+n%(len(args)-1)] == "" {
			it.Want = nil
		}
		states, err := d.Observe(context.Background(), []drivers.Item{it})
		if err != nil {
			return 5
		}
		c, err := d.Plan(context.Background(), it, states[0])
		if err != nil {
			return 6
		}
		_, _ = d.Apply(context.Background(), c) // the next round sees what came of it
	}
}

// TestDaemonKilled kills the daemon at any moment while it creates, rolls,
// scales and deletes: whatever it left is finished, and nothing ever runs
// twice.
func TestDaemonKilled(t *testing.T) {
	b := newBench(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec := func(count, version string) string {
		return `{"count":` + count + `,"argv":` + program("stay", version) + `,"stop":{"grace":"2s"}}`
	}
	rng := rand.New(rand.NewPCG(1, 2))
	s := b.sample()
	defer s.stop()
	for n := range 8 {
		daemon := exec.Command(exe, "helper", "apply", b.d.Dir, spec("3", "a"), spec("3", "b"), spec("1", "b"), "")
		if err := daemon.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(rng.IntN(700)) * time.Millisecond)
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
		b.restart()
		b.want(program("stay", "final", itoa(n)), `"count":2`, `"stop":{"grace":"2s"}`)
		b.eventually("converged", func() bool {
			c := b.plan()
			_, err := b.d.Apply(t.Context(), c)
			if err != nil {
				t.Logf("round %d: %v", n, err)
			}
			return err == nil && c.Action == schema.None && b.look().Health.Status == drivers.Healthy
		})
		if pids, is := b.living(); !slices.Equal(is, []string{"0", "1"}) {
			t.Fatalf("round %d: instances %v live, as %v", n, is, pids)
		}
	}
	s.stop()
	if s.twice != "" {
		t.Errorf("%s ran twice at once", s.twice)
	}
	if s.most < 2 {
		t.Errorf("at most %d lived: nothing was tried", s.most)
	}
}
