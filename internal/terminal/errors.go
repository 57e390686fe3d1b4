package terminal

import (
	"fmt"

	"github.com/aplomb-dev/aplomb/schema"
)

// Error writes what failed and, where there is one, what to do about it. An
// error is never cut: who reads it wants all of it.
func (p *Printer) Error(message, hint string) {
	q := *p
	q.Width = 0
	q.line(styled("error: ", red), text(message))
	if hint != "" {
		q.line(styled("hint:  ", bold), text(hint))
	}
	p.err = q.err
}

// Diagnostics writes every finding as an error with its hint, and the summary
// last.
func (p *Printer) Diagnostics(ds []schema.Diagnostic, files int) {
	for _, d := range ds {
		p.Error(d.String(), d.Hint)
		p.blank()
	}
	p.Summary(ds, files)
}

// Summary writes how many findings there are and what follows from it.
func (p *Printer) Summary(ds []schema.Diagnostic, files int) {
	p.Note(Findings(len(ds), files))
}

// Findings says how many there are and what follows from it.
func Findings(n, files int) string {
	in := ""
	if files > 0 {
		in = " in " + count(files, "file")
	}
	return fmt.Sprintf("%s%s; nothing was planned, nothing was changed.", count(n, "error"), in)
}

// Lint writes findings one a line, as file:line:col: kind/name: message, with
// hints indented below: what editors understand.
func (p *Printer) Lint(ds []schema.Diagnostic) {
	q := *p
	q.Width = 0
	for _, d := range ds {
		q.line(text(d.String()))
		if d.Hint != "" {
			q.line(styled("    hint: ", bold), text(d.Hint))
		}
	}
	p.err = q.err
}

// Valid says that declarations have no finding.
func (p *Printer) Valid(files, resources int) {
	p.line(styled("good", green), text(fmt.Sprintf(": %s, %s", count(files, "file"), count(resources, "resource"))))
}
