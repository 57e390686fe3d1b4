package detached

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// kill kills a process and waits until it is gone or a zombie.
func kill(t *testing.T, p Proc) {
	t.Helper()
	if err := p.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, fmt.Sprintf("end of %d", p.PID), func() bool { return !p.alive() })
}

func status(t *testing.T, run *Run) Status {
	t.Helper()
	again, err := Open(run.Dir()) // as another process sees it
	if err != nil {
		t.Fatal(err)
	}
	st, err := again.Status()
	if err != nil {
		t.Fatal(err)
	}
	mine, err := run.Status()
	if err != nil || mine.State != st.State {
		t.Fatalf("seen by its starter as %s (%v), by another as %s", mine.State, err, st.State)
	}
	return st
}

// shimOf is the process of a run's shim.
func shimOf(t *testing.T, run *Run) Proc {
	t.Helper()
	var rec record
	if err := readJSON(run.path(recordFile), &rec); err != nil {
		t.Fatal(err)
	}
	return rec.Shim
}

func TestCommandKilled(t *testing.T) {
	run := begin(t, Spec{}, "stay")
	kill(t, status(t, run).Child)
	if st := ends(t, run); st.State != Exited || st.Exit.String() != "killed" || st.Exit.Asked {
		t.Fatalf("got %+v", st)
	}
}

func TestShimKilled(t *testing.T) {
	run := begin(t, Spec{}, "stay")
	says(t, run, "up")
	kill(t, shimOf(t, run))
	st := ends(t, run)
	if st.State != Orphaned || !st.Child.alive() {
		t.Fatalf("got %+v", st)
	}
	if status(t, run).State != Orphaned {
		t.Fatal("another does not see the orphan")
	}
	if err := run.Remove(); !errors.Is(err, ErrBusy) {
		t.Fatalf("removing an orphan's folder: %v", err)
	}
	spec, err := run.Spec()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (Shim{}).Start(t.Context(), run.Dir(), spec); !errors.Is(err, ErrBegun) {
		t.Fatalf("a second start: %v", err)
	}
	st, err = run.Stop(t.Context(), Stop{Signal: "TERM", Grace: 5 * time.Second})
	if err != nil || st.State != Exited || !st.Exit.Lost || st.Child.alive() {
		t.Fatalf("stopped: %+v, %v", st, err)
	}
	if err := run.Remove(); err != nil {
		t.Fatal(err)
	}
}

func TestShimAndCommandKilled(t *testing.T) {
	run := begin(t, Spec{}, "daemon", "stay")
	says(t, run, "up\nup")
	child := status(t, run).Child
	kill(t, shimOf(t, run))
	kill(t, child)
	// The lock goes with the shim's last thread, a moment after its first.
	eventually(t, "loss", func() bool {
		st, err := run.Status()
		return err == nil && st.State == Lost
	})
	if st := status(t, run); st.State != Lost {
		t.Fatalf("got %+v", st)
	}
	if err := run.Remove(); !errors.Is(err, ErrBusy) {
		t.Fatalf("removing the folder of a lost run: %v", err)
	}
	left, err := Find(run.Dir())
	if err != nil || len(left) != 1 {
		t.Fatalf("what the command left behind: %v, %v", left, err)
	}
	if st, err := run.Stop(t.Context(), Stop{Grace: 50 * time.Millisecond}); err != nil || !st.Exit.Lost {
		t.Fatalf("stopped: %+v, %v", st, err)
	}
	if left[0].alive() {
		t.Fatal("what the command left behind lives")
	}
}

// TestPidUsedAgain: the pid in the record belongs to another process now.
func TestPidUsedAgain(t *testing.T) {
	other := begin(t, Spec{}, "stay")
	live := status(t, other).Child
	for name, rec := range map[string]record{
		"another start": {Boot: bootID(), Shim: Proc{live.PID, live.Start - 1}, Child: Proc{live.PID, live.Start - 1}},
		"another boot":  {Boot: "00000000-0000-0000-0000-000000000000", Shim: live, Child: live},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			lock, err := prepare(dir, Spec{Argv: []string{"x"}, Dir: "/"})
			if err != nil {
				t.Fatal(err)
			}
			_ = lock.Close()
			rec.Begun = time.Now()
			if err := writeJSON(filepath.Join(dir, recordFile), rec); err != nil {
				t.Fatal(err)
			}
			run, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			if st := status(t, run); st.State != Lost {
				t.Fatalf("got %+v", st)
			}
			if err := run.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if st, err := run.Stop(t.Context(), Stop{Signal: "KILL"}); err != nil || !st.Exit.Lost {
				t.Fatalf("stopped: %+v, %v", st, err)
			}
			if !live.alive() {
				t.Fatal("a process that is not of this run was killed")
			}
		})
	}
}

func TestTwoStartsAtOnce(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	var started, refused int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			_, err := Shim{}.Start(t.Context(), dir, Spec{Argv: []string{exe, "helper", "stay"}, Dir: "/"})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				started++
			case errors.Is(err, ErrBusy) || errors.Is(err, ErrBegun):
				refused++
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	run, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	cleanup(t, run)
	if started != 1 || refused != 5 {
		t.Fatalf("%d started, %d refused", started, refused)
	}
	if procs, err := Find(dir); err != nil || len(procs) != 1 {
		t.Fatalf("%d processes, %v", len(procs), err)
	}
}

// TestStarterKilled kills the starter at any moment: what it left is one of
// few things, and starting again never makes two.
func TestStarterKilled(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	at := time.Now()
	begin(t, Spec{}, "stay")
	span := 2*time.Since(at) + 20*time.Millisecond // a helper starts more slowly than this process
	seen := map[State]int{}
	for n := range 200 {
		if n >= 30 && seen[Running] > 0 && seen[Prepared]+seen[""] > 0 {
			break
		}
		dir := filepath.Join(t.TempDir(), "run")
		starter := exec.Command(exe, "helper", "starter", dir, "stay")
		if err := starter.Start(); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(rng.Int64N(int64(span))))
		_ = starter.Process.Kill()
		_ = starter.Wait()
		seen[startAgain(t, exe, dir)]++
		if t.Failed() {
			t.Fatalf("in round %d", n)
		}
	}
	t.Logf("a killed starter left: %v", seen)
	if seen[Running] == 0 || seen[Prepared]+seen[""] == 0 {
		t.Errorf("the moments were all alike: %v", seen)
	}
}

// startAgain starts what a killed starter may have started, and answers what
// it found.
func startAgain(t *testing.T, exe, dir string) State {
	t.Helper()
	var found State
	if run, err := Open(dir); err == nil {
		// A shim that was forked gives up, or goes through with it.
		eventually(t, "the shim's decision", func() bool {
			st, err := run.Status()
			if err != nil {
				t.Fatal(err)
			}
			found = st.State
			return st.State != Running || st.Child.PID != 0
		})
	}
	spec := Spec{Argv: []string{exe, "helper", "stay"}, Dir: "/"}
	_, err := Shim{}.Start(t.Context(), dir, spec)
	switch {
	case found == Running && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrBegun):
		t.Errorf("it runs, and is started again: %v", err)
	case found == Lost || found == Orphaned || found == Exited:
		t.Errorf("it was found %s", found)
	case found != Running && err != nil:
		t.Errorf("found %q, it cannot be started: %v", found, err)
	}
	run, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	procs, err := Find(dir)
	if err != nil || len(procs) != 1 {
		t.Errorf("found %q: %d processes live, %v", found, len(procs), err)
	}
	if _, err := run.Stop(t.Context(), Stop{Signal: "KILL"}); err != nil {
		t.Error(err)
	}
	return found
}
