package terminal

import (
	"fmt"

	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/reconciler"
)

// Environments writes a line an environment: how it does, and where it is.
func (p *Printer) Environments(all []api.EnvironmentInfo) {
	rows := make([][]cell, 0, len(all))
	for _, e := range all {
		rows = append(rows, []cell{styled(e.Name, bold), p.condition(e), text(p.whereabouts(e))})
	}
	p.rows(0, rows, true)
}

// condition is how an environment does, in a word or two.
func (p *Printer) condition(e api.EnvironmentInfo) cell {
	switch {
	case !e.Open:
		return styled("✗ not open"+p.since(e.Since), red)
	case e.Converged:
		return styled(fmt.Sprintf("● converged %d", e.Counts[reconciler.Converged]), green)
	}
	for i := len(reconciler.States) - 1; i > 0; i-- { // what wants most attention comes last there
		st := reconciler.States[i]
		if n := e.Counts[st]; n > 0 {
			r, sty := stateRune(st)
			return styled(fmt.Sprintf("%s %s %d", r, st, n), sty)
		}
	}
	return text("◌ not converged")
}

// whereabouts is what an environment follows, or why it is not open.
func (p *Printer) whereabouts(e api.EnvironmentInfo) string {
	if !e.Open {
		return join(e.Error, e.Hint, "; ")
	}
	if e.Revision.ID != "" {
		return "at " + e.Revision.Short() + " of " + e.Source
	}
	return e.Source
}
