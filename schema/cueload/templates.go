package cueload

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/token"

	"github.com/aplomb-dev/aplomb/schema"
)

// TemplatesPath is the path of the package of the templates that are shipped,
// and the name that its files begin with in positions.
const TemplatesPath = "aplomb.dev/templates"

// templatesDir is where they lie in schema.FS; what is in it is no schema of
// kinds.
const templatesDir = "templates"

// shippedTemplates are the files of the package, their paths from its root.
var shippedTemplates = sync.OnceValues(func() ([]File, error) {
	entries, err := fs.ReadDir(schema.FS(), templatesDir)
	if err != nil {
		return nil, fmt.Errorf("the shipped templates: %w", err)
	}
	var all []File
	for _, e := range entries {
		data, err := fs.ReadFile(schema.FS(), path.Join(templatesDir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("the shipped templates: %w", err)
		}
		all = append(all, File{Path: e.Name(), Data: data})
	}
	return all, nil
})

// Shipped imports the package of the templates that are shipped, which is all
// that it does.
func Shipped() *Bundle {
	return &Bundle{Dir: ".", Package: "shipped", Module: ".", Files: []File{
		{Path: "shipped.cue", Data: []byte("package shipped\n\nimport \"" + TemplatesPath + "\"\n\nshipped: templates\n")},
	}}
}

// TakeReferences lets the inputs of the templates in an instance, and in what it
// imports, take references: every field of the spec of a definition with
// @aplomb(template=...), and of the definitions that it refers to, takes text
// with @{ in it whatever its type. Fields that make up an address or name a file
// do not. It is called before the instance is evaluated.
func TakeReferences(inst *build.Instance) {
	done := map[*build.Instance]bool{}
	var visit func(*build.Instance)
	visit = func(i *build.Instance) {
		if done[i] {
			return
		}
		done[i] = true
		r := &referrer{mark: func() ast.Expr { return &ast.UnaryExpr{Op: token.MAT, X: ast.NewString("@{")} }}
		defs, seen := Definitions(i.Files), map[string]bool{}
		for _, f := range i.Files {
			for _, decl := range f.Decls {
				if lit, ok := TemplateOf(decl); ok {
					r.input(lit, defs, seen)
				}
			}
		}
		for _, imported := range i.Imports {
			visit(imported)
		}
	}
	visit(inst)
}

// input alters the spec of a template.
func (r *referrer) input(lit *ast.StructLit, defs map[string]*ast.StructLit, seen map[string]bool) {
	for _, e := range lit.Elts {
		if field, ok := e.(*ast.Field); ok && labelled(field, "spec") {
			r.follow(field.Value, defs, seen)
		}
	}
}

// Definitions are the structs that files of one package define, by name: those
// of "#Name".
func Definitions(files []*ast.File) map[string]*ast.StructLit {
	all := map[string]*ast.StructLit{}
	for _, f := range files {
		for _, decl := range f.Decls {
			field, ok := decl.(*ast.Field)
			if !ok {
				continue
			}
			name, _, err := ast.LabelName(field.Label)
			if lit, isStruct := field.Value.(*ast.StructLit); err == nil && isStruct {
				all[name] = lit
			}
		}
	}
	return all
}

// follow alters a struct, and first the definitions that it refers to.
func (r *referrer) follow(e ast.Expr, defs map[string]*ast.StructLit, seen map[string]bool) {
	ast.Walk(e, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if ok && strings.HasPrefix(id.Name, "#") && defs[id.Name] != nil && !seen[id.Name] {
			seen[id.Name] = true
			r.follow(defs[id.Name], defs, seen)
		}
		return true
	}, nil)
	r.fields(e)
}

// TemplateOf is the struct of a definition with @aplomb(template=...).
func TemplateOf(d ast.Decl) (*ast.StructLit, bool) {
	field, ok := d.(*ast.Field)
	if !ok {
		return nil, false
	}
	lit, ok := field.Value.(*ast.StructLit)
	if !ok {
		return nil, false
	}
	for _, e := range lit.Elts {
		if a, ok := e.(*ast.Attribute); ok {
			if name, body := a.Split(); name == "aplomb" && strings.Contains(body, "template=") {
				return lit, true
			}
		}
	}
	return nil, false
}

func labelled(f *ast.Field, want string) bool {
	name, _, err := ast.LabelName(f.Label)
	return err == nil && name == want
}
