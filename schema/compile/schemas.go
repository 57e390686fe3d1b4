package compile

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/load"

	"github.com/aplomb-dev/aplomb/schema"
)

// Kinds reads every kind out of the embedded schemas, ordered by name. It
// evaluates CUE; everybody but the generator of kinds.json asks schema.Kinds.
func Kinds() ([]schema.Kind, error) {
	_, kinds, err := loadSchemas(schema.FS())
	var all []schema.Kind
	for _, k := range kinds {
		all = append(all, k.Kind)
	}
	slices.SortFunc(all, func(a, b schema.Kind) int { return strings.Compare(a.Name, b.Name) })
	return all, err
}

// ofKinds says of a folder of the module whether its package declares kinds.
func ofKinds(pkg string) bool {
	return !slices.Contains([]string{"./cue.mod", configPackage, policiesPackage, "./templates"}, pkg)
}

// loadSchemas evaluates the module of the schemas in a context of its own. No
// registry is configured: nothing is ever fetched.
func loadSchemas(module fs.FS) (*cue.Context, map[string]*kind, error) {
	cctx := cuecontext.New()
	kinds := map[string]*kind{}
	found, err := fs.Glob(module, "*/*.cue")
	if err != nil {
		return nil, nil, err
	}
	var packages []string
	for _, file := range found {
		if pkg := "./" + path.Dir(file); !slices.Contains(packages, pkg) && ofKinds(pkg) {
			packages = append(packages, pkg)
		}
	}
	for _, inst := range load.Instances(packages, &load.Config{FS: module, Dir: "/", Env: []string{"CUE_REGISTRY=none"}}) {
		if inst.Err != nil {
			return nil, nil, fmt.Errorf("load the schemas: %w", inst.Err)
		}
		root := cctx.BuildInstance(inst)
		if err := root.Err(); err != nil {
			return nil, nil, fmt.Errorf("load the schemas: %w", err)
		}
		defs := definitionsOf(inst.Files)
		for _, f := range inst.Files {
			if err := addKinds(kinds, root, f, defs); err != nil {
				return nil, nil, err
			}
		}
	}
	if len(kinds) == 0 {
		return nil, nil, errors.New("load the schemas: no kind is declared")
	}
	return cctx, kinds, nil
}

func addKinds(kinds map[string]*kind, root cue.Value, f *ast.File, defs *definitions) error {
	for _, decl := range f.Decls {
		field, ok := decl.(*ast.Field)
		if !ok {
			continue
		}
		lit, ok := field.Value.(*ast.StructLit)
		if !ok || declared(lit)["kind"] == "" {
			continue
		}
		name, _, err := ast.LabelName(field.Label)
		if err != nil {
			return err
		}
		k, err := newKind(root.LookupPath(cue.MakePath(cue.Def(name))), lit, docOf(field), defs)
		if err != nil {
			return err
		}
		kinds[k.Name] = k
	}
	return nil
}
