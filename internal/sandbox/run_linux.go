package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Descriptors that the stages inherit.
const (
	specFD   = 3 // what is run
	lifeFD   = 4 // closed when whoever started it is gone
	reportFD = 5 // how it ended
	socketFD = 6 // takes the socket of the proxy
	stepsFD  = 7 // two for each step: what it says
)

const maxReport = 64 << 10

// Run runs the steps of s one after another, and answers how those that began
// ended. An error means that the sandbox could not be made, which is ErrBusy or
// ErrUnavailable, that a file or a program of s could not be written or started,
// or that ctx ended; what the steps do is no error. All that they started is gone when it answers.
func Run(ctx context.Context, s Spec) ([]Result, error) {
	s.Limits = s.Limits.withDefaults()
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("start a sandbox: %w", err)
	}
	if s.User == nil && os.Geteuid() == 0 {
		return nil, fmt.Errorf("start a sandbox: %w", errors.New("root runs nothing in it without another user"))
	}
	if u := s.User; u != nil && (u.UID <= 0 || u.GID <= 0 || os.Geteuid() != 0) {
		return nil, fmt.Errorf("start a sandbox: %w", errors.New("only root can run something as another user, and that is not root"))
	}
	r := &running{spec: s}
	defer r.close()
	if err := r.prepare(); err != nil {
		return nil, unmade(err)
	}
	return r.run(ctx)
}

// passing is what the kernel says that is short of something for now.
var passing = []error{unix.ENOMEM, unix.EAGAIN, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.EINTR}

// short says whether an error passes by itself.
func short(err error) bool {
	return slices.ContainsFunc(passing, func(e error) bool { return errors.Is(err, e) })
}

// unmade is the error of a sandbox that could not be made.
func unmade(err error) error {
	class := ErrUnavailable
	if short(err) {
		class = ErrBusy
	}
	return fmt.Errorf("start a sandbox: %w: %w", class, err)
}

// Probe says whether a sandbox can be made for a user: by making one.
func Probe(ctx context.Context, u *User) error {
	_, err := Run(ctx, Spec{User: u, Writable: []string{"/tmp"}, Dir: "/tmp", Steps: [][]string{{selfPath, Command, stageNothing}}})
	return err
}

// running is a run, from this side.
type running struct {
	spec    Spec
	cmd     *exec.Cmd
	theirs  []*os.File // ends that the stages have
	ours    []*os.File
	report  *os.File
	socket  *os.File // nil: there is no network
	streams []*stream
}

// stream is what a step says on one stream.
type stream struct {
	from *os.File
	data []byte
	full bool
}

func (r *running) close() {
	for _, f := range append(r.theirs, r.ours...) {
		_ = f.Close()
	}
}

// pipe makes a pipe of which the stages have one end.
func (r *running) pipe(theyRead bool) (*os.File, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	if theyRead {
		read, write = write, read
	}
	r.theirs, r.ours = append(r.theirs, write), append(r.ours, read)
	return read, nil
}

func (r *running) prepare() error {
	text, err := json.Marshal(&r.spec)
	if err != nil {
		return err
	}
	fd, err := unix.MemfdCreate("sandbox", unix.MFD_CLOEXEC) // it may hold what is secret: it touches no disk
	if err != nil {
		return err
	}
	memory := os.NewFile(uintptr(fd), "sandbox")
	r.theirs = append(r.theirs, memory)
	if _, err := memory.Write(text); err != nil {
		return err
	}
	if _, err := r.pipe(true); err != nil { // the life of this process
		return err
	}
	if r.report, err = r.pipe(false); err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	r.socket = os.NewFile(uintptr(pair[0]), "socket")
	r.ours, r.theirs = append(r.ours, r.socket), append(r.theirs, os.NewFile(uintptr(pair[1]), "socket"))
	for range 2 * len(r.spec.Steps) {
		from, err := r.pipe(false)
		if err != nil {
			return err
		}
		r.streams = append(r.streams, &stream{from: from})
	}
	return nil
}

func (r *running) run(ctx context.Context) ([]Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.cmd = exec.CommandContext(ctx, "/proc/self/exe", Command, stageOuter)
	r.cmd.Env, r.cmd.Dir, r.cmd.ExtraFiles = []string{"GOTRACEBACK=none"}, "/", r.theirs
	r.cmd.SysProcAttr = isolation(r.spec.User)
	r.cmd.WaitDelay = 5 * time.Second
	if err := r.cmd.Start(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("start a sandbox: %w", ctx.Err())
		}
		return nil, unmade(err)
	}
	for _, f := range r.theirs {
		_ = f.Close()
	}
	r.theirs = nil
	var helpers sync.WaitGroup
	for _, s := range r.streams {
		helpers.Go(func() { s.read(r.spec.Limits.Output, cancel) })
	}
	if len(r.spec.Hosts) > 0 {
		helpers.Go(func() { r.network(ctx) })
	}
	said, _ := io.ReadAll(io.LimitReader(r.report, maxReport)) // what is missing shows
	waited := r.cmd.Wait()
	outer := ctx.Err() // a step that says too much ends it, too
	cancel()
	helpers.Wait()
	return r.results(said, waited, outer)
}

// results reads what was reported.
func (r *running) results(said []byte, waited, ended error) ([]Result, error) {
	var rep report
	full := false
	for _, s := range r.streams {
		full = full || s.full
	}
	err := json.Unmarshal(said, &rep)
	switch {
	case rep.Error != "":
		return nil, rep.err()
	case err != nil && !full && ended != nil:
		return nil, fmt.Errorf("run in a sandbox: %w", ended)
	case err != nil && !full:
		return nil, fmt.Errorf("run in a sandbox: it ended by itself: %w", errors.Join(waited, errors.New("without a word")))
	}
	var all []Result
	for i := range r.spec.Steps {
		out, errs := r.streams[2*i], r.streams[2*i+1]
		res := Result{Out: out.data, Errs: errs.data, Full: out.full || errs.full, Code: -1}
		if i < len(rep.Codes) {
			res.Code = rep.Codes[i]
		} else if !res.Full {
			break
		}
		all = append(all, res)
	}
	return all, nil
}

// read keeps what fits, and ends the run when there is more.
func (s *stream) read(most int64, end func()) {
	data, _ := io.ReadAll(io.LimitReader(s.from, most+1)) // what was said before it broke
	if int64(len(data)) > most {
		s.full, data = true, data[:most]
		end()
	}
	s.data = data
}

// network takes the socket that listens within, and serves the proxy on it.
func (r *running) network(ctx context.Context) {
	l, err := r.listener()
	if err != nil {
		return // its end is told by the report
	}
	(&proxy{hosts: r.spec.Hosts}).serve(ctx, l)
}

func (r *running) listener() (net.Listener, error) {
	buf, oob := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	raw, err := r.socket.SyscallConn()
	if err != nil {
		return nil, err
	}
	var n int
	var recv error
	receive := func(fd uintptr) {
		for again := true; again; again = errors.Is(recv, unix.EINTR) {
			_, n, _, _, recv = unix.Recvmsg(int(fd), buf, oob, unix.MSG_CMSG_CLOEXEC)
		}
	}
	if err := raw.Control(receive); err != nil || recv != nil {
		return nil, errors.Join(err, recv)
	}
	all, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(all) != 1 {
		return nil, errors.Join(err, errors.New("no socket came"))
	}
	fds, err := unix.ParseUnixRights(&all[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.Join(err, errors.New("no socket came"))
	}
	f := os.NewFile(uintptr(fds[0]), "listener")
	defer func() { _ = f.Close() }()
	return net.FileListener(f)
}

// isolation is the namespaces. This process's user is root within the user
// namespace while it is being built; the other user is itself.
func isolation(u *User) *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Setpgid:    true,
	}
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	if u != nil {
		a.UidMappings = append(a.UidMappings, syscall.SysProcIDMap{ContainerID: u.UID, HostID: u.UID, Size: 1})
		a.GidMappings = append(a.GidMappings, syscall.SysProcIDMap{ContainerID: u.GID, HostID: u.GID, Size: 1})
		a.GidMappingsEnableSetgroups = true
	}
	return a
}
