package terminal

import (
	"fmt"

	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
)

// mostChanged is how many differences to what was approved are listed.
const mostChanged = 20

// changed writes, field by field, what differs from what somebody approved.
func (p *Printer) changed(c *gate.Changed) {
	if c == nil {
		return
	}
	p.prose(8, styled("      asks again: it is not "+c.Whence()+" "+p.ago(c.At), yellow))
	rows := make([][]cell, 0, len(c.Between))
	for i, d := range c.Between {
		if i == mostChanged {
			rows = append(rows, []cell{text(fmt.Sprintf("and %d more", len(c.Between)-i))})
			break
		}
		rows = append(rows, []cell{text(about(d)), text(c.Verb() + ": " + d.Then), text("now: " + d.Now)})
	}
	p.table(8, rows)
}

// about is what a difference is of.
func about(d plan.Difference) string {
	if d.What == "field" {
		return field(d.Path)
	}
	if d.Path == "" {
		return "(" + d.What + ")"
	}
	return field(d.Path) + " (" + d.What + ")"
}
