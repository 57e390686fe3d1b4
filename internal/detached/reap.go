package detached

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// leftoverGrace is how long what the command left behind may take to end
// after it was signalled, where the command's own grace is not shorter.
const leftoverGrace = time.Second

// killAgain is how often what still lives after the grace is killed again.
const killAgain = 50 * time.Millisecond

// reaped is one child that is gone: the command, or what was left to this
// process as the subreaper.
type reaped struct {
	pid int
	how syscall.WaitStatus
	at  time.Time
}

// reap collects every child. The channel is closed when none is left, which
// means that nothing that the command ever started is alive.
func reap() <-chan reaped {
	ends := make(chan reaped)
	go func() {
		defer close(ends)
		for {
			var how syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &how, 0, nil)
			switch {
			case errors.Is(err, syscall.EINTR):
			case err != nil: // ECHILD
				return
			default:
				ends <- reaped{pid: pid, how: how, at: time.Now()}
			}
		}
	}()
	return ends
}

// stopping is a stop in progress.
type stopping struct {
	asked bool
	how   Stop
	kill  <-chan time.Time // the end of the grace
}

// watch forwards signals, stops when told, and answers how the command ended
// once everything that it started is gone.
func (s *shim) watch() Exit {
	var exit Exit
	var stop stopping
	main, ends := s.rec.Child, reap()
	again := time.NewTicker(killAgain)
	again.Stop()
	defer again.Stop()
	for {
		select {
		case end, open := <-ends:
			if !open {
				exit.Asked = stop.asked
				return exit
			}
			if end.pid == main.PID {
				exit = exitOf(end)
				s.leave(&stop)
			}
		case sig := <-s.signals:
			s.heed(sig.(syscall.Signal), &stop)
		case <-stop.kill:
			stop.kill = nil
			again.Reset(killAgain)
			s.killAll()
		case <-again.C: // what forked meanwhile
			s.killAll()
		}
	}
}

// heed does what a signal asks for: TERM means to stop as told, anything else
// is the command's.
func (s *shim) heed(sig syscall.Signal, stop *stopping) {
	if sig != syscall.SIGTERM {
		_ = s.rec.Child.signal(sig)
		return
	}
	how, _ := s.told()
	if stop.asked && how == stop.how {
		return
	}
	stop.asked, stop.how = true, how
	n, err := how.signal()
	if err != nil {
		n = syscall.SIGTERM
	}
	s.signalGroup(n)
	stop.kill = time.After(how.Grace)
}

// leave ends what outlives the command: it was in the foreground or it is
// over.
func (s *shim) leave(stop *stopping) {
	for _, p := range descendants(os.Getpid()) {
		_ = p.signal(syscall.SIGTERM)
	}
	grace := s.spec.Stop.Grace
	if stop.asked {
		grace = stop.how.Grace
	}
	stop.kill = time.After(min(grace, leftoverGrace))
}

// signalGroup signals the command's process group. The command is this
// process's child and was not reaped, or its group has members: its number
// means nothing else.
func (s *shim) signalGroup(sig syscall.Signal) {
	if s.rec.Child.alive() {
		_ = syscall.Kill(-s.rec.Child.PID, sig)
	}
}

func (s *shim) killAll() {
	for _, p := range descendants(os.Getpid()) {
		_ = p.signal(syscall.SIGKILL)
	}
}

func exitOf(end reaped) Exit {
	e := Exit{Code: -1, At: end.at}
	if end.how.Signaled() {
		e.Signal = strings.TrimPrefix(unix.SignalName(end.how.Signal()), "SIG")
		return e
	}
	e.Code = end.how.ExitStatus()
	return e
}

// lookPath finds the program as the command's own environment would.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, v := range env {
		if list, ok := strings.CutPrefix(v, "PATH="); ok {
			for _, dir := range filepath.SplitList(list) {
				if !filepath.IsAbs(dir) {
					continue
				}
				if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
					return path, nil
				}
			}
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}
