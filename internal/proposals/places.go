package proposals

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Pages is where what a comment cannot hold is written; *git.Reporter.
type Pages interface {
	// Revise alters the pages of an environment's proposals, by name, in one
	// commit, or in none where nothing changes.
	Revise(ctx context.Context, environment, title string, change func(files map[string][]byte) error) error
}

// mostPage bounds a page, in bytes.
const mostPage = 1 << 20

// pageRE are the names of pages that are ours to remove.
var pageRE = regexp.MustCompile(`^[0-9]+\.md$`)

// body is what a comment says, with the whole on a page where that is more than
// it holds.
func (j *job) body(ctx context.Context, t told) string {
	d := j.desk
	text, whole := comment(t), t
	whole.whole = true
	full := comment(whole)
	limit := d.Forge.Limits().Comment
	if d.Pages == nil || text == full && (limit == 0 || len(text) < limit-slack) || !pageRE.MatchString(j.proposal.ID+".md") {
		return text
	}
	name := j.proposal.ID + ".md"
	err := d.Pages.Revise(ctx, d.Environment, fmt.Sprintf("%s: the plan of proposal %s", d.Environment, j.proposal.ID), func(files map[string][]byte) error {
		files[name] = []byte(forge.Cut(full, mostPage))
		return nil
	})
	if err != nil {
		d.Log.WithError(err).WithField("env", d.Environment).WithField("proposal", j.proposal.ID).Warn("the whole plan could not be written: its comment is cut")
		return text
	}
	d.mu.Lock()
	d.paged[j.proposal.ID] = true
	d.mu.Unlock()
	t.more = d.Forge.File(d.PagesBranch, path.Join(d.Environment, d.PagesFolder, name), 0)
	return comment(t)
}

// slack is what a forge's client may add to a comment, in bytes.
const slack = 256

// sweep removes the pages of proposals that are no more.
func (d *Desk) sweep(ctx context.Context, open map[string]bool) error {
	if d.Pages == nil {
		return nil
	}
	return d.Pages.Revise(ctx, d.Environment, d.Environment+": plans of proposals that are no more", func(files map[string][]byte) error {
		for name := range files {
			if pageRE.MatchString(name) && !open[strings.TrimSuffix(name, ".md")] {
				delete(files, name)
			}
		}
		return nil
	})
}

// located finds out which of the files that a plan speaks of can be read on the
// forge: those that the proposal has.
func (j *job) located(t *told, files fs.FS) {
	d := j.desk
	t.places = map[string]func(int) string{}
	note := func(p schema.Pos) {
		if _, known := t.places[p.File]; known || p.File == "" || !fs.ValidPath(p.File) {
			return
		}
		at := path.Join(d.Path, p.File)
		t.places[p.File] = nil
		if info, err := fs.Stat(files, p.File); err == nil && info.Mode().IsRegular() && d.Forge.File(j.proposal.Head, at, 0) != "" {
			t.places[p.File] = func(line int) string { return d.Forge.File(j.proposal.Head, at, line) }
		}
	}
	if r := t.proposed.Refused; r != nil {
		for _, f := range r.Findings {
			note(f.Pos)
		}
	}
	for _, c := range t.proposed.Plan.Changes {
		note(c.Pos)
		for _, v := range c.Violations {
			note(v.Pos)
		}
	}
}

// where is a place, which leads there if it can.
func (t told) where(p schema.Pos) string {
	words := p.File
	if p.Line > 0 {
		words += ":" + strconv.Itoa(p.Line)
	}
	if u := t.places[p.File]; u != nil {
		return "[" + forge.Code(words) + "](" + u(p.Line) + ")"
	}
	return forge.Code(words)
}

// place is where a change is declared, or was.
func (t told) place(c reconciler.PlannedChange) string {
	if c.Action == schema.Delete {
		at := c.Pos
		at.Col = 0
		return forge.Code("was " + at.String())
	}
	return t.where(c.Pos)
}

// remark is something said of a place.
func (t told) remark(b *strings.Builder, at schema.Pos, words, hint string) {
	b.WriteString("- ")
	if at.File != "" {
		b.WriteString(t.where(at) + " ")
	}
	_, _ = fmt.Fprintf(b, "%s\n", forge.Code(words))
	if hint != "" {
		_, _ = fmt.Fprintf(b, "  hint: %s\n", forge.Code(hint))
	}
}

// violations are what policies say of the changes, at their lines.
func (t told) violations(b *strings.Builder, changes []reconciler.PlannedChange, n func(schema.ID) string) {
	said := 0
	for _, c := range changes {
		for _, v := range c.Violations {
			if said == t.most(mostRows) {
				b.WriteString("- and more\n")
				return
			}
			if said++; said == 1 {
				b.WriteString("\nPolicies:\n\n")
			}
			t.remark(b, v.Pos, fmt.Sprintf("%s %s: %s: %s", v.Level, v.Policy, n(c.ID), v.Message), v.Hint)
		}
	}
}

// planned plans a tree, and closes it.
func (j *job) planned(ctx context.Context, t *told, s *sources.Snapshot) (err error) {
	t.proposed, err = j.desk.Plan(ctx, s)
	if err == nil {
		j.located(t, s.FS)
	}
	if cerr := s.Close(); err == nil {
		err = cerr
	}
	return err
}
