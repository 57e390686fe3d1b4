package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// Deadlines where no flag says otherwise.
const (
	planTimeout  = 2 * time.Minute
	applyTimeout = 10 * time.Minute
)

func (a *app) plan() *cobra.Command {
	var o turnFlags
	c := &cobra.Command{
		Use:   "plan [PATH or URL]",
		Short: "Say what would change and why; exit 0: nothing, 2: changes, 4: a policy refuses some",
		Args:  args(0, 1, "at most one PATH or URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runPlan(cmd.Context(), o, args)
		},
	}
	o.register(c, planTimeout)
	a.client(c)
	c.Flags().BoolVar(&o.full, "full", false, "also every field of what is created and deleted")
	return c
}

func (a *app) apply() *cobra.Command {
	var o turnFlags
	c := &cobra.Command{
		Use:   "apply [PATH or URL]",
		Short: "Make one turn and end; exit 0: converged, 3: not in time, 4: held",
		Args:  args(0, 1, "at most one PATH or URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.runApply(cmd.Context(), o, args)
		},
	}
	o.register(c, applyTimeout)
	a.client(c)
	c.Flags().BoolVar(&o.resume, "resume", false, "end a suspension, or what down began, first")
	return c
}

// turnFlags are the flags of plan and apply.
type turnFlags struct {
	sourceFlags
	besideFlags
	timeout            time.Duration
	init, full, resume bool
	config             string // a daemon's configuration, of which an environment is opened here
}

func (o *turnFlags) register(c *cobra.Command, timeout time.Duration) {
	o.sourceFlags.register(c)
	o.besideFlags.register(c)
	c.Flags().DurationVar(&o.timeout, "timeout", timeout, "how long it may take")
	c.Flags().BoolVar(&o.init, "init", false, "make the data folder where it is missing")
	c.Flags().StringVarP(&o.config, "config", "c", "", "open an environment of this configuration here, where no daemon runs")
}

// turn is a session for one turn: the daemon's, or the data folder opened
// here. keep says whether what is followed is remembered.
func (a *app) turn(ctx context.Context, o turnFlags, args []string, how opening, keep bool) (*session, error) {
	if o.config != "" {
		return a.turnOf(ctx, o, args, how)
	}
	if err := errors.Join(o.sourceFlags.check(args), o.besideFlags.check()); err != nil {
		return nil, err
	}
	s, err := a.dial(ctx, a.data)
	if err == nil {
		return a.daemons(s, o, args)
	}
	if !errors.Is(err, api.ErrNotRunning) || a.server != "" {
		return nil, err
	}
	f, err := a.folder()
	if o.init && errors.Is(err, errNoData) {
		f, err = makeFolder(a.data, o.name)
	}
	if err != nil {
		return nil, err
	}
	fallback := ""
	if o.init {
		fallback = "."
	}
	src, err := o.pick(f, args, fallback)
	if err != nil {
		return nil, err
	}
	how.apart = o.rewind || f.Source != (follow{}) && !src.same(f.Source)
	changed, err := o.sourceFlags.adopt(f, src, o.besideFlags)
	if err != nil {
		return nil, err
	}
	how.source, how.rewind = src, o.rewind
	if s, err = a.open(ctx, f, how); err == nil && changed && keep {
		err = f.save()
	}
	return s, err
}

// daemons is the daemon's session, unless the command line says that something
// else is to be followed, or otherwise: that the daemon decides by itself.
func (a *app) daemons(s *session, o turnFlags, args []string) (*session, error) {
	other := o.rewind
	if f, err := openFolder(a.data); a.server == "" && err == nil {
		src, err := o.pick(f, args, "")
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		asked := f.record
		if err := o.besideFlags.adopt(&asked); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		other = other || !src.same(f.Source) || !reflect.DeepEqual(asked, f.record)
	} else {
		other = other || len(args) > 0 || o.branch != "" || o.path != "" || o.change || o.given()
	}
	if !other {
		return s, nil
	}
	return nil, errors.Join(usage(fmt.Sprintf("end it first: kill %d; or leave the flags and PATH out", s.info.PID),
		"the daemon (process %d) follows %s, and decides by itself how", s.info.PID, s.env.Source), s.Close())
}

// kick asks for a look at the source and waits until what was found there is
// through, as done says.
func (a *app) kick(ctx context.Context, s *session, done func(reconciler.Status) bool) (reconciler.Status, error) {
	asked := time.Now()
	if s.daemon {
		s.Kick()
		switch err := s.err(); {
		case errors.Is(err, api.ErrRole): // who may only read sees what was found by the last look
			asked = time.Time{}
		case err != nil:
			return reconciler.Status{}, err
		}
	} else {
		asked = time.Time{}
	}
	return s.Wait(ctx, func(st reconciler.Status) bool { return st.Source.At.After(asked) && done(st) })
}

// refusal is the error of a revision that is not put in force; its findings
// are told on the screen.
func (a *app) refusal(st reconciler.Status) error {
	switch r := st.Refused; {
	case r == nil && !st.Source.OK:
		return hinted{errors.New(st.Source.Error), st.Source.Hint}
	case r == nil:
		return nil
	case len(r.Findings) == 0:
		return hinted{fmt.Errorf("revision %s: %s", r.Revision.Short(), r.Error), st.Source.Hint}
	}
	if done, err := a.json(struct {
		Findings []schema.Diagnostic `json:"findings"`
		Files    int                 `json:"files"`
	}{st.Refused.Findings, st.Refused.Files}); done {
		return errors.Join(told{errFindings}, err)
	}
	a.errs.Diagnostics(st.Refused.Findings, st.Refused.Files)
	return told{errFindings}
}

func (a *app) runPlan(ctx context.Context, o turnFlags, args []string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	s, err := a.turn(ctx, o, args, opening{readOnly: true, once: true}, false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	st, err := a.kick(ctx, s, func(st reconciler.Status) bool {
		return st.Settled || st.Refused != nil || !st.Source.OK
	})
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	if err := a.refusal(st); err != nil {
		return err
	}
	a.warnBeside(st)
	v := s.Plan()
	if err := s.err(); err != nil {
		return err
	}
	if done, err := a.json(v); err != nil {
		return err
	} else if !done {
		a.out.Plan(v, o.full)
	}
	switch {
	case slices.ContainsFunc(v.Changes, func(c reconciler.PlannedChange) bool { return len(c.Blocked) > 0 }):
		return told{errPolicy}
	case len(v.Unplanned) > 0 && len(v.Changes) == 0:
		return told{errNotConverged}
	case len(v.Changes) > 0:
		return told{errChanges}
	}
	return nil
}

func (a *app) runApply(ctx context.Context, o turnFlags, args []string) (err error) {
	began := time.Now()
	within, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	frozen := func(c reconciler.Control) error { return a.frozen(ctx, c, o.resume) }
	s, err := a.turn(within, o, args, opening{once: true, before: frozen}, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if s.daemon {
		if err := errors.Join(frozen(s), s.err()); err != nil {
			return err
		}
	}
	st, err := a.follow(within, s, began)
	if err != nil && (within.Err() == nil || ctx.Err() != nil) {
		return fmt.Errorf("apply: %w", err)
	}
	if err != nil { // the deadline has passed: how far did it come?
		if st, err = s.current(); err != nil {
			return err
		}
	}
	if err := a.refusal(st); err != nil {
		return err
	}
	if done, err := a.json(st); err != nil {
		return err
	} else if !done {
		a.outcome(st, began)
	}
	return verdict(st)
}

// frozen refuses to apply what a person has suspended or taken down, unless
// that is to be ended.
func (a *app) frozen(ctx context.Context, c reconciler.Control, resume bool) error {
	st := c.Status()
	switch l := st.Suspended; {
	case l == nil:
		return nil
	case resume:
		return c.Resume(ctx, person(), nil, "apply --resume")
	default:
		what := "suspended"
		if st.Down {
			what = "taken down"
		}
		if l.Why != "" && l.Why != what {
			what += " (" + l.Why + ")"
		}
		return hinted{fmt.Errorf("%w: %s by %s at %s; nothing was applied", errSuspended, what, l.By, l.At.Local().Format(time.DateTime)),
			"to go on: " + a.command("resume") + ", or apply --resume"}
	}
}

// follow shows progress until the turn is through.
func (a *app) follow(ctx context.Context, s *session, began time.Time) (reconciler.Status, error) {
	done := func(st reconciler.Status) bool {
		return st.Converged || st.Refused != nil || !st.Source.OK || quiet(st)
	}
	if a.format == formatJSON {
		return a.kick(ctx, s, done)
	}
	if a.out.Terminal {
		live := a.out.Live(began)
		st, err := a.kick(ctx, s, func(st reconciler.Status) bool {
			live.Update(st)
			return done(st)
		})
		live.Stop()
		past, _ := s.Events(canceled(), 0)
		a.toldSince(past, began)
		return st, err
	}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	past, events := s.Events(inner, 0)
	if !s.daemon {
		for _, e := range past {
			a.step(e)
		}
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		for e := range events {
			a.step(e)
		}
	}()
	st, err := a.kick(ctx, s, done)
	cancel()
	<-told
	return st, err
}

// verdict is how the exit code tells what state the environment is in.
func verdict(st reconciler.Status) error {
	switch {
	case st.Converged:
		return nil
	case st.Counts[reconciler.Held] > 0 && st.Counts[reconciler.Degraded]+st.Counts[reconciler.Conflict]+st.Counts[reconciler.Progressing] == 0:
		return told{errHeld}
	default:
		return told{errNotConverged}
	}
}
