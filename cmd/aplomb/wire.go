package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"
	"gopkg.in/natefinch/lumberjack.v2"

	secret "github.com/aplomb-dev/aplomb/drivers/secret/local"
	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
	"github.com/aplomb-dev/aplomb/schema/policy"
	"github.com/aplomb-dev/aplomb/schema/worker"
	"github.com/aplomb-dev/aplomb/sources"
)

// Sizes of the daemon's own log.
const (
	logMiB  = 10
	logKeep = 3
)

// workers are processes that evaluate what others wrote: this very binary, also
// where its file was replaced since. They are closed with c.
func workers(log logrus.FieldLogger, c *closers) *worker.Pool {
	p := worker.New(worker.Options{Command: func() *exec.Cmd { return worker.Command("") }, Log: log})
	c.add(p.Close)
	return p
}

// opening says how a data folder is opened in this process.
type opening struct {
	source   follow
	readOnly bool // plan, and write nothing anywhere
	once     bool // look at the source once
	idle     bool // do not run: only what the store holds is wanted
	rewind   bool // follow a branch that was rewound
	apart    bool // what a plan sees is no business of who applies

	before func(reconciler.Control) error // what comes first of all; nil: nothing

	section *config.Environment // of the daemon's configuration; nil: it is not the daemon's
	file    string              // the configuration
}

// begin is what comes before anything runs.
func (how opening) begin(f *folder, t *targets, c reconciler.Control) error {
	if !how.readOnly && !how.idle && t.sealed {
		keeper := &secret.Driver{Env: f.ID, Dir: f.join(secretsDir)}
		if _, err := keeper.Recipient(); err != nil { // a check of the key
			return err
		}
	}
	if how.before == nil {
		return nil
	}
	return how.before(c)
}

// open opens a data folder in this process: takes its lock, wires everything
// and runs the reconciler.
func (a *app) open(ctx context.Context, f *folder, how opening) (*session, error) {
	if f.Daemon != "" && how.section == nil {
		return nil, hinted{fmt.Errorf("data folder %s: environment %s is a daemon's, which is configured by %s", f.path, f.Name, f.Daemon),
			fmt.Sprintf("ask the daemon: aplomb status --data %s --env %s; or start it: aplomb run -c %s", filepath.Dir(f.path), f.Name, f.Daemon)}
	}
	s, r, err := a.wire(ctx, f, how)
	if err != nil {
		return nil, err
	}
	closers := &closers{all: []func() error{s.close}}
	run := func() { closers.add(start(ctx, r)) }
	if !how.idle {
		run()
		run = nil
	}
	s.start, s.close = run, closers.Close
	return s, nil
}

// wire takes the lock of a data folder and makes a reconciler of what is in it
// and what is wanted of it. Nothing is started.
func (a *app) wire(ctx context.Context, f *folder, how opening) (_ *session, _ *reconciler.Reconciler, err error) {
	closers := &closers{}
	defer func() {
		if err != nil {
			err = errors.Join(err, closers.Close())
		}
	}()
	key, err := f.key()
	if err != nil {
		return nil, nil, err
	}
	st, err := a.openStore(ctx, f, closers)
	if err != nil {
		return nil, nil, err
	}
	if how.section != nil {
		if err := f.configured(ctx, st, *how.section, how.file); err != nil {
			return nil, nil, err
		}
	}
	log := a.logger(f.join(logFile), closers).WithField("env", f.Name)
	pool := workers(log, closers)
	c := compile.New(compile.Options{Workers: pool, CacheDir: f.join(cacheDir), Log: log})
	g := &guard{judge: policy.New(policy.Options{Workers: pool, Log: log}), env: f.Name}
	cfg := reconciler.Config{
		ID: f.ID, Name: f.Name, Store: st, Key: key,
		Interval: how.source.interval(), ReadOnly: how.readOnly, Once: how.once, Log: log,
	}
	all, u := localTargets(f.Root), underRecord(f.record)
	if how.section != nil {
		all = how.section.Targets
		if u, err = underSection(*how.section); err != nil {
			return nil, nil, err
		}
		if err := configure(&cfg, *how.section); err != nil {
			return nil, nil, err
		}
	}
	cfg.Compile, cfg.Rules = u.compiler(c, g), u.rules
	t, err := newTargets(f, key, all, closers, log)
	if err != nil {
		return nil, nil, err
	}
	cfg.Registry = t.registry
	if cfg.Source, cfg.Reporter, err = openSource(f, how, closers, log); err != nil {
		return nil, nil, err
	}
	if cfg.Templates, cfg.Policies, err = u.open(f, how, closers, log); err != nil {
		return nil, nil, err
	}
	r, err := reconciler.New(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	if err := how.begin(f, t, r); err != nil {
		return nil, nil, err
	}
	s := &session{
		Control: r, err: func() error { return nil }, close: closers.Close, stats: r.Stats, meters: t.meters,
		info: api.Info{Version: version(), PID: os.Getpid(), Data: f.path, Started: time.Now()},
		env:  api.EnvironmentInfo{Name: f.Name, ID: f.ID, Data: f.path, Source: how.source.where(), Started: time.Now()},

		source: cfg.Source, reporter: cfg.Reporter, registry: cfg.Registry, log: log, workers: pool,
	}
	if t.local != nil {
		s.logs, s.services = t.local.logs(located(r)), t.local.services
	}
	return s, r, nil
}

// configure puts what an environment's section says of gates, drift and times
// into the reconciler's words.
func configure(cfg *reconciler.Config, e config.Environment) error {
	free := func(n int) int { // a gate's zero is its default
		if n == 0 {
			return -1
		}
		return n
	}
	calendar, err := e.Gates.Calendar()
	if err != nil {
		return fmt.Errorf("gates: %w", err)
	}
	cfg.Gates = gate.Config{
		Destroys: free(e.Gates.Budget.Deletes), Share: free(int(e.Gates.Budget.Share)),
		Reviews: e.Gates.Reviews, Owners: e.Gates.Owners, Calendar: calendar,
	}
	cfg.ReportDrift = e.Drift == "report"
	cfg.Resync = time.Duration(e.Resync)
	if e.Quarantine != nil {
		cfg.Quarantine = time.Duration(e.Quarantine.After)
	}
	return nil
}

// openStore takes the lock of a data folder.
func (a *app) openStore(ctx context.Context, f *folder, c *closers) (*store.Store, error) {
	if err := f.hasStore(); err != nil {
		return nil, err
	}
	st, err := store.Open(f.join(storeFile), f.ID)
	if err != nil {
		return nil, a.locked(ctx, f.path, err)
	}
	c.add(st.Close)
	return st, f.stored()
}

// located finds where a resource lives.
func located(c reconciler.Control) func(schema.ID) (schema.ID, string, error) {
	return func(id schema.ID) (schema.ID, string, error) {
		d, err := c.Show(id)
		return d.Status.ID, d.Handle, err
	}
}

// start runs a reconciler; what it answers ends it.
func start(ctx context.Context, r *reconciler.Reconciler) func() error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	return func() error {
		cancel()
		return <-ended
	}
}

// nothing is the source of an environment that follows nothing yet.
type nothing struct{}

var errNothing = errors.New("this environment follows nothing yet")

func (nothing) Head(context.Context) (sources.Revision, error) { return sources.Revision{}, errNothing }

func (nothing) Fetch(context.Context, sources.Revision) (*sources.Snapshot, error) {
	return nil, errNothing
}

// logger is a log of the daemon: a file of a data folder, rotated by size, and
// standard error where --log-level was given.
func (a *app) logger(path string, c *closers) logrus.FieldLogger {
	l := logrus.New()
	l.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true})
	file := &lumberjack.Logger{Filename: path, MaxSize: logMiB, MaxBackups: logKeep}
	c.add(file.Close)
	l.SetOutput(file)
	if a.level != "" {
		level, _ := logrus.ParseLevel(a.level) // checked with the flags
		l.SetLevel(level)
		l.SetOutput(io.MultiWriter(file, a.stderr))
	}
	return l
}

// closers closes in reverse order.
type closers struct{ all []func() error }

func (c *closers) add(f func() error) { c.all = append(c.all, f) }

func (c *closers) Close() error {
	var err error
	for i := len(c.all) - 1; i >= 0; i-- {
		err = errors.Join(err, c.all[i]())
	}
	c.all = nil
	return err
}

// nowhere is the data folder of drivers that are asked for addresses only,
// which takes no I/O.
func nowhere() *folder {
	return &folder{path: "/nonexistent", record: record{ID: "00000000000000000000000000000000", Name: "none"}}
}
