package proposals

import (
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

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
