package reconciler

import (
	"slices"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// gate says whether a pending change may run as far as people are concerned:
// its needs are converged, nobody suspended it, and whoever must agree has.
func (t *turn) gate(n *Node, e *Eval) bool {
	c := &n.Plan.Change
	e.Drift = n.drift()
	in := t.judgement(n, n.Plan, e.Drift)
	judged := false
	if e.Said, judged = t.judged(n, n.Plan, e); !judged {
		return false
	}
	t.people(n, e, in, t.approved)
	if t.stale && len(e.Held) == 0 { // it would go: is all that lets it still said?
		t.people(n, e, in, t.heard)
	}
	if len(e.Held) > 0 {
		e.Changed = t.changed(n)
	}
	if n.Decl != nil {
		for _, need := range n.Decl.Needs {
			if m := t.need(need); !t.eval(m).Settled && !(e.Drift && t.eval(m).Stands) {
				e.State, e.Why, e.Need = Waiting, needWaits, m
				return false
			}
		}
	}
	switch {
	case t.isPaused(n):
		e.State, e.Why = Suspended, paused
	case len(e.Held) > 0 && e.Drift && t.Env.ReportDrift:
		e.State, e.Why = Drifted, drifts
	case len(e.Held) > 0:
		e.State, e.Why = Held, gated
	case c.Action == schema.Deferred && len(n.Plan.Want.Unknown) == 0:
		e.State, e.Why = Degraded, undecided
	case c.Action == schema.Deferred:
		e.State, e.Why = Waiting, deferred
	case t.Env.ReadOnly:
		e.State, e.Why = Waiting, readOnly
	default:
		return true
	}
	return false
}

// people says what wants a person, or has to wait for its time, where these
// approvals count.
func (t *turn) people(n *Node, e *Eval, in gate.Input, approved gate.Index) {
	e.Held = gate.Judge(in, approved)
	if !e.Drift && !in.Finishing && !t.goesDown(n) {
		e.Held = append(e.Held, gate.JudgeReviews(n.Plan.Masked, t.Env.Gates.Reviews, approved)...)
		e.Shut = t.shut(n)
		e.Owners = gate.JudgeOwners(n.Plan.Masked, t.owners(n), approved)
		for _, r := range e.Owners {
			e.Held = append(e.Held, r.String())
		}
	}
	r := gate.JudgePolicies(n.Plan.Masked, against(e.Said, e.Drift, n.Decl), approved)
	e.Held, e.Blocked, e.Refused = append(e.Held, r.Why...), r.By, r.Final
	if e.Shut != "" {
		e.Held = append(e.Held, e.Shut)
	}
}

// against leaves out what does not speak against a change: putting back what
// was applied last asks nobody again who could have overridden it.
func against(said []schema.Violation, drift bool, decl *graph.Node) []schema.Violation {
	if !drift || decl == nil || len(decl.Res.Violations) == 0 {
		return said
	}
	soft := func(v schema.Violation) bool { return v.Level == schema.SoftMandatory }
	declared := slices.DeleteFunc(slices.Clone(decl.Res.Violations), soft)
	return slices.Concat(declared, said[len(decl.Res.Violations):])
}

// heldAnyway is what wants a person whether or not somebody has approved it.
func heldAnyway(in gate.Input) []string { return gate.Judge(in, nil) }

// shut says when a newly declared change may run; "" is now. Its opening is
// worth a turn.
func (t *turn) shut(n *Node) string {
	if !t.looked {
		t.looked, t.closed = true, t.Env.Gates.Calendar.At(t.Now)
	}
	words := gate.JudgeWindow(n.Plan.Masked, t.closed, t.approved)
	if words != "" {
		t.wake(t.closed.Opens)
	}
	return words
}

// goesDown says whether n is deleted because a person takes everything down.
func (t *turn) goesDown(n *Node) bool { return t.State.Down && n.Decl == nil }

// closedFor says whether the windows have closed since an apply was decided
// that was to run within them: it is begun, and waits for its turn.
func (t *turn) closedFor(cl *call, now time.Time) bool {
	n := cl.nodes[0]
	if cl.drift || n.doing == nil || n.Intent == nil || n.Intent.Attempts > 1 || t.goesDown(n) {
		return false
	}
	closed := t.Env.Gates.Calendar.At(now)
	return closed != nil && gate.JudgeWindow(n.doing.Masked, closed, gate.NewIndex(t.Approvals, now)) != ""
}

// isPaused says whether a person froze the environment, or n. Going down is a
// freeze in which deletions run.
func (t *turn) isPaused(n *Node) bool {
	return t.isPausedAlone(n) || t.State.Suspended != nil && !t.goesDown(n)
}

func (t *turn) isPausedAlone(n *Node) bool {
	if len(t.State.Paused) == 0 {
		return false
	}
	_, one := t.State.Paused[n.Key.String()]
	return one
}

// drift says that nothing new is declared: what is wanted is what was applied
// last.
func (n *Node) drift() bool {
	return n.Owned != nil && n.Plan.Want != nil && n.Intent == nil &&
		n.Plan.WantSum == n.Owned.Want
}

// takesOver says whether applying means taking over what nobody here made.
func (n *Node) takesOver() bool {
	return n.Live.State.Exists && n.Live.State.Owner == "" && (!n.ours() || n.unmarked())
}

func (t *turn) judgement(n *Node, p *Planned, drift bool) gate.Input {
	in := gate.Input{Change: p.Masked, Risk: p.Change.Hold, Drift: drift, ReportDrift: t.Env.ReportDrift, Budget: t.budget}
	if n.Owned != nil {
		in.Holds, in.Data = n.Owned.Hold, n.Owned.Data
	}
	if n.Intent != nil {
		in.Holds, in.Data = slices.Concat(in.Holds, n.Intent.Hold), in.Data || n.Intent.Data
	}
	if n.Decl != nil {
		in.Holds = slices.Concat(in.Holds, n.Decl.Res.Hold)
		in.Data = in.Data || n.Decl.Res.Data
	}
	if n.Intent != nil {
		now := p.Change.Action
		in.Finishing = n.Intent.Want == p.WantSum && (now == n.Intent.Action || now.Milder(n.Intent.Action))
	}
	in.TakesOver = n.takesOver()
	in.Finishing = in.Finishing && !in.TakesOver
	if t.goesDown(n) {
		in.Budget = gate.Budget{}
		if t.DownAlso[n.ID] {
			in.Holds, in.Data = nil, false
		}
	}
	return in
}

// countDestruction is the budget: what was destroyed within the last window,
// and what wants to be, approved things apart.
func (t *turn) countDestruction() gate.Budget {
	owned, wanted, spent := 0, 0, 0
	for _, n := range t.Nodes {
		if n.ours() {
			owned++
		}
		if n.wantsDestruction() && !t.State.Down && !(n.Plan != nil && t.approved.Covers(n.Plan.Masked)) {
			wanted++
		}
	}
	for _, at := range t.State.Destroyed {
		if age := t.Now.Sub(at); age >= 0 && age < gate.Window {
			spent++
			t.wake(at.Add(gate.Window))
		}
	}
	return t.Env.Gates.NewBudget(owned, spent, wanted)
}

func (n *Node) wantsDestruction() bool {
	if n.Decl == nil {
		return n.ours() && (n.Live == nil || n.Live.State.Exists)
	}
	return n.Plan != nil && n.Plan.Change.Action == schema.Replace && n.ours()
}

// needsOf is what the inventory keeps of the needs of a declaration: their
// addresses.
func (w *World) needsOf(n *Node) []store.Key {
	var keys []store.Key
	for _, g := range n.Decl.Needs {
		keys = append(keys, w.need(g).Key)
	}
	return keys
}
