package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/store"
)

// session is an environment that can be asked: through its daemon, or opened
// in this process. Close it.
type session struct {
	reconciler.Control
	daemon bool
	info   api.Info

	err      func() error // why a method without an error of its own had no answer
	logs     func(context.Context, api.LogsQuery, io.Writer) error
	services func(context.Context) ([]api.Service, error)
	start    func() // begins to run what was opened idle; nil: it runs
	close    func() error
}

// run begins to run what was opened idle.
func (s *session) run() {
	if s.start != nil {
		s.start()
		s.start = nil
	}
}

// Close ends a session; what was opened in this process is closed in order.
func (s *session) Close() error { return s.close() }

// current is the status, or why there is none.
func (s *session) current() (reconciler.Status, error) {
	st := s.Status()
	return st, s.err()
}

// socket is where the daemon of a data folder listens.
func (a *app) socket(data string) (string, error) {
	dir, err := api.RuntimeDir(a.getenv("XDG_RUNTIME_DIR"), os.TempDir())
	if err != nil {
		return "", err
	}
	return api.SocketPath(dir, data)
}

// dial asks the daemon of a data folder. The error is api.ErrNotRunning where
// none answers.
func (a *app) dial(ctx context.Context, data string) (*session, error) {
	path, err := a.socket(data)
	if err != nil {
		return nil, err
	}
	c, info, err := api.Dial(ctx, path)
	if err != nil {
		return nil, err
	}
	return &session{
		Control: c, daemon: true, info: info, err: c.Err, logs: c.Logs, services: c.Services,
		close: func() error { c.Close(); return nil },
	}, nil
}

// ask is a session with the daemon; there has to be one.
func (a *app) ask(ctx context.Context) (*session, error) {
	f, err := openFolder(a.data)
	if err != nil {
		return nil, err
	}
	s, err := a.dial(ctx, f.path)
	if errors.Is(err, api.ErrNotRunning) {
		return nil, hinted{fmt.Errorf("data folder %s: %w", a.data, api.ErrNotRunning), "start one with: aplomb up; plan, apply and down need none"}
	}
	return s, err
}

// askOrOpen is a session with the daemon, or else with the data folder opened
// here as how says.
func (a *app) askOrOpen(ctx context.Context, how opening) (*session, error) {
	f, err := openFolder(a.data)
	if err != nil {
		return nil, err
	}
	s, err := a.dial(ctx, f.path)
	if !errors.Is(err, api.ErrNotRunning) {
		return s, err
	}
	if how.source == (follow{}) {
		how.source = f.Source
	}
	return a.open(ctx, f, how)
}

// locked says of a store that somebody else holds what is known of them.
func (a *app) locked(ctx context.Context, data string, err error) error {
	if !errors.Is(err, store.ErrLocked) {
		return err
	}
	s, derr := a.dial(ctx, data)
	if derr != nil {
		return hinted{fmt.Errorf("data folder %s: %w", a.data, err),
			"another aplomb works on it and answers on no socket of this user's; wait for it to end, or look for it with ps"}
	}
	defer func() { _ = s.Close() }()
	return hinted{fmt.Errorf("data folder %s: %w: process %d follows %s", a.data, err, s.info.PID, s.info.Source),
		fmt.Sprintf("ask it (aplomb status), or end it first: kill %d", s.info.PID)}
}
