package terminal

import (
	"fmt"
	"strings"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// grouped writes resources a line each: those that were declared by themselves,
// and then use by use what templates yielded.
func (p *Printer) grouped(rs []reconciler.ResourceStatus, n namer) {
	var alone []reconciler.ResourceStatus
	var order []string
	uses := map[string][]reconciler.ResourceStatus{}
	for _, r := range rs {
		if r.Use == nil {
			alone = append(alone, r)
			continue
		}
		name := r.Use.String()
		if uses[name] == nil {
			order = append(order, name)
		}
		uses[name] = append(uses[name], r)
	}
	p.resources(2, alone, n)
	for _, name := range order {
		of := uses[name]
		at := of[0].Use.Pos
		at.Col = 0
		p.flow(6, styled("  "+name, bold), styled("   "+at.String(), dim))
		p.resources(4, of, n)
	}
}

// byUse says what a plan does to each use of a template, where there are any.
func (p *Printer) byUse(changes []reconciler.PlannedChange) {
	var order []*schema.Use
	counts := map[string]map[schema.Action]int{}
	for _, c := range changes {
		if c.Use == nil {
			continue
		}
		name := c.Use.String()
		if counts[name] == nil {
			counts[name] = map[schema.Action]int{}
			order = append(order, c.Use)
		}
		counts[name][c.Action]++
	}
	if len(order) == 0 {
		return
	}
	p.line(styled("  uses of templates", bold))
	rows := make([][]cell, 0, len(order))
	for _, u := range order {
		at := u.Pos
		at.Col = 0
		rows = append(rows, []cell{text(u.String()), text(Tally(counts[u.String()])), styled(at.String(), dim)})
	}
	p.rows(4, rows, true)
}

// Use writes what one use of a template yielded, each with its state.
func (p *Printer) Use(u schema.Use, rs []reconciler.ResourceStatus) {
	version := ""
	if u.Version != "" {
		version = "@" + u.Version
	}
	counts := map[reconciler.State]int{}
	ids := make([]schema.ID, 0, len(rs))
	for _, r := range rs {
		counts[r.State]++
		ids = append(ids, r.ID)
	}
	cells := []cell{styled(u.String(), bold)}
	for _, st := range reconciler.States {
		if n := counts[st]; n > 0 {
			r, sty := stateRune(st)
			cells = append(cells, styled(fmt.Sprintf("   %s %s %d", r, st, n), sty))
		}
	}
	p.flow(4, cells...)
	p.rows(2, [][]cell{{styled("template", dim), text(u.Template + version)}, {styled("declared", dim), text(u.Pos.String())}}, true)
	p.section("yields")
	p.resources(2, rs, names(ids...))
}

// Templates writes the list of templates; versions of one stand on one line.
func (p *Printer) Templates(all []Template) {
	if len(all) == 0 {
		return
	}
	p.line(text("templates"))
	var rows [][]cell
	for _, t := range all {
		if len(rows) > 0 && rows[len(rows)-1][0].text == t.Kind.Name {
			rows[len(rows)-1][1].text += ", " + t.Version
			continue
		}
		rows = append(rows, []cell{styled(t.Kind.Name, bold), text(t.Version), text(first(t.Kind.Doc))})
	}
	p.rows(2, rows, true)
}

// Template is a template as help shows it.
type Template struct {
	Kind     schema.Kind
	Version  string
	Versions []string // all that there are, the newest first
	At       string   // where it is defined
}

// Template writes a template's input and outputs as help.
func (p *Printer) Template(t Template) {
	version := ""
	if t.Version != "" {
		version = "@" + t.Version
	}
	p.prose(4, styled(t.Kind.Name+version, bold), text("   a template, "+t.At))
	p.doc(2, t.Kind.Doc)
	if len(t.Versions) > 1 {
		p.Note("  versions: " + strings.Join(t.Versions, ", "))
	}
	p.section("spec")
	p.fields(t.Kind.Fields)
	p.section("outputs")
	p.fields(t.Kind.Outputs)
}
