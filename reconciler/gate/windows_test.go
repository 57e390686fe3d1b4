package gate_test

import (
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/internal/calendar"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
)

// TestJudgeWindow: while the windows are closed every change waits for its time;
// approvals let run what they say may run outside, and nothing else.
func TestJudgeWindow(t *testing.T) {
	w, err := calendar.NewWindow("0 8 * * MON-FRI", 9*time.Hour, "Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	cal := calendar.Calendar{Windows: []calendar.Window{w}}
	saturday, monday := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC), time.Date(2026, 11, 30, 7, 0, 0, 0, time.UTC)
	covers := func(outside bool, name string, at time.Time) gate.Index {
		all := []gate.Approval{{ID: "x", By: "ana", At: at, Outside: outside, Changes: []plan.Masked{change(name, schema.Replace)}}}
		return gate.NewIndex(all, saturday)
	}
	const waits = "window opens Mon 08:00 Europe/Berlin"
	for _, c := range []struct {
		what      string
		now       time.Time
		approvals gate.Index
		want      map[schema.Action]string // what is not named goes
	}{
		{"closed", saturday, nil, map[schema.Action]string{
			schema.Create: waits, schema.Update: waits, schema.Replace: waits, schema.Delete: waits, schema.Adopt: waits}},
		{"open", monday, nil, nil},
		{"approved", saturday, covers(false, "a", saturday), map[schema.Action]string{
			schema.Create: waits, schema.Update: waits, schema.Replace: waits, schema.Delete: waits, schema.Adopt: waits}},
		{"outside, and what is milder", saturday, covers(true, "a", saturday), map[schema.Action]string{
			schema.Create: waits, schema.Delete: waits, schema.Adopt: waits}},
		{"outside, too long ago", saturday, covers(true, "a", saturday.Add(-gate.ApprovalTime-1)), map[schema.Action]string{
			schema.Create: waits, schema.Update: waits, schema.Replace: waits, schema.Delete: waits, schema.Adopt: waits}},
		{"outside, another one", saturday, covers(true, "b", saturday), map[schema.Action]string{
			schema.Create: waits, schema.Update: waits, schema.Replace: waits, schema.Delete: waits, schema.Adopt: waits}},
	} {
		for _, a := range every {
			if got := gate.JudgeWindow(change("a", a), cal.At(c.now), c.approvals); got != c.want[a] {
				t.Errorf("%s: %s: %q, want %q", c.what, a, got, c.want[a])
			}
		}
	}
}
