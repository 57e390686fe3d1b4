package reconciler

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/schema"
)

// Judge is what the policies of a revision say of changes and of plans; what
// they say of resources is in Resource.Violations. Its functions are safe for
// concurrent use; nil ones have nothing to say.
type Judge struct {
	// Wants says whether some policy would judge such a change. It is asked in
	// turns: it is fast, and depends on the change alone.
	Wants func(*schema.ChangeFacts) bool
	// Changes says what is against each change, in order. An error refuses
	// them, and is tried again.
	Changes func(context.Context, schema.PlanFacts, []schema.ChangeFacts) ([][]schema.Violation, error)
	// Plan says what is against a plan as a whole.
	Plan func(context.Context, schema.PlanFacts) ([]schema.PlanViolation, error)
}

// verdict is what policies said of a plan, and which they were.
type verdict struct {
	judge *Judge
	said  []schema.Violation
}

// planVerdict is what policies said of a plan.
type planVerdict struct {
	judge *Judge
	facts string // that it was said of, as JSON
	said  []schema.PlanViolation
	err   error
	tries int
	next  time.Time // of the next try, with an error
}

// judgeTimeout bounds one call to the policies; a policy that takes long ends
// earlier, and by itself.
const judgeTimeout = 5 * time.Minute

// judging is a call to the policies.
type judging struct {
	judge   *Judge
	plans   []*Planned // of the call's nodes
	changes []schema.ChangeFacts
	facts   schema.PlanFacts
	whole   bool // the plan as a whole is judged too
	key     string

	said      [][]schema.Violation
	wholeSaid []schema.PlanViolation
	wholeErr  error
}

// judged answers what policies say against a pending change, and whether they
// have said it already.
func (t *turn) judged(n *Node, p *Planned, e *Eval) ([]schema.Violation, bool) {
	var all []schema.Violation
	if decl := n.declared(p); decl != nil {
		all = decl.Res.Violations
	}
	if t.Judge == nil || p.Change.Action == schema.Deferred { // that asks once it is known
		return all, true
	}
	if v := p.verdict; v == nil || v.judge != t.Judge {
		if t.Judge.Changes != nil {
			if facts := t.factsOf(n, p, e); t.Judge.Wants == nil || t.Judge.Wants(&facts) {
				t.ask(n, p, e, facts)
				return all, false
			}
		}
		p.verdict = &verdict{judge: t.Judge}
	}
	all = slices.Concat(all, p.verdict.said)
	if t.Judge.Plan == nil {
		return all, true
	}
	whole, ok := t.judgedWhole(e)
	for _, v := range whole {
		if v.Applies(n.ID.Kind, p.Change.Action) {
			all = append(all, v.Violation)
		}
	}
	return all, ok
}

// ask notes that a change is to be judged.
func (t *turn) ask(n *Node, p *Planned, e *Eval, facts schema.ChangeFacts) {
	if t.backingOff(n, e, Judging, p.back) {
		return
	}
	e.State, e.Why = Waiting, unjudged
	if t.free(n, e) {
		t.Judging = append(t.Judging, Doing{n, p})
		t.facts = append(t.facts, facts)
	}
}

// judgedWhole answers what is said against the plan as it stands. While not all
// of it is planned, nothing of it may run.
func (t *turn) judgedWhole(e *Eval) ([]schema.PlanViolation, bool) {
	if t.whole == nil {
		t.whole = t.wholePlan()
	}
	v := t.PlanVerdict
	if t.whole.done && v != nil && v.judge == t.Judge && v.facts == t.whole.key && (v.err == nil || t.Now.Before(v.next)) {
		if v.err == nil {
			return v.said, true
		}
		e.State, e.Why, e.Text, e.Until = Degraded, unjudged, schema.Mask(v.err.Error()), v.next
		t.wake(v.next)
		return nil, false
	}
	e.State, e.Why = Waiting, unjudged
	if t.whole.done {
		t.JudgeWhole = true
	} else {
		t.wake(t.Now.Add(planPause))
	}
	return nil, false
}

// planPause is after what time a plan that was not whole is looked at again, in
// case nothing that ends says so.
const planPause = 100 * time.Millisecond

// wholePlan is the plan as it stands at the beginning of a turn.
type wholePlan struct {
	facts schema.PlanFacts
	key   string
	done  bool // all is planned that can be
}

func (t *turn) wholePlan() *wholePlan {
	w := &wholePlan{facts: t.planFacts(), done: true}
	w.facts.Actions, w.facts.Layers, w.facts.Kinds = map[schema.Action]int{}, map[string]map[schema.Action]int{}, map[string]map[schema.Action]int{}
	for _, n := range t.Nodes {
		if n.ours() {
			w.facts.Owned++
		}
		unseen := n.Live == nil && (t.Targets[n.ID.Target] == nil || t.Targets[n.ID.Target].Down == nil)
		if n.Op == Observing || n.Op == Planning || unseen && n.Fail == nil || n.said != nil && n.said.Why == unplanned {
			w.done = false
		}
		if n.Plan == nil || n.Plan.Err != nil || n.Plan.Change.Action == schema.None || n.Op == Applying && !n.puttingBack() {
			continue
		}
		w.facts.Changes++
		a := n.Plan.Change.Action
		w.facts.Actions[a]++
		count(w.facts.Layers, n.Layer, a)
		count(w.facts.Kinds, n.ID.Kind, a)
	}
	key, err := json.Marshal(w.facts)
	if err != nil {
		panic("reconciler: the facts of a plan: " + err.Error()) // strings and numbers always marshal
	}
	w.key = string(key)
	return w
}

func count(in map[string]map[schema.Action]int, key string, a schema.Action) {
	if in[key] == nil {
		in[key] = map[schema.Action]int{}
	}
	in[key][a]++
}

func (w *World) planFacts() schema.PlanFacts {
	return schema.PlanFacts{Environment: w.Env.Name, Revision: w.Revision.ID, Title: w.Revision.Title, Author: w.Revision.Author, Signer: w.Revision.Signer}
}

// factsOf is a pending change as policies see it.
func (t *turn) factsOf(n *Node, p *Planned, e *Eval) schema.ChangeFacts {
	c := &p.Change
	in := t.judgement(n, p, e.Drift)
	f := schema.ChangeFacts{
		ID: c.ID, Kind: c.ID.Kind, Name: c.ID.Name, Target: c.ID.Target, Layer: n.Layer, Handle: c.Handle, Action: c.Action,
		Data: in.Data, Drift: e.Drift, Held: heldAnyway(in), Before: p.Masked.Before, Why: schema.Mask(c.Why),
	}
	for _, d := range p.Masked.Diff {
		f.Deltas = append(f.Deltas, deltaFacts(d))
	}
	was := n.recorded() // or begun, and never seen to end
	switch decl := n.declared(p); {
	case decl != nil:
		f.Labels, f.File, f.Dependents, f.Declared = maps.Clone(decl.Res.Labels), decl.Res.Pos.File, len(decl.By), decl.Res
	case was != nil:
		f.File = was.Pos.File
	}
	if was == nil {
		return f
	}
	for _, face := range []*gate.Face{faceOfOwned(was), saidOfOwned(was)} {
		f.WasFiles, f.WasUnknown = append(f.WasFiles, face.Files...), f.WasUnknown || face.Labels == nil
		if face.Labels != nil {
			f.Was = append(f.Was, face.Labels)
		}
	}
	if n.Decl == nil {
		f.Labels = was.Labels
	}
	return f
}

// labels are a declaration's, known even where there are none.
func labels(res *schema.Resource) map[string]string {
	if res.Labels == nil {
		return map[string]string{}
	}
	return res.Labels
}

func deltaFacts(d drivers.Delta) schema.DeltaFacts {
	return schema.DeltaFacts{Path: d.Path, Op: d.Op, Before: d.Before, After: d.After, Unknown: d.Unknown}
}

// judgingCall is the one call to the policies that a turn decided.
func (c *core) judgingCall(d *Decision) call {
	j := &judging{judge: c.w.Judge, changes: d.facts, facts: c.w.planFacts(), whole: d.JudgeWhole}
	var nodes []*Node
	for _, n := range d.Judging {
		n.Op = Judging
		nodes, j.plans = append(nodes, n.Node), append(j.plans, n.Planned)
	}
	if d.JudgeWhole {
		j.facts, j.key = d.whole.facts, d.whole.key
		c.w.judgesWhole = true
	}
	return call{op: Judging, nodes: nodes, judging: j}
}

// ask makes the call.
func (j *judging) ask(ctx context.Context) error {
	if j.whole {
		j.wholeSaid, j.wholeErr = j.judge.Plan(ctx, j.facts)
	}
	if len(j.changes) == 0 {
		return nil
	}
	var err error
	j.said, err = j.judge.Changes(ctx, j.facts, j.changes)
	if err == nil && len(j.said) != len(j.changes) {
		err = fmt.Errorf("the policies judged %d changes of %d", len(j.said), len(j.changes))
	}
	return err
}

// heard puts what the policies said into the world, unless what it was said of
// is gone meanwhile.
func (w *World) heard(e *end) {
	j := e.judging
	for i, n := range e.nodes {
		n.Op = Idle
		p := j.plans[i]
		if n.Plan != p && n.Back != p || w.Judge != j.judge {
			continue
		}
		if e.err != nil {
			n.failed(w.Now, Judging, p.back, fmt.Errorf("the policies cannot judge: %w", e.err))
			continue
		}
		n.succeeded(Judging, p.back)
		p.verdict = &verdict{judge: j.judge, said: j.said[i]}
	}
	if !j.whole {
		return
	}
	w.judgesWhole = false
	v := &planVerdict{judge: j.judge, facts: j.key, said: j.wholeSaid, err: j.wholeErr, tries: 1}
	if v.err != nil {
		if was := w.PlanVerdict; was != nil && was.err != nil {
			v.tries = was.tries + 1
		}
		v.next = w.Now.Add(backoff(v.tries, v.err))
	}
	w.PlanVerdict = v
}
