package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// meddle is the world outside.
func (s *sim) meddle() {
	objects := s.eng.Objects()
	switch s.rng.IntN(25) {
	case 0:
		s.eng.SetUnreachable(s.rng.IntN(2) == 0)
	case 1, 2:
		s.eng.SetUnreachable(false)
	case 3:
		if len(objects) > 0 {
			o := objects[s.rng.IntN(len(objects))]
			_ = s.eng.ForeignEdit(o.Handle, json.RawMessage(`{"value":"foreign"}`))
			s.heard(o.Handle)
		}
	case 4:
		if len(objects) > 0 {
			o := objects[s.rng.IntN(len(objects))]
			_ = s.eng.ForeignDelete(o.Handle)
			delete(s.foreign, o.Handle)
			s.heard(o.Handle)
		}
	case 5, 6:
		s.settleIn()
	}
}

// settleIn is somebody who makes a thing where one is declared, to be adopted,
// and is not there yet.
func (s *sim) settleIn() {
	if s.quirks.NoMarks || s.quirks.LateLanding > 0 && s.quirks.NoCAS {
		return // there nobody can tell what a create that died has made, or it overwrites whatever came meanwhile
	}
	for _, g := range s.decl {
		n := s.core.w.byKey[store.Key{Target: "mem", Handle: g.Handle}]
		if !g.Res.Adopt || g.Handle == "" || n == nil || n.ours() {
			continue
		}
		_, id, _ := strings.Cut(g.Handle, "/")
		if _, err := s.eng.ForeignCreate(g.ID.Kind, id, "", json.RawMessage(`{"value":"foreign"}`)); err == nil {
			s.foreign[g.Handle] = true
			delete(s.taken, g.Handle)
			s.heard(g.Handle)
			return
		}
	}
}

// heard is a watch that tells half of the time.
func (s *sim) heard(handle string) {
	s.say("meddled with %s", handle)
	if n := s.core.w.byKey[store.Key{Target: "mem", Handle: handle}]; n != nil && s.rng.IntN(2) == 0 {
		n.Dirty = true
	}
}

// simPolicy is the policy that the person overrides.
const simPolicy = "odd"

// judge is policies that refuse some changes until they are overridden, judge
// the plan as a whole, and fail now and then while there is trouble. Half of
// the revisions have none.
func (s *sim) judge() *Judge {
	if s.rng.IntN(2) == 0 {
		return nil
	}
	fails := func() error {
		if s.trouble && s.rng.IntN(5) == 0 {
			return errors.New("no worker can be started")
		}
		return nil
	}
	odd := schema.Violation{Policy: simPolicy, Level: schema.SoftMandatory, Message: "it is odd"}
	j := &Judge{
		Wants: func(f *schema.ChangeFacts) bool { return f.Action != schema.Update },
		Changes: func(_ context.Context, _ schema.PlanFacts, all []schema.ChangeFacts) ([][]schema.Violation, error) {
			out := make([][]schema.Violation, len(all))
			for i, f := range all {
				if len(f.Name)%2 == 1 || f.Action == schema.Delete {
					out[i] = []schema.Violation{odd}
				}
			}
			return out, fails()
		},
	}
	if s.rng.IntN(2) == 0 {
		j.Plan = func(_ context.Context, f schema.PlanFacts) ([]schema.PlanViolation, error) {
			if f.Changes < 3 {
				return nil, fails()
			}
			return []schema.PlanViolation{{Violation: odd, Applies: func(_ string, a schema.Action) bool { return a == schema.Create }}}, fails()
		}
	}
	return j
}

// person approves whatever is held.
func (s *sim) person(d *Decision) error {
	w := s.core.w
	var a gate.Approval
	for i, n := range w.Nodes {
		if i < len(d.Evals) && len(d.Evals[i].Held) > 0 && n.Plan != nil && n.Plan.Digest != "" {
			a.Changes = append(a.Changes, n.Plan.Masked)
		}
	}
	if len(a.Changes) == 0 {
		return nil
	}
	a.ID, a.By, a.At, a.Overrides = "x", "ana", s.now, []string{simPolicy}
	approvals := append(slices.Clone(w.Approvals), a)
	if err := s.core.store.Pull(context.Background(), store.Entry{At: s.now, By: "ana", What: "approve"}, store.Result{Approvals: &approvals}); err != nil {
		return err
	}
	w.Approvals = approvals
	return nil
}

// check holds the engine and a store just read against what is declared.
func (s *sim) check(declared int) error {
	ctx := context.Background()
	loaded, err := s.core.store.Load(ctx)
	if err != nil {
		return err
	}
	if len(loaded.Intents) > 0 {
		return fmt.Errorf("intents are left: %v", loaded.Intents)
	}
	if len(loaded.Owned) != declared {
		return fmt.Errorf("%d are owned, %d declared\n%s", len(loaded.Owned), declared, s.state())
	}
	if sins := s.eng.Sins(); len(sins) > 0 {
		return fmt.Errorf("sins: %s\n%s", strings.Join(sins, "; "), s.state())
	}
	if s.quirks.NonceUnsupported {
		return nil // at-least-once, and documented so
	}
	n := 0
	for _, o := range s.eng.Objects() {
		if _, owned := loaded.Owned[store.Key{Target: "mem", Handle: o.Handle}]; owned || !s.foreign[o.Handle] {
			n++
		}
	}
	if n != declared {
		return fmt.Errorf("%d live, %d are declared\n%s", n, declared, s.state())
	}
	for handle := range s.foreign {
		if _, lives := s.eng.Object(handle); !lives && !s.taken[handle] {
			return fmt.Errorf("%s was somebody else's, and was deleted\n%s", handle, s.state())
		}
	}
	orphans := s.eng.Orphans(simEnv, func(h string) bool { _, ok := loaded.Owned[store.Key{Target: "mem", Handle: h}]; return ok })
	if len(orphans) > 0 {
		return fmt.Errorf("orphans: %v", orphans)
	}
	for _, n := range s.core.w.Nodes {
		states, err := s.drv.Observe(ctx, []drivers.Item{n.item(n.Plan.Want)})
		for err == nil && errors.Is(states[0].Err, drivers.ErrWaiting) {
			s.eng.Tick(1)
			states, err = s.drv.Observe(ctx, []drivers.Item{n.item(n.Plan.Want)})
		}
		if err != nil {
			return err
		}
		if states[0].Err == nil && !states[0].Exists {
			return fmt.Errorf("%s is lost", n.ID)
		}
	}
	return nil
}

// draw invents what is declared: up to n resources that refer to earlier ones.
func (s *sim) draw(n int) []schema.Resource {
	var all []schema.Resource
	names, ids := s.rng.Perm(9), s.rng.Perm(9)
	for i := range n {
		name := fmt.Sprintf("r%d", names[i])
		kind := []string{memory.KindThing, memory.KindThing, memory.KindGiven, memory.KindSecret}[s.rng.IntN(4)]
		spec := map[string]any{"size": s.rng.IntN(3) + 1}
		if kind == memory.KindSecret {
			spec["size"] = 16 + s.rng.IntN(2)
		}
		if s.rng.IntN(4) == 0 {
			spec["class"] = fmt.Sprintf("c%d", s.rng.IntN(2))
		}
		handle := kind + "/" + name
		if kind == memory.KindThing && s.rng.IntN(4) == 0 {
			spec["id"] = fmt.Sprintf("at%d", ids[i])
			handle = fmt.Sprintf("%s/at%d", kind, ids[i])
		}
		for _, earlier := range all {
			s.refer(spec, earlier.ID)
		}
		if _, ok := spec["value"]; !ok && kind != memory.KindSecret {
			spec["value"] = s.rng.IntN(4)
		}
		adopt := kind == memory.KindThing && (s.foreign[handle] || s.rng.IntN(4) == 0)
		if adopt {
			delete(spec, "class") // it could not be taken over as it is
		}
		r := resource(kind, name, spec)
		r.Adopt = adopt
		s.metadata(&r, all)
		all = append(all, r)
	}
	return all
}

// metadata is what a declaration says beside its spec.
func (s *sim) metadata(r *schema.Resource, earlier []schema.Resource) {
	if s.rng.IntN(5) == 0 {
		r.Expires = s.now.Add(time.Duration(s.rng.IntN(40)) * time.Minute)
	}
	if s.rng.IntN(6) == 0 {
		r.Hold = []schema.Action{schema.Create, schema.Update, schema.Replace, schema.Delete}[s.rng.IntN(4):]
	}
	r.Data = s.rng.IntN(8) == 0
	if len(earlier) > 0 && s.rng.IntN(5) == 0 {
		r.Needs = []schema.Need{{ID: earlier[s.rng.IntN(len(earlier))].ID}}
	}
}

// alive counts what is declared now: what has passed its day stays while
// something that stays needs it.
func (s *sim) alive() int {
	stays := map[*graph.Node]bool{}
	for _, g := range slices.Backward(s.decl) {
		at := g.Res.Expires
		if at.IsZero() || s.now.Before(at) || slices.ContainsFunc(g.By, func(by *graph.Node) bool { return stays[by] }) {
			stays[g] = true
		}
	}
	return len(stays)
}

func (s *sim) refer(spec map[string]any, id schema.ID) {
	switch s.rng.IntN(8) {
	case 0:
		if id.Kind != memory.KindSecret {
			spec["value"] = fmt.Sprintf("@{%s.value}", id)
		}
	case 1:
		spec["value"] = fmt.Sprintf("at @{%s.generation}", id)
	case 2:
		spec["count"] = fmt.Sprintf("@{%s.size}", id)
	case 3:
		if id.Kind == memory.KindSecret {
			spec["password"] = fmt.Sprintf("pw @{%s.value}", id)
		}
	}
}

// resource compiles a spec as schema/compile would.
func resource(kind, name string, spec map[string]any) schema.Resource {
	raw, err := json.Marshal(spec)
	if err != nil {
		panic(err)
	}
	r := schema.Resource{ID: schema.ID{Kind: kind, Name: name}, Spec: raw, Pos: schema.Pos{File: name + ".yaml", Line: 1, Col: 1}}
	for _, key := range slices.Sorted(maps.Keys(spec)) {
		if text, ok := spec[key].(string); ok && schema.HasMark(text) {
			r.Refs = append(r.Refs, schema.FieldRef{Path: schema.Path("").Child(key), Text: text, Secret: key == "password", Pos: r.Pos})
		}
	}
	return r
}

// made notes what is taken over.
func (s *sim) made(cl call) {
	if cl.op == Applying && cl.change.Action == schema.Adopt {
		s.taken[cl.change.Handle] = true
	}
}

// pass lets the clock go to when something is due.
func (s *sim) pass(d *Decision) {
	dt := time.Second
	if !d.Wake.IsZero() && d.Wake.Sub(s.now) > dt {
		dt = d.Wake.Sub(s.now)
	}
	s.now = s.now.Add(dt)
	s.eng.Tick(min(int(dt/time.Second)+1, 60))
}

func (s *sim) state() string {
	var b strings.Builder
	for i, n := range s.core.w.Nodes {
		var e Eval
		if s.last != nil && i < len(s.last.Evals) {
			e = s.last.Evals[i]
		}
		reason, _ := explain(n, &e)
		fmt.Fprintf(&b, "  %s at %q: %s %s (op %v dirty %v declared %v owned %v intent %v)\n", n.ID, n.Key.Handle, e.State, reason, n.Op, n.Dirty, n.Decl != nil, n.Owned != nil, n.Intent != nil)
		if n.Plan != nil {
			fmt.Fprintf(&b, "    plan %s %v %v\n", n.Plan.Change.Action, n.Plan.Change.Diff, n.Plan.Err)
		}
	}
	for _, o := range s.eng.Objects() {
		fmt.Fprintf(&b, "  lives %+v\n", o)
	}
	fmt.Fprintf(&b, "  pending calls %d, late writes %d\n", len(s.pending), s.eng.Pending())
	return b.String()
}

// fastDir is a folder in memory where there is one: thousands of fsyncs of the
// simulation prove nothing about a disk.
func fastDir(t *testing.T) string {
	root := ""
	if fi, err := os.Stat("/dev/shm"); err == nil && fi.IsDir() {
		root = "/dev/shm"
	}
	dir, err := os.MkdirTemp(root, "aplomb-sim-*")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// dead says whether the driver was killed by a hook whose error went another
// way than through the journal.
func (s *sim) dead() bool {
	_, err := s.drv.List(context.Background())
	return err != nil && !errors.Is(err, drivers.ErrDenied) && strings.Contains(err.Error(), "client is gone")
}
