package proposals

import (
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// The comment says whose review a proposal needs, once for all that is theirs,
// as text and as nobody's mention.
func TestCommentNamesOwners(t *testing.T) {
	sec := gate.Review{Owners: []string{"ops/security", "@ana"}, Owns: "nomad.job/*.image", Want: 1}
	two := gate.Review{Owners: []string{"x</code>@all"}, Owns: "*/*.a|b", Want: 2, Has: []string{"ben"}}
	change := func(held []string, of ...gate.Review) reconciler.PlannedChange {
		c := reconciler.PlannedChange{Layer: "scheduler", Held: held, Owners: of, Digest: digest}
		c.Action = schema.Update
		for _, r := range of {
			c.Held = append(c.Held, r.String())
		}
		return c
	}
	v := reconciler.PlanView{Environment: "prod", Complete: true, Digest: digest, Counts: map[schema.Action]int{schema.Update: 2},
		Changes: []reconciler.PlannedChange{change([]string{"update wants approval: hold"}, sec), change(nil, sec, two)}}
	got := comment(told{environment: "prod", merged: &sources.Merged{}, proposed: reconciler.Proposed{Plan: v}, at: time.Now()})
	want := "\nNeeds: 1 review of <code>ops/security</code> or <code>&#64;ana</code> (owns <code>nomad.job/&#42;.image</code>)" +
		" · 2 reviews of <code>x&#60;/code&#62;&#64;all</code> (owns <code>&#42;/&#42;.a&#124;b</code>), has that of <code>ben</code>" +
		" · <code>update wants approval&#58; hold</code>.\n"
	if !strings.Contains(got, want) || strings.Contains(got, "@") {
		t.Errorf("%s\nlacks\n%s", got, want)
	}
}

// TestDecidedLater: what is not planned says why, and that is text.
func TestDecidedLater(t *testing.T) {
	v := reconciler.PlanView{Counts: map[schema.Action]int{schema.Deferred: 1}, Complete: true}
	c := reconciler.PlannedChange{Layer: "provisioning"}
	c.ID, c.Action, c.Why = schema.ID{Kind: "tofu.stack", Name: "net", Target: "tofu"}, schema.Deferred, "not planned on a proposal: net/main.tf:3: <b>|@ana</b>"
	v.Changes = append(v.Changes, c)
	got := comment(told{environment: "prod", merged: &sources.Merged{}, proposed: reconciler.Proposed{Plan: v}})
	if !strings.Contains(got, "<code>tofu.stack/net</code> | <code>not planned on a proposal&#58; net/main.tf&#58;3&#58; &lt;") && !strings.Contains(got, "net/main.tf&#58;3") || strings.Contains(got, "@ana") || strings.Contains(got, "<b>") {
		t.Errorf("%s", got)
	}
}

// TestNotPlanned: what could not be planned is not nothing to do, and many of it
// leave room for the rest.
func TestNotPlanned(t *testing.T) {
	v := reconciler.PlanView{Complete: true, Counts: map[schema.Action]int{}, Digest: digest}
	for range 3 * mostRows {
		v.Unplanned = append(v.Unplanned, reconciler.ResourceStatus{State: reconciler.Degraded, Reason: "eu is out of reach"})
	}
	say := func() string {
		return comment(told{environment: "prod", merged: &sources.Merged{}, proposed: reconciler.Proposed{Plan: v}})
	}
	if got := say(); strings.Contains(got, "nothing to do") || !strings.Contains(got, "**300 not planned**") || strings.Count(got, "out of reach") != mostRows || !strings.Contains(got, "and 200 more are not planned") {
		t.Errorf("%s", got)
	}
	c := reconciler.PlannedChange{Held: []string{"create wants approval: hold"}}
	c.Action = schema.Create
	v.Changes, v.Counts[schema.Create] = append(v.Changes, c), 1
	if got := say(); !strings.Contains(got, "**1 create (held)**, **300 not planned** · digest") || !strings.Contains(got, "Needs: ") {
		t.Errorf("%s", got)
	}
}

// TestVerdict: what nobody can let run is a failure, and what is not planned is
// not nothing to do.
func TestVerdict(t *testing.T) {
	change := func(held string, refused bool) reconciler.PlannedChange {
		return reconciler.PlannedChange{Held: []string{held}, Refused: refused}
	}
	conflict := []reconciler.ResourceStatus{{State: reconciler.Conflict}}
	for _, c := range []struct {
		v    reconciler.PlanView
		want string
	}{
		{reconciler.PlanView{Changes: []reconciler.PlannedChange{change("policy owner (hard-mandatory) refuses it", true), change("a review", false)}}, "failure 2 changes, 1 refused by policies"},
		{reconciler.PlanView{Changes: []reconciler.PlannedChange{change("policy owner (soft-mandatory) refuses it", false)}}, "success 1 change, 1 held"},
		{reconciler.PlanView{Unplanned: conflict}, "success 1 not planned: the comment says why"},
		{reconciler.PlanView{}, "success nothing to do"},
	} {
		c.v.Complete = true
		j := &job{desk: &Desk{Environment: "prod"}}
		if got := j.verdict(told{merged: &sources.Merged{}, proposed: reconciler.Proposed{Plan: c.v}}); string(got.State)+" "+got.Description != c.want {
			t.Errorf("%s %s, want %s", got.State, got.Description, c.want)
		}
	}
}

// What a long value becomes is seen, whatever comes before it.
func TestLongValues(t *testing.T) {
	delta := func(path, before, after string) drivers.Delta {
		return drivers.Delta{Path: schema.Path("").Child(path), Op: schema.Update, Before: []byte(before), After: []byte(after)}
	}
	long, wide := strings.Repeat("x", 2000), strings.Repeat("ä", 2000)
	for name, d := range map[string]drivers.Delta{
		"a long path":          delta(long, `"old"`, `"new"`),
		"a long value":         delta("p", `"old`+long+`"`, `"new`+long+`"`),
		"a long beginning":     delta("p", `"`+long+`old"`, `"`+long+`new"`),
		"letters of two bytes": delta(wide, `"`+wide+`old`+wide+`"`, `"`+wide+`new`+wide+`"`),
	} {
		got := forge.Code(became(d))
		if before, after, _ := strings.Cut(got, " → "); !strings.Contains(before, "old") || !strings.Contains(after, "new") || !strings.Contains(got, "…") || strings.Contains(got, "\uFFFD") {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := became(delta("p", `"old"`, `"new"`)); !strings.HasSuffix(got, `p "old" → "new"`) {
		t.Errorf("a short one: %s", got)
	}
}
