// Package reconcilertest runs the reconciler over a driver in tests: a source
// whose revisions the test says, the real store on disk, and waiting for what
// becomes of a revision. It is for what no call of a driver alone shows: that
// its order, its watch and its versions let an environment converge, and leave
// the engine in peace then. Beside that it has a status that a test says, for what
// follows an environment.
//
// It must not know a concrete driver or an engine, so that every driver's
// tests can use it, nor how declarations are compiled: a test that wants the
// schemas brings the compiler.
package reconcilertest

import (
	"context"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// Config is one environment of one target. Fields without a word about zero
// are needed.
type Config struct {
	ID     string // of the environment, which marks carry
	Source *Source
	Target drivers.Target

	Compile  func(context.Context, reconciler.Snapshots) (reconciler.Compiled, error) // nil: what Source.Declare said
	Path     string                                                                   // of the store's file; empty: one of its own
	Interval time.Duration                                                            // between looks at the source; zero: a second
	Resync   time.Duration                                                            // zero: reconciler.DefaultResync
	Log      *drivertest.Log                                                          // shown if the test fails; nil: nothing is kept
}

// Running is a reconciler that runs. No gate limits how much it changes at
// once; what holds data is held for a person all the same.
type Running struct {
	*reconciler.Reconciler
	Stop func() // waits until it has ended; what is wrong then fails the test; idempotent

	source *Source
}

// Start runs the reconciler until Stop, or until the test ends.
func Start(tb testing.TB, c Config) *Running {
	tb.Helper()
	reg, err := drivers.NewRegistry(c.Target)
	drivertest.Must(tb, err)
	st, err := store.Open(c.path(tb), c.ID)
	drivertest.Must(tb, err)
	config := reconciler.Config{
		ID: c.ID, Name: "test", Source: c.Source, Registry: reg, Store: st, Key: make([]byte, 32), Compile: c.Compile,
		Gates: gate.Config{Unlimited: true}, Interval: c.Interval, Resync: c.Resync, Log: c.logger(),
	}
	if config.Compile == nil {
		config.Compile = declared
	}
	if config.Interval == 0 {
		config.Interval = time.Second
	}
	r, err := reconciler.New(tb.Context(), config)
	drivertest.Must(tb, err)
	ctx, cancel := context.WithCancel(tb.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		for _, err := range []error{<-ended, st.Close()} {
			if err != nil {
				tb.Error(err)
			}
		}
	})
	tb.Cleanup(func() {
		stop()
		if tb.Failed() && c.Log != nil {
			tb.Log(c.Log)
		}
	})
	return &Running{Reconciler: r, Stop: stop, source: c.Source}
}

func (c *Config) path(tb testing.TB) string {
	if c.Path != "" {
		return c.Path
	}
	return filepath.Join(tb.TempDir(), "store.db")
}

func (c *Config) logger() logrus.FieldLogger {
	if c.Log != nil {
		return c.Log.Logger()
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

// Until asks for a look at the source and waits until yes; if that takes
// longer than within, the test fails at once, with what each resource waits
// for. What yes asks may lie outside of the status: it is asked again and
// again, not only when the status moves.
func (r *Running) Until(tb testing.TB, within time.Duration, what string, yes func(reconciler.Status) bool) reconciler.Status {
	tb.Helper()
	limit := time.NewTimer(within)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	r.Kick()
	for {
		s := r.Status()
		if yes(s) {
			return s
		}
		select {
		case <-tick.C:
		case <-limit.C:
			for _, res := range s.Resources {
				tb.Logf("%s is %s (%s): %s; hint: %s", res.ID.Short(), res.State, res.Action, res.Reason, res.Hint)
			}
			tb.Fatalf("%s did not come about within %s: revision %s, refused: %+v", what, within, s.Revision.ID, s.Refused)
		}
	}
}

// Converges waits until the source's tip is in force, everything is as it
// says, and nothing is under way any more.
func (r *Running) Converges(tb testing.TB, within time.Duration, what string) {
	tb.Helper()
	tip := r.source.Tip().ID
	r.Until(tb, within, what, func(s reconciler.Status) bool {
		return s.Revision.ID == tip && s.Converged && s.Settled
	})
}

// Held waits until an action on a resource, named as ID.Short names it, is
// held for a person.
func (r *Running) Held(tb testing.TB, within time.Duration, action schema.Action, name string) reconciler.ResourceStatus {
	tb.Helper()
	var held reconciler.ResourceStatus
	r.Until(tb, within, "that to "+string(action)+" "+name+" is held", func(s reconciler.Status) bool {
		for _, res := range s.Resources {
			if res.ID.Short() == name && res.State == reconciler.Held && res.Action == action {
				held = res
				return true
			}
		}
		return false
	})
	return held
}
