package reconciler

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// owned makes the size the team's, the value security's, and what is labelled
// the guards'.
func owned(t *testing.T) func(*Config) {
	field := func(text string) []gate.Field {
		f, err := gate.ParseField(text)
		if err != nil {
			t.Fatal(err)
		}
		return []gate.Field{f}
	}
	prod, err := schema.ParseGlob("prod")
	if err != nil {
		t.Fatal(err)
	}
	return func(c *Config) {
		c.Gates.Owners = gate.NewOwners([]gate.OwnerRule{
			{Labels: map[string]schema.Glob{"tier": prod}, Owners: []string{"guards"}},
			{Fields: field("/size"), Owners: []string{"shop/team"}},
			{Fields: field("/value"), Owners: []string{"ops/security"}},
		})
	}
}

// held is why the one pending change waits; "" where nothing is pending.
func (h *house) held() string {
	h.t.Helper()
	h.rests(h.tip())
	v := h.Plan()
	if len(v.Changes) == 0 {
		return ""
	}
	return strings.Join(v.Changes[0].Held, "; ")
}

func (h *house) yes(by string, speaks ...string) {
	h.t.Helper()
	_, err := h.Approve(h.t.Context(), by, Yes{Digest: h.Plan().Digest, Speaks: speaks})
	h.must(err)
}

// A change waits for the owners of the fields that it alters, and for nobody
// else's.
func TestOwners(t *testing.T) {
	const team, security = "wants approval: a review of shop/team (owns */*.size)", "wants approval: a review of ops/security (owns */*.value)"
	h := newHouse(t, owned(t), decl("a", `{"class":"x"}`))
	h.converged(h.tip()) // what nobody owns asks nobody
	h.commit(decl("a", `{"class":"x","size":2}`))
	if got := h.held(); got != team {
		t.Fatalf("the size: %q", got)
	}
	h.yes("root")
	h.yes("sue", "ops/security")
	if got := h.held(); got != team {
		t.Fatalf("after others agreed: %q", got)
	}
	h.yes("tom", "shop/team")
	h.converged(h.tip())
	h.commit(decl("a", `{"class":"x","size":3,"value":"new"}`))
	if got := h.held(); got != team+"; "+security {
		t.Fatalf("size and value: %q", got)
	}
	h.yes("tom", "shop/team")
	if v := h.Plan().Changes[0].Owners; len(v) != 1 || v[0].Owners[0] != "ops/security" {
		t.Fatalf("%+v", v)
	}
	h.yes("sue", "ops/security")
	h.converged(h.tip())
	h.must(h.eng.ForeignEdit(h.eng.Objects()[0].Handle, json.RawMessage(`{"class":"x","size":9,"value":"new"}`)))
	h.must(h.Resume(t.Context(), "ana", nil, "")) // everything is looked at
	h.until("repaired", func(s Status) bool {
		return s.Converged && !strings.Contains(string(h.eng.Objects()[0].Spec), "9")
	})
}

// Taking a label away asks nobody, and takes nothing out of its owner's sight:
// what comes then is asked of them, until they agreed once. So it is after a
// restart, and after drift was repaired in between.
func TestOwnersOfWhatWas(t *testing.T) {
	guarded := func(r *schema.Resource) { r.Labels = map[string]string{"tier": "prod"} }
	h := newHouse(t, owned(t), decl("a", `{"class":"x"}`, guarded), decl("b", `{}`))
	const guards = "wants approval: a review of guards (owns */* with tier: prod)"
	if got := h.held(); got != guards {
		t.Fatalf("made: %q", got)
	}
	h.yes("gus", "guards")
	h.converged(h.tip())
	h.commit(decl("a", `{"class":"x"}`), decl("b", `{}`))
	h.converged(h.tip())
	for _, o := range h.eng.Objects() {
		if strings.Contains(string(o.Spec), `"x"`) {
			h.must(h.eng.ForeignEdit(o.Handle, json.RawMessage(`{"class":"x","size":9}`)))
		}
	}
	h.must(h.Resume(t.Context(), "ana", nil, ""))
	h.until("repaired", func(s Status) bool {
		return s.Converged && !strings.Contains(string(h.eng.Objects()[0].Spec)+string(h.eng.Objects()[1].Spec), "9")
	})
	h.stop()
	h.run()
	h.commit(decl("a", `{"class":"x","mode":"y"}`), decl("b", `{}`))
	if got := h.held(); got != guards {
		t.Fatalf("altered, without the label: %q", got)
	}
	h.yes("gus", "guards")
	h.converged(h.tip())
	h.commit(decl("a", `{"class":"x","mode":"z"}`), decl("b", `{}`))
	h.converged(h.tip())
	gone := h.commit(decl("b", `{}`)) // nobody's any more: what goes is of whom it has fields
	h.until("gone", func(s Status) bool { return s.Converged && s.Revision.ID == gone.ID && h.live() == "b" })
	h.commit(decl("b", `{}`, guarded))
	h.converged(h.tip())
	h.commit(decl("b", `{"class":"y"}`, guarded))
	if got := h.held(); got != guards {
		t.Errorf("%q", got)
	}
	h.yes("gus", "guards")
	h.converged(h.tip())
	h.commit(decl("a", `{}`))
	h.rests(h.tip())
	if v := h.Plan(); len(v.Changes) != 1 || v.Changes[0].Action != schema.Delete || strings.Join(v.Changes[0].Held, "; ") != guards {
		t.Errorf("what goes: %+v", v.Changes)
	}
	h.yes("gus", "guards")
	h.converged(h.tip())
	h.commit(decl("a", `{"class":"x","mode":"z","size":1}`))
	if got := h.held(); !strings.Contains(got, "shop/team") || strings.Contains(got, "guards") {
		t.Errorf("%q", got)
	}
}

// What became an owner's by a commit that changes nothing in an engine is theirs:
// a next one that deletes it, or that takes the label away again and alters it,
// asks them.
func TestOwnersOfWhatBecameTheirs(t *testing.T) {
	guarded := func(r *schema.Resource) { r.Labels = map[string]string{"tier": "prod"} }
	const guards = "wants approval: a review of guards (owns */* with tier: prod)"
	h := newHouse(t, owned(t), decl("a", `{"class":"x"}`), decl("b", `{}`))
	h.converged(h.tip())
	h.commit(decl("a", `{"class":"x"}`, guarded), decl("b", `{}`))
	h.converged(h.tip())
	h.stop()
	h.run()
	h.commit(decl("a", `{"class":"y"}`), decl("b", `{}`))
	if got := h.held(); got != guards {
		t.Errorf("altered, and the label taken away: %q", got)
	}
	h.commit(decl("b", `{}`))
	if got := h.held(); got != guards {
		t.Errorf("deleted: %q", got)
	}
}

// What is not as it was approved asks again, and says what differs.
func TestChangedSinceApproved(t *testing.T) {
	h := newHouse(t, owned(t), decl("a", `{"class":"x","size":3}`))
	h.rests(h.tip())
	h.yes("tom", "shop/team")
	h.converged(h.tip())
	h.commit(decl("a", `{"class":"x","size":4}`, hold(schema.Update)))
	h.rests(h.tip())
	h.yes("eva") // for the hold; the team has not agreed yet
	h.commit(decl("a", `{"class":"x","size":5}`, hold(schema.Update)))
	h.rests(h.tip())
	c := h.Plan().Changes[0].Changed
	if c == nil || c.By != "eva" || len(c.Between) != 1 || c.Between[0].Then != "3 → 4" || c.Between[0].Now != "3 → 5" || c.Between[0].Path != "/size" {
		t.Fatalf("%+v", c)
	}
	s := h.Status()
	if want := "; it is not what eva approved: approved: size 3 → 4; now: 3 → 5"; !strings.HasSuffix(s.Resources[0].Reason, want) || s.Resources[0].Changed == nil {
		t.Errorf("%q, want …%q", s.Resources[0].Reason, want)
	}
	h.yes("eva")
	h.rests(h.tip())
	if c := h.Plan().Changes[0].Changed; c != nil {
		t.Errorf("once she approved that too: %+v", c)
	}
	h.yes("tom", "shop/team")
	h.converged(h.tip())
}

// What turned out otherwise than its proposal showed says so, also before anybody
// has approved it; a proposal says whose review it needs.
func TestChangedSinceShown(t *testing.T) {
	h := newHouse(t, owned(t), decl("a", `{"class":"x"}`))
	h.converged(h.tip())
	tree := h.propose(decl("a", `{"class":"x","size":4}`))
	got, err := h.Propose(t.Context(), tree, nil)
	h.must(err)
	if len(got.Plan.Changes) != 1 || len(got.Plan.Changes[0].Owners) != 1 || got.Plan.Changes[0].Owners[0].Owners[0] != "shop/team" {
		t.Fatalf("%+v", got.Plan.Changes)
	}
	h.commit(h.src.tree[tree.Revision.ID]...)
	h.rests(h.tip())
	h.WasShown("7", time.Now(), got.Shown)
	h.rests(h.tip())
	if c := h.Plan().Changes[0].Changed; c != nil {
		t.Errorf("as it was shown: %+v", c)
	}
	h.commit(decl("a", `{"class":"x","size":5}`))
	h.rests(h.tip())
	h.WasShown("7", time.Now(), got.Shown)
	if want := "; it is not what was shown on proposal 7: shown: size + 4; now: + 5"; !strings.HasSuffix(h.Status().Resources[0].Reason, want) {
		h.until("told", func(s Status) bool { return strings.HasSuffix(s.Resources[0].Reason, want) })
	}
	h.must(h.Reviewed(t.Context(), gate.Approval{By: "tom", ID: got.Plan.Digest, Why: "review of 7", Changes: got.Shown, Speaks: []string{"shop/team"}, OwnersOnly: true}))
	if got := h.held(); got != "wants approval: a review of shop/team (owns */*.size)" {
		t.Errorf("his yes was to something else: %q", got)
	}
	if c := h.Plan().Changes[0].Changed; c == nil || c.By != "tom" {
		t.Errorf("%+v", c)
	}
	h.WasShown("8", time.Now(), proposedOf(h.Plan(), got.Shown[0]))
	h.rests(h.tip())
	if c := h.Plan().Changes[0].Changed; c != nil {
		t.Errorf("a later proposal showed just that: %+v", c)
	}
	h.commit(decl("a", `{"class":"x","size":4}`))
	h.converged(h.tip()) // as it was approved
}

// proposedOf is what a proposal shows of a plan, like one that it showed.
func proposedOf(v PlanView, like plan.Masked) (all []plan.Masked) {
	for _, c := range v.Changes {
		all = append(all, plan.Mask(like.Environment, like.Target, c.Change))
	}
	return all
}

// A declaration stands where it is written: of CUE in the file that declares, of
// what a template yields in that of its use.
func TestFaceOf(t *testing.T) {
	use := &schema.Use{Template: "WebService", Name: "web", Pos: schema.Pos{File: "teams/shop/web.yaml", Line: 1}}
	for _, c := range []struct {
		res  schema.Resource
		want string
	}{
		{schema.Resource{Pos: schema.Pos{File: "a.yaml"}}, "a.yaml"},
		{schema.Resource{Pos: schema.Pos{File: "lib/x.cue"}, Origin: "prod/a.cue"}, "prod/a.cue"},
		{schema.Resource{Pos: use.Pos, Use: use}, "teams/shop/web.yaml"},
		{schema.Resource{Pos: schema.Pos{File: "lib/x.cue"}, Origin: "prod/a.cue", Use: use}, "prod/a.cue teams/shop/web.yaml"},
	} {
		if got := faceOf(&c.res); strings.Join(got.Files, " ") != c.want || got.Labels == nil {
			t.Errorf("%+v, want %s", got, c.want)
		}
	}
	old := &store.Owned{Pos: schema.Pos{File: "a.yaml"}, Use: use}
	if got := faceOfOwned(old); strings.Join(got.Files, " ") != "a.yaml teams/shop/web.yaml" || got.Labels != nil {
		t.Errorf("what was applied before faces were kept: %+v", got)
	}
}
