package gate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
)

// Refusals is what policies want of a change before it may run; nothing means
// go.
type Refusals struct {
	Why   []string // in words
	By    []string // the policies, by name
	Final bool     // one of them has no way round: no approval helps
}

// JudgePolicies answers what keeps a change, of what policies say against it.
func JudgePolicies(change plan.Masked, violations []schema.Violation, approvals Index) (r Refusals) {
	for _, v := range violations {
		words := fmt.Sprintf("policy %s (%s)", v.Policy, v.Level)
		switch {
		case v.Level == schema.Advisory, v.Level == schema.SoftMandatory && approvals.overrides(change, v.Policy):
			continue
		case v.Approvers > 0:
			who := approvals.approvers(change)
			if len(who) >= v.Approvers {
				continue
			}
			words += fmt.Sprintf(" wants approval by %d people", v.Approvers)
			if len(who) > 0 {
				words += ", has that of " + strings.Join(who, ", ")
			}
		default:
			words += " refuses it: " + v.Message
			r.Final = r.Final || v.Level != schema.SoftMandatory
		}
		if !slices.Contains(r.Why, words) {
			r.Why = append(r.Why, words)
		}
		if !slices.Contains(r.By, v.Policy) {
			r.By = append(r.By, v.Policy)
		}
	}
	return r
}

// overrides says whether an approval that covers a change overrides a policy.
func (x Index) overrides(now plan.Masked, policy string) bool {
	return slices.ContainsFunc(x[now.ID], func(g given) bool { return slices.Contains(g.overrides, policy) && g.general(now) })
}

// approvers are the different people whose approvals cover a change, sorted.
func (x Index) approvers(now plan.Masked) []string {
	var who []string
	for _, g := range x[now.ID] {
		if p := person(g.by); !slices.Contains(who, p) && g.general(now) {
			who = append(who, p)
		}
	}
	slices.Sort(who)
	return who
}

// person is who somebody was shown to be, of how the audit names them: a name
// that they gave themselves, "root (as ana)", makes nobody else of them.
func person(by string) string {
	who, _, _ := strings.Cut(by, " (as ")
	return who
}
