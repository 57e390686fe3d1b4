package terminal

import (
	"fmt"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// stateRune is the state's mark on screens.
func stateRune(s reconciler.State) (string, style) {
	switch s {
	case reconciler.Converged:
		return "●", green
	case reconciler.Progressing:
		return "…", blue
	case reconciler.Waiting:
		return "◌", dim
	case reconciler.Held:
		return "⏸", yellow
	case reconciler.Drifted:
		return "≠", yellow
	case reconciler.Degraded:
		return "✗", red
	case reconciler.Conflict:
		return "!", red
	case reconciler.Suspended:
		return "‖", yellow
	default:
		return "?", plain
	}
}

func stateCell(s reconciler.State) cell {
	r, st := stateRune(s)
	return styled(r+" "+string(s), st)
}

// mostOfState is how many resources of one state are listed where not all were
// asked for.
const mostOfState = 30

// Status writes how the environment is: a line of summary, then what is not
// converged, of each state the first; all adds what is, and the rest.
func (p *Printer) Status(s reconciler.Status, all bool) {
	p.summary(s)
	p.circumstances(s)
	var rows []reconciler.ResourceStatus
	ids := make([]schema.ID, 0, len(s.Resources))
	shown := map[reconciler.State]int{}
	for _, r := range s.Resources {
		ids = append(ids, r.ID)
		if all || r.State != reconciler.Converged && shown[r.State] < mostOfState {
			shown[r.State]++
			rows = append(rows, r)
		}
	}
	said := standing(s, names(ids...))
	if tally := policyTally(said); tally != "" && all {
		p.line(text("  " + tally))
		p.policies(said)
	} else if tally != "" {
		p.flow(4, text("  "+tally), styled(": aplomb status --all", dim))
	}
	if len(rows) == 0 {
		return
	}
	p.blank()
	p.grouped(rows, names(ids...))
	for _, st := range reconciler.States {
		if more := s.Counts[st] - shown[st]; shown[st] > 0 && more > 0 {
			p.flow(4, styled(fmt.Sprintf("  … and %d more %s: aplomb status --all", more, st), dim))
		}
	}
}

func (p *Printer) summary(s reconciler.Status) {
	cells := []cell{styled(s.Environment, bold)}
	any := false
	for _, st := range reconciler.States {
		if n := s.Counts[st]; n > 0 {
			r, sty := stateRune(st)
			cells = append(cells, styled(fmt.Sprintf("   %s %s %d", r, st, n), sty))
			any = true
		}
	}
	if !any {
		cells = append(cells, text("   nothing declared, nothing owned"))
	}
	source := p.sourceCell(s.Source)
	if s.Revision.ID != "" {
		cells = append(cells, text("      at "+s.Revision.Short()))
		source.text = " · " + source.text
	} else {
		source.text = "      " + source.text
	}
	cells = append(cells, source)
	for _, f := range besides(s) {
		cells = append(cells, p.followedCell(f))
	}
	if c := p.forgeCell(s.Forge); c.text != "" {
		cells = append(cells, c)
	}
	for _, t := range s.Targets {
		c := p.targetCell(t)
		c.text = " · " + c.text
		cells = append(cells, c)
	}
	p.flow(4, cells...)
}

func (p *Printer) sourceCell(s reconciler.SourceStatus) cell {
	switch {
	case s.At.IsZero():
		return text("source: not looked at yet")
	case s.OK:
		return text("source ok, " + p.ago(s.At))
	default:
		return styled("source failing"+p.since(s.Since), red)
	}
}

// followed is a source that declarations are compiled under, with its name.
type followed struct {
	name string
	reconciler.FollowedStatus
}

func besides(s reconciler.Status) []followed {
	var all []followed
	if s.Templates != nil {
		all = append(all, followed{"templates", *s.Templates})
	}
	if s.Policies != nil {
		all = append(all, followed{"policies", *s.Policies})
	}
	return all
}

func (p *Printer) followedCell(f followed) cell {
	at := " · " + f.name
	if f.Revision.ID != "" {
		at += " " + f.Revision.Short()
	}
	if !f.Source.OK && !f.Source.At.IsZero() {
		return styled(at+" failing"+p.since(f.Source.Since), red)
	}
	return text(at)
}

func (p *Printer) targetCell(t reconciler.TargetStatus) cell {
	if t.OK {
		return text(t.Name + " ok")
	}
	return styled(t.Name+" unreachable"+p.since(t.Since), red)
}

// since is for how long something has been so, where that is worth a word.
func (p *Printer) since(t time.Time) string {
	if d := p.now().Sub(t); d >= time.Second && !t.IsZero() {
		return " since " + span(d)
	}
	return ""
}

// circumstances are the things beside resources that a person should know.
func (p *Printer) circumstances(s reconciler.Status) {
	if s.Suspended != nil {
		p.prose(6, styled("  ‖ suspended", yellow), text(p.lever(*s.Suspended)+"; goes on with: aplomb resume"))
	}
	if r := s.Rollback; r != nil && len(r.Faults) > 0 {
		p.prose(6, styled("  ↶ quarantined", yellow), text(fmt.Sprintf(" %s, back at %s%s; a newer commit ends it", r.Quarantined.Short(), r.To.Short(), p.lever(r.Lever))))
	} else if r != nil {
		p.prose(6, styled("  ↶ rolled back", yellow), text(fmt.Sprintf(" to %s from %s%s; a newer commit ends it", r.To.Short(), r.Quarantined.Short(), p.lever(r.Lever))))
	}
	if !s.Source.OK && s.Source.Error != "" {
		p.prose(6, styled("  ✗ source: ", red), text(s.Source.Error+"; what was fetched before stays in force"))
		p.hint(s.Source.Hint)
	}
	for _, f := range besides(s) {
		if f.Source.Error == "" || s.Source.Error != "" { // what stops everything is told above
			continue
		}
		p.prose(6, styled("  ✗ "+f.name+": ", red), text(f.Source.Error+"; what was fetched before stays in force"))
		p.hint(f.Source.Hint)
	}
	for _, f := range failing(s.Forge) {
		p.prose(6, styled("  ✗ forge: ", red), text(f.words(s)))
		p.hint(f.Hint)
	}
	for _, t := range s.Targets {
		if !t.OK {
			p.prose(6, styled("  ✗ "+t.Name+": ", red), text(t.Error+p.again(t.Next)))
		}
	}
	if !s.Report.OK && s.Report.Error != "" {
		p.prose(6, styled("  ✗ report: ", yellow), text(s.Report.Error))
	}
	if r := s.Refused; r != nil && (r.Error == "" || r.Error != s.Source.Error) { // a rewound branch is told above
		what := r.Error
		if len(r.Findings) > 0 {
			what = Findings(len(r.Findings), r.Files)
		}
		p.prose(6, styled("  ✗ refused ", red), text(titled(r.Revision)+": "+what))
		const most = 5
		for _, d := range r.Findings[:min(len(r.Findings), most)] {
			p.prose(6, text("      "+d.String()))
			if d.Hint != "" {
				p.prose(10, styled("          hint: ", bold), text(d.Hint))
			}
		}
		if more := len(r.Findings) - most; more > 0 {
			p.prose(6, text(fmt.Sprintf("      and %d more: aplomb validate", more)))
		}
	}
}

func (p *Printer) hint(s string) {
	if s != "" {
		p.prose(6, styled("    hint: ", bold), text(s))
	}
}

func (p *Printer) again(next time.Time) string {
	if d := next.Sub(p.now()); !next.IsZero() && d > 0 {
		return "; asked again in " + span(d)
	}
	return ""
}

func (p *Printer) lever(l reconciler.Lever) string {
	s := fmt.Sprintf(" by %s %s", l.By, p.ago(l.At))
	if l.Why != "" {
		s += ": " + l.Why
	}
	return s
}

// resources writes a line a resource: name, state, and why.
func (p *Printer) resources(indent int, rs []reconciler.ResourceStatus, n namer) {
	rows := make([][]cell, 0, len(rs))
	for _, r := range rs {
		rows = append(rows, []cell{text(n.of(r.ID)), stateCell(r.State), text(p.reason(r))})
	}
	p.rows(indent, rows, true)
}

// reason is what a person should know about a resource's state.
func (p *Printer) reason(r reconciler.ResourceStatus) string {
	s := r.Reason
	if s == "" {
		s = r.Note
	}
	if d := r.Deadline.Sub(p.now()); r.State == reconciler.Progressing && !r.Deadline.IsZero() && d > 0 {
		s = join(s, "deadline in "+span(d), ", ")
	}
	if r.State == reconciler.Held && r.Digest != "" && !r.Refused && !r.Timed && r.Hint == "" {
		return join(s, "aplomb approve "+digest(r.Digest), " · ")
	}
	return join(s, r.Hint, " · ")
}

func join(a, b, sep string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + sep + b
}

// titled is a revision with its title, where it has one: a folder's has none.
func titled(r sources.Revision) string {
	if r.Title == "" {
		return r.Short()
	}
	return fmt.Sprintf("%s %q", r.Short(), r.Title)
}
