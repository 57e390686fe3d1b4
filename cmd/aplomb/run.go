package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/internal/daemon"
	"github.com/aplomb-dev/aplomb/internal/metrics"
	"github.com/aplomb-dev/aplomb/internal/pathwatch"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
	"github.com/aplomb-dev/aplomb/sources/git"
)

// What a token that is read is refused for.
var (
	errSameToken  = errors.New("it holds the same token as another one")
	errShortToken = fmt.Errorf("the token has less than %d characters", leastToken)
)

func (a *app) run() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "run -c aplomb.yaml",
		Short: "The daemon: drive the environments of a configuration",
		Long: `Drives the environments of a configuration, side by side. The configuration is
read again when its file changes, and on SIGHUP together with tokens and
certificates; one that has errors leaves the old one in force. Ctrl-C, or TERM,
leaves everything running; a second one ends at once.`,
		Args: args(0, 0, "no argument"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("data") {
				return usage("leave --data out", "the data folder of the daemon stands in its configuration")
			}
			return a.runDaemon(cmd.Context(), file)
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "aplomb.yaml", "the configuration")
	return c
}

// loadConfig reads a configuration and checks all of it that takes no other
// file.
func loadConfig(ctx context.Context, file string) (_ *config.Config, _ []schema.Diagnostic, err error) {
	quiet := logrus.New()
	quiet.SetOutput(io.Discard)
	closers := &closers{}
	defer func() { err = errors.Join(err, closers.Close()) }()
	cfg, findings, err := config.Load(ctx, compile.New(compile.Options{Workers: workers(quiet, closers), Log: quiet}), func(s config.Source) error {
		_, err := git.Open(git.Config{URL: s.Git, Branch: s.Branch, Path: s.Path, Dir: os.TempDir(), Auth: auth(s)}) // it opens nothing yet
		return err
	}, file)
	if errors.Is(err, fs.ErrNotExist) {
		err = hinted{err, "-c names it; docs/configuration.md has an example"}
	}
	return cfg, findings, err
}

// runner is a daemon at work.
type runner struct {
	a      *app
	file   string
	home   *home
	daemon *daemon.Daemon
	tcp    *tcp
	srv    *api.Server
	log    logrus.FieldLogger
	out    io.Writer // for lines of several environments at once
	files  *pathwatch.Set

	running environs

	mu    sync.Mutex
	cfg   *config.Config // in force
	state api.Configuration
}

// runDaemon reads the configuration, runs what it says, and reads it again
// until ctx ends.
func (a *app) runDaemon(ctx context.Context, file string) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	cfg, findings, err := loadConfig(ctx, file)
	if err != nil {
		return err
	}
	if len(findings) > 0 {
		return a.findings(findings)
	}
	h, err := openHome(cfg)
	if err != nil {
		return err
	}
	closers := &closers{}
	closers.add(h.Close)
	r := &runner{a: a, file: file, home: h, out: &lines{w: a.stdout}}
	r.log = a.logger(h.join(homeLog), closers)
	r.files = &pathwatch.Set{Log: r.log}
	return errors.Join(r.work(ctx, cfg, hup), closers.Close())
}

// findings tells what is wrong with a configuration.
func (a *app) findings(findings []schema.Diagnostic) error {
	done, err := a.json(validation{Files: 1, Findings: findings})
	if !done {
		a.errs.Diagnostics(findings, 1)
	}
	return errors.Join(told{errFindings}, err)
}

// work runs a configuration, and those that take its place.
func (r *runner) work(ctx context.Context, cfg *config.Config, hup <-chan os.Signal) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	started := time.Now()
	r.daemon = &daemon.Daemon{Open: r.open, Failed: r.failed, Log: r.log}
	r.srv = &api.Server{
		Info: func() api.Info {
			state := r.configuration()
			return api.Info{Version: version(), PID: os.Getpid(), Data: r.home.path, Started: started, Configuration: &state}
		},
		Environments: r.daemon.Environments, Tokens: &api.Tokens{}, Ready: r.daemon.Ready,
		Wrong: func(from string) { r.log.WithField("from", from).Warn("a wrong token was shown") },
		Metrics: metrics.Handler(&metrics.Collector{Version: version(), Environments: r.daemon.Metrics, Reload: func() metrics.Reload {
			state := r.configuration()
			return metrics.Reload{OK: state.OK, At: state.At}
		}}),
	}
	r.tcp = &tcp{srv: r.srv, log: r.log, failed: func(err error) { cancel(err) }}
	access, findings := r.tcp.prepare(cfg)
	if len(findings) > 0 {
		return r.a.findings(findings)
	}
	path, err := r.a.socket(r.home.path)
	if err != nil {
		return err
	}
	l, err := api.Listen(path)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() {
		err := r.srv.Serve(ctx, l)
		cancel(err)
		served <- err
	}()
	if r.a.format == formatText {
		many := "s"
		if len(cfg.Environments) == 1 {
			many = ""
		}
		r.a.out.Note(fmt.Sprintf("aplomb run %s     %d environment%s · data %s · Ctrl-C leaves everything running", r.file, len(cfg.Environments), many, r.home.path))
	}
	err = r.take(ctx, cfg, access)
	if err == nil {
		r.follow(ctx, hup)
		err = context.Cause(ctx)
	}
	cancel(nil)
	r.daemon.Wait()
	r.tcp.close()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, <-served)
}

// configuration is how the configuration does.
func (r *runner) configuration() api.Configuration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// take puts a configuration in force.
func (r *runner) take(ctx context.Context, cfg *config.Config, access *access) error {
	changed, err := r.home.inForce(cfg)
	if err != nil {
		return err
	}
	r.tcp.take(ctx, access)
	r.running.expect(cfg.Environments)
	r.daemon.Update(ctx, cfg.Environments)
	r.mu.Lock()
	r.cfg, r.state = cfg, api.Configuration{Path: cfg.Path, At: time.Now(), OK: true}
	r.mu.Unlock()
	r.log.WithField("changed", changed).Info("the configuration is in force")
	return nil
}

// reload reads the configuration again. One that has errors is refused, and the
// old one stays in force.
func (r *runner) reload(ctx context.Context) {
	cfg, findings, err := loadConfig(ctx, r.file)
	if ctx.Err() != nil {
		return
	}
	if err == nil && len(findings) == 0 && cfg.Data != r.cfg.Data {
		findings = []schema.Diagnostic{{Pos: cfg.At("/data"), Path: "/data", Message: "data: another folder takes a restart of the daemon", Hint: "it was " + r.cfg.Data}}
	}
	var access *access
	if err == nil && len(findings) == 0 {
		access, findings = r.tcp.prepare(cfg)
	}
	if err != nil || len(findings) > 0 {
		r.refuse(findings, err)
		return
	}
	wasOK := r.configuration().OK
	was := r.cfg
	if err := r.take(ctx, cfg, access); err != nil {
		access.drop()
		r.refuse(nil, err)
		return
	}
	if changed := config.Diff(was.JSON, cfg.JSON); len(changed) > 0 || !wasOK {
		r.note(fmt.Sprintf("%s is in force", r.file), changed)
	}
}

// refuse tells that the configuration is not put in force.
func (r *runner) refuse(findings []schema.Diagnostic, err error) {
	msg := ""
	if err != nil {
		msg = err.Error()
	} else {
		msg = findings[0].String()
	}
	r.mu.Lock()
	same := !r.state.OK && r.state.Error == msg
	since := r.state.Since
	if since.IsZero() {
		since = time.Now()
	}
	r.state.OK, r.state.Error, r.state.Findings, r.state.Since = false, msg, findings, since
	if r.state.Hint = hintOf(err); err == nil {
		r.state.Hint = findings[0].Hint
	}
	r.mu.Unlock()
	if same {
		return
	}
	r.log.WithField("error", msg).Warn("the configuration is refused; the old one stays in force")
	if err := r.home.note(configurationChange{At: time.Now(), What: "refused", Error: msg}); err != nil {
		r.log.WithError(err).Warn("the refusal was not recorded")
	}
	r.tellRefused(findings, err)
}
