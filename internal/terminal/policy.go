package terminal

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/policy"
)

func levelStyle(l schema.Level) style {
	switch l {
	case schema.HardMandatory:
		return red
	case schema.SoftMandatory:
		return yellow
	default:
		return plain
	}
}

// judged is what policies say of one resource, or of its change.
type judged struct {
	name string
	said []schema.Violation
}

// judgements are those of a plan.
func judgements(v reconciler.PlanView, n namer) []judged {
	var all []judged
	for _, c := range v.Changes {
		all = append(all, judged{n.of(c.ID), c.Violations})
	}
	return all
}

// standing are those of a status.
func standing(s reconciler.Status, n namer) []judged {
	var all []judged
	for _, r := range s.Resources {
		all = append(all, judged{n.of(r.ID), r.Violations})
	}
	return all
}

// policies are what policies say, one a line.
func (p *Printer) policies(all []judged) {
	rows := [][]cell{}
	for _, j := range all {
		for _, s := range j.said {
			about := j.name + ": " + s.Message
			if at := s.Pos.String(); s.Pos.Line > 0 {
				about += "   " + at
			}
			if s.Hint != "" {
				about += "   hint: " + s.Hint
			}
			rows = append(rows, []cell{styled(string(s.Level), levelStyle(s.Level)), text(s.Policy), text(about)})
		}
	}
	p.rows(2, rows, true)
}

// policyTally is "policies: 1 hard-mandatory, 2 advisory", or "".
func policyTally(all []judged) string {
	count := map[schema.Level]int{}
	for _, j := range all {
		for _, s := range j.said {
			count[s.Level]++
		}
	}
	var parts []string
	for _, l := range []schema.Level{schema.HardMandatory, schema.SoftMandatory, schema.Advisory} {
		if count[l] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[l], l))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "policies: " + strings.Join(parts, ", ")
}

// overridesOf adds the flags that override what refuses a change.
func overridesOf(c reconciler.PlannedChange, flags string) string {
	for _, v := range c.Violations {
		flag := " --override " + v.Policy
		if v.Level == schema.SoftMandatory && v.Approvers == 0 && slices.Contains(c.Blocked, v.Policy) && !strings.Contains(flags+" ", flag+" ") {
			flags += flag
		}
	}
	return flags
}

// withReason adds the reason that overriding wants.
func withReason(flags string) string {
	if flags == "" {
		return ""
	}
	return flags + ` --reason "…"`
}

// Judged writes what policies refuse of declarations, and what they advise, one
// a line as findings are.
func (p *Printer) Judged(refusals, advice []schema.Diagnostic) {
	p.Lint(refusals)
	for i := range advice {
		advice[i].Message = "warning: " + advice[i].Message
	}
	p.Lint(advice)
}

// Refused says how many refusals of policies there are.
func (p *Printer) Refused(n int) {
	p.Note(fmt.Sprintf("%s by policies; what they refuse is not applied.", count(n, "refusal")))
}

// PolicyTest writes what became of the cases beside policies: what went wrong,
// then a line for each policy, and what no case has tried.
func (p *Printer) PolicyTest(r *policy.Report) {
	p.Lint(r.Findings)
	failed := 0
	for _, c := range r.Cases {
		if c.OK {
			continue
		}
		failed++
		p.prose(6, styled("✗ ", red), text(fmt.Sprintf("%s: %s: %s: %s", c.Policy, c.Want, c.Name, c.Reason)))
	}
	rows := make([][]cell, 0, len(r.Policies))
	both := 0
	for _, c := range r.Policies {
		sign, what := styled("●", green), ""
		switch {
		case c.Pass == 0 && c.Fail == 0:
			sign, what = styled("○", yellow), "no case"
		case c.Pass == 0:
			sign, what = styled("○", yellow), "no case that passes"
		case c.Fail == 0:
			sign, what = styled("○", yellow), "no case that fails"
		default:
			both++
		}
		if len(c.Unseen) > 0 {
			what = join(what, "never seen to fail: "+strings.Join(c.Unseen, ", "), "; ")
		}
		rows = append(rows, []cell{sign, text(c.Policy), styled(string(c.Level), levelStyle(c.Level)),
			text(fmt.Sprintf("%d pass, %d fail", c.Pass, c.Fail)), text(what)})
	}
	p.rows(0, rows, true)
	if len(r.Findings) > 0 {
		return
	}
	word := styled("good", green)
	if failed > 0 {
		word = styled(fmt.Sprintf("%d failed", failed), red)
	}
	p.line(word, text(fmt.Sprintf(": %s; %d of %d policies are tried both ways", count(len(r.Cases), "case"), both, len(r.Policies))))
}
