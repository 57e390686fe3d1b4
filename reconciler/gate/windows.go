package gate

import (
	"slices"

	"github.com/aplomb-dev/aplomb/internal/calendar"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
)

// JudgeWindow answers, in words, when a change may run; nothing means now. shut
// is the environment's calendar at that time; nil: open. No approval opens a
// window but one that says so. A deferred change asks once it is known.
func JudgeWindow(change plan.Masked, shut *calendar.Closed, approvals Index) string {
	if shut == nil || change.Action == schema.None || change.Action == schema.Deferred || approvals.Outside(change) {
		return ""
	}
	return shut.String()
}

// Outside says whether an approval that covers a change lets it run outside the
// windows.
func (x Index) Outside(now plan.Masked) bool {
	return slices.ContainsFunc(x[now.ID], func(g given) bool { return g.outside && plan.Covers(g.Masked, now) })
}
