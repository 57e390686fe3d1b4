package compile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/load"

	"github.com/aplomb-dev/aplomb/schema"
)

// configPackage is the package of the schemas that declares no kind: the
// daemon's configuration.
const configPackage = "./config"

// What the files of an operator are checked against, and what findings call
// them.
const (
	ofConfig = "#Config"
	ofOwners = "#Owners"
)

var configNames = map[string]string{ofConfig: "a configuration", ofOwners: "a list of owners"}

// policiesPackage is the other one: the vocabulary of policies.
const policiesPackage = "./policies"

// Config is a daemon's configuration that its schema accepts.
type Config struct {
	JSON   json.RawMessage            `json:"json"`   // canonical, defaults filled in
	Values map[schema.Path]schema.Pos `json:"values"` // where each value that was written stands
	Keys   map[schema.Path]schema.Pos `json:"keys"`   // where each key of a mapping stands
}

// Config checks a daemon's configuration, one document, against its schema. As
// with Compile, what is wrong with it are the findings, and an error means that
// it could not be looked at. name is what findings call the file.
func (c *Compiler) Config(ctx context.Context, name string, data []byte) (Config, []schema.Diagnostic, error) {
	return c.operators(ctx, name, data, ofConfig)
}

// Owners checks a list of owners, as Config does a configuration.
func (c *Compiler) Owners(ctx context.Context, name string, data []byte) (Config, []schema.Diagnostic, error) {
	return c.operators(ctx, name, data, ofOwners)
}

func (c *Compiler) operators(ctx context.Context, name string, data []byte, def string) (Config, []schema.Diagnostic, error) {
	var got fileResult
	in := input{Path: name, Data: data, Config: def}
	err := c.run(ctx, c.setup, []input{in}, func(_ int, r fileResult, _ bool) { got = r })
	if err == nil && got.Config == nil && len(got.Findings) == 0 {
		err = errors.New("no answer")
	}
	switch {
	case err != nil:
		return Config{}, nil, fmt.Errorf("check %s: %w", configNames[def], err)
	case len(got.Findings) > 0:
		return Config{}, got.Findings, nil
	}
	return *got.Config, nil, nil
}

// ConfigFields are the fields of the configuration, as flat as those of a kind,
// and what is said of all of it. It evaluates CUE: it is for generators.
func ConfigFields() (fields []schema.Field, doc string, err error) {
	_, m, err := loadConfig(schema.FS(), ofConfig)
	if err != nil {
		return nil, "", err
	}
	return m.flatten(nil), m.Doc, nil
}

// loadConfig reads a definition of the configuration's schema, in a context of
// its own.
func loadConfig(module fs.FS, def string) (*cue.Context, *model, error) {
	cctx := cuecontext.New()
	inst := load.Instances([]string{configPackage}, &load.Config{FS: module, Dir: "/", Env: []string{"CUE_REGISTRY=none"}})[0]
	if inst.Err != nil {
		return nil, nil, fmt.Errorf("load the schema of the configuration: %w", inst.Err)
	}
	root := cctx.BuildInstance(inst)
	if err := root.Err(); err != nil {
		return nil, nil, fmt.Errorf("load the schema of the configuration: %w", err)
	}
	for _, f := range inst.Files {
		for _, decl := range f.Decls {
			field, ok := decl.(*ast.Field)
			if !ok {
				continue
			}
			if name, _, err := ast.LabelName(field.Label); err != nil || name != def {
				continue
			}
			m, err := newModel(root.LookupPath(cue.MakePath(cue.Def(def))), field.Value, definitionsOf(inst.Files))
			if err != nil {
				return nil, nil, fmt.Errorf("schema of the configuration: %w", err)
			}
			m.Doc = docOf(field)
			return cctx, m, nil
		}
	}
	return nil, nil, errors.New("load the schema of the configuration: there is none")
}

// config checks a configuration. Like file it never fails.
func (c *checker) config(name string, data []byte, def string) (res fileResult) {
	b := &builder{file: name, limits: c.limits}
	defer func() {
		if r := recover(); r != nil {
			b.report(1, 1, "", "this file cannot be read: %s", shorten(fmt.Sprint(r)))
			res = fileResult{Findings: b.findings}
		}
	}()
	docs, _ := b.parse(data)
	switch {
	case len(b.findings) > 0 && len(docs) == 0:
	case len(docs) == 0:
		b.report(1, 1, "", "%s is empty: %s is one document", path.Base(name), configNames[def])
	case len(docs) > 1:
		b.report(docs[1].root.line, docs[1].root.col, "", "a second document: %s is one", configNames[def])
	default:
		res.Config = c.configuration(b, docs[0].root, def)
	}
	if len(b.findings) > 0 {
		return fileResult{Findings: bound(schema.SortDiagnostics(b.findings))}
	}
	return res
}

// configuration checks the one document.
func (c *checker) configuration(b *builder, root *value, def string) *Config {
	if root.kind != mapValue {
		if root.kind != brokenValue {
			b.report(root.line, root.col, "", "%s is not %s, which is a mapping", root.words(), configNames[def])
		}
		return nil
	}
	cctx, m, err := loadConfig(schema.FS(), def)
	if err != nil {
		panic(err)
	}
	d := &document{builder: b, checker: &checker{limits: c.limits, cctx: cctx}, root: root, found: len(b.findings) > 0}
	d.walk(root, m, "")
	if m.accepts.Unify(cctx.BuildExpr(expression(root))).Validate(cue.Concrete(false)) != nil {
		before := len(b.findings)
		if d.explain(root, m, ""); before == 0 && len(b.findings) == 0 {
			b.report(root.line, root.col, "", "it does not fit the schema of %s", configNames[def])
		}
	}
	if len(b.findings) > 0 {
		return nil
	}
	var buf bytes.Buffer
	d.emit(&buf, root, m)
	cfg := &Config{JSON: buf.Bytes(), Values: map[schema.Path]schema.Pos{}, Keys: map[schema.Path]schema.Pos{}}
	cfg.place(root, b.file, "")
	return cfg
}

// place notes where v and what lies below it stand.
func (c *Config) place(v *value, file string, at schema.Path) {
	c.Values[at] = v.pos(file)
	for i, item := range v.items {
		below := at.Index(i)
		if v.kind == mapValue {
			below = at.Child(v.keys[i].name)
			c.Keys[below] = v.keys[i].pos(file)
		}
		c.place(item, file, below)
	}
}
