package proposals

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Bounds of a comment. What is beyond is said to be there; the whole plan is at
// hand with the command line.
const (
	mostRows     = 100 // of the table, and findings
	mostFields   = 400 // in all
	mostConflict = 20
)

// told is what a comment says.
type told struct {
	environment string
	merged      *sources.Merged
	proposed    reconciler.Proposed
	unplanned   []string // targets that are not planned on proposals
	unsigned    string   // why the head is none that somebody who may has signed; "" where it is, or need not be
	at          time.Time

	places map[string]func(line int) string // where people read files of the proposal, by their path; nil: nowhere
	whole  bool                             // it is a page, which has no bounds
	more   string                           // where the page is; "" where there is none
}

// comment is the plan as Markdown. Whatever comes from the repository stands in
// code spans or is escaped: it is somebody's text, never markup.
func comment(t told) string {
	var b strings.Builder
	switch {
	case t.merged.Apart != "":
		t.head(&b, "**needs rebase**")
		_, _ = fmt.Fprintf(&b, "Nothing is planned: %s\n", forge.Code(t.merged.Apart))
	case len(t.merged.Conflicts) > 0:
		t.conflicts(&b)
	case t.proposed.Refused != nil:
		t.findings(&b)
	default:
		t.plan(&b)
	}
	if t.unsigned != "" {
		_, _ = fmt.Fprintf(&b, "\n**Not signed**: %s %s. Its status fails until somebody whom the operator's list names has signed its last commit.\n", forge.Code(t.merged.Head.Short()), forge.Code(t.unsigned))
	}
	_, _ = fmt.Fprintf(&b, "\n<sub>%s merged into %s, against what lives at %s</sub>\n",
		forge.Code(t.merged.Head.Short()), forge.Code(t.merged.Onto.Short()), t.at.UTC().Format("2006-01-02 15:04 UTC"))
	return b.String()
}

// most is how much there may be of something.
func (t told) most(n int) int {
	if t.whole {
		return math.MaxInt
	}
	return n
}

func (t told) head(b *strings.Builder, what string) {
	_, _ = fmt.Fprintf(b, "**aplomb · %s** — %s\n\n", forge.Escape(t.environment), what)
	if t.more != "" {
		_, _ = fmt.Fprintf(b, "This is more than a comment holds: [the whole plan](%s).\n\n", t.more)
	}
}

func (t told) conflicts(b *strings.Builder) {
	t.head(b, "**needs rebase**")
	b.WriteString("Both sides changed these files since they parted, so that nothing is planned:\n\n")
	for i, c := range t.merged.Conflicts {
		if i == t.most(mostConflict) {
			_, _ = fmt.Fprintf(b, "- and %d more\n", len(t.merged.Conflicts)-i)
			break
		}
		_, _ = fmt.Fprintf(b, "- %s\n", forge.Code(c))
	}
}

func (t told) findings(b *strings.Builder) {
	r := t.proposed.Refused
	n := len(r.Findings)
	if n == 0 {
		t.head(b, "**cannot be planned**")
		_, _ = fmt.Fprintf(b, "%s\n", forge.Code(r.Error))
		return
	}
	t.head(b, fmt.Sprintf("**%s**, nothing is planned", count(n, "finding")))
	for i, f := range r.Findings {
		if i == t.most(mostRows) {
			_, _ = fmt.Fprintf(b, "- and %d more\n", n-i)
			break
		}
		at := f.Pos
		f.Pos = schema.Pos{}
		t.remark(b, at, f.String(), f.Hint)
	}
}

func (t told) plan(b *strings.Builder) {
	v := t.proposed.Plan
	n := shortNames(v)
	t.head(b, tally(v))
	if len(v.Changes) > 0 {
		b.WriteString("| layer | change | resource | |\n|---|---|---|---|\n")
	}
	for i, c := range v.Changes {
		if i == t.most(mostRows) {
			_, _ = fmt.Fprintf(b, "| | | and %d more | |\n", len(v.Changes)-i)
			break
		}
		_, _ = fmt.Fprintf(b, "| %s | %s | %s | %s |\n", c.Layer, c.Action.Rune(), forge.Code(n(c.ID)), inShort(c))
	}
	t.fields(b, v.Changes, n)
	t.violations(b, v.Changes, n)
	for i, r := range v.Unplanned {
		if i == t.most(mostRows) {
			_, _ = fmt.Fprintf(b, "\n- and %d more are not planned", len(v.Unplanned)-i)
			break
		}
		_, _ = fmt.Fprintf(b, "\n- not planned: %s %s", forge.Code(n(r.ID)), forge.Code(r.Reason))
	}
	for _, name := range t.unplanned {
		_, _ = fmt.Fprintf(b, "\n- target %s is not planned on proposals: planning there would run what the proposal brings, and it has no identity of its own for that", forge.Code(name))
	}
	if needs := wanted(v.Changes); len(needs) > 0 {
		_, _ = fmt.Fprintf(b, "\nNeeds: %s.\n", strings.Join(needs, " · "))
	}
	if !v.Complete {
		b.WriteString("\nNot everything could be looked at: the plan is not complete.\n")
	}
}

// shortNames leaves the target out where the plan has one for the kind.
func shortNames(v reconciler.PlanView) func(schema.ID) string {
	target := map[string]string{}
	several := map[string]bool{}
	note := func(id schema.ID) {
		if at, seen := target[id.Kind]; seen && at != id.Target {
			several[id.Kind] = true
		}
		target[id.Kind] = id.Target
	}
	for _, c := range v.Changes {
		note(c.ID)
	}
	for _, r := range v.Unplanned {
		note(r.ID)
	}
	return func(id schema.ID) string {
		if several[id.Kind] {
			return id.String()
		}
		return id.Short()
	}
}

// tally is the first line's counts, with what stands out.
func tally(v reconciler.PlanView) string {
	held := map[schema.Action]int{}
	for _, c := range v.Changes {
		if len(c.Held) > 0 {
			held[c.Action]++
		}
	}
	var parts []string
	for _, a := range []schema.Action{schema.Create, schema.Adopt, schema.Update, schema.Replace, schema.Delete, schema.Deferred} {
		n := v.Counts[a]
		if n == 0 {
			continue
		}
		part := fmt.Sprintf("%d %s", n, a)
		switch h := held[a]; {
		case h == n:
			part = "**" + part + " (held)**"
		case h > 0:
			part = fmt.Sprintf("**%s (%d held)**", part, h)
		}
		parts = append(parts, part)
	}
	lacks := ""
	if n := len(v.Unplanned); n > 0 {
		lacks = fmt.Sprintf("**%d not planned**", n)
	}
	if len(parts) == 0 {
		return cmp.Or(lacks, "nothing to do")
	}
	if lacks != "" {
		parts = append(parts, lacks)
	}
	return strings.Join(parts, ", ") + " · digest " + forge.Code(v.Digest[:min(12, len(v.Digest))])
}

// inShort is what a row says of a change: one field if there is one, or why it
// is decided later.
func inShort(c reconciler.PlannedChange) string {
	var said []string
	switch {
	case c.Action == schema.Deferred && c.Why != "":
		said = append(said, forge.Code(c.Why))
	case c.Action != schema.Update && c.Action != schema.Replace:
	case len(c.Diff) == 1:
		said = append(said, forge.Code(became(c.Diff[0])))
	case len(c.Diff) > 1:
		said = append(said, count(len(c.Diff), "field"))
	}
	if c.Drift {
		said = append(said, "drift: live moved")
	}
	if len(c.Held) > 0 {
		said = append(said, "**held**")
	}
	return strings.Join(said, " · ")
}

// fields are the changes field by field, folded away.
func (t told) fields(b *strings.Builder, changes []reconciler.PlannedChange, n func(schema.ID) string) {
	left := t.most(mostFields)
	var body strings.Builder
	for _, c := range changes {
		if len(c.Diff) == 0 || left <= 0 {
			continue
		}
		_, _ = fmt.Fprintf(&body, "\n%s %s %s\n", c.Action.Rune(), forge.Code(n(c.ID)), t.place(c))
		for _, d := range c.Diff {
			if left--; left < 0 {
				body.WriteString("- and more\n")
				break
			}
			_, _ = fmt.Fprintf(&body, "- %s\n", forge.Code(became(d)))
		}
	}
	if body.Len() > 0 {
		_, _ = fmt.Fprintf(b, "\n<details><summary>field by field</summary>\n%s\n</details>\n", body.String())
	}
}

// Bounds of what is shown of a change, in bytes: all of it has room in a code
// span, so that what is long hides nothing of what it becomes.
const (
	mostPath = 100
	mostSide = 130
	mostSame = 20 // of what both sides begin with, where they are long
)

// became is what becomes of a field. Secrets are fingerprints already.
func became(d drivers.Delta) string {
	before, after := schema.Mask(string(d.Before)), schema.Mask(string(d.After))
	if d.Unknown {
		after = "known after apply"
	}
	path := clip(d.Path.String(), mostPath)
	switch {
	case d.Op == schema.Delete:
		return path + " - " + clip(before, mostSide)
	case d.Op == schema.Create || before == "":
		return path + " + " + clip(after, mostSide)
	}
	if max(len(before), len(after)) > mostSide {
		same := 0
		for same < min(len(before), len(after)) && before[same] == after[same] {
			same++
		}
		before, after = from(before, same-mostSame), from(after, same-mostSame)
	}
	return path + " " + clip(before, mostSide) + " → " + clip(after, mostSide)
}

// clip shortens text at its end, and says so.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// from shortens text at its beginning, and says so.
func from(s string, at int) string {
	if at <= 0 {
		return s
	}
	return "…" + strings.ToValidUTF8(s[at:], "")
}

// wanted are the approvals that changes want, each reason once: reviews of
// owners first.
func wanted(changes []reconciler.PlannedChange) []string {
	var all []string
	seen := map[string]bool{}
	add := func(h, words string) {
		if !seen[h] {
			seen[h] = true
			all = append(all, words)
		}
	}
	for _, c := range changes {
		for _, r := range c.Owners {
			add(r.String(), ofOwners(r))
		}
	}
	for _, c := range changes {
		for _, h := range c.Held {
			add(h, forge.Code(h))
		}
	}
	return all
}

// ofOwners is a review that owners have to give. Their names are no mentions: a
// comment that is written anew with each push would call them each time.
func ofOwners(r gate.Review) string {
	var owners []string
	for _, o := range r.Owners {
		owners = append(owners, forge.Code(o))
	}
	words := count(r.Want, "review") + " of " + strings.Join(owners, " or ") + " (owns " + forge.Code(r.Owns) + ")"
	if len(r.Has) > 0 {
		words += ", has that of " + forge.Code(strings.Join(r.Has, ", "))
	}
	return words
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
