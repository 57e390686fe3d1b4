package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Pos is a place in a user's file, as an editor counts it. Line and Col start
// at 1; 0 is "not known". File is slash-separated and relative to the root of
// the snapshot.
type Pos struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Col  int    `json:"col,omitempty"`
}

// String is file:line:col, as far as it is known.
func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	default:
		return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
	}
}

// Compare orders by file, line, column.
func (p Pos) Compare(o Pos) int {
	return cmp.Or(strings.Compare(p.File, o.File), cmp.Compare(p.Line, o.Line), cmp.Compare(p.Col, o.Col))
}

// Diagnostic is one finding about what is declared. One is enough for nothing
// to be planned and nothing to be pruned.
type Diagnostic struct {
	Pos     Pos    `json:"pos"`
	Subject string `json:"subject,omitempty"` // kind/name, where it is known
	Path    Path   `json:"path,omitempty"`    // inside the document: "/spec/count"
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Also    []Pos  `json:"also,omitempty"` // other places that take part, such as the first of two duplicates
}

// String is one line: file:line:col: kind/name: message. Secrets never enter
// a message.
func (d Diagnostic) String() string {
	var b strings.Builder
	if at := d.Pos.String(); at != "" {
		b.WriteString(at + ": ")
	}
	if d.Subject != "" {
		b.WriteString(d.Subject + ": ")
	}
	b.WriteString(d.Message)
	for i, p := range d.Also {
		b.WriteString([]string{" (also ", ", "}[min(i, 1)] + p.String())
	}
	if len(d.Also) > 0 {
		b.WriteByte(')')
	}
	return b.String()
}

// SortDiagnostics orders by position, then text, and drops exact repeats.
func SortDiagnostics(ds []Diagnostic) []Diagnostic {
	slices.SortStableFunc(ds, func(a, b Diagnostic) int {
		return cmp.Or(a.Pos.Compare(b.Pos), strings.Compare(a.Subject, b.Subject), strings.Compare(a.Message, b.Message))
	})
	return slices.CompactFunc(ds, func(a, b Diagnostic) bool {
		return a.Pos == b.Pos && a.Subject == b.Subject && a.Message == b.Message
	})
}
