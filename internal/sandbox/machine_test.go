//go:build linux

package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestUmask: another user gets through the folders of the root, whatever files
// that this process makes are let be read by.
func TestUmask(t *testing.T) {
	needs(t)
	named := filepath.Join(t.TempDir(), "named")
	must(t, os.WriteFile(named, []byte("named"), 0o644))
	was := unix.Umask(0o077)
	defer unix.Umask(was)
	s := trying("read", "/in/folders/named")
	s.Mounts = append(s.Mounts, Mount{From: named, To: "/in/folders/named"})
	if res := run(t, s); string(res[0].Out) != "named" {
		t.Errorf("%+v", res)
	}
}

// TestShort: a machine that is short of something has no sandbox for now, which is
// another thing than having none; what cannot be started in one is neither.
func TestShort(t *testing.T) {
	needs(t)
	var was unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: was.Max}))
	_, err := Run(t.Context(), trying("code", "0"))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &was))
	if !errors.Is(err, ErrBusy) || errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
	run(t, trying("code", "0"))
	for says, want := range map[string]error{
		`{"error":"detach /: operation not permitted","lacks":"right"}`: ErrUnavailable, `{"error":"make a root: cannot allocate memory","lacks":"room"}`: ErrBusy,
	} {
		if _, err := (&running{}).results([]byte(says), nil, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v", says, err)
		}
	}
	s := trying("code", "0")
	s.Steps = [][]string{{"/not/there"}}
	if _, err := Run(t.Context(), s); err == nil || errors.Is(err, ErrBusy) || errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
}

// TestNothingLeft: however a run ends, no descriptor and no goroutine of it stays,
// and no process.
func TestNothingLeft(t *testing.T) {
	needs(t)
	open := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(all)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would close what is left
	files, routines := open(), runtime.NumGoroutine()
	run(t, trying("code", "0"))
	reaching := trying("get", "https://127.0.0.1:1")
	reaching.Hosts = []string{"127.0.0.1:1"}
	run(t, reaching)
	unmakable := trying("code", "0")
	unmakable.Hosts = reaching.Hosts
	unmakable.Mounts = []Mount{{From: "/not/there", To: "/x"}}
	if _, err := Run(t.Context(), unmakable); err == nil {
		t.Error("what is not there is seen")
	}
	ctx, cancel := context.WithCancel(t.Context())
	waiting := trying("wait", "/tmp/x")
	waiting.Hosts = reaching.Hosts
	go cancel()
	for range 2 { // in the midst of it, and before
		if _, err := Run(ctx, waiting); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
	until(t, "all is closed", func() []string {
		if open() <= files && runtime.NumGoroutine() <= routines && len(children(os.Getpid())) == 0 {
			return []string{"closed"}
		}
		return nil
	})
}

// TestParentDies: what runs within ends with whoever started it.
func TestParentDies(t *testing.T) {
	needs(t)
	s := trying("wait", "/made/x")
	cmd := exec.Command("/proc/self/exe", "try", "run")
	spec, err := json.Marshal(s)
	must(t, err)
	cmd.Stdin = bytes.NewReader(spec)
	must(t, cmd.Start())
	stages := until(t, "it runs", func() []string {
		var found []string
		for _, pid := range children(cmd.Process.Pid) {
			found = append(found, children(pid)...)
		}
		return found
	})
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	until(t, "it is gone", func() []string {
		for _, pid := range stages {
			if _, err := os.Stat("/proc/" + pid); err == nil {
				return nil
			}
		}
		return []string{"gone"}
	})
}

// children are the processes that a process started.
func children[P any](pid P) []string {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%v/task/*/children", pid))
	var all []string
	for _, t := range tasks {
		data, _ := os.ReadFile(t)
		all = append(all, strings.Fields(string(data))...)
	}
	return all
}

func until(t *testing.T, what string, f func() []string) []string {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-tick.C {
		if got := f(); len(got) > 0 {
			return got
		}
	}
	t.Fatalf("it never came to: %s", what)
	return nil
}
