package reconciler

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// propose makes a tree that no branch holds.
func (h *house) propose(res ...schema.Resource) *sources.Snapshot {
	h.src.mu.Lock()
	defer h.src.mu.Unlock()
	rev := sources.Revision{ID: "fedcba9" + "000000000000000000000000000000000", Tree: "proposed"}
	h.src.tree[rev.ID] = res
	return &sources.Snapshot{Revision: rev, FS: fstest.MapFS{"rev": {Data: []byte(rev.ID)}}, Close: func() error { return nil }}
}

// A proposal is planned beside what runs, and writes nothing; merged, it asks
// for the very changes that were shown.
func TestPropose(t *testing.T) {
	h := newHouse(t, nil, decl("a", `{}`), decl("b", `{}`))
	h.converged(h.tip())
	before := h.Status()
	ctx := t.Context()
	h.must(h.Suspend(ctx, "ana", nil, "for a look")) // a plan is shown all the same
	all := h.propose(decl("a", `{"value":"other"}`, hold(schema.Update)), decl("c", `{}`, hold(schema.Create)))
	got, err := h.Propose(ctx, all, nil)
	h.must(err)
	var actions []string
	for _, c := range got.Plan.Changes {
		actions = append(actions, string(c.Action)+" "+c.ID.Name)
	}
	if len(actions) != 3 || got.Plan.Counts[schema.Delete] != 1 || got.Plan.Counts[schema.Create] != 1 || got.Plan.Counts[schema.Update] != 1 || !got.Plan.Complete {
		t.Fatalf("%v %+v", actions, got.Plan)
	}
	if h.live() != "a b" || h.Status().Revision.ID != before.Revision.ID {
		t.Errorf("%s lives at %s", h.live(), h.Status().Revision.ID)
	}
	h.must(h.Resume(ctx, "ana", nil, ""))
	rev := h.commit(h.src.tree[all.Revision.ID]...)
	h.rests(rev)
	defer func() { // what was shown and reviewed runs
		yes := gate.Approval{By: "ben", ID: got.Plan.Digest, Why: "review of 7", Changes: got.Shown}
		h.must(h.Reviewed(WithMeans(ctx, MeansReview), yes))
		h.must(h.Reviewed(ctx, yes))
		h.converged(rev)
		if want := "; ben approve " + got.Plan.Digest + " review of 7"; strings.Count(h.audit(), want) != 1 {
			t.Errorf("the audit says %s", h.audit())
		}
		entries, err := h.Audit(ctx, 1)
		h.must(err)
		if e := entries[0]; e.Via != string(MeansReview) || len(e.Let) == 0 {
			t.Errorf("it says %+v: not by which means, or not what was let through", e)
		}
	}()
	if now := h.Plan(); len(now.Changes) == 0 || !subset(now, got.Plan) {
		t.Errorf("merged, it asks for %v, shown was %v", digests(now), digests(got.Plan))
	}
}

func digests(v PlanView) map[string]bool {
	all := map[string]bool{}
	for _, c := range v.Changes {
		all[c.Digest] = true
	}
	return all
}

func subset(v, of PlanView) bool {
	all := digests(of)
	for d := range digests(v) {
		if !all[d] {
			return false
		}
	}
	return true
}

// What is wrong with a proposal are its findings.
func TestProposeRefused(t *testing.T) {
	h := newHouse(t, nil, decl("a", `{}`))
	h.converged(h.tip())
	got, err := h.Propose(t.Context(), h.propose(), nil)
	h.must(err)
	if got.Refused == nil || len(got.Refused.Findings) == 0 {
		t.Errorf("%+v", got)
	}
	h.converged(h.tip())
}

// What must not run on a proposal is said to be decided later, and only that.
func TestProposeWithheld(t *testing.T) {
	h := newHouse(t, nil, decl("a", `{}`), decl("b", `{}`), decl("c", `{}`))
	h.converged(h.tip())
	mem := h.cfg.Registry.Target("mem")
	reg, err := drivers.NewRegistry(drivers.Target{Name: "mem", Kinds: mem.Kinds, Identity: mem.Identity, Driver: &drivers.Withheld{Driver: mem.Driver, Why: "later"}})
	h.must(err)
	got, err := h.Propose(t.Context(), h.propose(decl("a", `{"value":"other"}`), decl("b", `{}`), decl("d", `{}`)), reg)
	h.must(err)
	c := got.Plan.Counts
	if c[schema.Deferred] != 2 || c[schema.Delete] != 1 || got.Plan.Unchanged != 1 || len(got.Shown) != 1 || !got.Plan.Complete {
		t.Errorf("%v, %d unchanged, %d shown, unplanned %+v", c, got.Plan.Unchanged, len(got.Shown), got.Plan.Unplanned)
	}
}

// What lies on a target that is out of reach is not planned, and said so.
func TestProposeOutOfReach(t *testing.T) {
	h := newHouse(t, nil, decl("a", `{}`))
	h.converged(h.tip())
	h.eng.SetUnreachable(true)
	got, err := h.Propose(t.Context(), h.propose(decl("a", `{"value":"other"}`), decl("c", `{}`)), nil)
	h.must(err)
	if all := got.Plan.Unplanned; len(all) != 2 || all[0].State != Degraded || len(got.Shown) > 0 {
		t.Errorf("%+v", got)
	}
}

// watched counts who watches it.
type watched struct {
	drivers.Driver
	watches atomic.Int32
}

// Watch implements drivers.Watcher.
func (w *watched) Watch(ctx context.Context, _ func(handles ...string)) error {
	w.watches.Add(1)
	<-ctx.Done()
	return nil
}

// Engines are watched for the environment, and not once more for a proposal: a
// driver need not take two.
func TestProposeDoesNotWatch(t *testing.T) {
	var w *watched
	h := newHouse(t, func(cfg *Config) {
		mem := *cfg.Registry.Target("mem")
		w = &watched{Driver: mem.Driver}
		mem.Driver = w
		reg, err := drivers.NewRegistry(mem)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Registry = reg
	}, decl("a", `{}`))
	h.converged(h.tip())
	for range 3 {
		_, err := h.Propose(t.Context(), h.propose(decl("a", `{"value":"other"}`)), nil)
		h.must(err)
	}
	if n := w.watches.Load(); n > 1 {
		t.Errorf("watched %d times", n)
	}
}
