package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/worker"
	"github.com/aplomb-dev/aplomb/sources"
)

// session is an environment that can be asked: through its daemon, or opened
// in this process. Close it.
type session struct {
	reconciler.Control
	daemon bool
	info   api.Info            // who answers
	env    api.EnvironmentInfo // of what

	err      func() error                                          // why a method without an error of its own had no answer
	logs     func(context.Context, api.LogsQuery, io.Writer) error // nil: nothing here has logs
	services func(context.Context) ([]api.Service, error)          // nil: nothing here has services
	stats    func() reconciler.Stats                               // of what was opened here
	meters   map[string]*drivers.Meter                             // likewise, by target
	start    func()                                                // begins to run what was opened idle; nil: it runs
	close    func() error

	source   sources.Source    // of what was opened here
	reporter sources.Reporter  // likewise; nil: nothing is written back
	registry *drivers.Registry // likewise
	log      logrus.FieldLogger
	workers  *worker.Pool // likewise
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

// reach connects to the daemon at --server, or else to that of a data folder.
// The error is api.ErrNotRunning where none answers.
func (a *app) reach(ctx context.Context, data string) (*api.Daemon, api.Info, error) {
	if a.server != "" {
		at, err := a.address()
		if err != nil {
			return nil, api.Info{}, err
		}
		return api.Dial(ctx, at)
	}
	path, err := a.socket(data)
	if err != nil {
		return nil, api.Info{}, err
	}
	return api.Dial(ctx, api.Address{Socket: path})
}

// address is where --server says that a daemon answers.
func (a *app) address() (api.Address, error) {
	at := api.Address{URL: a.server}
	if a.tokenFile != "" {
		at.Token = (&secretFile{path: a.tokenFile}).read
	}
	if a.caFile != "" {
		roots, err := authorities(a.caFile)
		if err != nil {
			return at, err
		}
		at.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	}
	return at, nil
}

// dial asks the daemon about the environment that is meant. The error is
// api.ErrNotRunning where none answers.
func (a *app) dial(ctx context.Context, data string) (*session, error) {
	d, info, err := a.reach(ctx, data)
	if err != nil {
		return nil, err
	}
	all, err := d.Environments(ctx)
	if err == nil {
		var e api.EnvironmentInfo
		if e, err = a.meant(all); err == nil {
			c := d.Environment(e.Name)
			return &session{
				Control: c, daemon: true, info: info, env: e, err: c.Err, logs: c.Logs, services: c.Services,
				close: func() error { d.Close(); return nil },
			}, nil
		}
	}
	d.Close()
	return nil, err
}

// meant is the environment that --env names, or the only one.
func (a *app) meant(all []api.EnvironmentInfo) (api.EnvironmentInfo, error) {
	names := make([]string, 0, len(all))
	for _, e := range all {
		if e.Name == a.env {
			return e, nil
		}
		names = append(names, e.Name)
	}
	switch {
	case a.env != "":
		hint := "there are " + strings.Join(names, ", ")
		if n := schema.Closest(a.env, names); n != "" {
			hint = "did you mean " + n + "? " + hint
		}
		return api.EnvironmentInfo{}, hinted{fmt.Errorf("%w: %s", api.ErrEnvironment, a.env), hint}
	case len(all) == 1:
		return all[0], nil
	case len(all) == 0:
		return api.EnvironmentInfo{}, fmt.Errorf("%w: the daemon has none", api.ErrEnvironment)
	}
	return api.EnvironmentInfo{}, usage("--env NAME; aplomb environments lists them", "the daemon has environments %s", strings.Join(names, ", "))
}

// ask is a session with the daemon; there has to be one.
func (a *app) ask(ctx context.Context) (*session, error) {
	s, err := a.dial(ctx, a.data)
	if !errors.Is(err, api.ErrNotRunning) || a.server != "" {
		return s, err
	}
	f, err := a.folder()
	if err != nil {
		return nil, err
	}
	hint := "start one with: aplomb up, or aplomb run; plan, apply, down and status need none"
	if f.Daemon != "" {
		hint = "start it with: aplomb run -c " + f.Daemon
	}
	return nil, hinted{fmt.Errorf("data folder %s: %w", a.data, api.ErrNotRunning), hint}
}

// folder is the data folder of one environment, where no daemon answers.
func (a *app) folder() (*folder, error) {
	f, err := openFolder(a.data)
	if errors.Is(err, errNoData) {
		if file, ferr := daemonOf(a.data); ferr == nil {
			return nil, hinted{fmt.Errorf("data folder %s: %w", a.data, api.ErrNotRunning), "start it with: aplomb run -c " + file}
		}
	}
	if err == nil && a.env != "" && a.env != f.Name {
		return nil, hinted{fmt.Errorf("%w: %s", api.ErrEnvironment, a.env), "this is the data folder of " + f.Name}
	}
	return f, err
}

// askOrOpen is a session with the daemon, or else with the data folder opened
// here as how says.
func (a *app) askOrOpen(ctx context.Context, how opening) (*session, error) {
	s, err := a.dial(ctx, a.data)
	if !errors.Is(err, api.ErrNotRunning) || a.server != "" {
		return s, err
	}
	f, err := a.folder()
	if err != nil {
		return nil, err
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
	path, perr := a.socket(data)
	if perr != nil {
		return err
	}
	d, info, derr := api.Dial(ctx, api.Address{Socket: path})
	if derr != nil {
		return hinted{fmt.Errorf("data folder %s: %w", a.data, err),
			"another aplomb works on it and answers on no socket of this user's; wait for it to end, or look for it with ps"}
	}
	defer d.Close()
	follows := ""
	if all, lerr := d.Environments(ctx); lerr == nil && len(all) == 1 {
		follows = " follows " + all[0].Source
	}
	return hinted{fmt.Errorf("data folder %s: %w: process %d%s", a.data, err, info.PID, follows),
		fmt.Sprintf("ask it (aplomb status), or end it first: kill %d", info.PID)}
}
