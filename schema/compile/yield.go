package compile

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"cuelang.org/go/cue"

	"github.com/aplomb-dev/aplomb/schema"
)

// yield reads what a filled template yields: what it refuses, its resources and
// its outputs.
func (x *unfolding) yield(v cue.Value) {
	b := &builder{file: x.use.File, limits: x.limits}
	r := &cueReader{builder: b, place: x.place, outer: outerOfTemplate}
	x.refused(r, v.LookupPath(cue.ParsePath("refuse")))
	if len(x.res.Findings) > 0 {
		return
	}
	resources := v.LookupPath(cue.ParsePath("resources"))
	if !resources.Exists() {
		x.find(x.template.Pos, "", "the template %s yields nothing: it has no resources", x.template)
		return
	}
	var all []*value
	r.declarations(resources, 1, func(v cue.Value) {
		if len(all) <= maxYield {
			all = append(all, r.yielded(v))
		}
	}, func(v cue.Value) { r.wrong(v, r.spot) })
	outputs := r.outputs(v)
	x.report(b.findings, "cannot be unfolded: ")
	switch {
	case len(x.res.Findings) > 0:
		return
	case len(all) == 0:
		x.find(x.template.Pos, "", "the template %s yields nothing", x.template)
	case len(all) > maxYield:
		x.find(x.template.Pos, "", "the template %s yields more than %d resources", x.template, maxYield)
		return
	}
	for _, v := range all {
		x.resource(v)
	}
	x.res.Unfolded = &unfolded{Outputs: outputs}
}

// report turns findings about what the template says into findings at the use.
func (x *unfolding) report(all []schema.Diagnostic, before string) {
	for _, d := range all {
		x.find(d.Pos, d.Hint, "%s%s", before, d.Message)
	}
}

// outerOfTemplate is how many selectors the path of a template has: that of its
// definition.
const outerOfTemplate = 1

// yielded makes a value of a declaration in a template. What is wrong with it
// is said with where in the template it stands.
func (r *cueReader) yielded(v cue.Value) *value {
	r.outer = outerOfTemplate
	name, from := r.name(v), len(r.findings)
	root := r.declaration(v)
	for _, c := range r.clashes {
		r.findings = append(r.findings, schema.Diagnostic{Pos: c.at, Message: c.message})
	}
	for i := range r.findings[from:] {
		r.findings[from+i].Message = name + ": " + r.findings[from+i].Message
	}
	r.outer = outerOfTemplate
	return root
}

// place is where in the template a value stands; one that a schema of this
// program fills in stands where the template does.
func (x *unfolding) place(v cue.Value) schema.Pos {
	at := templatePos(v.Pos())
	if at.Line > 0 && !strings.HasPrefix(at.File, "aplomb.dev/schema/") {
		return at
	}
	if _, parts := v.Expr(); len(parts) > 1 {
		for _, p := range parts {
			if at := templatePos(p.Pos()); at.Line > 0 && !strings.HasPrefix(at.File, "aplomb.dev/schema/") {
				return at
			}
		}
	}
	return x.template.Pos
}

// refused reports what the template itself says against a use: a list of
// {message, hint, field}, field being of the input.
func (x *unfolding) refused(r *cueReader, v cue.Value) {
	if !v.Exists() {
		return
	}
	list := r.read(v, 1)
	if x.report(r.findings, "cannot be unfolded: "); len(r.findings) > 0 {
		return
	}
	for _, item := range list.items {
		if x.refusal(item) {
			continue
		}
		text := func(name string) string {
			if v := item.get(name); v != nil && v.kind == stringValue {
				return v.text
			}
			return ""
		}
		x.find(schema.Pos{}, text("hint"), "%s", shortenTo(text("message"), 500))
		d := &x.res.Findings[len(x.res.Findings)-1]
		at := x.use.Spec
		for step := range strings.SplitSeq(text("field"), ".") {
			if next := at.get(step); next != nil {
				at = next
				d.Path = (d.Path + "").Child(step)
			}
		}
		if at != x.use.Spec {
			d.Path = "/spec" + d.Path
			d.Pos = at.pos(x.use.File)
		}
	}
}

// outputs are what references to the use stand for, as JSON; strings may hold
// references.
func (r *cueReader) outputs(v cue.Value) map[string]json.RawMessage {
	v = v.LookupPath(cue.ParsePath("outputs"))
	if !v.Exists() {
		return nil
	}
	read := r.read(v, 1)
	if read.kind != mapValue {
		r.find(v, r.spotOf(v, r.top()), "", "outputs is not a struct")
		return nil
	}
	all := map[string]json.RawMessage{}
	for i, k := range read.keys {
		raw, err := sortedJSON(plain(read.items[i]))
		if err != nil {
			r.find(v, r.spotOf(v, r.top()), "", "the output %s: %s", k.name, err)
			continue
		}
		if text := read.items[i]; text.kind == stringValue && schema.HasMark(text.text) {
			if _, err := schema.ParseText(text.text); err != nil {
				r.find(v, r.spotOf(v, r.top()), "", "the output %s: %s", k.name, err)
			}
		}
		all[k.name] = raw
	}
	return all
}

// plain is a value as encoding/json has it.
func plain(v *value) any {
	switch v.kind {
	case mapValue:
		m := make(map[string]any, len(v.items))
		for i, k := range v.keys {
			m[k.name] = plain(v.items[i])
		}
		return m
	case listValue:
		l := make([]any, len(v.items))
		for i, item := range v.items {
			l[i] = plain(item)
		}
		return l
	case stringValue:
		return v.text
	case boolValue:
		return v.text == "true"
	case intValue, floatValue:
		return json.Number(v.text)
	}
	return nil
}

// resource checks one resource as any declaration is checked, and gives it what
// the use says.
func (x *unfolding) resource(root *value) {
	b := &builder{file: "use", limits: x.limits} // in no folder: files are named from the root of the tree
	d := &document{builder: b, checker: x.checker, root: root, base: "/spec"}
	x.checker.fresh()
	d.identify()
	good := d.check()
	who := d.subject
	if who == "" {
		who = "a resource"
	}
	x.report(b.findings, "yields "+who+": ")
	at := root.pos("")
	name, use := d.out.ID.Name, x.use.Declared.ID.Name
	switch {
	case d.use != nil:
		x.find(at, "templates are put together in CUE, not by using each other", "yields %s, which is a use of a template", who)
		return
	case name != "" && name != use && !strings.HasPrefix(name, use+"-"):
		x.find(at, "call it "+use+" or "+use+"-…", "yields %s: what a use yields is named after it", who)
		return
	case !good:
		return
	}
	if x.bytes += len(d.out.Spec); x.bytes > maxYieldBytes {
		x.find(at, "", "the template %s yields more than %d MiB", x.template, maxYieldBytes>>20)
		return
	}
	x.keep(d)
}

// keep adds what the use says to a resource: it is of the use, and stands where
// the use does.
func (x *unfolding) keep(d *document) {
	u, res := x.use.Declared, d.out
	res.Pos, res.Origin, res.Use = u.Pos, u.Origin, &x.out
	res.Lines = "" // of the template
	res.Share = append(res.Share, u.Share...)
	for i, ref := range res.Refs {
		res.Refs[i].Pos = u.Pos
		text, err := schema.ParseText(ref.Text)
		if err != nil {
			continue
		}
		for _, r := range text.Refs() {
			if at, given := x.given[r.String()]; given {
				res.Refs[i].Pos = at
			}
		}
	}
	for i := range res.Needs {
		res.Needs[i].Pos = u.Pos
	}
	for _, need := range u.Needs {
		if !slices.ContainsFunc(res.Needs, func(n schema.Need) bool { return n.ID == need.ID }) {
			res.Needs = append(res.Needs, need)
		}
	}
	for _, a := range u.Hold {
		if !slices.Contains(res.Hold, a) {
			res.Hold = append(res.Hold, a)
		}
	}
	if len(u.Labels) > 0 {
		labels := maps.Clone(u.Labels)
		maps.Copy(labels, res.Labels) // the template's own stand
		res.Labels = labels
	}
	res.Adopt = res.Adopt || u.Adopt
	if !u.Expires.IsZero() && (res.Expires.IsZero() || u.Expires.Before(res.Expires)) {
		res.Expires = u.Expires
	}
	for _, f := range d.uses {
		f.Resource, f.Subject, f.Pos = len(x.res.Resources), d.subject, u.Pos
		if at, given := x.given[f.File]; given {
			f.Pos = at
		}
		x.res.Uses = append(x.res.Uses, f)
	}
	x.res.Resources = append(x.res.Resources, res)
}
