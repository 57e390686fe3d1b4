package terminal

import (
	"fmt"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// shortDigest is how many hex digits of a digest a screen shows; approving
// takes as many.
const shortDigest = 12

func digest(s string) string { return Clean(s[:min(len(s), shortDigest)]) }

// Plan writes what would change and why, layer by layer, its digest last.
// full adds the fields of what is created and of what is deleted.
func (p *Printer) Plan(v reconciler.PlanView, full bool) {
	at := ""
	if v.Revision.ID != "" {
		at = " at " + v.Revision.Short()
	}
	p.flow(4, styled("plan for "+v.Environment+at, bold),
		text(fmt.Sprintf("  (live now is %s, %d unchanged)", count(v.Live, "resource"), v.Unchanged)))
	ids := make([]schema.ID, 0, len(v.Changes)+len(v.Unplanned))
	for _, c := range v.Changes {
		ids = append(ids, c.ID)
	}
	for _, r := range v.Unplanned {
		ids = append(ids, r.ID)
	}
	n := names(ids...)
	p.blank()
	layer := ""
	widest := p.widest(ids, n)
	for _, c := range v.Changes {
		if c.Layer != layer {
			layer = c.Layer
			p.line(styled("  "+layer, bold))
		}
		p.change(c, n, widest, full)
	}
	p.unplanned(v.Unplanned, n)
	p.byUse(v.Changes)
	if len(v.Changes)+len(v.Unplanned) > 0 {
		p.blank()
	}
	said := judgements(v, n)
	p.prose(2, text(join("  "+Tally(v.Counts), policyTally(said), "        ")))
	p.policies(said)
	if !v.Complete {
		p.line(styled("  not everything could be looked at: the plan is not complete", yellow))
	}
	p.planDigest(v)
}

// widest is the column after which positions and reasons stand.
func (p *Printer) widest(ids []schema.ID, n namer) int {
	w := 36
	if p.Width > 0 && p.Width < 100 {
		w = 24
	}
	for _, id := range ids {
		w = max(w, cells1(n.of(id)))
	}
	if p.Width > 0 {
		w = min(w, max(p.Width/2, 16))
	}
	return w
}

func (p *Printer) change(c reconciler.PlannedChange, n namer, widest int, full bool) {
	at := c.Pos
	at.Col = 0
	place := at.String()
	if c.Action == schema.Delete {
		place = "was " + place
		if c.Was != "" {
			place += " at " + c.Was[:min(len(c.Was), 7)]
		}
	}
	if c.Use != nil {
		place += " · " + c.Use.String()
	}
	cells := []cell{
		styled("  "+c.Action.Rune()+" ", actionStyle(c.Action)),
		text(pad(clip(n.of(c.ID), widest), widest) + "  "),
		styled(place, dim),
	}
	for _, s := range why(c) {
		s.text = "   " + s.text
		cells = append(cells, words(s)...)
	}
	p.flow(8, cells...)
	if full || c.Action != schema.Create && c.Action != schema.Delete {
		p.deltas(c.Diff)
	}
	p.changed(c.Changed)
}

// why is what a person should know about a change beyond its fields.
func why(c reconciler.PlannedChange) []cell {
	var all []cell
	if c.Drift {
		all = append(all, styled("drift: live moved", yellow))
	}
	if c.Why != "" && c.Action != schema.Create && c.Action != schema.Delete {
		all = append(all, text(c.Why))
	}
	for _, h := range c.Held {
		all = append(all, styled("held: "+h, yellow))
	}
	if len(c.Waits) > 0 {
		all = append(all, styled("waits for "+strings.Join(c.Waits, ", "), dim))
	}
	return all
}

func (p *Printer) deltas(diff []drivers.Delta) {
	rows := make([][]cell, 0, len(diff))
	for _, d := range diff {
		rows = append(rows, []cell{text(field(d.Path)), {delta(d), plain}})
	}
	p.table(6, rows)
}

// field is a delta's path for people.
func field(path schema.Path) string {
	if path == drivers.MarkPath {
		return "(ownership mark)"
	}
	return path.String()
}

// delta is what becomes of a field, clean.
func delta(d drivers.Delta) string {
	after := Value(d.After)
	if d.Unknown {
		after = "known after apply"
	}
	switch {
	case d.Op == schema.Delete:
		return "- " + Value(d.Before)
	case d.Op == schema.Create || len(d.Before) == 0:
		return "+ " + after
	case d.Op == schema.Replace:
		return Value(d.Before) + " → " + after + "   immutable: made anew"
	case d.Unknown:
		return after
	default:
		return Value(d.Before) + " → " + after
	}
}

func (p *Printer) unplanned(rs []reconciler.ResourceStatus, n namer) {
	if len(rs) == 0 {
		return
	}
	p.line(styled("  not planned", bold))
	p.resources(2, rs, n)
}

// Tally is "1 to create · 2 to change", or that there is nothing to do.
func Tally(counts map[schema.Action]int) string {
	var parts []string
	for _, a := range []struct {
		action schema.Action
		word   string
	}{
		{schema.Create, "create"}, {schema.Adopt, "adopt"}, {schema.Update, "change"},
		{schema.Replace, "replace"}, {schema.Delete, "delete"}, {schema.Deferred, "decide later"},
	} {
		if n := counts[a.action]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d to %s", n, a.word))
		}
	}
	if len(parts) == 0 {
		return "nothing to do"
	}
	return strings.Join(parts, " · ")
}

// planDigest says what to approve, if anything.
func (p *Printer) planDigest(v reconciler.PlanView) {
	if v.Digest == "" {
		return
	}
	var held []reconciler.PlannedChange
	overrides := ""
	for _, c := range v.Changes {
		switch {
		case c.Refused, c.Timed(): // no approval helps
		case len(c.Blocked) > 0:
			overrides = overridesOf(c, overrides)
			held = append(held, c)
		case len(c.Held) > 0:
			held = append(held, c)
		}
	}
	cells := []cell{text("digest " + digest(v.Digest) + "…")}
	switch len(held) {
	case 0:
	case 1:
		cells = append(cells, text("   approve the held change with: aplomb approve "+digest(held[0].Digest)+withReason(overrides)))
	default:
		cells = append(cells, text(fmt.Sprintf("   approve the %d held changes with: aplomb approve %s%s", len(held), digest(v.Digest), withReason(overrides))))
	}
	p.blank()
	p.flow(2, cells...)
}

func actionStyle(a schema.Action) style {
	switch a {
	case schema.Create:
		return green
	case schema.Update, schema.Adopt, schema.Deferred:
		return yellow
	case schema.Replace, schema.Delete:
		return red
	default:
		return plain
	}
}
