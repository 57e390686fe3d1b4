package detached

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Descriptors that the shim inherits.
const (
	lockFD = 3
	wordFD = 4
)

// ShimMain is the whole of the shim: what the binary does when its first
// argument is ShimCommand. args are those after it: the folder. It answers the
// exit code.
func ShimMain(args []string) int {
	syscall.CloseOnExec(lockFD)
	syscall.CloseOnExec(wordFD)
	if len(args) != 1 {
		return 64
	}
	word := os.NewFile(wordFD, "word")
	s, err := newShim(args[0])
	if err == nil {
		err = s.begin()
	}
	if err != nil {
		_, _ = fmt.Fprint(word, err)
		return 1
	}
	_, _ = io.WriteString(word, wordStarted)
	_ = word.Close()
	defer runtime.KeepAlive(s) // the lock with it: a file that nobody holds any more is closed
	if err := s.attend(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, time.Now().UTC().Format(time.RFC3339), err)
		return 1
	}
	return 0
}

// shim is the state of the one run that this process is for.
type shim struct {
	dir     string
	lock    *os.File // held until this process is gone
	spec    Spec
	environ []string
	out     *output
	signals chan os.Signal
	rec     record
	fault   error // why the command could not be started
}

// newShim reads everything that the starter left and handed over.
func newShim(dir string) (*shim, error) {
	s := &shim{dir: dir, lock: os.NewFile(lockFD, "lock"), signals: make(chan os.Signal, 16)}
	if s.lock == nil {
		return nil, errors.New("no lock was handed over")
	}
	if err := hold(s.lock); err != nil {
		return nil, fmt.Errorf("keep the lock: %w", err)
	}
	var h handover
	data, err := io.ReadAll(io.LimitReader(os.Stdin, 2*MaxEnviron+maxFile))
	if err == nil {
		err = json.Unmarshal(data, &h)
	}
	if err != nil {
		return nil, errors.New("the starter died while handing over")
	}
	if err := nullStdin(); err != nil {
		return nil, err
	}
	if err := readJSON(filepath.Join(dir, specFile), &s.spec); err != nil {
		return nil, err
	}
	s.environ = append([]string{MarkVariable + "=" + dir}, s.spec.Env...)
	for k, v := range h.Secrets {
		s.environ = append(s.environ, k+"="+string(v))
	}
	return s, nil
}

func nullStdin() error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }()
	return unix.Dup3(int(null.Fd()), 0, 0)
}

// begin starts the command. An error means that it was not tried; from then on
// the exit file tells.
func (s *shim) begin() error {
	signal.Notify(s.signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	signal.Ignore(syscall.SIGPIPE, syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	self, err := procOf(os.Getpid())
	if err != nil {
		return err
	}
	if s.out, err = openOutput(s.dir, s.spec.Log); err != nil {
		return err
	}
	s.rec = record{Boot: bootID(), Shim: self, Begun: time.Now()}
	if err := s.writeRecord(); err != nil {
		return err
	}
	if _, stopped := s.told(); stopped {
		s.fault = errors.New("stopped before it started")
		return nil
	}
	s.fault = s.start()
	return nil
}

func (s *shim) writeRecord() error { return writeJSON(filepath.Join(s.dir, recordFile), s.rec) }

// told reads how the run shall be stopped, where somebody said so.
func (s *shim) told() (Stop, bool) {
	var how Stop
	err := readJSON(filepath.Join(s.dir, stopFile), &how)
	if errors.Is(err, fs.ErrNotExist) || err != nil {
		return s.spec.Stop, false
	}
	return how, true
}

// start forks the command in a process group of its own.
func (s *shim) start() error {
	path, err := lookPath(s.spec.Argv[0], s.spec.Env)
	if err != nil {
		return err
	}
	stdout, stderr := s.out.files()
	for _, f := range []*os.File{stdout, stderr} { // the command expects to wait for room in a pipe
		if err := syscall.SetNonblock(int(f.Fd()), false); err != nil {
			return err
		}
	}
	pid, err := syscall.ForkExec(path, s.spec.Argv, &syscall.ProcAttr{
		Dir:   s.spec.Dir,
		Env:   s.environ,
		Files: []uintptr{0, stdout.Fd(), stderr.Fd()},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	s.out.begun()
	s.environ = nil
	if err != nil {
		return fmt.Errorf("start %s: %w", s.spec.Argv[0], err)
	}
	s.rec.Child, err = procOf(pid)
	s.rec.Child.PID = pid
	return errors.Join(err, s.writeRecord())
}

// attend sees the command through to its end and writes the exit.
func (s *shim) attend() error {
	exit := Exit{Code: -1, At: time.Now()}
	if s.fault != nil && s.rec.Child.PID == 0 {
		exit.Error = s.fault.Error()
	} else {
		exit = s.watch()
	}
	s.out.close()
	if err := writeJSON(filepath.Join(s.dir, exitFile), exit); err != nil {
		return fmt.Errorf("write exit: %w", err)
	}
	return nil
}
