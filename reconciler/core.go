package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// core is a World with its store: what is done around a turn, one step at a
// time, without goroutines. The runner drives it from calls in flight; tests
// drive it from a seed, and kill it between any two steps.
type core struct {
	w     *World
	store *store.Store
}

// call is one call to a driver, begun and to be made.
type call struct {
	op      Op
	kind    string // of what is planned or applied: a node's identity may change while the call is out
	target  *Target
	nodes   []*Node        // many for an observation, else one
	items   []drivers.Item // of nodes
	states  []drivers.State
	plan    PlanCall
	change  drivers.Change
	fill    []filling
	judging *judging  // of a call to the policies, which has no target
	drift   bool      // it repairs what moved; nothing new is declared
	began   time.Time // when it was decided
}

// end is what became of a call.
type end struct {
	call
	got     []drivers.State
	planned drivers.Change
	took    time.Duration
	err     error
}

// absorb puts the ends of calls into the world and makes durable what must be,
// all in one write.
func (c *core) absorb(ctx context.Context, ends []end) error {
	var r store.Result
	for i := range ends {
		c.absorbOne(&ends[i], &r)
	}
	if r.Empty() {
		return nil
	}
	return c.store.Finish(ctx, r)
}

func (c *core) absorbOne(e *end, r *store.Result) {
	switch e.op {
	case Observing:
		e.target.looks--
		e.target.rest = c.w.Now.Add(restPerLook * e.took)
		c.observed(e)
	case Planning:
		n := e.nodes[0]
		n.Op = Idle
		if e.err != nil && errors.Is(e.err, drivers.ErrUnreachable) {
			c.w.outage(e.target, e.err)
		}
		c.w.PlanMade(e.plan, e.planned, e.err)
	case Judging:
		c.w.heard(e)
	case Applying:
		var s drivers.State
		if len(e.got) == 1 {
			s = e.got[0]
		}
		if e.err != nil && errors.Is(e.err, drivers.ErrUnreachable) {
			c.w.outage(e.target, e.err)
		}
		c.w.Applied(e.nodes[0], s, e.err, r)
	}
}

func (c *core) observed(e *end) {
	for _, n := range e.nodes {
		n.Op = Idle
	}
	if e.err == nil && len(e.got) != len(e.nodes) {
		e.err = fmt.Errorf("the driver of target %s answered %d states for %d items: %w", e.target.Name, len(e.got), len(e.nodes), drivers.ErrPermanent)
	}
	if e.err != nil {
		c.w.outage(e.target, e.err)
		return
	}
	e.target.Down = nil
	for i, n := range e.nodes {
		c.w.Seen(n, e.got[i])
	}
}

// outage notes that a target does not answer: everything on it is observed
// again when it does.
func (w *World) outage(t *Target, err error) {
	if t.Down == nil {
		t.Down = &Outage{Since: w.Now}
	}
	t.Down.Tries++
	t.Down.Err = err
	t.Down.Next = w.Now.Add(min(backoff(t.Down.Tries, nil), time.Minute))
	for _, n := range w.Nodes {
		if n.ID.Target == t.Name {
			n.Dirty = true
		}
	}
}

// step decides, makes durable what must be before a call may start, and
// answers the calls.
func (c *core) step(ctx context.Context) (*Decision, []call, error) {
	c.w.Expire()
	d := Turn(c.w)
	if !c.w.Env.ReadOnly {
		if err := c.book(ctx, d); err != nil {
			return d, nil, err
		}
	}
	applies, err := c.begin(ctx, d.Apply)
	if err != nil {
		return d, nil, err
	}
	return d, append(c.reads(d), applies...), nil
}

// book writes down what needs no call.
func (c *core) book(ctx context.Context, d *Decision) error {
	var r store.Result
	for _, n := range d.Record {
		c.w.Verified(n, &r)
	}
	for _, n := range d.Forget {
		c.w.Let(n, &r)
	}
	if !r.Empty() {
		if err := c.store.Finish(ctx, r); err != nil {
			return err
		}
	}
	if len(d.Forget) > 0 {
		c.w.rearrange()
	}
	if len(d.Forget) > 0 || c.w.movedBy(d.Record) {
		again := Turn(c.w) // the nodes may be others now, and with them the indices
		again.Record, again.Forget = nil, nil
		c.giveBack(d.Apply)
		*d = *again
	}
	return nil
}

// movedBy says whether more is to be done now that these are written down: to plan
// anew, or to delete what was needed before. No call may end that would make the
// turn for it.
func (w *World) movedBy(recorded []*Node) bool {
	if len(recorded) == 0 {
		return false
	}
	goes := w.Nodes[len(w.Nodes)-1].Decl == nil
	return goes || slices.ContainsFunc(recorded, func(n *Node) bool { return n.Plan.owned != n.Owned })
}

func (c *core) giveBack(nodes []Doing) {
	for _, n := range nodes {
		c.w.Targets[n.ID.Target].flight--
	}
}

// begin makes the intents of a frontier durable in one write.
func (c *core) begin(ctx context.Context, frontier []Doing) ([]call, error) {
	if len(frontier) == 0 {
		return nil, nil
	}
	intents := make(map[store.Key]store.Intent, len(frontier))
	var drop []store.Key
	for _, n := range frontier {
		intents[n.Key] = c.w.Begin(n.Node, n.Planned)
		drop = append(drop, n.stale...)
	}
	if err := c.store.Begin(ctx, intents, drop); err != nil {
		for _, n := range frontier {
			c.w.Unstarted(n.Node, n.Planned, err)
		}
		return nil, err
	}
	calls := make([]call, 0, len(frontier))
	for _, n := range frontier {
		p := n.Planned
		cl := call{op: Applying, kind: n.ID.Kind, target: c.w.Targets[n.ID.Target], nodes: []*Node{n.Node}, change: p.Change, drift: n.mends(p), began: c.w.Now}
		cl.fill = c.w.fillings(n.Node, p)
		c.w.Started(n.Node, p, intents[n.Key])
		cl.change.Nonce = n.Intent.Nonce
		calls = append(calls, cl)
	}
	return calls, nil
}

// reads are the calls that write nothing.
func (c *core) reads(d *Decision) []call {
	var calls []call
	for name, nodes := range d.Observe {
		cl := call{op: Observing, target: c.w.Targets[name], nodes: nodes}
		cl.target.looks++
		for _, n := range nodes {
			n.Op, n.Dirty = Observing, false
			cl.items = append(cl.items, n.item(n.wanted()))
		}
		calls = append(calls, cl)
	}
	for _, p := range d.Plan {
		p.Node.Op = Planning
		calls = append(calls, call{op: Planning, kind: p.Node.ID.Kind, target: c.w.Targets[p.Node.ID.Target], nodes: []*Node{p.Node},
			items: []drivers.Item{p.item()}, states: []drivers.State{p.Node.Live.State}, plan: p})
	}
	if len(d.Judging) > 0 || d.JudgeWhole && !c.w.judgesWhole {
		calls = append(calls, c.judgingCall(d))
	}
	return calls
}

// wanted is what is declared, for a look: as it was resolved last, or else by
// itself. nil says that it is not declared, and nothing else.
func (n *Node) wanted() *drivers.Desired {
	if n.Decl == nil {
		return nil
	}
	if n.Plan != nil && n.Plan.Want != nil && sameDecl(n.Plan.decl, n.Decl) {
		return n.Plan.Want
	}
	d := n.Decl.Desired()
	return &d
}

// make makes a call. It touches no World: it runs beside others.
func (cl call) make(ctx context.Context) end {
	e := end{call: cl}
	switch cl.op {
	case Judging:
		e.err = cl.judging.ask(ctx)
	case Observing:
		e.got, e.err = cl.target.Driver.Observe(ctx, cl.items)
	case Planning:
		e.planned, e.err = cl.target.Driver.Plan(ctx, cl.items[0], cl.states[0])
	case Applying:
		var secrets map[schema.Path]schema.Secret
		if secrets, e.err = reveal(ctx, cl.fill); e.err != nil {
			e.err = unsentError{e.err}
			return e
		}
		c := cl.change
		c.Secrets = secrets
		var s drivers.State
		s, e.err = cl.target.Driver.Apply(ctx, c)
		e.got = []drivers.State{s}
	}
	return e
}
