package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// Name is the hidden command of the binary whose body is Serve.
const Name = "worker"

// Handler answers the items of one service. It is used by one goroutine at a
// time, and lives as long as its process.
type Handler interface {
	// Setup is what the items that follow share: it is called before the first
	// of them, and again whenever it changes. An error is a fault of this
	// program, and ends the process.
	Setup(setup []byte) error
	// Handle answers one item; what it answers is encoded as JSON. It never
	// fails: what is wrong with an item is part of the answer.
	Handle(item []byte) any
}

// Services make the handlers, by the name of the service.
type Services map[string]func() Handler

// Command runs executable as a worker, with an empty environment: a worker
// needs nothing of the daemon's. "" is the running program, on Linux also
// after its file was replaced.
func Command(executable string) *exec.Cmd {
	if executable == "" {
		executable = running()
	}
	cmd := exec.Command(executable, Name)
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

// Serve is the body of a worker process: it handles what a parent sends on in
// and answers on out. It returns when in ends, even in the middle of an item,
// so that a worker never outlives its parent: the caller must exit then.
func Serve(ctx context.Context, in io.Reader, out io.Writer, services Services) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	requests := make(chan request)
	read, worked := make(chan error, 1), make(chan error, 1)
	go func() { read <- readRequests(ctx, in, requests) }()
	go func() { worked <- work(ctx, requests, out, &desk{services: services}) }()
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

func work(ctx context.Context, requests <-chan request, out io.Writer, d *desk) error {
	if err := writeFrame(out, hello{Program: Program()}); err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case req := <-requests:
			h, err := d.handler(req)
			if err != nil {
				return fmt.Errorf("prepare %s: %w", req.Service, err)
			}
			for _, item := range req.Items {
				if err := writeFrame(out, h.Handle(item)); err != nil {
					return fmt.Errorf("answer: %w", err)
				}
			}
		}
	}
}

// desk keeps the handlers of one process.
type desk struct {
	services Services
	handlers map[string]Handler
}

// handler is the handler for a request, set up for it.
func (d *desk) handler(req request) (Handler, error) {
	h := d.handlers[req.Service]
	if h == nil {
		start := d.services[req.Service]
		if start == nil {
			return nil, errors.New("there is no such service")
		}
		if req.Known {
			return nil, errors.New("it was never set up")
		}
		if d.handlers == nil {
			d.handlers = map[string]Handler{}
		}
		h = start()
		d.handlers[req.Service] = h
	}
	if req.Known {
		return h, nil
	}
	return h, h.Setup(req.Setup)
}
