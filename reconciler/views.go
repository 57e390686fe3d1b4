package reconciler

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// Status implements Control.
func (r *Reconciler) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.statusNow()
}

func (r *Reconciler) statusNow() Status {
	w := r.core.w
	s := Status{
		Environment: r.cfg.Name, Revision: w.Revision, Refused: r.refuse, Rollback: w.State.Quarantined, Suspended: w.State.Suspended,
		Source: r.source, Templates: r.followed("templates"), Policies: r.followed("policies"), Forge: r.forgeNow(), Report: r.report, Down: w.State.Down, Counts: map[State]int{}, Resources: []ResourceStatus{}, Targets: []TargetStatus{},
		Converged: r.status.converged && r.refuse == nil && w.State.Suspended == nil, Settled: r.status.settled, WellSince: r.status.well, At: time.Now(), Seq: r.status.seq,
	}
	if r.fatal != nil {
		s.Source.OK, s.Source.Error = false, r.fatal.Error()
	}
	for _, t := range r.cfg.Registry.All() {
		s.Targets = append(s.Targets, targetStatus(w.Targets[t.Name]))
	}
	if !w.Declared {
		return s
	}
	var pending []string
	for _, n := range w.Nodes {
		e := n.said
		if e == nil {
			e = &Eval{State: Waiting, Why: unseen} // no turn has seen it yet
		}
		rs := resourceStatus(n, e)
		s.Resources = append(s.Resources, rs)
		s.Counts[rs.State]++
		if rs.Digest != "" {
			pending = append(pending, rs.Digest)
		}
	}
	s.PlanDigest = plan.Digest(pending)
	byLayer(s.Resources, func(r ResourceStatus) string { return r.Layer })
	return s
}

// byLayer orders by layer, and keeps the order within one.
func byLayer[T any](all []T, layer func(T) string) {
	slices.SortStableFunc(all, func(a, b T) int {
		return cmp.Compare(slices.Index(schema.Layers, layer(a)), slices.Index(schema.Layers, layer(b)))
	})
}

func targetStatus(t *Target) TargetStatus {
	s := TargetStatus{Name: t.Name, Engine: t.Engine, OK: t.Down == nil}
	if t.Down != nil {
		s.Error, s.Since, s.Next = schema.Mask(t.Down.Err.Error()), t.Down.Since, t.Down.Next
	}
	return s
}

func resourceStatus(n *Node, e *Eval) ResourceStatus {
	s := ResourceStatus{ID: n.ID, Layer: n.Layer, State: or(e.State, Waiting), Since: n.shown.since, Deadline: e.Until, Declared: n.Decl != nil}
	s.Reason, s.Hint = explain(n, e)
	s.Reason = schema.Mask(s.Reason)
	if e.Pending && n.Plan != nil && n.Op != Applying {
		s.Action, s.Digest = n.Plan.Change.Action, n.Plan.Digest
	}
	if e.State == Converged && n.Live != nil {
		s.Note = n.Live.State.Health.Reason
	}
	s.Refused, s.Violations, s.Changed = e.Refused, e.Said, e.Changed
	s.Timed = e.Shut != "" && len(e.Held) == 1
	if n.Decl != nil {
		s.Pos, s.Use = n.Decl.Res.Pos, n.Decl.Res.Use
		if e.Said == nil {
			s.Violations = n.Decl.Res.Violations
		}
	}
	if n.Owned != nil {
		s.LastAction, s.LastAt, s.LastRev = n.Owned.Action, n.Owned.AppliedAt, n.Owned.Revision
		if n.Decl == nil {
			s.Pos, s.Use = n.Owned.Pos, n.Owned.Use
		}
	}
	return s
}

// Plan implements Control.
func (r *Reconciler) Plan() PlanView {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.planNow()
}

func (r *Reconciler) planNow() PlanView {
	w := r.core.w
	v := PlanView{Environment: r.cfg.Name, Revision: w.Revision, Under: w.Under, Refused: r.refuse, Changes: []PlannedChange{}, Counts: map[schema.Action]int{}, Complete: w.Declared && r.looked}
	if !w.Declared {
		return v
	}
	t := Turn(w)
	r.core.giveBack(t.Apply)
	var digests []string
	for i, n := range w.Nodes {
		e := &t.Evals[i]
		if n.Live != nil && n.Live.State.Exists {
			v.Live++
		}
		switch {
		case e.Pending && n.Plan != nil:
			c := plannedChange(w, n, e, t)
			v.Changes = append(v.Changes, c)
			v.Counts[c.Action]++
			digests = append(digests, c.Digest)
		case e.Planned && n.Plan != nil:
			v.Unchanged++
		case !e.Settled:
			v.Unplanned = append(v.Unplanned, resourceStatus(n, e))
			v.Complete = v.Complete && e.Why != unseen && e.Why != unplanned && e.Why != busy
		}
	}
	v.Digest = plan.Digest(digests)
	byLayer(v.Changes, func(c PlannedChange) string { return c.Layer })
	return v
}

func plannedChange(w *World, n *Node, e *Eval, d *Decision) PlannedChange {
	c := PlannedChange{
		Change: n.Plan.Change, Layer: n.Layer, Digest: n.Plan.Digest, Held: e.Held, Shut: e.Shut, Owners: e.Owners, Changed: e.Changed,
		Blocked: e.Blocked, Refused: e.Refused, Violations: e.Said, Drift: e.Drift, declared: n.Plan.Masked.Declared,
	}
	c.Opaque, c.Secrets = nil, nil
	if n.Decl == nil {
		if n.Owned != nil {
			c.Pos, c.Use, c.Was = n.Owned.Pos, n.Owned.Use, n.Owned.Revision
		}
		return c
	}
	c.Pos, c.Use = n.Decl.Res.Pos, n.Decl.Res.Use
	for _, g := range n.Decl.Needs {
		if m := w.need(g); !d.Evals[m.index].Settled {
			c.Waits = append(c.Waits, m.ID.String())
		}
	}
	return c
}

// Show implements Control.
func (r *Reconciler) Show(id schema.ID) (Detail, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := r.find(id)
	if err != nil {
		return Detail{}, err
	}
	w := r.core.w
	t := Turn(w)
	r.core.giveBack(t.Apply)
	e := &t.Evals[n.index]
	d := Detail{Status: resourceStatus(n, e), Handle: n.Key.Handle}
	if n.Decl != nil {
		d.Declared = n.Decl.Res.Spec
		d.Needs, d.NeededBy = ids(n.Decl.Needs), ids(n.Decl.By)
	}
	if n.Live != nil {
		live := &n.Live.State
		d.Live, d.Owner, d.Outputs, d.Health = live.Spec, live.Owner, live.Outputs, live.Health
	}
	if e.Pending && n.Plan != nil {
		c := plannedChange(w, n, e, t)
		d.Change = &c
	}
	d.Events = r.eventsOf(n.ID)
	return d, nil
}

func (r *Reconciler) eventsOf(id schema.ID) []Event {
	const most = 50
	var of []Event
	for _, ev := range r.status.events {
		if ev.ID == id {
			of = append(of, ev)
		}
	}
	return of[max(0, len(of)-most):]
}

// find is the node that a person names, with or without its target.
func (r *Reconciler) find(id schema.ID) (*Node, error) {
	var found *Node
	for _, n := range r.core.w.Nodes {
		switch {
		case !n.ID.Matches(id):
		case found != nil && found.ID != n.ID:
			return nil, fmt.Errorf("%w: %s is in several targets; say %s", ErrUnknown, id, n.ID)
		case found == nil || n.Decl != nil:
			found = n
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w: %s", ErrUnknown, id)
	}
	return found, nil
}

func ids(nodes []*graph.Node) []schema.ID {
	var all []schema.ID
	for _, n := range nodes {
		all = append(all, n.ID)
	}
	return all
}

// Graph implements Control.
func (r *Reconciler) Graph() GraphView {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := GraphView{Nodes: []GraphNode{}}
	for _, n := range r.core.w.Nodes {
		g := GraphNode{ID: n.ID, Layer: n.Layer, State: n.shown.state}
		if n.Decl != nil {
			g.Needs = ids(n.Decl.Needs)
		}
		v.Nodes = append(v.Nodes, g)
	}
	return v
}

// History implements Control.
func (r *Reconciler) History(ctx context.Context, limit int) ([]Record, error) {
	records := []Record{}
	err := r.core.store.History(ctx, limit, func(raw []byte) error {
		var rec Record
		if err := json.Unmarshal(raw, &rec); err != nil {
			return err
		}
		records = append(records, rec)
		return nil
	})
	return records, err
}

// Audit implements Control.
func (r *Reconciler) Audit(ctx context.Context, limit int) ([]AuditEntry, error) {
	entries, whole, err := r.core.store.Audit(ctx, limit)
	if err == nil && !whole {
		err = fmt.Errorf("%w: an entry was altered or taken out", store.ErrAltered)
	}
	return entries, err
}

// AuditLog implements Control.
func (r *Reconciler) AuditLog(ctx context.Context, after uint64, limit int) ([]json.RawMessage, error) {
	return r.core.store.AuditLog(ctx, after, limit)
}

// Kick implements Control.
func (r *Reconciler) Kick() {
	for _, b := range r.besides {
		nudge(b.asked)
	}
	nudge(r.look)
	nudge(r.wake)
}

// Events implements Control.
func (r *Reconciler) Events(ctx context.Context, seq uint64) ([]Event, <-chan Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var past []Event
	for _, e := range r.status.events[max(0, len(r.status.events)-rememberedEvents):] {
		if e.Seq > seq {
			past = append(past, e)
		}
	}
	sub := make(chan Event, subscriberBuffer)
	r.status.subs[sub] = struct{}{}
	context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if _, there := r.status.subs[sub]; there {
			delete(r.status.subs, sub)
			close(sub)
		}
	})
	return past, sub
}

func (r *Reconciler) statusAndMoved() (Status, <-chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.statusNow(), r.status.moved, r.fatal
}

// Wait implements Control.
func (r *Reconciler) Wait(ctx context.Context, ok func(Status) bool) (Status, error) {
	for {
		s, moved, fatal := r.statusAndMoved()
		if ok(s) {
			return s, nil
		}
		if fatal != nil {
			return s, fatal
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}
