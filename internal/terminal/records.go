package terminal

import (
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// stamp is a moment for people: local time, in full where it was not today.
func (p *Printer) stamp(t time.Time) string {
	now := p.now()
	t = t.In(now.Location())
	if y, m, d := t.Date(); y == now.Year() && m == now.Month() && d == now.Day() {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04:05")
}

// History writes what was done, newest first.
func (p *Printer) History(rs []reconciler.Record) {
	if len(rs) == 0 {
		p.Note("nothing has happened yet")
		return
	}
	ids := make([]schema.ID, 0, len(rs))
	for _, r := range rs {
		ids = append(ids, r.ID)
	}
	n := names(ids...)
	rows := make([][]cell, 0, len(rs))
	for _, r := range rs {
		what, about := r.What, r.Title
		if r.ID != (schema.ID{}) {
			what = r.Action.Rune() + " " + r.What
			about = n.of(r.ID)
		}
		for _, u := range [][2]string{{"templates", r.Templates}, {"policies", r.Policies}} {
			if u[1] != "" {
				about = join(about, u[0]+" "+u[1][:min(len(u[1]), 7)], ", ")
			}
		}
		if r.Error != "" {
			about = join(about, r.Error, ": ")
		}
		st := plain
		switch r.What {
		case "failed", "refused", "quarantined":
			st = red
		case "converged":
			st = green
		}
		rows = append(rows, []cell{text(p.stamp(r.At)), text(r.Revision[:min(len(r.Revision), 7)]), styled(what, st), text(about)})
	}
	p.rows(0, rows, true)
}

// Audit writes which levers were pulled, newest first.
func (p *Printer) Audit(es []reconciler.AuditEntry) {
	if len(es) == 0 {
		p.Note("nobody has pulled a lever yet")
		return
	}
	rows := make([][]cell, 0, len(es))
	for _, e := range es {
		subject := e.Subject
		if len(subject) == 64 { // a digest
			subject = digest(subject)
		}
		if let := e.Lets(); let != "" {
			subject += " " + let
		}
		rows = append(rows, []cell{text(p.stamp(e.At)), text(e.Via), text(e.By), styled(e.Does(), bold), text(subject), text(e.Why)})
	}
	p.rows(0, rows, true)
}

// Event is one line about something that happened: a time, a word, what it is
// about, and what there is to say. What was told already is not told again.
func (p *Printer) Event(e reconciler.Event) {
	if silent(e) || !p.news(e) {
		return
	}
	head := []cell{styled(e.At.In(p.now().Location()).Format("15:04:05")+" ", dim)}
	if p.Label != "" {
		head = append(head, styled(p.Label+" ", bold))
	}
	p.prose(9, append(head, eventCells(e)...)...)
}

func eventCells(e reconciler.Event) []cell {
	word := eventWord(e)
	about := ""
	if e.ID != (schema.ID{}) {
		about = e.ID.Short()
	}
	msg := e.Message
	if e.Type == "revision" || e.Type == "refused" || e.Type == "converged" {
		about = e.Revision[:min(len(e.Revision), 7)]
	}
	cells := []cell{word}
	if about != "" {
		cells = append(cells, text(": "+about))
	}
	switch {
	case msg != "" && e.Type == "drift" && about != "":
		cells = append(cells, text(" "+msg))
	case msg != "":
		cells = append(cells, text(": "+msg))
	}
	if e.Seconds > 0 {
		cells = append(cells, text(" in "+span(time.Duration(e.Seconds*float64(time.Second)))))
	}
	return cells
}

// eventWord is what happened, with its mark.
func eventWord(e reconciler.Event) cell {
	switch e.Type {
	case "state":
		return stateCell(e.State)
	case "applied":
		return styled(e.Action.Rune()+" "+done(e.Action), actionStyle(e.Action))
	case "repaired":
		return styled("✓ repaired", green)
	case "failed", "refused":
		return styled("✗ "+e.Type, red)
	case "drift":
		return styled("drift", yellow)
	case "converged":
		return styled("✓ converged", green)
	case "source", "templates", "policies", "target", "report":
		if e.Message == "" {
			return styled("✓ "+e.Type+" ok", green)
		}
		return styled("✗ "+e.Type, red)
	default:
		return styled("· "+e.Type, plain)
	}
}

// done is what an action has done to a resource.
func done(a schema.Action) string {
	switch a {
	case schema.Create:
		return "created"
	case schema.Update:
		return "changed"
	case schema.Replace:
		return "replaced"
	case schema.Delete:
		return "deleted"
	case schema.Adopt:
		return "adopted"
	default:
		return "applied"
	}
}
