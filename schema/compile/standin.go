package compile

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// Limits of what outputs of templates stand for, which may hold references to
// outputs of templates themselves.
const (
	maxOutputDepth = 8
	maxOutputText  = 64 << 10
)

// useTable knows every use of a compile.
type useTable struct {
	uses     map[string]*usedTemplate // "WebService/web"
	holes    []schema.ID              // what else may be declared, "" being any
	findings []schema.Diagnostic
}

// usedTemplate is one use with what it yielded.
type usedTemplate struct {
	unfolded
	all []schema.ID // whole where a target is named
}

// standIn puts, in the place of needs on uses and of references to them, what
// the uses yielded. It alters resources, among which fragments are, and answers
// what is wrong. part: there are more uses than these.
func standIn(resources []schema.Resource, results []fileResult, part bool) []schema.Diagnostic {
	t := &useTable{uses: map[string]*usedTemplate{}}
	if part {
		t.holes = []schema.ID{{}}
	}
	for _, r := range results {
		if r.Unfolded == nil {
			continue
		}
		t.uses[r.Unfolded.Use.String()] = &usedTemplate{unfolded: *r.Unfolded}
	}
	for i := range resources {
		t.note(&resources[i])
	}
	for i := range resources {
		t.needs(&resources[i])
		t.refs(&resources[i])
	}
	return t.findings
}

// note takes down what a resource is to the uses.
func (t *useTable) note(r *schema.Resource) {
	if r.Spec == nil && (r.Use != nil || r.ID.Kind == "") {
		id := schema.ID{Name: r.ID.Name}
		if r.Use != nil {
			id.Kind = r.Use.Template
		}
		t.holes = append(t.holes, id)
	}
	if r.Use == nil || t.uses[r.Use.String()] == nil {
		return
	}
	u := t.uses[r.Use.String()]
	if len(r.Targets) == 0 {
		u.all = append(u.all, schema.ID{Kind: r.ID.Kind, Name: r.ID.Name})
	}
	for _, target := range r.Targets {
		u.all = append(u.all, schema.ID{Kind: r.ID.Kind, Name: r.ID.Name, Target: target})
	}
}

// find is the use that a need or a reference means. Where it may be one that
// could not be read, nothing is said.
func (t *useTable) find(r *schema.Resource, id schema.ID, pos schema.Pos, verb string) (u *usedTemplate, known bool) {
	u = t.uses[id.Short()]
	switch {
	case u != nil && u.Failed:
		return nil, false
	case u != nil:
		return u, true
	}
	for _, h := range t.holes {
		if (h.Kind == "" || h.Kind == id.Kind) && (h.Name == "" || h.Name == id.Name) {
			return nil, false
		}
	}
	names := make([]string, 0, len(t.uses))
	for name := range t.uses {
		names = append(names, name)
	}
	t.report(r, pos, didYouMean(schema.Closest(id.Short(), names)), "%s%s, which is not declared", verb, id.Short())
	return nil, false
}

func (t *useTable) report(r *schema.Resource, pos schema.Pos, hint, format string, args ...any) {
	d := schema.Diagnostic{Pos: pos, Message: fmt.Sprintf(format, args...), Hint: hint}
	switch {
	case r.Use != nil:
		d.Subject = r.Use.String()
	case r.ID.Kind != "" && r.ID.Name != "":
		d.Subject = r.ID.Short()
	}
	t.findings = append(t.findings, d)
}

// needs replaces needs on uses.
func (t *useTable) needs(r *schema.Resource) {
	if !slices.ContainsFunc(r.Needs, func(n schema.Need) bool { return isTemplate(n.ID.Kind) }) {
		return
	}
	var all []schema.Need
	add := func(n schema.Need) {
		if !slices.ContainsFunc(all, func(o schema.Need) bool { return o.ID == n.ID }) {
			all = append(all, n)
		}
	}
	for _, n := range r.Needs {
		if !isTemplate(n.ID.Kind) {
			add(n)
			continue
		}
		if u, ok := t.find(r, n.ID, n.Pos, "needs "); ok {
			for _, id := range u.all {
				add(schema.Need{ID: id, Pos: n.Pos})
			}
		}
	}
	r.Needs = all
}

// refs replaces references to uses, in the spec too.
func (t *useTable) refs(r *schema.Resource) {
	if !slices.ContainsFunc(r.Refs, func(f schema.FieldRef) bool { return strings.Contains(f.Text, "@{") && namesUse(f.Text) }) {
		return
	}
	var spec any
	if r.Spec != nil {
		dec := json.NewDecoder(strings.NewReader(string(r.Spec)))
		dec.UseNumber()
		if err := dec.Decode(&spec); err != nil {
			panic(err) // emit wrote it
		}
	}
	var all []schema.FieldRef
	for _, f := range r.Refs {
		if !namesUse(f.Text) {
			all = append(all, f)
			continue
		}
		s := &standing{table: t, resource: r, field: &f}
		v, ok := s.whole()
		if !ok {
			continue
		}
		all = append(all, refsIn(v, f)...)
		if spec != nil {
			spec = put(spec, f.Path.Steps(), v)
		}
	}
	slices.SortStableFunc(all, func(a, b schema.FieldRef) int { return strings.Compare(string(a.Path), string(b.Path)) })
	r.Refs = all
	if spec != nil {
		raw, err := sortedJSON(spec)
		if err != nil {
			panic(err) // it was JSON
		}
		r.Spec = raw
	}
}

func namesUse(text string) bool {
	t, err := schema.ParseText(text)
	return err == nil && slices.ContainsFunc(t.Refs(), func(r schema.Ref) bool { return isTemplate(r.ID.Kind) })
}

// put replaces what stands at a path.
func put(in any, steps []string, v any) any {
	if len(steps) == 0 {
		return v
	}
	switch x := in.(type) {
	case map[string]any:
		x[steps[0]] = put(x[steps[0]], steps[1:], v)
	case []any:
		for i := range x {
			if fmt.Sprint(i) == steps[0] {
				x[i] = put(x[i], steps[1:], v)
			}
		}
	}
	return in
}
