package reconciler

import (
	"context"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// Config is one environment. Fields without a word about zero are needed.
type Config struct {
	ID, Name string           // stable id that marks carry; the name on screens
	Source   sources.Source   // of the declarations
	Reporter sources.Reporter // nil: nothing is written back
	Compile  func(context.Context, Snapshots) (Compiled, error)
	Registry *drivers.Registry
	Store    *store.Store
	Key      []byte      // of the environment, 32 bytes: signs the inventory
	Gates    gate.Config // zero: the documented defaults

	Templates Followed    // the operator's templates; none: Compile has its own
	Policies  Followed    // the policies that judge; none: nothing is judged
	Rules     graph.Rules // what each path may declare; zero: anything

	ReportDrift bool          // tell drift instead of repairing it
	Interval    time.Duration // between looks at the source; zero: DefaultInterval
	Resync      time.Duration // between looks at everything that lives; zero: DefaultResync
	ReportEvery time.Duration // at most one report in it; zero: DefaultReportEvery
	Quarantine  time.Duration // after it, what does not converge by its own fault is gone back from; zero: never
	ReadOnly    bool          // plan only: neither engines nor the store are written
	Once        bool          // the source is looked at once, not followed
	Unwatched   bool          // engines are not watched: somebody else does who keeps what their drivers know fresh
	Log         logrus.FieldLogger
}

// The times where Config says nothing.
const (
	DefaultInterval    = 30 * time.Second
	DefaultResync      = 10 * time.Minute
	DefaultReportEvery = time.Minute
)

// Snapshots are what a revision is made of.
type Snapshots struct {
	Declarations *sources.Snapshot
	Templates    *sources.Snapshot // nil: the environment names none
	Policies     *sources.Snapshot // likewise
}

// Compiled is a snapshot's declarations, or findings and then no resource.
type Compiled struct {
	Resources []schema.Resource   // nil if there are findings
	Findings  []schema.Diagnostic // about one declaration at a time
	Seen      []schema.Resource   // what could be made out in spite of them, for graph.Check
	Files     int
	Outside   bool // what lies outside of a followed folder, in its repository, has a part in it: equal trees do not mean that nothing has changed

	// Judge is what the policies say of changes; nil: none is over changes.
	// Without declarations, which going down has none of, it is all that is
	// wanted.
	Judge *Judge
}
