package compile

import (
	"errors"
	"fmt"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/cueload"
)

// definition is a definition that is a template, as its source has it.
type definition struct {
	name    string     // "#WebService"
	field   *ast.Field // that defines it
	attrs   map[string]string
	doc     string
	spec    *ast.Field // nil if it has none
	outputs *ast.Field // likewise
	faults  []error    // what would be ignored
	narrow  []ast.Expr // what is asked of spec beside it
	own     *definitions
	defs    *definitions
}

// definitions finds the templates in the files of a bundle's own folder: structs
// with @aplomb(template=...), templates of other packages under a name of this
// one, and these with something added.
func (t *templates) definitions(b *cueload.Bundle, inst *build.Instance) []definition {
	var all []definition
	defs := definitionsOf(inst.Files)
	for _, f := range inst.Files {
		if !own(b, f.Filename) {
			continue
		}
		for _, decl := range f.Decls {
			field, ok := decl.(*ast.Field)
			if !ok {
				continue
			}
			name, _, err := ast.LabelName(field.Label)
			if err != nil || !strings.HasPrefix(name, "#") {
				continue
			}
			d := definition{name: name, field: field, defs: defs, own: defs}
			d.read(field.Value, f, inst)
			if d.attrs["template"] == "" {
				t.mistaken(field)
				continue
			}
			if own := docOf(field); own != "" {
				d.doc = own
			}
			all = append(all, d)
		}
	}
	return all
}

// read takes what an expression says of a template; what stands first counts.
func (d *definition) read(e ast.Expr, f *ast.File, inst *build.Instance) {
	switch x := e.(type) {
	case *ast.BinaryExpr:
		if x.Op == token.AND {
			d.read(x.X, f, inst)
			d.read(x.Y, f, inst)
		}
	case *ast.StructLit:
		d.take(x)
		d.strange(x)
	case *ast.SelectorExpr:
		from, isName := x.X.(*ast.Ident)
		name, _, err := ast.LabelName(x.Sel)
		if !isName || err != nil {
			return
		}
		other := imported(from.Name, f, inst)
		if other == nil {
			return
		}
		for _, theirs := range other.Files {
			for _, decl := range theirs.Decls {
				if lit, ok := cueload.TemplateOf(decl); ok && labelled(decl, name) {
					d.defs = definitionsOf(other.Files)
					d.doc = docOf(decl)
					d.take(lit)
				}
			}
		}
	}
}

func (d *definition) take(lit *ast.StructLit) {
	if attrs := declared(lit); d.attrs["template"] == "" && attrs["template"] != "" {
		d.attrs = attrs
	}
	for _, e := range lit.Elts {
		if field, ok := e.(*ast.Field); ok {
			switch {
			case !labelled(field, "spec"):
			case d.spec == nil:
				d.spec = field
			default:
				d.narrow = append(d.narrow, field.Value)
			}
			if d.outputs == nil && labelled(field, "outputs") {
				d.outputs = field
			}
		}
	}
}

// imported is the package that a file knows by name.
func imported(name string, f *ast.File, inst *build.Instance) *build.Instance {
	for spec := range f.ImportSpecs() {
		at, err := literal.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		for _, i := range inst.Imports {
			if i.ImportPath == at && (spec.Name != nil && spec.Name.Name == name || spec.Name == nil && i.PkgName == name) {
				return i
			}
		}
	}
	return nil
}

func labelled(d ast.Decl, want string) bool {
	f, ok := d.(*ast.Field)
	if !ok {
		return false
	}
	name, _, err := ast.LabelName(f.Label)
	return err == nil && name == want
}

// model is the input of the template as the schema of a kind.
func (d *definition) model(def cue.Value, name string) (*kind, error) {
	if err := def.Err(); err != nil {
		return nil, err
	}
	if len(d.faults) > 0 {
		return nil, d.faults[0]
	}
	if d.spec == nil {
		return nil, errors.New("it has no spec, which is its input")
	}
	m, err := newField(def, "spec", d.spec, d.defs)
	if err != nil {
		return nil, err
	}
	if m.shape != fields {
		return nil, fmt.Errorf("its spec is %s, and not a struct of named fields", typeOf(d.spec.Value))
	}
	for _, e := range d.narrow {
		if err := plainNarrowing(e); err != nil {
			return nil, err
		}
		m = m.narrowed(e, d.own)
	}
	k := &kind{spec: m, Kind: schema.Kind{Name: name, Doc: d.doc, Fields: m.flatten(nil)}}
	if d.outputs != nil {
		k.Outputs = outputsIn(d.outputs.Value, nil)
	}
	return k, nil
}

// outputsIn lists the outputs that a template may have, those under a condition
// too. Their type is that of what a use makes of them.
func outputsIn(e ast.Expr, all []schema.Field) []schema.Field {
	lit, ok := e.(*ast.StructLit)
	if !ok {
		return all
	}
	for _, decl := range lit.Elts {
		switch x := decl.(type) {
		case *ast.Field:
			name, _, err := ast.LabelName(x.Label)
			at := schema.Path("").Child(name)
			if err == nil && !hasField(all, at) {
				_, secret := attributes(x.Attrs)["secret"]
				all = append(all, schema.Field{Path: at, Type: "any", Doc: docOf(x), Secret: secret})
			}
		case *ast.Comprehension:
			all = outputsIn(x.Value, all)
		}
	}
	return all
}

func hasField(all []schema.Field, at schema.Path) bool {
	for _, f := range all {
		if f.Path == at {
			return true
		}
	}
	return false
}
