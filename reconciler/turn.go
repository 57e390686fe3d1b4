package reconciler

import (
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/calendar"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// Decision is what a turn came to: calls to start, bookkeeping to write, and
// what to tell of every node.
type Decision struct {
	Observe    map[string][]*Node // by target; one bulk call each
	Plan       []PlanCall
	Apply      []Doing   // the frontier
	Judging    []Doing   // policies are to judge their changes
	Record     []*Node   // nothing to do, but the inventory does not say so yet
	Forget     []*Node   // not declared, and seen gone
	Evals      []Eval    // by Node.index
	JudgeWhole bool      // and the plan as a whole
	Wake       time.Time // the clock alone makes another turn worth while then; zero: nothing will

	facts []schema.ChangeFacts // of Judging
	whole *wholePlan           // nil: nobody asked
}

// PlanCall asks a driver what would make live equal declared.
type PlanCall struct {
	Node   *Node
	Want   *drivers.Desired // nil for a deletion
	Sum    string
	Inputs plan.Inputs
	Seq    uint64

	decl  *graph.Node
	owned *store.Owned
	back  bool // for Node.Back
}

// Doing is a node with the one of its plans that is meant: what is declared, or
// to put back what was applied last.
type Doing struct {
	*Node
	Planned *Planned
}

// Eval is what a turn thinks of one node.
type Eval struct {
	State   State
	Why     why
	Need    *Node              // that Why is about, where it is about one
	Text    string             // more of Why
	Held    []string           // what wants a person, or has to wait for its time
	Shut    string             // of those, when the windows let it run
	Owners  []gate.Review      // the reviews of owners among those
	Changed *gate.Changed      // what was approved of it, where that was something else; nil: nothing was
	Blocked []string           // the policies among those, by name
	Refused bool               // one of them has no way round
	Said    []schema.Violation // by policies, about a pending change
	Until   time.Time          // of Progressing: its deadline; of a failure: the next try
	Drift   bool
	Settled bool // live equals declared, and healthy: dependents may go
	Stands  bool // what is declared waits for people; live equals what was applied last, and is healthy
	Planned bool // Outputs say what will hold
	Outputs map[string]drivers.Output
	Pending bool // it has a valid plan that is not "nothing to do"

	looking bool // it is being looked at anew: nothing else is started on it
}

// why is a reason without its words, so that a turn over many nodes that have
// none to give formats nothing.
type why uint8

const (
	fine why = iota
	busy
	unseen
	unplanned
	needWaits
	needUnknown
	outOfReach
	foreign
	othersMark
	failed
	unhealthy
	gated
	drifts
	paused
	lingers
	readOnly
	component
	neededBy
	deferred
	undecided
	flapping
	unread
	unjudged
)

// Turn decides, from a World alone, what to start now. It makes no call, waits
// for nothing and writes nothing; given the same World it decides the same.
func Turn(w *World) *Decision {
	t := &turn{World: w, approved: gate.NewIndex(w.Approvals, w.Now), Decision: &Decision{Observe: map[string][]*Node{}, Evals: make([]Eval, len(w.Nodes))}}
	if heard, others := gate.Heard(w.Approvals, w.Now); others {
		t.stale, t.heard = true, gate.NewIndex(heard, w.Now)
	}
	if !w.Declared {
		return t.Decision
	}
	t.budget = t.countDestruction()
	t.wake(w.expiring)
	for _, n := range w.Nodes {
		if n.Decl == nil {
			t.gone = append(t.gone, n)
			continue
		}
		t.visit(n)
	}
	if len(t.gone) > 0 {
		t.prune()
	}
	return t.Decision
}

type turn struct {
	*World
	*Decision
	approved gate.Index
	stale    bool       // some of those have to be read again before they let anything run
	heard    gate.Index // the others, where some have to
	budget   gate.Budget
	gone     []*Node

	looked bool             // at the calendar
	closed *calendar.Closed // what it said
}

// free says whether a call on n may start: none is in flight, and none was
// decided by this turn.
func (t *turn) free(n *Node, e *Eval) bool { return n.Op == Idle && !n.Dirty && !e.looking }

func (t *turn) eval(n *Node) *Eval { return &t.Evals[n.index] }

// wake asks for a turn at a time, if none is asked for earlier.
func (t *turn) wake(at time.Time) {
	if at.After(t.Now) && (t.Wake.IsZero() || at.Before(t.Wake)) {
		t.Wake = at
	}
}

// visit takes one declared node along the straight line: observe, plan, gate,
// apply, verify. It stops at the first step that has something to say.
func (t *turn) visit(n *Node) {
	e := t.eval(n)
	if n.Op == Applying {
		e.State, e.Why, e.Text = Waiting, busy, n.progress
		if n.doing != nil {
			e.Planned, e.Outputs, e.Pending = true, n.doing.Change.Outputs, true
			if n.doing.back && n.Plan != nil { // what is declared is still to come
				e.Outputs = n.Plan.Change.Outputs
			}
		}
		return
	}
	if !t.observe(n, e) || !t.plan(n, e) {
		return
	}
	if n.Plan.Change.Action == schema.None {
		t.verify(n, e)
		return
	}
	e.Pending = true
	if t.gate(n, e) {
		t.apply(n, n.Plan, e)
		return
	}
	t.putBack(n, e)
}
