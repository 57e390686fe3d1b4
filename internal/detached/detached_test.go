package detached

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// begin starts a helper in a folder of its own, and ends it with the test.
func begin(t *testing.T, spec Spec, args ...string) *Run {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	spec.Argv = append([]string{exe, "helper"}, args...)
	if spec.Dir == "" {
		spec.Dir = t.TempDir()
	}
	run, err := Shim{}.Start(t.Context(), filepath.Join(t.TempDir(), "run"), spec)
	if err != nil {
		t.Fatal(err)
	}
	cleanup(t, run)
	return run
}

func cleanup(t *testing.T, run *Run) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := run.Stop(ctx, Stop{Signal: "KILL"}); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	})
}

// ends waits for the run to end.
func ends(t *testing.T, run *Run) Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	st, err := run.Wait(ctx)
	if err != nil {
		t.Fatalf("waiting for the end: %v", err)
	}
	return st
}

// eventually asks until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-late:
			t.Fatalf("never happened: %s", what)
		case <-tick.C:
		}
	}
}

func written(t *testing.T, run *Run) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(run.Dir(), logFile))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// says waits until the run has written text.
func says(t *testing.T, run *Run, text string) {
	t.Helper()
	eventually(t, "output "+text, func() bool { return strings.Contains(written(t, run), text) })
}

func TestExitIsKept(t *testing.T) {
	run := begin(t, Spec{}, "exit", "7")
	if st := ends(t, run); st.State != Exited || st.Exit.Code != 7 || st.Exit.Asked || st.Exit.At.IsZero() {
		t.Fatalf("got %+v", st)
	}
	again, err := Open(run.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if st, err := again.Status(); err != nil || st.State != Exited || st.Exit.Code != 7 || st.Child.PID == 0 {
		t.Fatalf("found again: %+v, %v", st, err)
	}
}

func TestStopAsks(t *testing.T) {
	run := begin(t, Spec{Log: Log{MaxSize: 1}}, "stay")
	says(t, run, "up")
	st, err := run.Stop(t.Context(), Stop{Signal: "TERM", Grace: 5 * time.Second})
	if err != nil || st.State != Exited || st.Exit.Signal != "TERM" || !st.Exit.Asked {
		t.Fatalf("got %+v, %v", st, err)
	}
}

// TestStoppedByMany: whoever asks at the same time is answered the same.
func TestStoppedByMany(t *testing.T) {
	run := begin(t, Spec{}, "stay")
	says(t, run, "up")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			own, err := Open(run.Dir())
			if err != nil {
				t.Error(err)
				return
			}
			st, err := own.Stop(t.Context(), Stop{Signal: "TERM", Grace: time.Duration(5+i) * time.Second})
			if err != nil || st.State != Exited || !st.Exit.Asked {
				t.Errorf("got %+v, %v", st, err)
			}
		})
	}
	all.Wait()
	if left, err := filepath.Glob(filepath.Join(run.Dir(), "*.tmp")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

func TestStopKillsAfterGrace(t *testing.T) {
	run := begin(t, Spec{}, "stubborn")
	says(t, run, "up")
	at := time.Now()
	st, err := run.Stop(t.Context(), Stop{Signal: "TERM", Grace: 200 * time.Millisecond})
	if err != nil || st.Exit.Signal != "KILL" {
		t.Fatalf("got %+v, %v", st, err)
	}
	if took := time.Since(at); took < 200*time.Millisecond {
		t.Fatalf("killed after %v: no grace", took)
	}
}
