package proposals

import (
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// TestWindowsTold: what waits for its time says so on the proposal and on the
// commit; the forge is asked for reviews only where somebody could still give
// one.
func TestWindowsTold(t *testing.T) {
	const shut = "window opens Mon 08:00 Europe/Berlin"
	c := reconciler.PlannedChange{Layer: "scheduler", Held: []string{"wants approval: a review", shut}, Shut: shut}
	c.ID, c.Action = schema.ID{Kind: "nomad.job", Name: "web", Target: "eu"}, schema.Create
	text := comment(told{environment: "prod", merged: &sources.Merged{}, proposed: reconciler.Proposed{Plan: reconciler.PlanView{
		Changes: []reconciler.PlannedChange{c}, Counts: map[schema.Action]int{schema.Create: 1}, Complete: true, Digest: digest,
	}}})
	if !strings.Contains(text, "Needs: <code>wants approval&#58; a review</code> · <code>window opens Mon 08&#58;00 Europe/Berlin</code>.") {
		t.Error(text)
	}

	held := func(timed bool) reconciler.ResourceStatus {
		return reconciler.ResourceStatus{State: reconciler.Held, Timed: timed, Reason: shut}
	}
	teller := &Teller{Environment: "prod"}
	for _, c := range []struct {
		resources []reconciler.ResourceStatus
		wants     bool
		told      string
	}{
		{[]reconciler.ResourceStatus{{State: reconciler.Converged}}, false, "1 converged"},
		{[]reconciler.ResourceStatus{{State: reconciler.Converged}, held(true), held(true)}, false, "1 converged, 2 held: " + shut},
		{[]reconciler.ResourceStatus{held(true), held(false)}, true, "2 held"},
		{[]reconciler.ResourceStatus{held(true), {State: reconciler.Waiting, Timed: true}}, false, "1 waiting, 1 held: " + shut},
	} {
		s := reconciler.Status{Settled: true, Counts: map[reconciler.State]int{}, Resources: c.resources}
		for _, r := range c.resources {
			s.Counts[r.State]++
		}
		got := teller.inForce(s)
		if wantsPeople(s) != c.wants || got.Description != c.told || (got.State == forge.Pending) == (s.Counts[reconciler.Held] == 0) {
			t.Errorf("%v: wants people %t, told %+v", c.resources, wantsPeople(s), got)
		}
	}
}
