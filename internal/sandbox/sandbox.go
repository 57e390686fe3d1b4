package sandbox

import (
	"errors"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"
	"time"
)

// Command is the hidden first argument of the binary that means Main.
const Command = "sandbox-stage"

// What Run fails with where no sandbox could be made.
var (
	ErrUnavailable = errors.New("this machine gives no sandbox")            // nor will it until it is set up otherwise
	ErrBusy        = errors.New("this machine gives no sandbox at present") // it is short of something, such as memory: ask again
)

// User is who programs run as: an account of this machine that owns nothing.
type User struct{ UID, GID int }

// Mount is a file or a folder of this machine as it is seen within, read-only.
type Mount struct {
	From string `json:"from"` // absolute; links are followed
	To   string `json:"to"`   // absolute and clean, within
}

// File is a file that is written before anything runs.
type File struct {
	Path string `json:"path"` // absolute and clean, in a folder that can be written
	Data []byte `json:"data"`
	Exec bool   `json:"exec,omitempty"` // it only looks so: nothing that was written can be run
}

// Limits bound what a run may cost. A zero field means its default.
type Limits struct {
	Memory    int64         // bytes of data of each process; 4 GiB
	Files     int64         // bytes of each folder that can be written, held in memory; 256 MiB
	Processes int           // and threads, of the user; 1024
	CPU       time.Duration // of each process; 10 minutes
	Output    int64         // bytes that each step may say on either stream; 16 MiB
}

// Default limits.
const (
	defaultMemory    = 4 << 30
	defaultFiles     = 256 << 20
	defaultProcesses = 1024
	defaultCPU       = 10 * time.Minute
	defaultOutput    = 16 << 20
)

// Spec is what is run, and what it sees.
type Spec struct {
	User     *User    // nil: this process's own, which must not be root
	Mounts   []Mount  // what of this machine is seen; no folder above another
	Writable []string // folders, absolute and clean, that are made anew, can be written, and hold no program; one below another is part of it
	Files    []File
	Dir      string     // where each step begins, absolute; it is made
	Env      []string   // NAME=value; nothing else is inherited
	Steps    [][]string // programs by their path within, with arguments; a step that fails is the last
	Hosts    []string   // host:port, or *.domain:port: what can be reached through ProxyURL; none: no network at all
	Limits   Limits
}

// ProxyURL is where steps find the proxy, which takes CONNECT alone.
const ProxyURL = "http://127.0.0.1:3128"

// Result is how a step ended.
type Result struct {
	Out, Errs []byte // at most Limits.Output of each
	Full      bool   // it said more than that, and was cut off
	Code      int    // -1 where a signal ended it
}

// What the stages hand back.
type report struct {
	Error string `json:"error,omitempty"` // what could not be done
	Lacks lack   `json:"lacks,omitempty"` // of the machine, where that is why
	Codes []int  `json:"codes"`
}

// lack is why no sandbox could be made: ErrUnavailable or ErrBusy, as the stages
// tell it.
type lack string

const (
	lacksRight lack = "right"
	lacksRoom  lack = "room"
)

// err is what was reported as an error.
func (r *report) err() error {
	switch r.Lacks {
	case lacksRight:
		return fmt.Errorf("start a sandbox: %w: %s", ErrUnavailable, r.Error)
	case lacksRoom:
		return fmt.Errorf("start a sandbox: %w: %s", ErrBusy, r.Error)
	}
	return fmt.Errorf("run in a sandbox: %s", r.Error)
}

func (l Limits) withDefaults() Limits {
	pick := func(v *int64, def int64) {
		if *v <= 0 {
			*v = def
		}
	}
	pick(&l.Memory, defaultMemory)
	pick(&l.Files, defaultFiles)
	pick(&l.Output, defaultOutput)
	if l.Processes <= 0 {
		l.Processes = defaultProcesses
	}
	if l.CPU <= 0 {
		l.CPU = defaultCPU
	}
	return l
}

// check finds what must not be asked for.
func (s *Spec) check() error {
	if len(s.Steps) == 0 || len(s.Steps) > maxSteps {
		return fmt.Errorf("%d steps, of at most %d", len(s.Steps), maxSteps)
	}
	for _, argv := range s.Steps {
		if len(argv) == 0 || !path.IsAbs(argv[0]) {
			return fmt.Errorf("the step %q names no program by its path", argv)
		}
	}
	for _, p := range s.Writable {
		if !clean(p) {
			return fmt.Errorf("the folder %q cannot be made", p)
		}
	}
	for _, m := range s.Mounts {
		if !path.IsAbs(m.From) || !clean(m.To) {
			return fmt.Errorf("%q cannot be seen as %q", m.From, m.To)
		}
	}
	for _, f := range s.Files {
		if !clean(f.Path) || !s.writable(f.Path) {
			return fmt.Errorf("the file %q lies in no folder that can be written", f.Path)
		}
	}
	if !clean(s.Dir) || !s.writable(s.Dir) {
		return fmt.Errorf("the working folder %q cannot be written", s.Dir)
	}
	for _, h := range s.Hosts {
		if err := CheckHost(h); err != nil {
			return err
		}
	}
	return nil
}

const maxSteps = 8

// clean says whether a path names something within by the only name it has.
func clean(p string) bool {
	return path.IsAbs(p) && p == path.Clean(p) && p != "/" && !strings.ContainsRune(p, 0)
}

func (s *Spec) writable(p string) bool {
	return slices.ContainsFunc(s.Writable, func(w string) bool { return p == w || strings.HasPrefix(p, w+"/") })
}

// CheckHost says what is wrong with an entry of Spec.Hosts.
func CheckHost(entry string) error {
	host, port, err := net.SplitHostPort(entry)
	name := strings.TrimPrefix(host, "*.")
	switch {
	case err != nil || name == "" || strings.ContainsAny(name, "*/@ ") || strings.HasPrefix(host, "*.") && net.ParseIP(name) != nil:
		return fmt.Errorf("%q is no host:port", entry)
	case !decimal(port):
		return fmt.Errorf("%q has no port", entry)
	}
	return nil
}

func decimal(port string) bool {
	n := 0
	for _, c := range port {
		if c < '0' || c > '9' || n > 65535 {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return port != "" && n > 0 && n <= 65535
}
