package reconciler

import (
	"maps"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// kept is what was applied last, as it was declared, for as long as what is
// declared since waits for people: drift from it is put back meanwhile.
type kept struct {
	decl   *graph.Node // of the revision that it came with, without its graph; nil: rebuilt from the inventory
	want   *drivers.Desired
	sum    string
	inputs plan.Inputs
}

// keep notes, before n's plan goes, what that plan knows of the last apply.
func (n *Node) keep() {
	if p := n.Plan; p != nil && !p.back && p.Err == nil && p.Want != nil && n.Owned != nil && p.WantSum == n.Owned.Want {
		n.kept = p.kept()
	}
}

func (p *Planned) kept() *kept {
	if p.Want == nil {
		return nil
	}
	return &kept{p.decl.Alone(), p.Want, p.WantSum, p.Inputs}
}

// lastWant is what was applied last, or nil where that is not known whole: a
// process that has begun since has only the inventory, which holds neither files
// nor what secrets and outputs were put where.
func (n *Node) lastWant() *kept {
	if k := n.kept; k != nil && k.sum == n.Owned.Want {
		return k
	}
	n.kept = nil
	if want := (&drivers.Desired{Spec: n.Owned.Spec}); len(n.Owned.Inputs) == 0 && wantSum(want) == n.Owned.Want {
		n.kept = &kept{want: want, sum: n.Owned.Want}
	}
	return n.kept
}

// declared is the declaration that a plan of n is about.
func (n *Node) declared(p *Planned) *graph.Node {
	if p.back {
		return p.decl
	}
	return n.Decl
}

// mends says whether a plan of n only repairs drift.
func (n *Node) mends(p *Planned) bool { return p.back || n.drift() }

// puttingBack says that the apply in flight leaves what is declared still to come.
func (n *Node) puttingBack() bool { return n.doing != nil && n.doing.back }

// doingFor is the declaration because of which n is being applied.
func (n *Node) doingFor() *graph.Node {
	if n.puttingBack() && n.Plan != nil {
		return n.Plan.decl
	}
	return n.doing.decl
}

// item is what a driver is asked to plan. What was applied last is planned under
// the name that it was applied under: a name may be part of what is written.
func (p *PlanCall) item() drivers.Item {
	it := p.Node.item(p.Want)
	if p.back {
		it.ID = p.owned.ID
	}
	return it
}

// asked is the node of a need, be it of a graph that is no longer in force; nil
// where it is not declared any more.
func (w *World) asked(g *graph.Node) *Node {
	if g.Index < len(w.byGraph) {
		if m := w.byGraph[g.Index]; m != nil && m.Decl == g {
			return m
		}
	}
	for _, m := range w.Nodes {
		if m.Decl != nil && m.ID == g.ID {
			return m
		}
	}
	return nil
}

// putBack looks after a thing of which something newer is declared that waits for
// people: drift from what was applied last is put back, as it would be if nothing
// newer were declared. Whatever wants a person there, too, is left as it is.
func (t *turn) putBack(n *Node, e *Eval) {
	o := n.Owned
	waits := e.State == Held || e.State == Waiting && e.Why == needWaits
	if !waits || e.Drift || o == nil || n.Intent != nil && n.Intent.Want != o.Want || t.Env.ReadOnly || t.Env.ReportDrift || t.isPaused(n) {
		return
	}
	live := &n.Live.State
	made := t.Targets[n.ID.Target].made
	asApplied := store.Settled{Want: o.Want, Version: live.Version, Driver: made}
	if n.Intent == nil && live.Exists && live.Version != "" && o.Settled == asApplied {
		e.Stands = live.Health.Status == drivers.Healthy
		return
	}
	k := n.lastWant()
	if k == nil || !t.needsStand(n, k) || !t.backPlanned(n, e, k) {
		return
	}
	if n.Back.Change.Action != schema.None {
		t.back(n, e)
		return
	}
	e.Stands = live.Exists && live.Health.Status == drivers.Healthy
	if live.Exists && t.free(n, e) && (n.Intent != nil || o.Settled.Want != o.Want || o.Settled.Driver != made) { // a version that moves by itself is not written down each time
		t.Record = append(t.Record, n)
	}
}

// needsStand says whether what n was applied with is there, and answers what it
// answered then.
func (t *turn) needsStand(n *Node, k *kept) bool {
	for _, key := range n.Owned.Needs {
		m := t.byKey[key]
		if m == nil || !t.eval(m).Settled && !t.eval(m).Stands {
			return false
		}
	}
	if k.decl == nil {
		return true
	}
	for _, g := range k.decl.Needs {
		if m := t.asked(g); m == nil || m.Live == nil {
			return false
		}
	}
	now := plan.Tokens(k.decl, func(g *graph.Node) map[string]drivers.Output { return t.asked(g).Live.State.Outputs })
	return maps.Equal(now, k.inputs)
}

// backPlanned makes sure of a plan that puts back what was applied last.
func (t *turn) backPlanned(n *Node, e *Eval, k *kept) bool {
	if b := n.Back; b != nil && b.seq == n.Live.Seq && b.owned == n.Owned && b.decl == k.decl {
		return true
	}
	b := Eval{looking: e.looking}
	n.backFails(e)
	if t.free(n, &b) && !t.backingOff(n, &b, Planning, true) {
		t.Plan = append(t.Plan, PlanCall{Node: n, Want: k.want, Sum: k.sum, Inputs: k.inputs, Seq: n.Live.Seq, decl: n.Decl, owned: n.Owned, back: true})
	}
	return false
}

// backMade puts a driver's answer to that into the world.
func (w *World) backMade(p PlanCall, c drivers.Change) {
	n := p.Node
	k := n.kept
	if k == nil || k.sum != p.Sum {
		return
	}
	n.Back = &Planned{Change: c, Want: p.Want, WantSum: p.Sum, Inputs: p.Inputs, decl: k.decl, seq: p.Seq, owned: p.owned, back: true}
	if c.Action == schema.None {
		n.flaps, n.applied = 0, ""
		if n.Fail != nil && n.Fail.back {
			n.Fail = nil
		}
		return
	}
	n.Back.Masked = plan.Mask(w.Env.ID, w.Targets[n.ID.Target].Identity, c)
	n.Back.Digest = n.Back.Masked.Digest()
}

// back applies that plan, unless a person would have to agree.
func (t *turn) back(n *Node, e *Eval) {
	p := n.Back
	b := Eval{Drift: true, looking: e.looking}
	in := t.judgement(n, p, true)
	unasked := t.Judge != nil && p.decl == nil // what policies would have to be shown is not known any more
	wants := p.Change.Action.Destroys() || p.Change.Action == schema.Deferred || unasked || len(gate.Judge(in, nil)) > 0
	if !wants {
		said, known := t.judged(n, p, &b)
		if !known {
			return
		}
		wants = len(gate.JudgePolicies(p.Masked, against(said, true, p.decl), nil).Why) > 0
	}
	if wants {
		e.Text = "it is not as it was applied last, either"
		return
	}
	n.backFails(e)
	if t.apply(n, p, &b); b.Why == flapping {
		e.Text = "putting back what was applied last does not settle: " + fieldsText(p.Change.Diff)
	}
}

// backFailing is the beginning of why putting back fails; explain has the rest,
// since that is another from one moment to the next.
const backFailing = "putting back what was applied last"

// backFails notes that, from one try to the next.
func (n *Node) backFails(e *Eval) {
	if f := n.Fail; f != nil && f.back && drivers.Class(f.Err) != drivers.ErrWaiting && drivers.Class(f.Err) != drivers.ErrStale {
		e.Text = backFailing
	}
}

// stood puts into the inventory that what was applied last lives as it was
// applied, though something else is declared.
func (w *World) stood(n *Node, r *store.Result) {
	o := *n.Owned
	o.Handle, o.Version = n.Key.Handle, n.Live.State.Version
	o.Settled = store.Settled{Want: o.Want, Version: o.Version, Driver: w.Targets[n.ID.Target].made}
	if n.Intent != nil && n.Fail != nil && n.Fail.Op == Applying {
		n.Fail = nil
	}
	if was := n.Owned; n.Plan.owned == was && o.Handle == was.Handle && o.Version == was.Version {
		n.Plan.owned = &o // its driver was told the same of the last apply
	}
	n.Owned, n.Intent = &o, nil
	n.Back.owned = n.Owned // it said "nothing to do" of exactly this
	done(r, n)
}
