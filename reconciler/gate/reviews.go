package gate

import (
	"fmt"
	"strings"

	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
)

// JudgeReviews answers, in words, that a change has not been approved by as many
// different people as the environment wants; nothing means go. A deferred change
// asks once it is known.
func JudgeReviews(change plan.Masked, want int, approvals Index) []string {
	if want <= 0 || change.Action == schema.None || change.Action == schema.Deferred {
		return nil
	}
	who := approvals.approvers(change)
	if len(who) >= want {
		return nil
	}
	words := fmt.Sprintf("wants approval by %d people", want)
	if want == 1 {
		words = "wants approval: a review"
	}
	if len(who) > 0 {
		words += ", has that of " + strings.Join(who, ", ")
	}
	return []string{words}
}
