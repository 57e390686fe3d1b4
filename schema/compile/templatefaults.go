package compile

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"

	"github.com/aplomb-dev/aplomb/schema"
)

// templateFields are the fields of a template that mean something.
var templateFields = []string{"spec", "use", "environment", "resources", "outputs", "refuse"}

// strange notes what a template says that nothing would come of: a refuse that
// is misspelled refuses nothing.
func (d *definition) strange(lit *ast.StructLit) {
	if err := ofTemplate.check(structAttributes(lit)); err != nil {
		d.faults = append(d.faults, err)
	}
	for _, decl := range lit.Elts {
		f, ok := decl.(*ast.Field)
		if !ok {
			continue
		}
		name, _, err := ast.LabelName(f.Label)
		if name == "outputs" {
			d.strangeOutputs(f.Value)
		}
		if err != nil || strings.HasPrefix(name, "_") || strings.HasPrefix(name, "#") || slices.Contains(templateFields, name) {
			continue
		}
		hint := didYouMean(closest(name, templateFields))
		if hint == "" {
			hint = "a field of its own is hidden: _" + name
		}
		d.faults = append(d.faults, &schemaError{f.Pos(), hint, fmt.Sprintf("unknown field %s of a template", shorten(name))})
	}
}

// strangeOutputs does so for what is said of outputs.
func (d *definition) strangeOutputs(e ast.Expr) {
	lit, ok := e.(*ast.StructLit)
	if !ok {
		return
	}
	for _, decl := range lit.Elts {
		switch x := decl.(type) {
		case *ast.Field:
			if err := ofOutput.check(x.Attrs); err != nil {
				d.faults = append(d.faults, err)
			}
		case *ast.Comprehension:
			d.strangeOutputs(x.Value)
		}
	}
}

// mistaken reports a definition that is no template although it says something
// that only a template would.
func (t *templates) mistaken(field *ast.Field) {
	lit, ok := field.Value.(*ast.StructLit)
	if !ok {
		return
	}
	attrs := slices.Concat(structAttributes(lit), field.Attrs)
	err := slices.Concat(ofTemplate, ofStruct).check(attrs)
	if _, versioned := attributes(attrs)["version"]; err == nil && versioned {
		err = &schemaError{field.Pos(), `@aplomb(template="…", version="v1")`, "a version without a template"}
	}
	if attributes(field.Attrs)["template"] != "" {
		err = &schemaError{field.Attrs[0].Pos(), "put it within the braces, before the first field", "@aplomb(template=…) stands behind the struct"}
	}
	if e := (*schemaError)(nil); errors.As(err, &e) {
		name, _, _ := ast.LabelName(field.Label)
		t.findings = append(t.findings, schema.Diagnostic{Pos: templatePos(e.pos), Message: name + ": " + e.msg, Hint: e.hint})
	}
}

// refusal checks what a template refuses with: a name that is misspelled would
// be left out in silence. It says whether nothing can be said of the use.
func (x *unfolding) refusal(item *value) (faulty bool) {
	at := item.pos(x.use.File)
	if item.kind != mapValue {
		x.find(at, "", "its template refuses with %s, which is no struct of field, message and hint", item.words())
		return true
	}
	known := []string{"field", "message", "hint"}
	for _, k := range item.keys {
		if !slices.Contains(known, k.name) {
			x.find(at, didYouMean(closest(k.name, known)), "its template refuses with %s, which means nothing", shorten(k.name))
		}
	}
	if m := item.get("message"); m == nil || m.kind != stringValue || m.text == "" {
		x.find(at, "", "its template refuses it without a message")
		faulty = true
	}
	f := item.get("field")
	if f == nil || f.kind == stringValue && f.text == "" {
		return faulty
	}
	if f.kind != stringValue {
		x.find(at, "", "its template refuses the field %s, which is no string", f.words())
		return faulty
	}
	m := x.template.input.spec
	for step := range strings.SplitSeq(f.text, ".") {
		next := m.child(step)
		if next == nil {
			hint := didYouMean(closest(step, m.names()))
			if step == "spec" {
				hint = "fields are named below spec"
			}
			x.find(at, hint, "its template refuses the field %s, which its input has not", shorten(f.text))
			return faulty
		}
		if m = next; m.shape == mapping || m.shape == anything {
			return faulty // keys may hold dots
		}
	}
	return faulty
}

// plainNarrowing refuses attributes in what is added to an input: they are read
// where it is declared, and nowhere else.
func plainNarrowing(e ast.Expr) (err error) {
	ast.Walk(e, func(n ast.Node) bool {
		if a, ok := n.(*ast.Attribute); ok && len(arguments(a)) > 0 {
			err = &schemaError{a.Pos(), "what a field means is said where it is declared", "@aplomb(…) where an input is only narrowed"}
		}
		return err == nil
	}, nil)
	return err
}
