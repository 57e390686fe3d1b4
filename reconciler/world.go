package reconciler

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// World is everything that a turn decides from. One goroutine at a time may
// touch it.
type World struct {
	Now         time.Time
	Env         Env
	Targets     map[string]*Target
	Declared    bool          // a revision is in force; until then nothing is planned and nothing pruned
	Graph       []*graph.Node // of the revision in force, what has expired included
	Revision    sources.Revision
	Under       Under   // what it was compiled under
	Outside     bool    // what lies outside of the followed folders has a part in it
	Nodes       []*Node // declared ones in the graph's order, then the others
	State       store.State
	Approvals   []gate.Approval
	Shown       map[schema.ID]gate.Shown // on the proposals that came with the revision in force, as far as that was told
	Judge       *Judge                   // what policies say of changes; nil: there are none
	PlanVerdict *planVerdict             // what they said of the plan last
	DownAlso    map[schema.ID]bool       // data-bearing and held things that a person named for going down

	byKey    map[store.Key]*Node
	byGraph  []*Node   // by graph.Node.Index; nil for what has expired
	expiring time.Time // of the next declaration that will; zero: none
	seq      uint64

	judgesWhole bool // the plan as a whole is being judged
}

// Env is what does not change while an environment runs.
type Env struct {
	ID, Name    string
	Gates       gate.Config
	ReportDrift bool
	ReadOnly    bool
	Resync      time.Duration
	Started     time.Time // intents that were begun before belong to a process that is dead
}

// Target is a configured engine and whether it answers.
type Target struct {
	*drivers.Target
	Down   *Outage   // nil: it answers
	made   string    // identity and version: changes whenever a cached plan could be wrong although neither want nor live moved
	flight int       // applies in flight
	looks  int       // observations in flight
	rest   time.Time // nothing is looked at again before, since the last look took long
}

// Outage is a target out of reach.
type Outage struct {
	Since time.Time
	Next  time.Time // ask again then
	Tries int
	Err   error
}

// Op is a call in flight.
type Op uint8

// The calls. What is in flight is neither observed nor planned.
const (
	Idle Op = iota
	Observing
	Planning
	Applying
	Judging
)

func (o Op) String() string { return [...]string{"idle", "observe", "plan", "apply", "judge"}[o] }

// Node is one thing at one address: declared, owned, or begun.
type Node struct {
	Key    store.Key
	ID     schema.ID
	Layer  string
	Decl   *graph.Node   // nil: not declared any more
	Owned  *store.Owned  // nil: not in the inventory
	Intent *store.Intent // nil: nothing was begun, or all of it is finished
	Live   *Live         // nil: not seen yet
	Dirty  bool          // worth observing now
	Plan   *Planned      // the last plan, valid while what it was made from is
	Back   *Planned      // the same of putting back what was applied last, where what is declared now has to wait for people
	Op     Op
	Fail   *Failure

	kept       *kept       // what was applied last, as it was declared; nil: not known any more
	doing      *Planned    // of the apply in flight
	progress   string      // what its driver said last of how far it is
	stale      []store.Key // keys that inventory or journal still have n under
	index      int         // in World.Nodes
	recheckAt  time.Time   // observe again then, because it is not healthy or could not be read
	recheck    time.Duration
	quiet      time.Time // before that, an earlier call may still land
	flaps      int       // applies of one want, since planning answered "nothing to do" last
	applied    string    // hash of that want
	wasWell    bool      // it has been healthy since the last apply
	unwell     time.Time // since when it no longer is
	healthFrom time.Time // when something new was applied last
	repairs    int       // of drift, since it was well last
	drifted    time.Time // since when, until it is well again; zero: it has not
	said       *Eval     // what the last turn thought; nil before one
	shown      shown
}

// shown is what people were told last, so that only news are told, and Since
// can be kept.
type shown struct {
	state  State
	why    why
	need   *Node
	text   string
	since  time.Time
	heldAs string // of what was told, where that was Held
	told   State  // by an event; waiting is not told, since it passes or follows from another's state
}

// Live is what was observed last.
type Live struct {
	State drivers.State
	At    time.Time
	Seq   uint64 // the same while Plan's answer cannot differ
}

// Planned is a plan and all that it was made from.
type Planned struct {
	Change  drivers.Change
	Masked  plan.Masked
	Digest  string
	Want    *drivers.Desired // nil for a deletion
	WantSum string
	Inputs  plan.Inputs
	Err     error

	decl  *graph.Node
	seq   uint64
	owned *store.Owned
	back  bool // it puts back what was applied last; decl is of then

	stamps  []stamp    // of the needs, when Inputs were last found to be the same
	owners  *ownership // whose the change is; nil: nobody asked
	verdict *verdict   // what policies said of it last
}

// Failure is a call that failed, and when to try again.
type Failure struct {
	Op    Op
	Err   error
	Tries int
	At    time.Time
	Next  time.Time

	back bool // of putting back what was applied last
}

// ours says whether the inventory or the journal says that n is ours.
func (n *Node) ours() bool { return n.Owned != nil || n.Intent != nil }

// unmarked says that what lives bears no mark, and that nothing but an apply
// that would have left one speaks for its being ours: then it is not what that
// apply made.
func (n *Node) unmarked() bool {
	return n.Owned == nil && n.Intent != nil && n.Live.State.Exists && n.Live.State.Owner == "" &&
		slices.ContainsFunc(n.Intent.Change.Diff, func(d drivers.Delta) bool { return d.Path == drivers.MarkPath })
}

// last is what a driver is told about the last apply.
func (n *Node) last() *drivers.Applied {
	switch {
	case n.Owned != nil:
		return &n.Owned.Applied
	case n.Intent != nil:
		return &n.Intent.Applied
	default:
		return nil
	}
}

// item is n as a driver is asked about it.
func (n *Node) item(want *drivers.Desired) drivers.Item {
	it := drivers.Item{ID: n.ID, Want: want, Last: n.last(), Handle: n.Key.Handle}
	if n.pending() {
		it.Handle = ""
	}
	if n.Intent != nil {
		it.Nonce = n.Intent.Nonce
	}
	return it
}

// pending says that the engine has not given an address yet.
func (n *Node) pending() bool { return n.Key.Handle == store.Pending(n.ID) }

// wantSum is the hash of a resolved want.
func wantSum(d *drivers.Desired) string {
	h := sha256.New()
	_, _ = h.Write(d.Spec)
	_, _ = h.Write([]byte("\n" + d.Files.Hash()))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// need is the node of a need that is declared in the graph in force.
func (w *World) need(g *graph.Node) *Node { return w.byGraph[g.Index] }

// deadline is how long a kind may take from applied to healthy.
func deadline(kind string) time.Duration {
	if k, ok := schema.KindOf(kind); ok && k.Deadline > 0 {
		return k.Deadline
	}
	return DefaultDeadline
}

// DefaultDeadline is from applied to healthy where the kind says nothing.
const DefaultDeadline = 5 * time.Minute
