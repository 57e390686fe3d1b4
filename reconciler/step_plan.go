package reconciler

import (
	"fmt"
	"maps"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// plan makes sure of a plan that is made from what holds now, and says whether
// there is one.
func (t *turn) plan(n *Node, e *Eval) bool {
	for _, need := range n.Decl.Needs {
		if m := t.need(need); !t.eval(m).Planned {
			e.State, e.Why, e.Need = Waiting, needUnknown, m
			return false
		}
	}
	if n.Plan != nil && n.Plan.from(n) && t.sameInputs(n) {
		return t.planned(n, e)
	}
	if !t.free(n, e) {
		e.State, e.Why = Waiting, unplanned
		return false
	}
	want, inputs, err := plan.Resolve(n.Decl, t.outputs)
	n.keep()
	if err != nil {
		n.Plan = &Planned{Err: err, Inputs: plan.Tokens(n.Decl, t.outputs), decl: n.Decl, seq: n.Live.Seq, owned: n.Owned}
		return t.planned(n, e)
	}
	sum := wantSum(want)
	if t.stillSettled(n, want, sum) {
		n.Plan = t.nothing(n, want, sum, inputs)
		return t.planned(n, e)
	}
	e.State, e.Why = Waiting, unplanned
	if t.backingOff(n, e, Planning, false) {
		return false
	}
	t.Plan = append(t.Plan, PlanCall{Node: n, Want: want, Sum: sum, Inputs: inputs, Seq: n.Live.Seq, decl: n.Decl, owned: n.Owned})
	return false
}

// backingOff says whether a failed call is not to be made again yet. What only
// asks for patience is waiting, not degraded. Failing to put back what was
// applied last does not keep what is declared waiting, nor the other way round.
func (t *turn) backingOff(n *Node, e *Eval, op Op, back bool) bool {
	if n.Fail == nil || n.Fail.Op != op || n.Fail.back != back || !t.Now.Before(n.Fail.Next) {
		return false
	}
	e.State, e.Why, e.Until = Degraded, failed, n.Fail.Next
	if class := drivers.Class(n.Fail.Err); class == drivers.ErrWaiting || class == drivers.ErrStale {
		e.State = Waiting
	}
	t.wake(n.Fail.Next)
	return true
}

// from says whether p was made from what holds now, inputs apart. Everything
// else that a plan depends on is in here, so that nothing else ever
// invalidates one.
func (p *Planned) from(n *Node) bool {
	return p.seq == n.Live.Seq && p.owned == n.Owned && sameDecl(p.decl, n.Decl)
}

// stamp is what the outputs of a need come from.
type stamp struct {
	plan *Planned
	live *Live
	busy bool
}

// sameInputs says whether n's references still resolve to what its plan was
// made with. While nothing has become of its needs since the last time that is
// answered without resolving anything, which is what keeps a turn over many
// nodes cheap.
func (t *turn) sameInputs(n *Node) bool {
	if len(n.Decl.Fields) == 0 {
		return true
	}
	p := n.Plan
	same := len(p.stamps) == len(n.Decl.Needs)
	for i := 0; same && i < len(n.Decl.Needs); i++ {
		same = p.stamps[i] == t.stamp(n.Decl.Needs[i])
	}
	if same {
		return true
	}
	if !maps.Equal(p.Inputs, plan.Tokens(n.Decl, t.outputs)) {
		return false
	}
	p.stamps = p.stamps[:0]
	for _, g := range n.Decl.Needs {
		p.stamps = append(p.stamps, t.stamp(g))
	}
	return true
}

func (t *turn) stamp(g *graph.Node) stamp {
	m := t.need(g)
	return stamp{m.Plan, m.Live, m.Op == Applying}
}

// sameDecl says whether two declarations ask for the same, under the same
// name, whatever else they say.
func sameDecl(a, b *graph.Node) bool {
	if a == b {
		return true
	}
	return a != nil && b != nil && a.ID == b.ID && string(a.Res.Spec) == string(b.Res.Spec) && a.Res.Files.Hash() == b.Res.Files.Hash()
}

func (t *turn) planned(n *Node, e *Eval) bool {
	if n.Plan.Err != nil {
		e.State, e.Why, e.Text = Degraded, failed, n.Plan.Err.Error()
		return false
	}
	e.Planned = true
	e.Outputs = n.Plan.Change.Outputs
	if n.Plan.Change.Action == schema.None {
		e.Outputs = n.liveOutputs()
	}
	return true
}

// outputs is what a need will answer; nil where that is not known.
func (t *turn) outputs(g *graph.Node) map[string]drivers.Output {
	return t.eval(t.need(g)).Outputs
}

// stillSettled says whether planning answered "nothing to do" to exactly this
// before, in this process or in one before it.
func (t *turn) stillSettled(n *Node, want *drivers.Desired, sum string) bool {
	o := n.Owned
	return o != nil && n.Intent == nil && n.Live.State.Exists && n.Live.State.Version != "" && len(want.Unknown) == 0 &&
		o.Settled == store.Settled{Want: sum, Version: n.Live.State.Version, Driver: t.Targets[n.ID.Target].made}
}

func (t *turn) nothing(n *Node, want *drivers.Desired, sum string, inputs plan.Inputs) *Planned {
	return &Planned{
		Change: drivers.Change{ID: n.ID, Handle: n.Key.Handle, Action: schema.None},
		Want:   want, WantSum: sum, Inputs: inputs, decl: n.Decl, seq: n.Live.Seq, owned: n.Owned,
	}
}

// PlanMade puts a driver's answer into the world, unless what it was made from
// is gone meanwhile.
func (w *World) PlanMade(p PlanCall, c drivers.Change, err error) {
	n := p.Node
	if n.Live == nil || n.Live.Seq != p.Seq || n.Owned != p.owned || !sameDecl(n.Decl, p.decl) {
		return
	}
	if err == nil {
		err = sound(c)
	}
	if err != nil {
		n.failed(w.Now, Planning, p.back, err)
		n.Dirty = n.Dirty || drivers.Class(err) == drivers.ErrStale
		return
	}
	n.succeeded(Planning, p.back)
	c.ID = p.item().ID
	if p.back {
		w.backMade(p, c)
		return
	}
	if n.takesOver() && (c.Action == schema.None || c.Action == schema.Update) {
		c.Action = schema.Adopt
	}
	n.keep()
	n.Plan = &Planned{Change: c, Want: p.Want, WantSum: p.Sum, Inputs: p.Inputs, decl: p.decl, seq: p.Seq, owned: p.owned}
	if n.Owned != nil && p.Sum == n.Owned.Want {
		n.kept = nil // the plan knows it
	}
	if c.Action == schema.None {
		n.flaps, n.applied = 0, ""
	} else {
		n.Plan.Masked = plan.Mask(w.Env.ID, w.Targets[n.ID.Target].Identity, c)
		if p.decl != nil {
			n.Plan.Masked.Declared = plan.Declared(p.decl.Res)
		}
		n.Plan.Digest = n.Plan.Masked.Digest()
	}
}

// sound refuses a plan whose difference cannot be what it says it is.
func sound(c drivers.Change) error {
	seen := make(map[schema.Path]bool, len(c.Diff))
	for _, d := range c.Diff {
		if seen[d.Path] {
			return fmt.Errorf("the driver of %s plans %s twice: %w", c.ID.Kind, d.Path, drivers.ErrPermanent)
		}
		seen[d.Path] = true
	}
	return nil
}

// Backoff of failures, doubling; a denial waits longest, since a person must
// act.
const (
	backoffFirst = 500 * time.Millisecond
	backoffMost  = 5 * time.Minute
	freeStales   = 2 // live may move twice between plan and apply before that is waited out
)

// failed notes a failure and when to try again.
func (n *Node) failed(now time.Time, op Op, back bool, err error) {
	f := &Failure{Op: op, Err: err, Tries: 1, At: now, back: back}
	if n.Fail != nil && n.Fail.Op == op && n.Fail.back == back {
		f.Tries = n.Fail.Tries + 1
	}
	f.Next = now.Add(backoff(f.Tries, err))
	n.Fail = f
}

// succeeded forgets that a call failed before.
func (n *Node) succeeded(op Op, back bool) {
	if n.Fail != nil && n.Fail.Op == op && n.Fail.back == back {
		n.Fail = nil
	}
}

func backoff(tries int, err error) time.Duration {
	switch drivers.Class(err) {
	case drivers.ErrStale:
		if tries <= freeStales {
			return 0
		}
		return min(backoffFirst<<min(tries-freeStales-1, 20), recheckMost)
	case drivers.ErrWaiting:
		return min(time.Duration(tries)*recheckFirst, recheckMost)
	case drivers.ErrDenied, drivers.ErrPermanent:
		return backoffMost
	default:
		return min(backoffFirst<<min(tries-1, 20), backoffMost)
	}
}
