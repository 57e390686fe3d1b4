package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/aplomb-dev/aplomb/internal/detached"
)

// endRuns kills all that a script left: first whatever runs in its environment,
// so that nobody starts anything again, then the processes of its runs and
// their shims. It waits until all are gone.
func endRuns(dir string) {
	dirs := []string{dir}
	if real, err := filepath.EvalSymlinks(dir); err == nil && real != dir {
		dirs = append(dirs, real)
	}
	_ = poll(patience, func() error {
		left := 0
		for _, p := range procs() {
			if p.pid != os.Getpid() && slices.ContainsFunc(dirs, p.of) {
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
				left++
			}
		}
		if left > 0 {
			return fmt.Errorf("%d processes are left", left)
		}
		return nil
	})
}

// proc is a process as /proc shows it.
type proc struct {
	pid  int
	run  string // folder of its run
	work string // the script's folder, of what a script started
	argv []string
}

// of says whether a process belongs to the script in dir.
func (p proc) of(dir string) bool {
	below := dir + "/" // another script's folder may begin with the same letters
	return p.work == dir || strings.HasPrefix(p.run, below) ||
		slices.Contains(p.argv, detached.ShimCommand) && strings.Contains(strings.Join(p.argv, " "), below)
}

func procs() []proc {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []proc
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		cmdline, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		p := proc{pid: pid, argv: strings.Split(string(cmdline), "\x00")}
		for v := range strings.SplitSeq(string(environ), "\x00") {
			if run, ok := strings.CutPrefix(v, detached.MarkVariable+"="); ok && len(cmdline) > 0 {
				p.run = run
			}
			if work, ok := strings.CutPrefix(v, "WORK="); ok && len(cmdline) > 0 {
				p.work = work
			}
		}
		all = append(all, p)
	}
	return all
}

// instances are the processes of a local.process of the script, by folder of
// their run.
func instances(ts *testscript.TestScript, name string) []proc {
	data := filepath.Join(ts.Getenv("APLOMB_DATA"), ts.Getenv("APLOMB_ENV")) // of a daemon's environment, where one is named
	if real, err := filepath.EvalSymlinks(data); err == nil {
		data = real
	}
	under := filepath.Join(data, processesDir, name) + "/"
	all := slices.DeleteFunc(procs(), func(p proc) bool {
		return !strings.HasPrefix(p.run, under) || slices.Contains(p.argv, detached.ShimCommand)
	})
	slices.SortFunc(all, func(a, b proc) int { return strings.Compare(a.run, b.run) })
	return all
}
