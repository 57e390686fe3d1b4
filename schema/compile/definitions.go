package compile

import (
	"fmt"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
)

// definitions are the structs that the files of one package of schemas define,
// and what is known of those that fields have referred to. A definition is read
// once, however many fields refer to it; so what is secret is marked in it, and
// not at the fields.
type definitions struct {
	lits  map[string]*ast.StructLit // "#TaskGroup"
	other map[string]*ast.Field     // those that are no structs
	known map[string]*model         // nil while it is being read
}

func definitionsOf(files []*ast.File) *definitions {
	d := &definitions{lits: map[string]*ast.StructLit{}, other: map[string]*ast.Field{}, known: map[string]*model{}}
	for _, f := range files {
		for _, decl := range f.Decls {
			field, ok := decl.(*ast.Field)
			if !ok {
				continue
			}
			name, _, err := ast.LabelName(field.Label)
			if err != nil {
				continue
			}
			if lit, isStruct := field.Value.(*ast.StructLit); isStruct {
				d.lits[name] = lit
			} else if strings.Contains(name, "#") {
				d.other[name] = field
			}
		}
	}
	return d
}

// refer makes m a field of the shape of a definition. One that holds itself has
// no end that could be listed, and is refused.
func (m *model) refer(v cue.Value, name string, lit *ast.StructLit, defs *definitions) error {
	own, read := defs.known[name]
	if read && own == nil {
		return fmt.Errorf("%s is defined by itself", name)
	}
	if !read {
		defs.known[name] = nil
		var err error
		if own, err = newModel(v, lit, defs); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		defs.known[name] = own
	}
	m.expr, m.shape, m.oneof = lit, own.shape, own.oneof
	m.fields, m.sorted, m.byName, m.elem = own.fields, own.sorted, own.byName, own.elem
	return nil
}

// words say what a name of a schema's own stands for, to complete "… is not":
// its documentation if that names a thing, or else what it is defined as. "" is
// a name that is not known here.
func (d *definitions) words(x *ast.Ident) string {
	f := d.other[x.Name]
	if f == nil {
		return ""
	}
	doc, _, _ := strings.Cut(docOf(f), "\n\n")
	doc, _, _ = strings.Cut(doc, ". ")
	for _, article := range []string{"A ", "An ", "The "} {
		if rest, ok := strings.CutPrefix(doc, article); ok {
			return strings.ToLower(article) + strings.TrimSuffix(rest, ".")
		}
	}
	return wants(f.Value)
}
