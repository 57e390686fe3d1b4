package terminal

import "github.com/aplomb-dev/aplomb/schema"

// SetValue is a value of a declaration that was set.
type SetValue struct {
	Path, Before, After string
	Same                bool // it was so before
}

// Set writes which values of a declaration became which.
func (p *Printer) Set(at schema.Pos, id string, values []SetValue) {
	p.line(styled(id, bold), text("   "+at.String()))
	rows := make([][]cell, 0, len(values))
	for _, v := range values {
		became := "+ " + v.After
		switch {
		case v.Same:
			became = v.After + " (as it was)"
		case v.Before != "":
			became = v.Before + " → " + v.After
		}
		rows = append(rows, []cell{text(v.Path), text(became)})
	}
	p.table(2, rows)
}
