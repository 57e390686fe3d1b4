package gate_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestJudgePolicies(t *testing.T) {
	violation := func(level schema.Level, approvers int) schema.Violation {
		return schema.Violation{Policy: "p", Level: level, Message: "no", Approvers: approvers}
	}
	approve := func(by string, c plan.Masked, overrides ...string) gate.Approval {
		return gate.Approval{ID: "x", By: by, At: now, Changes: []plan.Masked{c}, Overrides: overrides}
	}
	c, other := change("a", schema.Delete), change("b", schema.Delete)
	for _, test := range []struct {
		name      string
		said      []schema.Violation
		approvals []gate.Approval
		why       string
		final     bool
	}{
		{"nothing is said", nil, nil, "[]", false},
		{"advice holds nothing", []schema.Violation{violation(schema.Advisory, 0), violation(schema.Advisory, 2)}, nil, "[]", false},
		{"soft", []schema.Violation{violation(schema.SoftMandatory, 0)}, nil, "[policy p (soft-mandatory) refuses it: no]", false},
		{"soft, approved and not overridden", []schema.Violation{violation(schema.SoftMandatory, 0)}, []gate.Approval{approve("ana", c)}, "[policy p (soft-mandatory) refuses it: no]", false},
		{"soft, another one overridden", []schema.Violation{violation(schema.SoftMandatory, 0)}, []gate.Approval{approve("ana", c, "q")}, "[policy p (soft-mandatory) refuses it: no]", false},
		{"soft, overridden for another change", []schema.Violation{violation(schema.SoftMandatory, 0)}, []gate.Approval{approve("ana", other, "p")}, "[policy p (soft-mandatory) refuses it: no]", false},
		{"soft, overridden", []schema.Violation{violation(schema.SoftMandatory, 0)}, []gate.Approval{approve("ana", c, "q", "p")}, "[]", false},
		{"hard, overridden", []schema.Violation{violation(schema.HardMandatory, 0)}, []gate.Approval{approve("ana", c, "p")}, "[policy p (hard-mandatory) refuses it: no]", true},
		{"an unknown level is hard", []schema.Violation{violation("", 0)}, []gate.Approval{approve("ana", c, "p")}, "[policy p () refuses it: no]", true},
		{"two, and nobody", []schema.Violation{violation(schema.HardMandatory, 2)}, nil, "[policy p (hard-mandatory) wants approval by 2 people]", false},
		{"two, and one twice", []schema.Violation{violation(schema.HardMandatory, 2)}, []gate.Approval{approve("ana", c), approve("ana", c), approve("ben", other)},
			"[policy p (hard-mandatory) wants approval by 2 people, has that of ana]", false},
		{"two, and two", []schema.Violation{violation(schema.HardMandatory, 2)}, []gate.Approval{approve("ben", c), approve("ana", c)}, "[]", false},
		{"two, and a soft one overridden", []schema.Violation{violation(schema.SoftMandatory, 2)}, []gate.Approval{approve("ana", c, "p")}, "[]", false},
		{"the same once", []schema.Violation{violation(schema.SoftMandatory, 0), violation(schema.SoftMandatory, 0)}, nil, "[policy p (soft-mandatory) refuses it: no]", false},
	} {
		got := gate.JudgePolicies(c, test.said, gate.NewIndex(test.approvals, now))
		if fmt.Sprint(got.Why) != test.why || got.Final != test.final || (len(got.Why) > 0) != slices.Equal(got.By, []string{"p"}) {
			t.Errorf("%s: %+v, want %s, %t", test.name, got, test.why, test.final)
		}
	}
	old := gate.NewIndex([]gate.Approval{approve("ana", c, "p")}, now.Add(gate.ApprovalTime+time.Second))
	if len(gate.JudgePolicies(c, []schema.Violation{violation(schema.SoftMandatory, 0)}, old).Why) == 0 {
		t.Error("an override is for ever")
	}
	deferred := change("a", schema.Deferred)
	if len(gate.JudgePolicies(deferred, []schema.Violation{violation(schema.SoftMandatory, 0)}, gate.NewIndex([]gate.Approval{approve("ana", deferred, "p")}, now)).Why) == 0 {
		t.Error("what is deferred was overridden")
	}
}
