package gate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
)

// Owners are rules that say whose review a change needs. The zero value has
// none. Immutable after NewOwners.
type Owners struct{ rules []OwnerRule }

// OwnerRule gives what it fits to its owners. Of its lists none means any.
type OwnerRule struct {
	Kinds  []schema.Glob
	Paths  []schema.Glob          // of the files that declare
	Labels map[string]schema.Glob // all of them
	Fields []Field                // none: the resource, as far as no rule is for its fields

	Owners  []string // teams, and @ with the name of a person; none: nobody's review is needed
	Reviews int      // how many different people of them; zero: one
}

// Field is a pattern of places in a spec, and of all that lies in them.
type Field struct {
	text string
	glob schema.Glob
}

// ParseField reads a pattern: a JSON pointer whose steps are those of a
// schema.Glob, such as /job/TaskGroups/*/Count.
func ParseField(text string) (Field, error) {
	below, ok := strings.CutPrefix(text, "/")
	if !ok {
		return Field{}, fmt.Errorf("%q does not begin with /", text)
	}
	if _, err := schema.ParseGlob(below); err != nil {
		return Field{}, err
	}
	g, err := schema.ParseGlob(below + "/**")
	return Field{text, g}, err
}

// String is the pattern as people read paths.
func (f Field) String() string { return strings.ReplaceAll(strings.TrimPrefix(f.text, "/"), "/", ".") }

// NewOwners takes rules; of two that fit alike the later one holds.
func NewOwners(rules []OwnerRule) Owners { return Owners{slices.Clone(rules)} }

// None says that there are no rules.
func (o Owners) None() bool { return len(o.rules) == 0 }

// All are the owners that rules name, each once, in order.
func (o Owners) All() []string {
	var all []string
	for i := range o.rules {
		for _, owner := range o.rules[i].Owners {
			if !speaks(all, owner) {
				all = append(all, owner)
			}
		}
	}
	return all
}

// owns is what a rule is about, in words.
func (r *OwnerRule) owns() string {
	var of []string
	for _, k := range orAny(r.Kinds) {
		if len(r.Fields) == 0 {
			of = append(of, k+"/*")
		}
		for _, f := range r.Fields {
			of = append(of, k+"/*."+f.String())
		}
	}
	const most = 4
	if more := len(of) - most; more > 0 {
		of = append(of[:most], fmt.Sprintf("%d more", more))
	}
	words := strings.Join(of, ", ")
	if len(r.Paths) > 0 {
		words += " in " + strings.Join(orAny(r.Paths), ", ")
	}
	for i, k := range slices.Sorted(maps.Keys(r.Labels)) {
		words += []string{" with ", ", "}[min(i, 1)] + k + ": " + r.Labels[k].String()
	}
	return words
}

func orAny(globs []schema.Glob) []string {
	if len(globs) == 0 {
		return []string{"*"}
	}
	var all []string
	for _, g := range globs {
		all = append(all, g.String())
	}
	return all
}

// Face is what rules see of a resource beside its kind and its fields.
type Face struct {
	Files  []string          `json:"files,omitempty"` // that declare it, that of a template's use among them; none: not known
	Labels map[string]string `json:"labels"`          // nil: not known
}

// guess is what is taken to fit although it is not known.
type guess struct{ files, labels bool }

// guesses are all that can be of what is not known of a face.
func (f *Face) guesses() []guess {
	all := []guess{{}}
	if len(f.Files) == 0 {
		all = append(all, guess{files: true})
	}
	if f.Labels == nil {
		for _, g := range all {
			all = append(all, guess{files: g.files, labels: true})
		}
	}
	return all
}

// fit says whether a rule is for resources of a kind and face.
func (r *OwnerRule) fit(kind string, f *Face, may guess) bool {
	matches := func(name string) func(schema.Glob) bool {
		return func(g schema.Glob) bool { return g.Match(name) }
	}
	if len(r.Kinds) > 0 && !slices.ContainsFunc(r.Kinds, matches(kind)) {
		return false
	}
	if len(r.Paths) > 0 {
		in := len(f.Files) == 0 && may.files
		for _, file := range f.Files {
			in = in || slices.ContainsFunc(r.Paths, matches(file))
		}
		if !in {
			return false
		}
	}
	if len(r.Labels) > 0 && f.Labels == nil {
		return may.labels
	}
	for k, g := range r.Labels {
		if has, ok := f.Labels[k]; !ok || !g.Match(has) {
			return false
		}
	}
	return true
}

// Owned is one change whose owners are looked for.
type Owned struct {
	Change plan.Masked
	Spec   []byte // as declared, as JSON; nil: it is not declared any more
	Now    *Face  // nil: it is not declared any more
	Was    *Face  // with which it was applied last; nil: it never was
	Said   *Face  // with which it was declared since, without a change of it; nil: not otherwise
}

// Of are the rules that a change falls under, in their order: of each field that
// it alters the last rule that is for the field, or else the last one that is
// for the resource. What makes, takes over, or destroys the whole falls under
// the rules of all its fields, and of the resource. Taking a label away, or
// moving a file, takes nothing from an owner, nor does deleting what became
// theirs without a change: all faces count.
func (o Owners) Of(in Owned) []*OwnerRule {
	if o.None() || in.Change.Action == schema.None || in.Change.Action == schema.Deferred {
		return nil
	}
	fields, whole := in.fields()
	hit := make([]bool, len(o.rules))
	for i, f := range []*Face{in.Now, in.Was, in.Said} {
		if f == nil && (i > 0 || in.Was != nil || in.Said != nil) {
			continue
		}
		if f == nil {
			f = &Face{}
		}
		for _, may := range f.guesses() {
			o.mark(o.fitting(in.Change.ID.Kind, f, may), fields, whole, hit)
		}
	}
	var all []*OwnerRule
	for i := range o.rules {
		if hit[i] && len(o.rules[i].Owners) > 0 {
			all = append(all, &o.rules[i])
		}
	}
	return all
}

// fitting are the rules that are for a face, by index: those for fields, and
// those for the whole.
type fitting struct{ fields, whole []int }

func (o Owners) fitting(kind string, f *Face, may guess) fitting {
	var fit fitting
	for i := range o.rules {
		switch r := &o.rules[i]; {
		case !r.fit(kind, f, may):
		case len(r.Fields) > 0:
			fit.fields = append(fit.fields, i)
		default:
			fit.whole = append(fit.whole, i)
		}
	}
	return fit
}

// mark notes the rules that fields fall under.
func (o Owners) mark(fit fitting, fields []field, whole bool, hit []bool) {
	last := func() {
		if n := len(fit.whole); n > 0 {
			hit[fit.whole[n-1]] = true
		}
	}
	if whole {
		last()
	}
	for _, f := range fields {
		found := false
		for _, i := range slices.Backward(fit.fields) {
			for _, p := range o.rules[i].Fields {
				switch {
				case !found && p.glob.MatchSteps(f.steps):
					hit[i], found = true, true
				case f.opaque && p.glob.Reaches(f.steps) && !p.glob.MatchSteps(f.steps):
					hit[i] = true // something in it may be this rule's
				}
			}
		}
		if !found {
			last()
		}
	}
}

// Review is a review that owners have not given yet.
type Review struct {
	Owners []string `json:"owners"`        // any of them
	Owns   string   `json:"owns"`          // what, in words
	Want   int      `json:"want"`          // different people
	Has    []string `json:"has,omitempty"` // who gave one already
}

// String is why it holds a change.
func (r Review) String() string {
	words := fmt.Sprintf("wants approval: a review of %s (owns %s)", strings.Join(r.Owners, " or "), r.Owns)
	if r.Want > 1 {
		words = fmt.Sprintf("wants approval: reviews by %d of %s (owns %s)", r.Want, strings.Join(r.Owners, " or "), r.Owns)
	}
	if len(r.Has) > 0 {
		words += ", has that of " + strings.Join(r.Has, ", ")
	}
	return words
}

// JudgeOwners answers which reviews of owners a change lacks, of the rules that
// it falls under; nothing means go.
func JudgeOwners(change plan.Masked, rules []*OwnerRule, approvals Index) []Review {
	var all []Review
	for _, r := range rules {
		want := max(r.Reviews, 1)
		who := approvals.speaking(change, r.Owners)
		if len(who) < want {
			all = append(all, Review{Owners: r.Owners, Owns: r.owns(), Want: want, Has: who})
		}
	}
	return all
}

// speaking are the different people whose approvals cover a change and who
// spoke for one of the owners then, sorted.
func (x Index) speaking(now plan.Masked, owners []string) []string {
	var who []string
	for _, g := range x[now.ID] {
		entitled := slices.ContainsFunc(owners, func(o string) bool { return speaks(g.speaks, o) })
		if p := person(g.by); entitled && !slices.Contains(who, p) && plan.Covers(g.Masked, now) {
			who = append(who, p)
		}
	}
	slices.Sort(who)
	return who
}

// speaks says whether an owner is among those that somebody speaks for. No
// forge distinguishes capital letters in names.
func speaks(all []string, owner string) bool {
	return slices.ContainsFunc(all, func(s string) bool { return strings.EqualFold(s, owner) })
}
