package detached

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aplomb-dev/aplomb/schema"
)

// Bounds of a Spec.
const (
	MaxArgv    = 96 << 10  // bytes of all arguments together
	MaxEnviron = 256 << 10 // bytes of all names and values together, secrets included
	maxFile    = 1 << 20   // bytes of any file of a run that is read whole
)

// MarkVariable is the variable of the command's environment that names the
// folder of its run. What the command forks inherits it, so that Find sees
// even what left the session.
const MarkVariable = "APLOMB_RUN"

// Spec is what a run runs. All of it but Secrets is written to the folder.
type Spec struct {
	Argv    []string                 `json:"argv"`          // Argv[0] without a slash is looked up in the PATH of Env
	Env     []string                 `json:"env,omitempty"` // the whole environment as KEY=VALUE, without what is secret
	Secrets map[string]schema.Secret `json:"-"`             // more of the environment, through a pipe and never on disk
	Dir     string                   `json:"dir"`           // absolute; must exist
	Log     Log                      `json:"log"`
	Stop    Stop                     `json:"stop"`           // where nobody says otherwise: how a shim that is told to end stops the command
	Meta    json.RawMessage          `json:"meta,omitempty"` // the caller's own, given back by Run.Spec; holds no secret
}

// Log says where the command's output goes.
type Log struct {
	File    string `json:"file,omitempty"`    // absolute; "" is output.log in the folder of the run. Appended to
	Errors  string `json:"errors,omitempty"`  // absolute; a file of its own for standard error. "" is the same as File
	MaxSize int    `json:"maxSize,omitempty"` // MiB at which a file is rotated; 0 never: the command then writes to the file itself
	Keep    int    `json:"keep,omitempty"`    // rotated files kept; less than 1 means 1
}

// Stop says how a command is asked to end.
type Stop struct {
	Signal string        `json:"signal,omitempty"` // "TERM"; "" means TERM
	Grace  time.Duration `json:"grace,omitempty"`  // from the signal to KILL, nanoseconds
}

// signal is the number of the signal's name.
func (s Stop) signal() (syscall.Signal, error) {
	if s.Signal == "" {
		return syscall.SIGTERM, nil
	}
	n := unix.SignalNum("SIG" + s.Signal)
	if n == 0 {
		return 0, fmt.Errorf("%q is not a signal", s.Signal)
	}
	return n, nil
}

// Check says what is wrong with a spec; Start refuses it for the same reasons.
func (s *Spec) Check() error {
	if len(s.Argv) == 0 || s.Argv[0] == "" {
		return errors.New("nothing to run: argv is empty")
	}
	if err := bounded(s.Argv, MaxArgv, "argv"); err != nil {
		return err
	}
	environ := append([]string(nil), s.Env...)
	for k, v := range s.Secrets {
		if k == "" || strings.ContainsAny(k, "=\x00") {
			return fmt.Errorf("%q cannot be a variable's name", k)
		}
		environ = append(environ, k+"="+v.Reveal())
	}
	if err := bounded(environ, MaxEnviron, "the environment"); err != nil {
		return err
	}
	if !filepath.IsAbs(s.Dir) {
		return fmt.Errorf("the working folder %q is not absolute", s.Dir)
	}
	_, err := s.Stop.signal()
	return err
}

func bounded(list []string, most int, what string) error {
	sum := 0
	for _, s := range list {
		sum += len(s) + 1
		if strings.IndexByte(s, 0) >= 0 {
			return fmt.Errorf("%s holds a NUL byte", what)
		}
	}
	if sum > most {
		return fmt.Errorf("%s has %d bytes (at most %d)", what, sum, most)
	}
	return nil
}
