package gate_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func change(name string, a schema.Action) plan.Masked {
	return plan.Mask("env", "engine", drivers.Change{
		ID: schema.ID{Kind: "memory.thing", Name: name, Target: "eu"}, Handle: name, Action: a,
		Before: []byte(`{"size":1}`), Diff: []drivers.Delta{{Path: "/size", Op: schema.Update, Before: []byte(`1`), After: []byte(`2`)}},
	})
}

// every is all actions that a change can have.
var every = []schema.Action{schema.None, schema.Create, schema.Update, schema.Replace, schema.Delete, schema.Adopt, schema.Deferred}

func TestJudge(t *testing.T) {
	spent := gate.Budget{Limit: 5, Used: 6}
	for _, c := range []struct {
		name string
		in   gate.Input
		want map[schema.Action]string // the only reason; what is not named goes
	}{
		{"nothing in the way", gate.Input{Budget: gate.Budget{Limit: 5, Used: 5}}, map[schema.Action]string{
			schema.Adopt: "adopt wants approval: it lives already and was not made by this environment",
		}},
		{"a hold on what it names alone", gate.Input{Holds: []schema.Action{schema.Update, schema.Delete}}, map[schema.Action]string{
			schema.Update: "update wants approval: hold", schema.Delete: "delete wants approval: hold",
			schema.Adopt: "adopt wants approval: it lives already and was not made by this environment",
		}},
		{"what a driver calls risky", gate.Input{Risk: "what runs stops"}, map[schema.Action]string{
			schema.Create: "create wants approval: what runs stops", schema.Update: "update wants approval: what runs stops", schema.Replace: "replace wants approval: what runs stops",
			schema.Delete: "delete wants approval: what runs stops", schema.Adopt: "adopt wants approval: what runs stops; adopt wants approval: it lives already and was not made by this environment",
			schema.Deferred: "deferred wants approval: what runs stops",
		}},
		{"data is held without a word", gate.Input{Data: true}, map[schema.Action]string{
			schema.Replace: "replace wants approval: it holds data", schema.Delete: "delete wants approval: it holds data",
			schema.Adopt: "adopt wants approval: it lives already and was not made by this environment",
		}},
		{"drift where drift is repaired", gate.Input{Drift: true}, map[schema.Action]string{
			schema.Adopt: "adopt wants approval: it lives already and was not made by this environment",
		}},
		{"a budget that is used up", gate.Input{Budget: spent}, map[schema.Action]string{
			schema.Replace: "replace wants approval: budget of 5 deletions and replacements an hour, 6 wanted",
			schema.Delete:  "delete wants approval: budget of 5 deletions and replacements an hour, 6 wanted",
			schema.Adopt:   "adopt wants approval: it lives already and was not made by this environment",
		}},
		{"what was begun is finished, but never destroyed unasked", gate.Input{Finishing: true, Data: true, Holds: every}, map[schema.Action]string{
			schema.Replace: "replace wants approval: hold; replace wants approval: it holds data",
			schema.Delete:  "delete wants approval: hold; delete wants approval: it holds data",
		}},
	} {
		for _, a := range every {
			in := c.in
			in.Change = change("a", a)
			got := ""
			for i, why := range gate.Judge(in, nil) {
				got += []string{"", "; "}[min(i, 1)] + why
			}
			if got != c.want[a] {
				t.Errorf("%s: %s: %q, want %q", c.name, a, got, c.want[a])
			}
			approvals := []gate.Approval{{ID: "x", At: now, Changes: []plan.Masked{in.Change}}}
			if left := gate.Judge(in, gate.NewIndex(approvals, now)); a != schema.Deferred && len(left) > 0 {
				t.Errorf("%s: %s is approved and still held: %q", c.name, a, left)
			}
		}
	}
}

func TestJudgeReportsDrift(t *testing.T) {
	for _, a := range every {
		in := gate.Input{Change: change("a", a), Drift: true, ReportDrift: true}
		held := slices.Contains(gate.Judge(in, nil), "drift is only reported here")
		if held != (a != schema.None) {
			t.Errorf("%s: held %t", a, held)
		}
		in.Drift = false
		if slices.Contains(gate.Judge(in, nil), "drift is only reported here") {
			t.Errorf("%s: what is newly declared was taken for drift", a)
		}
	}
}

func TestDeferredIsNeverApproved(t *testing.T) {
	in := gate.Input{Change: change("a", schema.Deferred), Holds: []schema.Action{schema.Deferred}}
	if len(gate.Judge(in, gate.NewIndex([]gate.Approval{{At: now, Changes: []plan.Masked{in.Change}}}, now))) == 0 {
		t.Error("it went with an approval that could not know it")
	}
}

func TestBudget(t *testing.T) {
	for _, c := range []struct {
		name                 string
		cfg                  gate.Config
		owned, spent, wanted int
		limit                int
		exceeded             bool
	}{
		{"nothing wanted", gate.Config{}, 3, 0, 0, 5, false},
		{"five of ten are free", gate.Config{}, 10, 0, 5, 5, false},
		{"a sixth is not", gate.Config{}, 10, 0, 6, 5, true},
		{"above ten the share counts: 20 % of 11 is 2", gate.Config{}, 11, 0, 2, 2, false},
		{"not 3", gate.Config{}, 11, 0, 3, 2, true},
		{"20 % of 25 is 5", gate.Config{}, 25, 0, 5, 5, false},
		{"20 % of 1,000 is more than 5", gate.Config{}, 1000, 0, 6, 5, true},
		{"what was destroyed this hour counts", gate.Config{}, 6, 4, 2, 5, true},
		{"and was owned when it began", gate.Config{}, 96, 4, 1, 5, false},
		{"another number", gate.Config{Destroys: 7, Share: 100}, 100, 0, 7, 7, false},
		{"exceeded", gate.Config{Destroys: 7, Share: 100}, 100, 0, 8, 7, true},
		{"another share", gate.Config{Destroys: 1000, Share: 50}, 20, 0, 10, 10, false},
		{"exceeded", gate.Config{Destroys: 1000, Share: 50}, 20, 0, 11, 10, true},
		{"negative: none is free", gate.Config{Destroys: -1}, 10, 0, 1, 0, true},
		{"but wanting none is", gate.Config{Destroys: -1}, 10, 0, 0, 0, false},
		{"a negative share, above ten", gate.Config{Share: -1}, 11, 0, 1, 0, true},
		{"and below", gate.Config{Share: -1}, 10, 0, 5, 5, false},
		{"unlimited", gate.Config{Unlimited: true, Destroys: -1, Share: -1}, 10_000, 9_000, 1_000, 10_000, false},
	} {
		b := c.cfg.NewBudget(c.owned, c.spent, c.wanted)
		if b.Limit != c.limit || b.Used != c.spent+c.wanted || b.Exceeded() != c.exceeded {
			t.Errorf("%s: %+v exceeded %t; want a limit of %d, exceeded %t", c.name, b, b.Exceeded(), c.limit, c.exceeded)
		}
	}
}

func TestApproved(t *testing.T) {
	replace := change("a", schema.Replace)
	approvals := []gate.Approval{{ID: "x", At: now, Changes: []plan.Masked{change("z", schema.Delete)}}, {ID: "y", At: now, Changes: []plan.Masked{replace}}}
	moved := replace
	moved.Handle = "elsewhere"
	for _, c := range []struct {
		name string
		now  plan.Masked
		want bool
	}{
		{"itself", replace, true},
		{"milder", change("a", schema.Update), true},
		{"worse", change("a", schema.Delete), false},
		{"another resource", change("b", schema.Replace), false},
		{"at another address", moved, false},
		{"of the other approval", change("z", schema.Delete), true},
	} {
		if got := gate.NewIndex(approvals, now).Covers(c.now); got != c.want {
			t.Errorf("%s: approved %t", c.name, got)
		}
	}
	if gate.NewIndex(nil, now).Covers(replace) {
		t.Error("approved by nobody")
	}
}

func TestUse(t *testing.T) {
	names := func(approvals []gate.Approval) (out []string) {
		for _, a := range approvals {
			for _, c := range a.Changes {
				out = append(out, fmt.Sprintf("%s:%s", a.ID, c.ID.Name))
			}
		}
		return out
	}
	a, b := change("a", schema.Delete), change("b", schema.Delete)
	before := []gate.Approval{{ID: "both", At: now, Changes: []plan.Masked{a, b}}, {ID: "again", At: now, Changes: []plan.Masked{a}}}
	left, used := gate.Use(a, before, now)
	if got := names(left); !used || !slices.Equal(got, []string{"both:b"}) {
		t.Errorf("a is used up: left are %v", got)
	}
	if got := names(before); !slices.Equal(got, []string{"both:a", "both:b", "again:a"}) {
		t.Errorf("what was given in became %v", got)
	}
	if left, used = gate.Use(b, left, now); left != nil || !used {
		t.Errorf("all is used up: left are %v", left)
	}
	if got := names(unused(t, change("c", schema.Delete), before)); len(got) != 3 {
		t.Errorf("what nothing was approved for used up something: %v", got)
	}
}

func unused(t *testing.T, c plan.Masked, before []gate.Approval) []gate.Approval {
	t.Helper()
	left, used := gate.Use(c, before, now)
	if used {
		t.Error("something was used that covers nothing")
	}
	return left
}

// A yes is not for ever.
func TestApprovalsAge(t *testing.T) {
	c := change("a", schema.Delete)
	approvals := []gate.Approval{{ID: "x", At: now, Changes: []plan.Masked{c}}}
	for _, at := range []struct {
		time.Time
		good bool
	}{{now.Add(gate.ApprovalTime), true}, {now.Add(gate.ApprovalTime + 1), false}} {
		if gate.NewIndex(approvals, at.Time).Covers(c) != at.good {
			t.Errorf("after %v it covers %t", at.Sub(now), !at.good)
		}
		if _, used := gate.Use(c, approvals, at.Time); used != at.good {
			t.Errorf("after %v it is used: %t", at.Sub(now), used)
		}
	}
}
