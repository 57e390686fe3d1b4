package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
	"gopkg.in/natefinch/lumberjack.v2"

	"github.com/aplomb-dev/aplomb/drivers"
	mesh "github.com/aplomb-dev/aplomb/drivers/mesh/local"
	provisioning "github.com/aplomb-dev/aplomb/drivers/provisioning/local"
	scheduler "github.com/aplomb-dev/aplomb/drivers/scheduler/local"
	secret "github.com/aplomb-dev/aplomb/drivers/secret/local"
	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
	"github.com/aplomb-dev/aplomb/sources"
)

// targetName is the name of the one target that the embedded drivers share.
const targetName = "local"

// Sizes of the daemon's own log.
const (
	logMiB  = 10
	logKeep = 3
)

// embedded is the four embedded drivers of an environment.
type embedded struct {
	provisioning *provisioning.Driver
	secret       *secret.Driver
	mesh         *mesh.Driver
	scheduler    *scheduler.Driver
}

// newEmbedded makes the drivers; they do nothing before they are asked.
func newEmbedded(f *folder, key []byte, log logrus.FieldLogger) *embedded {
	root := f.Root
	if root == "" {
		root = f.join(filesDir)
	}
	print := fingerprinter(derive(key, "fingerprint"))
	return &embedded{
		provisioning: &provisioning.Driver{Env: f.ID, Root: root, Dir: f.join(portsDir), Deny: denied(f, root), Fingerprint: fingerprinter(derive(key, "file fingerprint")), Log: log},
		secret:       &secret.Driver{Env: f.ID, Dir: f.join(secretsDir), Fingerprint: print, Log: log},
		mesh:         &mesh.Driver{Env: f.ID, Dir: f.join(servicesDir), Log: log},
		scheduler:    &scheduler.Driver{Env: f.ID, Dir: f.join(processesDir), Root: root, Log: log},
	}
}

// denied are the folders that no declared file may lie in: the data folder,
// unless the environment's root lies in it; then everything else in it.
func denied(f *folder, root string) []string {
	if inside(f.path, root) == "" {
		return []string{f.path}
	}
	var all []string
	for _, name := range []string{portsDir, secretsDir, servicesDir, processesDir, gitDir, cacheDir, statusDir} {
		all = append(all, f.join(name))
	}
	return all
}

// fingerprinter makes change tokens of secrets.
func fingerprinter(key []byte) drivers.Fingerprinter {
	return func(plaintext []byte) string {
		h := hmac.New(sha256.New, key)
		_, _ = h.Write(plaintext)
		return hex.EncodeToString(h.Sum(nil))
	}
}

// registry puts the drivers behind one target. identity is what digests bind
// to.
func (e *embedded) registry(identity string, log logrus.FieldLogger) (*drivers.Registry, error) {
	m := drivers.Mux{}
	for kind, d := range map[string]drivers.Driver{
		provisioning.FileKind: e.provisioning, provisioning.PortKind: e.provisioning,
		secret.Kind: e.secret, mesh.Kind: e.mesh, scheduler.Kind: e.scheduler,
	} {
		m[kind] = d
	}
	return drivers.NewRegistry(drivers.Target{
		Name: targetName, Engine: "local", Kinds: slices.Sorted(maps.Keys(m)), Driver: &drivers.Log{Driver: m, Logger: log},
		Identity: identity, Version: driversVersion,
	})
}

// driversVersion is the version of the embedded drivers' logic: it changes
// when one of them would plan otherwise than before.
const driversVersion = "1"

// compiler makes the compiler, whose workers are this very binary.
func compiler(cache string, log logrus.FieldLogger) *compile.Compiler {
	return compile.New(compile.Options{
		Worker:   func() *exec.Cmd { return compile.WorkerCommand("") }, // also where its file was replaced since
		CacheDir: cache, Log: log,
	})
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
}

// begin is what comes before anything runs.
func (how opening) begin(drv *embedded, c reconciler.Control) error {
	if !how.readOnly && !how.idle {
		if _, err := drv.secret.Recipient(); err != nil { // a check of the key
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
func (a *app) open(ctx context.Context, f *folder, how opening) (_ *session, err error) {
	closers := &closers{}
	defer func() {
		if err != nil {
			err = errors.Join(err, closers.Close())
		}
	}()
	key, err := f.key()
	if err != nil {
		return nil, err
	}
	st, err := a.openStore(ctx, f, closers)
	if err != nil {
		return nil, err
	}
	log := a.logger(f, closers)
	c := compiler(f.join(cacheDir), log)
	closers.add(c.Close)
	drv := newEmbedded(f, key, log)
	reg, err := drv.registry(f.ID, log)
	if err != nil {
		return nil, err
	}
	src, rep, err := openSource(f, how, closers, log)
	if err != nil {
		return nil, err
	}
	r, err := reconciler.New(ctx, reconciler.Config{
		ID: f.ID, Name: f.Name, Source: src, Reporter: rep, Registry: reg, Store: st, Key: key,
		Interval: how.source.interval(), ReadOnly: how.readOnly, Once: how.once, Log: log,
		Compile: compiled(c),
	})
	if err != nil {
		return nil, err
	}
	if err := how.begin(drv, r); err != nil {
		return nil, err
	}
	run := func() { closers.add(start(ctx, r)) }
	if !how.idle {
		run()
		run = nil
	}
	return &session{
		Control: r, start: run, err: func() error { return nil }, logs: drv.logs(located(r)), services: drv.services, close: closers.Close,
		info: api.Info{Version: version(), PID: os.Getpid(), Environment: f.Name, ID: f.ID, Data: f.path, Source: how.source.where(), Started: time.Now()},
	}, nil
}

// compiled is a compiler as the reconciler wants it.
func compiled(c *compile.Compiler) func(context.Context, fs.FS) (reconciler.Compiled, error) {
	return func(ctx context.Context, tree fs.FS) (reconciler.Compiled, error) {
		got, err := c.Compile(ctx, tree)
		return reconciler.Compiled{Resources: got.Resources, Findings: got.Findings, Seen: got.Seen, Files: got.Files}, err
	}
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

// logger is the daemon's log: a file of the data folder, rotated by size, and
// standard error where --log-level was given.
func (a *app) logger(f *folder, c *closers) logrus.FieldLogger {
	l := logrus.New()
	l.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true})
	file := &lumberjack.Logger{Filename: f.join(logFile), MaxSize: logMiB, MaxBackups: logKeep}
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
