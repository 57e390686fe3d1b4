package compile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// WorkerName is the hidden command of the binary whose body is ServeWorker.
const WorkerName = "compile-worker"

// WorkerCommand runs executable as a worker, with an empty environment: a
// worker needs nothing of the daemon's. "" is the running program, on Linux
// also after its file was replaced.
func WorkerCommand(executable string) *exec.Cmd {
	if executable == "" {
		executable = running()
	}
	cmd := exec.Command(executable, WorkerName)
	cmd.Env = []string{}
	return cmd
}

func running() string {
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); err == nil {
		return self
	}
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

// ServeWorker is the body of a worker process: it checks the files that a
// parent sends on in and answers on out. It returns when in ends, even in the
// middle of a check, so that a worker never outlives its parent: the caller
// must exit then.
func ServeWorker(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	requests := make(chan request)
	read, worked := make(chan error, 1), make(chan error, 1)
	go func() { read <- readRequests(ctx, in, requests) }()
	go func() { worked <- work(ctx, requests, out) }()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-read:
		return err
	case err := <-worked:
		return err
	}
}

func readRequests(ctx context.Context, in io.Reader, requests chan<- request) error {
	for {
		frame, err := readFrame(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		var req request
		if err := json.Unmarshal(frame, &req); err != nil {
			return fmt.Errorf("read a request: %w", err)
		}
		select {
		case requests <- req:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func work(ctx context.Context, requests <-chan request, out io.Writer) error {
	c, err := newChecker(Limits{}.withDefaults())
	if err != nil {
		return err
	}
	if err := writeFrame(out, hello{Schema: schemaHash()}); err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case req := <-requests:
			c.limits = req.Limits
			for _, f := range req.Files {
				if err := writeFrame(out, c.check(f)); err != nil {
					return fmt.Errorf("answer: %w", err)
				}
			}
		}
	}
}
