package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// What Main is told to be.
const (
	stageOuter   = "outer"
	stageInner   = "inner"
	stageNothing = "nothing" // a step that does nothing
)

// selfPath is where this binary lies within: where no folder that is to be written
// is likely to.
const selfPath = "/.sandbox"

// Main is the stages of a sandbox: what the binary does when its first argument
// is Command. args are those after it. It answers the exit code.
func Main(args []string) int {
	if len(args) != 1 {
		return 64
	}
	switch args[0] {
	case stageOuter:
		return outer()
	case stageInner:
		return inner()
	case stageNothing:
		return 0
	}
	return 64
}

// handed reads what is to be run, and leaves the descriptor as it is for the next
// stage. It makes no os.File of it: one that nobody holds any more is closed by
// the garbage collector, in the midst of what follows.
func handed(fd int) (*Spec, error) {
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		return nil, failed("read", "what is to be run", err)
	}
	var s Spec
	return &s, json.NewDecoder(io.NewSectionReader(descriptor(fd), 0, info.Size)).Decode(&s)
}

// descriptor is an open file that belongs to nobody.
type descriptor int

func (d descriptor) ReadAt(p []byte, off int64) (int, error) {
	n, err := unix.Pread(int(d), p, off)
	switch {
	case err != nil:
		return 0, err
	case n < len(p):
		return n, io.EOF
	}
	return n, nil
}

// tell reports; nothing is left to do where that fails.
func tell(r report) {
	_ = json.NewEncoder(os.NewFile(reportFD, "report")).Encode(r)
}

// outer builds the sandbox from within its namespaces, and becomes the second
// stage. It runs on one thread, whose rights the second stage has.
func outer() int {
	runtime.LockOSThread()
	s, err := handed(specFD)
	if err == nil {
		err = s.build()
	}
	if err == nil {
		err = s.drop()
	}
	if err == nil {
		err = failed("start", selfPath, syscall.Exec(selfPath, []string{selfPath, Command, stageInner}, []string{"GOTRACEBACK=none"}))
	}
	return unable(err, lacksRight)
}

// unable reports why a stage ends before its time, and answers the exit code.
// lacks is empty where it is not for want of a sandbox.
func unable(err error, lacks lack) int {
	if lacks != "" && short(err) {
		lacks = lacksRoom
	}
	tell(report{Error: err.Error(), Lacks: lacks})
	return 1
}

// failed is an error with what was done, and to what.
func failed(what, on string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", what, on, err)
}

// build makes the root, the network and the limits.
func (s *Spec) build() error {
	unix.Umask(0o022)                                               // whatever it was out there: another user shall get through the folders of the root
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0) // where memory is short, what strangers run ends first
	if err := s.tree(); err != nil {
		return err
	}
	if err := s.listen(); err != nil {
		return err
	}
	_ = unix.Sethostname([]byte("sandbox")) // the machine's name is no secret, and some services forbid it
	return s.limit()
}

// listen makes the socket of the proxy, which whoever called Run answers on.
func (s *Spec) listen() error {
	if len(s.Hosts) == 0 {
		return nil
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return failed("make", "a socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return failed("find", "lo", err)
	}
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return failed("start", "lo", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: 3128, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return failed("listen on", ProxyURL, err)
	}
	if err := unix.Listen(fd, 64); err != nil {
		return failed("listen on", ProxyURL, err)
	}
	return failed("hand over", "a socket", unix.Sendmsg(socketFD, []byte{1}, unix.UnixRights(fd), nil, 0))
}

// limit sets the limits that hold for each process.
func (s *Spec) limit() error {
	cpu := uint64(s.Limits.CPU.Seconds())
	var all error
	for what, most := range map[int]uint64{
		unix.RLIMIT_DATA: uint64(s.Limits.Memory), unix.RLIMIT_FSIZE: uint64(s.Limits.Files), unix.RLIMIT_NPROC: uint64(s.Limits.Processes),
		unix.RLIMIT_CPU: max(cpu, 1), unix.RLIMIT_NOFILE: 1024, unix.RLIMIT_CORE: 0, unix.RLIMIT_MSGQUEUE: 0, unix.RLIMIT_MEMLOCK: 0,
	} {
		all = errors.Join(all, failed("limit", fmt.Sprint(what), unix.Setrlimit(what, &unix.Rlimit{Cur: most, Max: most})))
	}
	return all
}
