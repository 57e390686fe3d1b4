// Command aplomb keeps what runs true to what Git declares.
//
// This package is flags and wiring: the only place that names concrete
// sources, drivers and files of the data folder. It must not hold a decision
// about what is applied; those are the reconciler's.
//
// Read in this order: main.go (run, exit codes), app.go (flags), data.go (an
// environment's data folder), source.go (what is followed), targets.go (which
// drivers), wire.go (all of it put together), session.go (a daemon that is
// asked, or the data folder opened here), then a file a command. The daemon is
// run.go, with home.go (its data folder), tcp.go (its listener), runfollow.go
// (its configuration, read again) and runtell.go (what it says).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/internal/detached"
	"github.com/aplomb-dev/aplomb/internal/sandbox"
	"github.com/aplomb-dev/aplomb/internal/terminal"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema/compile"
	"github.com/aplomb-dev/aplomb/schema/compile/edit"
	"github.com/aplomb-dev/aplomb/schema/policy"
	"github.com/aplomb-dev/aplomb/schema/worker"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] { // before anything else: these are other programs in the same file
		case detached.ShimCommand:
			os.Exit(detached.ShimMain(os.Args[2:]))
		case worker.Name:
			os.Exit(workerMain())
		case sandbox.Command:
			os.Exit(sandbox.Main(os.Args[2:]))
		}
	}
	os.Exit(realMain())
}

// services are what workers do.
var services = worker.Services{compile.Service: compile.NewHandler, policy.Service: policy.NewHandler, edit.Service: edit.NewHandler}

// workerMain is the process that evaluates what others wrote.
func workerMain() int {
	if err := worker.Serve(context.Background(), os.Stdin, os.Stdout, services); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "error:", err)
		return codeFailed
	}
	return codeGood
}

// realMain runs the command line; the first signal asks it to end, the second
// ends it at once.
func realMain() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	return exitCode(run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// Exit codes, as documented.
const (
	codeGood         = 0
	codeFailed       = 1
	codeChanges      = 2
	codeNotConverged = 3
	codeRefused      = 4
	codeUsage        = 64
)

// What a command may end with beside success and plain failure.
var (
	errFindings     = errors.New("the declarations have errors")
	errChanges      = errors.New("changes are pending")
	errNotConverged = errors.New("not everything is converged")
	errPolicy       = errors.New("a policy refuses it")
	errHeld         = errors.New("a person's approval is wanted")
	errSuspended    = errors.New("the environment is suspended")
	errUsage        = errors.New("the command line is wrong")
)

// exitCode is the one place that maps errors to exit codes.
func exitCode(err error) int {
	switch {
	case err == nil:
		return codeGood
	case errors.Is(err, errChanges):
		return codeChanges
	case errors.Is(err, errNotConverged):
		return codeNotConverged
	case errors.Is(err, errHeld), errors.Is(err, errPolicy), errors.Is(err, errSuspended), errors.Is(err, reconciler.ErrRefused):
		return codeRefused
	case errors.Is(err, errUsage):
		return codeUsage
	default:
		return codeFailed
	}
}

// told is an error that the screen has said already.
type told struct{ error }

func (t told) Unwrap() error { return t.error }

// hinted is an error with what to do about it.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// Hint says what to do about it; api.HintOf finds it.
func (h hinted) Hint() string { return h.hint }

func usage(hint, format string, args ...any) error {
	return hinted{fmt.Errorf("%w: %w", errUsage, fmt.Errorf(format, args...)), hint}
}

// run is the whole program: it writes what there is to say and answers the
// error that decides the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) error {
	a := &app{
		getenv: getenv, stdin: stdin, stdout: stdout, stderr: stderr,
		out: terminal.Detect(stdout, getenv), errs: terminal.Detect(stderr, getenv),
	}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = a.out.Err()
	}
	a.report(err)
	return err
}

// codes are the codes of errors that only the command line has; the API's are
// the others.
var codes = []struct {
	err  error
	code string
}{
	{errUsage, "usage"}, {errHeld, "held"}, {errPolicy, "policy"}, {errSuspended, "suspended"}, {errNoPath, "no-path"}, {errNoData, "no-data"}, {errNoStore, "no-store"}, {api.ErrNotRunning, "not-running"},
	{store.ErrLocked, "locked"}, {store.ErrForeign, "foreign"}, {store.ErrCorrupt, "corrupt"}, {store.ErrAltered, "audit-altered"},
}

// report writes an error, unless the screen has said it.
func (a *app) report(err error) {
	var t told
	switch {
	case err == nil || errors.As(err, &t) || errors.Is(err, context.Canceled):
	case a.format == formatJSON:
		e := api.Envelope(err)
		e.HintMsg = hintOf(err)
		for _, c := range codes {
			if errors.Is(err, c.err) {
				e.Code = c.code
			}
		}
		_ = json.NewEncoder(a.stderr).Encode(map[string]any{"error": e})
	default:
		a.errs.Error(err.Error(), hintOf(err))
	}
}

// hintOf is what an error says is to be done about it.
func hintOf(err error) string {
	var s *store.Error
	if hint := api.HintOf(err); hint != "" || !errors.As(err, &s) {
		return hint
	}
	return s.Hint
}
