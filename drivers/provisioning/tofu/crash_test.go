//go:build e2e

package tofu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/detached"
	"github.com/aplomb-dev/aplomb/schema"
)

// heard keeps what was told.
type heard struct {
	mu   sync.Mutex
	text []string
	told chan struct{}
}

func (h *heard) tell(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text = append(h.text, text)
	select {
	case h.told <- struct{}{}:
	default:
	}
}

func TestProgressAndSuperseded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver(t.TempDir())
	r := drivertest.NewResource(t, d, Kind, "slow", w.things(t, thingsVars{Names: names(30), Content: "one", Delay: "400ms"}, ""))
	c := r.Plan()
	h := &heard{told: make(chan struct{}, 1)}
	ctx, supersede := context.WithCancelCause(drivers.WithProgress(t.Context(), h.tell))
	ended := make(chan error, 1)
	go func() {
		_, err := d.Apply(ctx, c)
		ended <- err
	}()
	<-h.told
	if states, err := d.Observe(t.Context(), []drivers.Item{r.Item}); err != nil || !errors.Is(states[0].Err, drivers.ErrWaiting) {
		t.Errorf("while it runs: %v %v", states[0].Err, err)
	}
	<-h.told
	supersede(drivers.ErrSuperseded)
	if err := <-ended; !errors.Is(err, drivers.ErrSuperseded) || drivers.Class(err) != drivers.ErrWaiting {
		t.Fatalf("superseded: %v", err)
	}
	if !strings.Contains(h.text[0], `: creating, `) || !strings.HasSuffix(h.text[0], " of 30") {
		t.Errorf("told: %q", h.text)
	}
	want := w.things(t, thingsVars{Names: names(2), Content: "two"}, "")
	r.Item.Want = &want
	first := observed(t, r)
	made := w.made(t)
	if len(made) == 0 || len(made) == 30 {
		t.Fatalf("it was not stopped in the middle: %d are made", len(made))
	}
	if state := inState(t, d, "slow"); !slices.Equal(state, made) {
		t.Fatalf("made %v, in the state %v", made, state)
	}
	if first.Health.Status != drivers.Unhealthy {
		t.Errorf("the health is %+v", first.Health)
	}
	settle(t, r)
	if made := w.made(t); !slices.Equal(made, names(2)) {
		t.Errorf("settled with %v", made)
	}
}

// observed waits for a look that can be had.
func observed(t testing.TB, r *drivertest.Resource) drivers.State {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		states, err := r.Driver.Observe(t.Context(), []drivers.Item{r.Item})
		drivertest.Must(t, err)
		if states[0].Err == nil {
			return states[0]
		}
		if !errors.Is(states[0].Err, drivers.ErrWaiting) {
			t.Fatal(states[0].Err)
		}
		<-tick.C
	}
	t.Fatal("it could not be looked at")
	return drivers.State{}
}

func TestDaemonKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	d := w.driver(dir)
	r := drivertest.NewResource(t, d, Kind, "slow", w.things(t, thingsVars{Names: names(12), Content: "one", Delay: "300ms"}, ""))
	job := filepath.Join(t.TempDir(), "job.json")
	drivertest.Must(t, os.WriteFile(job, drivertest.JSON(t, daemonJob{
		Dir: dir, Binary: w.tool.Binary, Config: w.tool.Config, Handle: r.Item.Handle, Spec: r.Item.Want.Spec, Files: r.Item.Want.Files}), 0o600))
	daemon := startDaemon(t, job)
	<-daemon.told // it makes the first
	drivertest.Must(t, daemon.cmd.Process.Kill())
	_ = daemon.cmd.Wait()
	before := len(w.made(t))
	states, err := d.Observe(t.Context(), []drivers.Item{r.Item})
	drivertest.Must(t, err)
	if !errors.Is(states[0].Err, drivers.ErrWaiting) {
		t.Fatalf("the daemon is dead, the apply runs, and it is told: %+v", states[0])
	}
	s := observed(t, r)
	if before == 12 || len(w.made(t)) != 12 || s.Health.Status != drivers.Healthy || !s.Exists {
		t.Fatalf("%d were made when the daemon died, %d after: %+v", before, len(w.made(t)), s)
	}
	if c := r.Plan(); c.Action != schema.None {
		t.Fatalf("after it: %s %s", c.Action, paths(c.Diff))
	}
	if n := len(w.written(t)); n != 12 {
		t.Errorf("%d writes for 12 things", n)
	}
	if found, err := detached.Find(dir + "/"); err != nil || len(found) > 0 {
		t.Errorf("%v still run, %v", found, err)
	}
}

// TestToolKilled kills the tool, not its shim, at moments that differ.
func TestToolKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rounds := 6
	for i := range rounds {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			w.empty(t)
			d := w.driver(t.TempDir())
			r := drivertest.NewResource(t, d, Kind, "killed", w.things(t, thingsVars{Names: names(6), Content: "one", Delay: "20ms"}, ""))
			if i%2 == 1 { // an update instead of a create
				r.Settle(schema.Create)
				want := w.things(t, thingsVars{Names: append(names(4), "u1", "u2"), Content: "two", Delay: "20ms"}, "")
				r.Item.Want = &want
			}
			c := r.Plan()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = d.Apply(t.Context(), c) // whatever comes of it
			}()
			killWhen(t, filepath.Join(d.Dir, "env-1", "killed", runDir), time.Duration(i)*80*time.Millisecond, ended)
			<-ended
			settle(t, r)
			made, state := w.made(t), inState(t, d, "killed")
			if !slices.Equal(made, state) || len(made) != 6 {
				t.Errorf("made %v, in the state %v", made, state)
			}
			r.Item.Want = nil
			settle(t, r)
			if left := w.made(t); len(left) > 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// killWhen kills the tool so long after it began, or lets it end.
func killWhen(t testing.TB, dir string, after time.Duration, ended <-chan struct{}) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		run, err := detached.Open(dir)
		if err != nil {
			continue
		}
		st, err := run.Status()
		if err != nil || st.Child.PID == 0 || time.Since(st.Begun) < after {
			continue
		}
		drivertest.Must(t, run.Signal(9))
		return
	}
}
