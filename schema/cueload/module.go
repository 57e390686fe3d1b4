package cueload

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"

	"github.com/aplomb-dev/aplomb/schema"
)

// ModulePath is the path of the module of the schemas.
const ModulePath = "aplomb.dev/schema"

// policiesDir holds the vocabulary of policies and those that are shipped: no
// kinds, so nothing in them takes references.
const policiesDir = "policies"

// Module is the module aplomb.dev/schema as repositories import it: the schemas
// of all kinds, where every field that may hold a reference to another
// resource's output takes one, whatever its type. Paths are from the module's
// root. The slice is shared: it is not to be altered.
var Module = sync.OnceValues(func() ([]File, error) {
	var all []File
	err := fs.WalkDir(schema.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() || !IsSource(path.Base(name)) || strings.HasPrefix(name, "cue.mod/") || path.Dir(name) == "config" || path.Dir(name) == templatesDir {
			return nil
		}
		data, err := fs.ReadFile(schema.FS(), name)
		if err == nil && path.Dir(name) != "." && !strings.HasPrefix(name, policiesDir+"/") {
			data, err = referable(name, data)
		}
		if err != nil {
			return fmt.Errorf("the schema %s: %w", name, err)
		}
		all = append(all, File{Path: name, Data: data})
		return nil
	})
	return all, err
})

// reference is the name of what a reference looks like.
const reference = "#Reference"

// referable lets fields of kinds take references.
func referable(name string, data []byte) ([]byte, error) {
	f, err := parser.ParseFile(name, data, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	r := &referrer{mark: func() ast.Expr { return ast.NewSel(ast.NewIdent("schema"), reference) }}
	for _, decl := range f.Decls {
		field, ok := decl.(*ast.Field)
		if !ok {
			continue
		}
		if lit, ok := field.Value.(*ast.StructLit); ok {
			r.definition(lit)
		}
	}
	if r.used && !imports(f, ModulePath) {
		at := slices.IndexFunc(f.Decls, func(d ast.Decl) bool { _, ok := d.(*ast.Package); return ok })
		spec := ast.NewImport(nil, ModulePath)
		f.Decls = slices.Insert(f.Decls, at+1, ast.Decl(&ast.ImportDecl{Specs: []*ast.ImportSpec{spec}}))
	}
	return format.Node(f)
}

func imports(f *ast.File, at string) bool {
	for spec := range f.ImportSpecs() {
		if spec.Path.Value == `"`+at+`"` {
			return true
		}
	}
	return false
}

// referrer alters the files of one package.
type referrer struct {
	mark func() ast.Expr // what a reference looks like
	used bool
}

// definition alters a definition: of a kind, what lies below its spec; of
// anything else, all of it.
func (r *referrer) definition(lit *ast.StructLit) {
	for _, e := range lit.Elts {
		field, ok := e.(*ast.Field)
		if !ok {
			continue
		}
		if name, _, err := ast.LabelName(field.Label); err == nil && name == "spec" {
			r.fields(field.Value)
			return
		}
	}
	if !slices.ContainsFunc(lit.Elts, func(e ast.Decl) bool { a, ok := e.(*ast.Attribute); return ok && strings.Contains(a.Text, "kind=") }) {
		r.fields(lit)
	}
}

// fields alters the fields of a struct.
func (r *referrer) fields(e ast.Expr) {
	lit, ok := e.(*ast.StructLit)
	if !ok {
		return
	}
	for _, d := range lit.Elts {
		if f, ok := d.(*ast.Field); ok && !plain(f) {
			f.Value = r.expr(f.Value)
		}
	}
}

// plain says whether a field takes no references: it makes up the address, or
// names a file.
func plain(f *ast.Field) bool {
	for _, a := range f.Attrs {
		name, body := a.Split()
		for arg := range strings.SplitSeq(body, ",") {
			if arg = strings.TrimSpace(arg); name == "aplomb" && (arg == "address" || arg == "file" || arg == "folder") {
				return true
			}
		}
	}
	return false
}

func (r *referrer) expr(e ast.Expr) ast.Expr {
	switch x := e.(type) {
	case *ast.StructLit:
		r.fields(x)
		return x
	case *ast.ListLit:
		for i, elt := range x.Elts {
			if more, ok := elt.(*ast.Ellipsis); ok && more.Type != nil {
				more.Type = r.expr(more.Type)
			} else if !ok {
				x.Elts[i] = r.expr(elt)
			}
		}
		return x
	case *ast.Ident:
		if x.Name == "string" || x.Name == "_" || strings.HasPrefix(x.Name, "#") {
			return x
		}
	case *ast.SelectorExpr:
		if name, _, err := ast.LabelName(x.Sel); err == nil && name == "#Scalar" {
			return x
		}
	}
	r.used = true
	return ast.NewBinExpr(token.OR, e, r.mark())
}
