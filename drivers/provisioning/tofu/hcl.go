package tofu

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	hcljson "github.com/hashicorp/hcl/v2/json"
	"github.com/zclconf/go-cty/cty"

	"github.com/aplomb-dev/aplomb/internal/hclbounds"
	"github.com/aplomb-dev/aplomb/schema"
)

// module is what is read of a module without running anything.
type module struct {
	variables map[string]*variable
	outputs   map[string]*output
	findings  []finding
}

type variable struct {
	file      string
	line      int
	required  bool
	sensitive bool
	typ       cty.Type // NilType: none is given
	defaults  *typeexpr.Defaults
}

type output struct {
	file      string
	line      int
	sensitive bool
}

// readModule reads the configuration files of a folder. In folders below there
// are modules that it may use: only their syntax is checked.
func readModule(folder string, files schema.Tree) *module {
	m := &module{variables: map[string]*variable{}, outputs: map[string]*output{}}
	found := false
	for _, f := range files {
		name, ok := strings.CutPrefix(f.Path, folder+"/")
		switch {
		case !ok:
			m.find(f.Path, 0, "it does not lie in the module's folder %s", folder)
		case isValues(name):
			m.find(f.Path, 1, "a stack takes its variables from spec.vars alone: this file would override them")
		case isConfig(name) && strings.HasPrefix(name, overrideName+"."): // of two files that differ in .tf and .tofu the tool reads one
			m.find(f.Path, 1, "this name is aplomb's own")
		case isConfig(name):
			found = found || path.Dir(name) == "."
			m.read(f, name)
		}
	}
	if !found {
		m.findings = append(m.findings, finding{text: fmt.Sprintf("module: there is no *.tf in %s", folder)})
	}
	return m
}

func (m *module) find(file string, line int, format string, args ...any) {
	m.findings = append(m.findings, finding{file, line, fmt.Sprintf(format, args...)})
}

func (m *module) read(f schema.File, name string) {
	var file *hcl.File
	var diags hcl.Diagnostics
	if strings.HasSuffix(name, ".json") {
		if !json.Valid(f.Data) { // which minds the depth, as the parser does not
			m.find(f.Path, 1, "this is no JSON")
			return
		}
		file, diags = hcljson.Parse(f.Data, f.Path)
	} else {
		if line := hclbounds.Beyond(f.Data, f.Path); line > 0 {
			m.find(f.Path, line, "it is nested too deeply")
			return
		}
		file, diags = hclsyntax.ParseConfig(f.Data, f.Path, hcl.InitialPos)
	}
	for _, d := range diags {
		if d.Severity == hcl.DiagError && d.Subject != nil {
			m.find(f.Path, d.Subject.Start.Line, "%s: %s", strings.TrimSuffix(d.Summary, "."), d.Detail)
		} else if d.Severity == hcl.DiagError {
			m.find(f.Path, 1, "%s: %s", strings.TrimSuffix(d.Summary, "."), d.Detail)
		}
	}
	if diags.HasErrors() || file == nil {
		return
	}
	content, _, _ := file.Body.PartialContent(rootSchema) // what else is wrong the tool says
	if content == nil {
		return
	}
	for _, b := range content.Blocks {
		m.block(f.Path, b, path.Dir(name))
	}
}

var rootSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "variable", LabelNames: []string{"name"}}, {Type: "output", LabelNames: []string{"name"}},
	{Type: "module", LabelNames: []string{"name"}}, {Type: "terraform"},
}}

// block reads one block. dir is where its file lies below the module's folder.
func (m *module) block(file string, b *hcl.Block, dir string) {
	line := b.DefRange.Start.Line
	switch {
	case b.Type == "module":
		m.local(file, line, attributes(b.Body, "source"), dir)
	case dir != ".": // of a module that this one uses
	case b.Type == "variable":
		m.variables[b.Labels[0]] = m.variable(file, line, b)
	case b.Type == "output":
		m.outputs[b.Labels[0]] = &output{file, line, isTrue(attributes(b.Body, "sensitive"))}
	case b.Type == "terraform":
		inner, _, _ := b.Body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "backend", LabelNames: []string{"type"}}, {Type: "cloud"}, {Type: "encryption"}}})
		for _, x := range inner.Blocks {
			m.find(file, x.DefRange.Start.Line, "a block %s: aplomb keeps the state of a stack itself", x.Type)
		}
	}
}

// local refuses a module that lies outside the folder.
func (m *module) local(file string, line int, attrs hcl.Attributes, dir string) {
	source, ok := text(attrs["source"])
	if !ok || !strings.HasPrefix(source, "./") && !strings.HasPrefix(source, "../") {
		return
	}
	if at := path.Join(dir, source); at == ".." || strings.HasPrefix(at, "../") {
		m.find(file, line, "the module %s lies outside the folder that spec.module names", source)
	}
}

func (m *module) variable(file string, line int, b *hcl.Block) *variable {
	attrs := attributes(b.Body, "type", "default", "sensitive", "ephemeral")
	v := &variable{file: file, line: line, required: attrs["default"] == nil, sensitive: isTrue(attrs) || isSet(attrs["ephemeral"])}
	expr := attrs["type"]
	if expr == nil {
		return v
	}
	if word := hcl.ExprAsKeyword(expr.Expr); word == "list" || word == "map" { // as the tool does
		v.typ = cty.DynamicPseudoType
		return v
	}
	if old, ok := text(expr); ok { // type = "string", as it was once written
		v.typ = map[string]cty.Type{"string": cty.String}[old]
		return v
	}
	typ, defaults, diags := typeexpr.TypeConstraintWithDefaults(expr.Expr)
	if diags.HasErrors() {
		m.find(file, expr.Range.Start.Line, "%s: %s", diags[0].Summary, diags[0].Detail)
		return v
	}
	v.typ, v.defaults = typ, defaults
	return v
}

// attributes are the named attributes of a body that are there.
func attributes(body hcl.Body, names ...string) hcl.Attributes {
	s := &hcl.BodySchema{}
	for _, n := range names {
		s.Attributes = append(s.Attributes, hcl.AttributeSchema{Name: n})
	}
	content, _, _ := body.PartialContent(s)
	if content == nil {
		return nil
	}
	return content.Attributes
}

func isTrue(attrs hcl.Attributes) bool { return isSet(attrs["sensitive"]) }

// isSet says whether an attribute is literally true.
func isSet(a *hcl.Attribute) bool {
	if a == nil || !literal(a.Expr) {
		return false
	}
	v, diags := a.Expr.Value(nil)
	return !diags.HasErrors() && v.Type() == cty.Bool && v.IsKnown() && !v.IsNull() && v.True()
}

// text is an attribute that is a literal string.
func text(a *hcl.Attribute) (string, bool) {
	if a == nil || !literal(a.Expr) {
		return "", false
	}
	v, diags := a.Expr.Value(nil)
	if diags.HasErrors() || v.Type() != cty.String || !v.IsKnown() || v.IsNull() {
		return "", false
	}
	return v.AsString(), true
}

// literal says whether an expression is a value as it stands there.
func literal(e hcl.Expression) bool {
	switch x := e.(type) {
	case *hclsyntax.LiteralValueExpr:
		return true
	case *hclsyntax.TemplateExpr:
		return x.IsStringLiteral()
	case hclsyntax.Expression:
		return false
	default:
		return true // of JSON
	}
}
