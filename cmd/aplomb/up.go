package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/spf13/cobra"

	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/internal/metrics"
	"github.com/aplomb-dev/aplomb/reconciler"
)

func (a *app) up() *cobra.Command {
	var sf sourceFlags
	var bf besideFlags
	c := &cobra.Command{
		Use:   "up [PATH or URL]",
		Short: "Converge a repository or a folder, then watch it",
		Long: `Converges what a Git repository or a plain folder declares, then watches it.

A Git repository is followed by commit (one on this machine in place), a plain
folder by file. Without PATH the environment's remembered source is followed,
else the folder that the command runs in. Ctrl-C leaves everything running; a
second one ends at once.`,
		Args: args(0, 1, "at most one PATH or URL"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runUp(cmd.Context(), sf, bf, args) },
	}
	sf.register(c)
	bf.register(c)
	c.Flags().DurationVar(&sf.interval, "interval", 0, "between two looks at the source (default 30s)")
	return c
}

func (sf *sourceFlags) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&sf.branch, "branch", "", "branch to follow (default: the one that HEAD names)")
	f.StringVar(&sf.path, "path", "", "folder in the repository")
	f.StringVar(&sf.root, "root", "", "folder for files with relative paths (default: files in the data folder)")
	f.StringVar(&sf.name, "name", "", `name of a new environment (default "local")`)
	f.BoolVar(&sf.change, "switch", false, "follow another source than before; what only the old one declared is deleted")
	f.BoolVar(&sf.rewind, "allow-rewind", false, "in this run, follow a branch that was rewound")
}

// adopt puts what the flags say into the folder's record, and says whether
// that changed it.
func (sf sourceFlags) adopt(f *folder, src follow, bf besideFlags) (changed bool, err error) {
	before := f.record
	if err := bf.adopt(&f.record); err != nil {
		return false, err
	}
	f.Source = src
	if sf.root != "" {
		if f.Root, err = filepath.Abs(sf.root); err != nil {
			return false, fmt.Errorf("--root: %w", err)
		}
	}
	return !reflect.DeepEqual(f.record, before), nil
}

// runUp opens the data folder, serves the API, shows the way to converged, and
// then tells what happens until ctx ends.
func (a *app) runUp(ctx context.Context, sf sourceFlags, bf besideFlags, args []string) error {
	if err := errors.Join(sf.check(args), bf.check()); err != nil {
		return err
	}
	f, err := makeFolder(a.data, sf.name)
	if err != nil {
		return err
	}
	src, err := sf.pick(f, args, ".")
	if err != nil {
		return err
	}
	changed, err := sf.adopt(f, src, bf)
	if err != nil {
		return err
	}
	began := time.Now()
	s, err := a.open(ctx, f, opening{source: src, rewind: sf.rewind, before: func(c reconciler.Control) error { return a.revive(ctx, c) }})
	if err != nil {
		return err
	}
	if changed { // only who holds the lock may say what is followed
		err = f.save()
	}
	warnInside(src, f, a.errs.Note)
	if err == nil {
		err = a.serve(ctx, s, func(ctx context.Context) error { return a.watch(ctx, s, began) })
	}
	if err = errors.Join(err, s.Close()); err == nil && a.format == formatText {
		a.out.Note("everything runs on; to go on watching: " + a.command("up") + "; to delete it all: " + a.command("down"))
	}
	return err
}

// command is a command line for what this one is about.
func (a *app) command(name string) string {
	line := "aplomb " + name
	if a.data != defaultData && a.data != a.getenv("APLOMB_DATA") {
		line += " --data " + a.data
	}
	for _, f := range [][3]string{{"--env", a.env, "APLOMB_ENV"}, {"--server", a.server, "APLOMB_SERVER"}} {
		if f[1] != "" && f[1] != a.getenv(f[2]) {
			line += " " + f[0] + " " + f[1]
		}
	}
	return line
}

// revive ends what down began: who asks for an environment wants it. A person's
// suspend stays.
func (a *app) revive(ctx context.Context, c reconciler.Control) error {
	st := c.Status()
	if !st.Down {
		return nil
	}
	by := ""
	if st.Suspended != nil {
		by = " by " + st.Suspended.By
	}
	a.errs.Note("the environment was taken down" + by + "; up brings it back")
	return c.Resume(ctx, person(), nil, "up after down")
}

// serve answers the API while f runs.
func (a *app) serve(ctx context.Context, s *session, f func(context.Context) error) error {
	path, err := a.socket(s.info.Data)
	if err != nil {
		return err
	}
	l, err := api.Listen(path)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	served := make(chan error, 1)
	env := &api.Environment{Info: s.env, Control: s.Control, Logs: s.logs, Services: s.services}
	srv := &api.Server{
		Info:         func() api.Info { return s.info },
		Environments: func() []*api.Environment { return []*api.Environment{env} },
		Ready: func() []string {
			if s.Status().Source.At.IsZero() {
				return []string{"its source was not looked at yet"}
			}
			return nil
		},
		Metrics: metrics.Handler(&metrics.Collector{Version: version(), Environments: func() []metrics.Environment {
			return []metrics.Environment{{Name: s.env.Name, Control: s.Control, Stats: s.stats, Meters: s.meters}}
		}}),
	}
	go func() {
		defer cancel()
		served <- srv.Serve(ctx, l)
	}()
	err = f(ctx)
	cancel()
	return errors.Join(err, <-served)
}

// watch shows the way to converged and then what happens, until ctx ends.
func (a *app) watch(ctx context.Context, s *session, began time.Time) error {
	st, err := s.Wait(ctx, looked)
	if err != nil {
		return ended(ctx, err)
	}
	if a.format == formatJSON {
		return a.eventLines(ctx, s, 0)
	}
	a.out.Heading(shortest(s.env.Source), s.env.Name, a.data, st)
	a.out.Note("")
	seq, err := a.converge(ctx, s, began)
	if err != nil {
		return ended(ctx, err)
	}
	return a.tell(ctx, s, seq)
}

// shortest is a path as seen from the working folder, where that is shorter.
func shortest(path string) string {
	wd, err := os.Getwd()
	if err != nil || !filepath.IsAbs(path) {
		return path
	}
	if rel, err := filepath.Rel(wd, path); err == nil && len(rel) < len(path) {
		return rel
	}
	return path
}

// looked says whether the source has been looked at since the start, so that
// there is something to say.
func looked(s reconciler.Status) bool {
	return !s.Source.At.IsZero() || !s.Source.Since.IsZero() || s.Refused != nil
}

// quiet says whether a turn has come to its end: nothing more will happen by
// itself but trying again what failed.
func quiet(s reconciler.Status) bool {
	return looked(s) && s.Settled && s.Counts[reconciler.Progressing] == 0
}

// ended is nil where a person has ended it: that is no failure.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// converge shows progress until the turn has come to its end, and how it
// ended. It answers the number of the last event that the screen has shown.
func (a *app) converge(ctx context.Context, s *session, began time.Time) (uint64, error) {
	if a.out.Terminal {
		return a.convergeLive(ctx, s, began)
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	var seq uint64
	past, live := s.Events(inner, 0)
	for _, e := range past {
		a.step(e)
		seq = e.Seq
	}
	settled := make(chan result, 1)
	go func() {
		st, err := s.Wait(inner, quiet)
		settled <- result{st, err}
	}()
	for {
		select {
		case e, ok := <-live:
			if !ok {
				r := <-settled
				return seq, r.err
			}
			a.step(e)
			seq = e.Seq
		case r := <-settled:
			if r.err != nil {
				return seq, r.err
			}
			rest, _ := s.Events(inner, seq)
			for _, e := range rest {
				a.step(e)
				seq = e.Seq
			}
			a.outcome(r.status, began)
			return seq, nil
		}
	}
}

// step tells an event on the way to converged; that it is reached, or why not,
// is told by the outcome.
func (a *app) step(e reconciler.Event) {
	switch e.Type {
	case "converged", "refused", "source":
		a.out.Told(e)
	default:
		a.out.Event(e)
	}
}

type result struct {
	status reconciler.Status
	err    error
}

// convergeLive is converge with lines that change in place.
func (a *app) convergeLive(ctx context.Context, s *session, began time.Time) (uint64, error) {
	live := a.out.Live(began)
	var last uint64
	st, err := s.Wait(ctx, func(st reconciler.Status) bool {
		live.Update(st)
		return quiet(st)
	})
	live.Stop()
	past, _ := s.Events(canceled(), 0)
	a.toldSince(past, began)
	if n := len(past); n > 0 {
		last = past[n-1].Seq
	}
	if err == nil {
		a.out.Note("")
		a.outcome(st, began)
	}
	return last, err
}

// toldSince notes what lines that change in place have told.
func (a *app) toldSince(past []reconciler.Event, since time.Time) {
	for _, e := range past {
		if !e.At.Before(since) {
			a.out.Told(e)
		}
	}
}

// canceled is a context that has ended: what is remembered is wanted, and
// nothing that is to come.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// outcome says how a turn ended, with findings and reasons where it did not
// end well.
func (a *app) outcome(st reconciler.Status, began time.Time) {
	switch r := st.Refused; {
	case r != nil && len(r.Findings) > 0:
		a.errs.Diagnostics(r.Findings, r.Files)
	case r != nil:
		a.errs.Error(fmt.Sprintf("revision %s: %s", r.Revision.Short(), r.Error), st.Source.Hint)
	case !st.Source.OK:
		a.errs.Error(st.Source.Error, st.Source.Hint)
	case st.Converged:
		a.out.Outcome(st, began)
	default:
		a.out.Outcome(st, began)
		a.out.Status(st, false)
	}
}

// tell writes a line for each thing that happens until ctx ends.
func (a *app) tell(ctx context.Context, s *session, seq uint64) error {
	for ctx.Err() == nil {
		past, live := s.Events(ctx, seq)
		for _, e := range past {
			a.out.Event(e)
			seq = e.Seq
		}
		for e := range live {
			a.out.Event(e)
			seq = e.Seq
		}
		if err := errors.Join(s.err(), a.out.Err()); err != nil {
			return ended(ctx, err)
		}
	}
	return nil
}

// eventLines writes every event as a line of JSON until ctx ends.
func (a *app) eventLines(ctx context.Context, s *session, seq uint64) error {
	for ctx.Err() == nil {
		past, live := s.Events(ctx, seq)
		for _, e := range past {
			if err := a.jsonLine(e); err != nil {
				return err
			}
			seq = e.Seq
		}
		for e := range live {
			if err := a.jsonLine(e); err != nil {
				return err
			}
			seq = e.Seq
		}
		if err := s.err(); err != nil {
			return ended(ctx, err)
		}
	}
	return nil
}
