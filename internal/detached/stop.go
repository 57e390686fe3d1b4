package detached

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	pollMin  = 2 * time.Millisecond
	pollMax  = 50 * time.Millisecond
	overtime = 5 * time.Second // beyond the grace, for a shim that does not answer
)

// Stop ends the run: its signal, then KILL after the grace, to the command and
// all that it left behind. It answers once nothing is alive; the Status is
// then Exited, or Prepared where it never began. It may be repeated, also by
// another process, also with another signal or a shorter grace. When ctx ends
// first the shim goes on stopping.
func (r *Run) Stop(ctx context.Context, how Stop) (Status, error) {
	if _, err := how.signal(); err != nil {
		return Status{}, fmt.Errorf("stop run: %w", err)
	}
	st, err := r.stop(ctx, how)
	if err != nil {
		return st, fmt.Errorf("stop run in %s: %w", r.dir, err)
	}
	return st, nil
}

func (r *Run) stop(ctx context.Context, how Stop) (Status, error) {
	st, err := r.Status()
	if err != nil || st.State == Exited || st.State == Prepared {
		return st, err
	}
	if err := writeJSON(r.path(stopFile), how); err != nil {
		return st, err
	}
	started, told := time.Now(), time.Time{}
	pause := newPoll()
	for {
		st, err := r.Status()
		switch {
		case err != nil || st.State == Exited || st.State == Prepared:
			return st, err
		case st.State != Running:
			if err := r.sweep(ctx, how); err != nil && !errors.Is(err, ErrBusy) {
				return st, err
			}
			continue
		}
		if time.Since(told) > 10*pollMax { // it reads the file when it is told, and may not have listened yet
			told = time.Now()
			if err := r.tell(started, how.Grace); err != nil {
				return st, err
			}
		}
		if err := pause.wait(ctx); err != nil {
			return st, err
		}
	}
}

// tell signals the shim to read how it shall stop; one that is deaf for too
// long is killed, and what it had is swept.
func (r *Run) tell(since time.Time, grace time.Duration) error {
	r.mu.Lock()
	shim := r.rec.Shim
	r.mu.Unlock()
	if time.Since(since) > grace+overtime {
		return shim.signal(syscall.SIGKILL)
	}
	return shim.signal(syscall.SIGTERM)
}

// sweep ends what a dead shim has left, and writes the exit in its place.
func (r *Run) sweep(ctx context.Context, how Stop) error {
	return r.guarded(func(st Status) error {
		if st.State != Orphaned && st.State != Lost {
			return nil
		}
		sig, err := how.signal()
		if err != nil {
			return err
		}
		if err := r.end(ctx, st, sig, how.Grace); err != nil {
			return err
		}
		return writeJSON(r.path(exitFile), Exit{Code: -1, Lost: true, Asked: true, At: time.Now()})
	})
}

// end signals all that is left of a run, waits for the grace, and kills.
func (r *Run) end(ctx context.Context, st Status, sig syscall.Signal, grace time.Duration) error {
	return endAll(ctx, sig, grace, func() ([]Proc, error) {
		found, err := Find(r.dir)
		left := make([]Proc, 0, len(found)+1)
		if st.Child.alive() && st.State == Orphaned {
			left = append(left, st.Child) // whatever became of its environment
		}
		for _, m := range found {
			if m.Proc != st.Child {
				left = append(left, m.Proc)
			}
		}
		return left, err
	})
}

// endAll signals what left answers, waits for the grace, and kills until
// nothing is left.
func endAll(ctx context.Context, sig syscall.Signal, grace time.Duration, left func() ([]Proc, error)) error {
	kill, told := time.Now().Add(grace), false
	pause := newPoll()
	for {
		procs, err := left()
		if err != nil || len(procs) == 0 {
			return err
		}
		if !time.Now().Before(kill) {
			sig, told = syscall.SIGKILL, false
		}
		for _, p := range procs {
			if told {
				break
			}
			if err := p.signal(sig); err != nil {
				return err
			}
		}
		told = true
		if err := pause.wait(ctx); err != nil {
			return err
		}
	}
}

// End ends processes that Find found, where the folder of their run is gone.
func End(ctx context.Context, procs []Marked, how Stop) error {
	sig, err := how.signal()
	if err != nil {
		return fmt.Errorf("end processes: %w", err)
	}
	return endAll(ctx, sig, how.Grace, func() ([]Proc, error) {
		var left []Proc
		for _, p := range procs {
			if p.alive() {
				left = append(left, p.Proc)
			}
		}
		return left, nil
	})
}

// Signal sends a signal to the command, and to it alone. A run that does not
// live is no error.
func (r *Run) Signal(sig syscall.Signal) error {
	st, err := r.Status()
	if err != nil || st.State != Running && st.State != Orphaned {
		return err
	}
	return st.Child.signal(sig)
}

// Wait answers when the run is no longer Running, or when ctx ends. It sleeps
// on the shim's pidfd and costs nothing meanwhile.
func (r *Run) Wait(ctx context.Context) (Status, error) {
	pause := newPoll()
	for {
		st, err := r.Status()
		if err != nil || st.State != Running {
			return st, err
		}
		r.mu.Lock()
		shim := r.rec.Shim
		r.mu.Unlock()
		if fd, err := shim.open(); err == nil {
			if err := sleepOn(ctx, fd); err != nil {
				return st, err
			}
		}
		if err := pause.wait(ctx); err != nil { // it is just starting, or just gone
			return st, err
		}
	}
}

// sleepOn waits, in the runtime's poller, until the process of a pidfd is
// gone. It closes fd.
func sleepOn(ctx context.Context, fd int) error {
	f := os.NewFile(uintptr(fd), "pidfd")
	defer func() { _ = f.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	err = conn.Read(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, 0)
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// poll paces a loop that has nothing to sleep on.
type poll struct{ next time.Duration }

func newPoll() *poll { return &poll{next: pollMin} }

func (p *poll) wait(ctx context.Context) error {
	t := time.NewTimer(p.next)
	defer t.Stop()
	p.next = min(2*p.next, pollMax)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
