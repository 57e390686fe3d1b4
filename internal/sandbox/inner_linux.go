package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// inner runs the steps. It is the first process of its namespace, may do nothing
// that they may not, and ends when whoever called Run is gone.
func inner() int {
	s, err := handed(specFD)
	if err != nil {
		return unable(err, lacksRight)
	}
	for fd := specFD; fd < stepsFD+2*len(s.Steps); fd++ {
		unix.CloseOnExec(fd)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil { // nobody within looks into it
		return unable(failed("hide", "this process", err), lacksRight)
	}
	_ = os.NewFile(socketFD, "socket").Close() // it was used
	go func() {
		_, _ = io.Copy(io.Discard, os.NewFile(lifeFD, "life"))
		os.Exit(1) // and all within with it
	}()
	if err := s.write(); err != nil {
		return unable(err, "")
	}
	rep := report{Codes: []int{}}
	for i, argv := range s.Steps {
		code, err := s.step(i, argv)
		if err != nil {
			return unable(err, "")
		}
		if rep.Codes = append(rep.Codes, code); code != 0 {
			break
		}
	}
	tell(rep)
	return 0
}

// write writes the files that were handed over.
func (s *Spec) write() error {
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return failed("make", s.Dir, err)
	}
	for _, f := range s.Files {
		if err := os.MkdirAll(filepath.Dir(f.Path), 0o700); err != nil {
			return failed("make", filepath.Dir(f.Path), err)
		}
		mode := os.FileMode(0o600)
		if f.Exec {
			mode = 0o700
		}
		if err := os.WriteFile(f.Path, f.Data, mode); err != nil {
			return failed("write", f.Path, err)
		}
	}
	return nil
}

// step runs one program; -1 where a signal ended it.
func (s *Spec) step(i int, argv []string) (int, error) {
	out, errs := os.NewFile(uintptr(stepsFD+2*i), "out"), os.NewFile(uintptr(stepsFD+2*i+1), "errs")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = s.Env, s.Dir, out, errs
	if cmd.Env == nil {
		cmd.Env = []string{}
	}
	err := cmd.Run()
	_ = out.Close()
	_ = errs.Close()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, fmt.Errorf("run %s: %w", argv[0], err)
	}
	return cmd.ProcessState.ExitCode(), nil
}
