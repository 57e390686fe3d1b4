package reconciler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// saidBy declares what a policy says of a resource.
func saidBy(level schema.Level, policy string) func(*schema.Resource) {
	return func(r *schema.Resource) {
		r.Violations = append(r.Violations, schema.Violation{Policy: policy, Level: level, Message: "it is not good", Pos: r.Pos})
	}
}

// court is policies in Go: what is said of a change, by its name, and of a plan.
type court struct {
	mu    sync.Mutex
	say   map[string]schema.Violation
	plan  func(schema.PlanFacts) []schema.PlanViolation
	fail  error
	asked []schema.ChangeFacts
	of    []schema.PlanFacts // the plan that each of asked is of
	whole []schema.PlanFacts
}

func (c *court) judge() *Judge {
	j := &Judge{
		Wants: func(f *schema.ChangeFacts) bool { return f.Name != "unwanted" },
		Changes: func(_ context.Context, plan schema.PlanFacts, all []schema.ChangeFacts) ([][]schema.Violation, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.asked, c.of = append(c.asked, all...), append(c.of, slices.Repeat([]schema.PlanFacts{plan}, len(all))...)
			out := make([][]schema.Violation, len(all))
			for i, f := range all {
				if v, ok := c.say[f.Name]; ok {
					out[i] = []schema.Violation{v}
				}
			}
			return out, c.fail
		},
	}
	if c.plan != nil {
		j.Plan = func(_ context.Context, f schema.PlanFacts) ([]schema.PlanViolation, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.whole = append(c.whole, f)
			return c.plan(f), c.fail
		}
	}
	return j
}

// under has everything judged by c.
func (c *court) under(cfg *Config) {
	compile := cfg.Compile
	cfg.Compile = func(ctx context.Context, all Snapshots) (Compiled, error) {
		if all.Declarations == nil {
			return Compiled{Judge: c.judge()}, nil
		}
		got, err := compile(ctx, all)
		got.Judge = c.judge()
		return got, err
	}
}

func (h *house) change(name string) PlannedChange {
	h.t.Helper()
	all := h.Plan().Changes
	i := slices.IndexFunc(all, func(c PlannedChange) bool { return c.ID.Name == name })
	if i < 0 {
		h.t.Fatalf("no change of %s is pending", name)
	}
	return all[i]
}

// What a mandatory policy says of a resource holds its changes and nothing
// else; an advisory one is told.
func TestPoliciesHoldResources(t *testing.T) {
	h := newHouse(t, nil, decl("advised", `{}`, saidBy(schema.Advisory, "a")), decl("soft", `{}`, saidBy(schema.SoftMandatory, "s")),
		decl("hard", `{}`, saidBy(schema.HardMandatory, "h"), saidBy(schema.SoftMandatory, "s")))
	ctx := t.Context()
	s := h.rests(h.tip())
	if h.live() != "advised" || s.Counts[Held] != 2 {
		t.Fatalf("%s live: %v", h.live(), s.Counts)
	}
	i := slices.IndexFunc(s.Resources, func(r ResourceStatus) bool { return r.ID.Name == "advised" })
	if len(s.Resources[i].Violations) != 1 {
		t.Error("what is advised is not told")
	}
	hard, soft := h.change("hard"), h.change("soft")
	if !hard.Refused || soft.Refused || !slices.Equal(soft.Blocked, []string{"s"}) || len(hard.Violations) != 2 {
		t.Errorf("%+v\n%+v", hard, soft)
	}
	for name, c := range map[string]struct {
		digest, why string
		overrides   []string
		is          error
		says        string
	}{
		"hard":              {hard.Digest, "x", nil, ErrRefused, "no approval helps"},
		"hard, overridden":  {hard.Digest, "x", []string{"h"}, ErrRefused, "nobody overrides it"},
		"soft":              {soft.Digest, "x", nil, ErrRefused, "the policy s refuses"},
		"without a reason":  {soft.Digest, " ", []string{"s"}, ErrRefused, "a reason"},
		"of another policy": {soft.Digest, "x", []string{"t"}, ErrDigest, "no policy \"t\" speaks"},
	} {
		if _, err := h.Approve(ctx, "ana", Yes{Digest: c.digest, Why: c.why, Overrides: c.overrides}); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), ErrDigest.Error()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	approved, err := h.Approve(ctx, "ana", Yes{Digest: h.Plan().Digest, Why: "the fair", Overrides: []string{"s"}})
	if err != nil || len(approved) != 2 {
		t.Fatal(approved, err)
	}
	for _, c := range approved { // the hard one is told apart
		if still := strings.Join(c.Still, "; "); (still != "") != (c.ID.Name == "hard") || still != "" && !strings.Contains(still, "policy h (hard-mandatory) refuses it") {
			t.Errorf("%s is still held: %q", c.ID, still)
		}
	}
	h.until("made", func(s Status) bool { return s.Settled && s.Counts[Converged] == 2 })
	entries, err := h.Audit(ctx, 1)
	if err != nil || len(entries) != 1 || !slices.Equal(entries[0].Overrides, []string{"s"}) || entries[0].Why != "the fair" || entries[0].By != "ana" || len(entries[0].Let) != 1 || entries[0].Let[0] != soft.ID.String() {
		t.Errorf("%+v, %v", entries, err)
	}

	// putting it back asks nobody again; changing it does
	for _, o := range h.eng.Objects() {
		if o.Name == "soft" {
			h.must(h.eng.ForeignEdit(o.Handle, json.RawMessage(`{"value":"foreign"}`)))
		}
	}
	rev := h.commit(decl("advised", `{}`), decl("soft", `{}`, saidBy(schema.SoftMandatory, "s")))
	h.must(h.Resume(ctx, "ana", nil, ""))
	h.converged(rev)
	h.rests(h.commit(decl("soft", `{"value":"2"}`, saidBy(schema.SoftMandatory, "s"))))
	if c := h.change("soft"); len(c.Held) == 0 {
		t.Error("an override is good for another change")
	}
}

// Changes are judged before they run; while policies fail nothing runs.
func TestChangesAreJudged(t *testing.T) {
	c := &court{say: map[string]schema.Violation{"bad": {Policy: "p", Level: schema.HardMandatory, Message: "no"}}, fail: errors.New("no worker")}
	h := newHouse(t, c.under, decl("good", `{}`), decl("bad", `{}`), decl("unwanted", `{}`))
	h.until("refused while policies fail", func(s Status) bool {
		return slices.ContainsFunc(s.Resources, func(r ResourceStatus) bool {
			return r.State == Degraded && strings.Contains(r.Reason, "the policies cannot judge: no worker")
		})
	})
	if h.live() != "unwanted" {
		t.Errorf("unjudged and live: %s", h.live())
	}
	c.mu.Lock()
	c.fail = nil
	c.mu.Unlock()
	h.until("judged", func(s Status) bool { return s.Settled && s.Counts[Converged] == 2 && s.Counts[Held] == 1 })
	if h.live() != "good unwanted" {
		t.Errorf("live: %s", h.live())
	}
	c.mu.Lock()
	asked := len(c.asked)
	c.mu.Unlock()
	h.Kick()
	h.rests(h.tip())
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.asked) != asked {
		t.Error("the same was judged again")
	}
	if f := c.asked[0]; f.Kind != memory.KindThing || f.Action != schema.Create || f.Layer == "" && f.Declared == nil {
		t.Errorf("%+v", f)
	}
}

// Policies are told who wrote and who signed what they judge, and how many need
// what changes.
func TestJudgedWithItsFacts(t *testing.T) {
	c := &court{plan: func(schema.PlanFacts) []schema.PlanViolation { return nil }}
	h := newHouse(t, c.under, decl("a", `{}`))
	h.converged(h.tip())
	rev := sources.Revision{ID: strings.Repeat("e", 40), Tree: "e", Title: "more", Author: "ana", Signer: "ben"}
	h.src.mu.Lock()
	h.src.revs = append(h.src.revs, rev)
	h.src.tree[rev.ID] = []schema.Resource{decl("a", `{"size":2}`), decl("b", `{}`, needs("a")), decl("c", `{}`, needs("a"))}
	h.src.mu.Unlock()
	h.Kick()
	h.converged(rev)
	c.mu.Lock()
	defer c.mu.Unlock()
	ours := func(f schema.PlanFacts) bool {
		return f.Revision == rev.ID && f.Title == "more" && f.Author == "ana" && f.Signer == "ben"
	}
	i := slices.IndexFunc(c.asked, func(f schema.ChangeFacts) bool { return f.Name == "a" && f.Action == schema.Update })
	if i < 0 || !ours(c.of[i]) || c.asked[i].Dependents != 2 {
		t.Errorf("%d: %+v\n%+v", i, c.asked, c.of)
	}
	if !slices.ContainsFunc(c.whole, func(f schema.PlanFacts) bool { return ours(f) && f.Changes == 3 && f.Actions[schema.Create] == 2 }) {
		t.Errorf("%+v", c.whole)
	}
}

// What was judged as unknown is judged again with its value.
func TestJudgedAgainWhenKnown(t *testing.T) {
	c := &court{}
	h := newHouse(t, func(cfg *Config) {
		c.under(cfg)
		for _, target := range cfg.Registry.All() {
			if d, ok := drivers.As[*memory.Driver](target.Driver); ok {
				d.Engine.Quirks.EngineIDs = true
			}
		}
	}, decl("a", `{}`), decl("b", `{"value":"@{memory.thing/a.id}"}`))
	h.converged(h.tip())
	c.mu.Lock()
	defer c.mu.Unlock()
	var b []string
	for _, f := range c.asked {
		for _, d := range f.Deltas {
			if f.Name == "b" && d.Path == "/value" {
				b = append(b, fmt.Sprint(d.Unknown))
			}
		}
	}
	if !slices.Equal(b, []string{"true", "false"}) {
		t.Errorf("b was judged with its value unknown: %v", b)
	}
}

// A plan is judged as a whole, once all of it is planned.
func TestPlansAreJudged(t *testing.T) {
	c := &court{plan: func(f schema.PlanFacts) []schema.PlanViolation {
		if f.Actions[schema.Create] <= 2 {
			return nil
		}
		return []schema.PlanViolation{{
			Violation: schema.Violation{Policy: "mass", Level: schema.SoftMandatory, Message: fmt.Sprint(f.Actions[schema.Create], " at once")},
			Applies:   func(_ string, a schema.Action) bool { return a == schema.Create },
		}}
	}}
	h := newHouse(t, c.under, decl("a", `{}`), decl("b", `{}`), decl("c", `{}`))
	h.rests(h.tip())
	if h.live() != "" || len(h.change("a").Held) != 1 || !strings.Contains(h.change("b").Held[0], "3 at once") {
		t.Errorf("live %q, held %v", h.live(), h.change("a").Held)
	}
	_, err := h.Approve(t.Context(), "ana", Yes{Digest: h.Plan().Digest, Why: "all of them", Overrides: []string{"mass"}})
	h.must(err)
	h.converged(h.tip())
	h.converged(h.commit(decl("a", `{}`), decl("b", `{}`), decl("c", `{}`), decl("d", `{}`), decl("e", `{}`)))
}

// Where so many must agree, they are different people.
func TestApproversDiffer(t *testing.T) {
	c := &court{say: map[string]schema.Violation{"a": {Policy: "two", Level: schema.HardMandatory, Message: "m", Approvers: 2}}}
	h := newHouse(t, c.under, decl("a", `{}`))
	ctx := t.Context()
	h.rests(h.tip())
	digest := h.change("a").Digest
	for _, by := range []string{"ana", "ana", "ana (as ben)"} { // a name that she gives herself makes nobody else of her
		_, err := h.Approve(ctx, by, Yes{Digest: digest})
		h.must(err)
		h.rests(h.tip())
		if held := h.change("a").Held; len(held) != 1 || !strings.HasSuffix(held[0], "wants approval by 2 people, has that of ana") {
			t.Fatal(held)
		}
	}
	_, err := h.Approve(ctx, "ben", Yes{Digest: digest})
	h.must(err)
	h.converged(h.tip())
}

// Going down deletes nothing that policies have not judged, also after a start.
func TestDownIsJudged(t *testing.T) {
	c := &court{say: map[string]schema.Violation{"kept": {Policy: "p", Level: schema.HardMandatory, Message: "never"}}}
	rules := &branch{tree: map[string][]schema.Resource{"r": nil}, revs: []sources.Revision{{ID: "r", Tree: "r"}}}
	h := newHouse(t, func(cfg *Config) {
		c.under(cfg)
		cfg.Policies = Followed{Source: rules}
	}, decl("gone", `{}`))
	h.converged(h.tip())
	_, err := h.eng.ForeignCreate(memory.KindThing, "kept", deskEnv, json.RawMessage(`{}`))
	h.must(err)
	c.mu.Lock()
	delete(c.say, "kept")
	c.mu.Unlock()
	h.converged(h.commit(decl("gone", `{}`), decl("kept", `{}`, func(r *schema.Resource) { r.Adopt = true })))
	c.mu.Lock()
	c.say["kept"] = schema.Violation{Policy: "p", Level: schema.HardMandatory, Message: "never"}
	c.mu.Unlock()
	s, err := h.Down(t.Context(), "ana", nil, "")
	h.must(err)
	if h.live() != "kept" || s.Counts[Held] != 1 {
		t.Errorf("live %q: %v", h.live(), s.Counts)
	}
	h.stop()
	h.run()
	h.until("down again", func(s Status) bool { return s.Down && s.Settled })
	if h.live() != "kept" {
		t.Errorf("after a start it went")
	}
}

// A deletion, and a change that takes a label away, are matched by the labels
// that were there.
func TestChangesKeepTheirLabels(t *testing.T) {
	prod := func(r *schema.Resource) { r.Labels = map[string]string{"tier": "prod"} }
	c := &court{}
	h := newHouse(t, c.under, decl("a", `{}`, prod), decl("b", `{}`, prod), decl("c", `{}`), decl("d", `{}`))
	h.converged(h.tip())
	h.converged(h.commit(decl("a", `{}`, prod), decl("b", `{}`, prod), decl("c", `{}`, prod), decl("d", `{}`))) // c is labelled, and not applied
	c.mu.Lock()
	c.asked = nil
	c.mu.Unlock()
	h.converged(h.commit(decl("b", `{}`), decl("d", `{}`))) // the label of b is gone, and nothing is applied
	h.converged(h.commit(decl("b", `{"value":"other"}`), decl("d", `{}`)))
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.asked {
		was := slices.ContainsFunc(f.Was, func(l map[string]string) bool { return l["tier"] == "prod" })
		if f.WasUnknown || !was || f.Action == schema.Delete && f.Labels["tier"] != "prod" {
			t.Errorf("%s of %s: labels %v, was %v", f.Action, f.Name, f.Labels, f.Was)
		}
	}
	if len(c.asked) != 3 {
		t.Errorf("asked of %+v", c.asked)
	}
}
