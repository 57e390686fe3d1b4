package terminal

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// Show writes everything known of one resource.
func (p *Printer) Show(d reconciler.Detail) {
	s := d.Status
	p.prose(4, styled(s.ID.String(), bold), text("   "), stateCell(s.State), text("   "+p.reason(s)))
	facts := [][]cell{}
	fact := func(name, value string) {
		if value != "" {
			facts = append(facts, []cell{styled(name, dim), text(value)})
		}
	}
	fact("layer", s.Layer)
	fact("declared", s.Pos.String())
	if s.Use != nil {
		fact("use of", s.Use.String())
	}
	fact("address", d.Handle)
	fact("health", join(string(d.Health.Status), d.Health.Reason, ": "))
	if !s.Since.IsZero() {
		fact("since", p.stamp(s.Since))
	}
	if s.LastAction != "" {
		fact("last change", join(done(s.LastAction)+" "+p.stamp(s.LastAt), s.LastRev[:min(len(s.LastRev), 7)], " at "))
	}
	fact("needs", ids(d.Needs))
	fact("needed by", ids(d.NeededBy))
	p.rows(2, facts, true)
	p.outputs(d)
	p.spec("declared", d.Declared)
	p.spec("live", d.Live)
	if len(s.Violations) > 0 {
		p.section("policies")
		p.policies([]judged{{s.ID.Short(), s.Violations}})
	}
	if c := d.Change; c != nil {
		p.section("difference")
		p.change(*c, names(c.ID), 24, true)
	}
	if len(d.Events) > 0 {
		p.section("events")
		for _, e := range d.Events {
			e.ID = schema.ID{}
			p.line(append([]cell{styled("  "+p.stamp(e.At)+"  ", dim)}, eventCells(e)...)...)
		}
	}
}

func (p *Printer) section(name string) {
	p.blank()
	p.line(styled(name, bold))
}

func (p *Printer) outputs(d reconciler.Detail) {
	if len(d.Outputs) == 0 {
		return
	}
	p.section("outputs")
	var rows [][]cell
	for _, name := range slices.Sorted(maps.Keys(d.Outputs)) {
		v := schema.Redacted
		if o := d.Outputs[name]; !o.Secret {
			v = Value(o.Value)
		}
		rows = append(rows, []cell{text(name), text(v)})
	}
	p.table(2, rows)
}

// spec writes JSON as an indented block.
func (p *Printer) spec(name string, raw json.RawMessage) {
	if len(raw) == 0 {
		return
	}
	p.section(name)
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		p.line(text("  " + string(raw)))
		return
	}
	for line := range strings.Lines(b.String()) {
		p.line(text("  " + strings.TrimRight(line, "\n")))
	}
}

func ids(all []schema.ID) string {
	names := make([]string, 0, len(all))
	for _, id := range all {
		names = append(names, id.Short())
	}
	return strings.Join(names, ", ")
}
