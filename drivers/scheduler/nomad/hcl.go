package nomad

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/aplomb-dev/aplomb/internal/hclbounds"
	"github.com/aplomb-dev/aplomb/schema"
)

// maxHCL is the size in bytes of the largest job file.
const maxHCL = 256 << 10

// fileFunctions read the machine that evaluates them; Nomad has them off where
// it parses for others.
var fileFunctions = []string{
	"abspath", "basename", "dirname", "file", "filebase64", "fileexists", "fileset", "pathexpand",
	"filebase64sha256", "filebase64sha512", "filemd5", "filesha1", "filesha256", "filesha512", "templatefile",
}

// jobFile is what is known of a job file without Nomad's own parser.
type jobFile struct {
	name string
	job  *hclsyntax.Block
	vars map[string]variable
}

type variable struct {
	typ      cty.Type // DynamicPseudoType: not said
	required bool
	at       hcl.Range
}

// readHCL checks a file as far as its syntax goes: one job, variables that can
// be told, nothing that reads files.
func readHCL(name string, data []byte) (*jobFile, error) {
	if len(data) > maxHCL {
		return nil, fmt.Errorf("%s: larger than %d KiB", name, maxHCL>>10)
	}
	if line := hclbounds.Beyond(data, name); line > 0 {
		return nil, fmt.Errorf("%s:%d: it is nested too deeply", name, line)
	}
	parsed, diags := hclsyntax.ParseConfig(data, name, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, firstOf(diags)
	}
	body, ok := parsed.Body.(*hclsyntax.Body)
	if !ok {
		return nil, fmt.Errorf("%s: this is no job file", name)
	}
	f := &jobFile{name: name, vars: map[string]variable{}}
	for _, b := range body.Blocks {
		if err := f.block(b); err != nil {
			return nil, err
		}
	}
	for _, attr := range slices.SortedFunc(maps.Values(body.Attributes), func(a, b *hclsyntax.Attribute) int { return a.SrcRange.Start.Byte - b.SrcRange.Start.Byte }) {
		return nil, at(attr.SrcRange, "%s stands outside of a block", attr.Name)
	}
	if f.job == nil {
		return nil, fmt.Errorf("%s: it has no job block", name)
	}
	return f, noFileFunctions(body)
}

// at is a finding at a place of a file.
func at(r hcl.Range, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", r.Filename, r.Start.Line, fmt.Sprintf(format, args...))
}

func firstOf(diags hcl.Diagnostics) error {
	d := diags[0]
	if d.Subject == nil {
		return errors.New(clip(d.Summary))
	}
	return at(*d.Subject, "%s: %s", d.Summary, clip(d.Detail))
}

func (f *jobFile) block(b *hclsyntax.Block) error {
	switch b.Type {
	case "job":
		if f.job != nil {
			return at(b.TypeRange, "a second job: the first is in line %d", f.job.TypeRange.Start.Line)
		}
		if len(b.Labels) != 1 {
			return at(b.TypeRange, "a job has one label, its id")
		}
		f.job = b
		return nil
	case "variable":
		return f.variable(b)
	case "locals":
		return nil
	default:
		return at(b.TypeRange, "%s is no block of a job file: job, variable, locals", b.Type)
	}
}

func (f *jobFile) variable(b *hclsyntax.Block) error {
	if len(b.Labels) != 1 {
		return at(b.TypeRange, "a variable has one label, its name")
	}
	name := b.Labels[0]
	if first, twice := f.vars[name]; twice {
		return at(b.TypeRange, "the variable %s stands twice: first in line %d", name, first.at.Start.Line)
	}
	v := variable{typ: cty.DynamicPseudoType, at: b.TypeRange}
	def, has := b.Body.Attributes["default"]
	v.required = !has
	if t, typed := b.Body.Attributes["type"]; typed {
		var diags hcl.Diagnostics
		if v.typ, diags = typeexpr.TypeConstraint(t.Expr); diags.HasErrors() {
			return firstOf(diags)
		}
	} else if has {
		if val, diags := def.Expr.Value(nil); !diags.HasErrors() {
			v.typ = val.Type()
		}
	}
	f.vars[name] = v
	return nil
}

// noFileFunctions finds the first call of a function that reads files.
func noFileFunctions(body *hclsyntax.Body) error {
	var found error
	_ = hclsyntax.VisitAll(body, func(n hclsyntax.Node) hcl.Diagnostics { // the visitor has no complaints of its own
		if call, ok := n.(*hclsyntax.FunctionCallExpr); ok && found == nil && slices.Contains(fileFunctions, call.Name) {
			found = at(call.NameRange, "%s() reads the machine that it is evaluated on: hand the content over as a variable", call.Name)
		}
		return nil
	})
	return found
}

// check holds a file against the address and the variables of its declaration.
func (f *jobFile) check(p place, raw json.RawMessage) error {
	id, where := f.job.Labels[0], f.job.TypeRange
	if attr := f.job.Body.Attributes["id"]; attr != nil {
		where = attr.SrcRange
		id = literal(attr)
	}
	if id != "" && id != p.name {
		return at(where, "the job calls itself %q, and is declared as %q: give it as id in the spec", id, p.name)
	}
	if attr := f.job.Body.Attributes["namespace"]; attr != nil {
		if ns := literal(attr); ns != "" && ns != p.namespace {
			return at(attr.SrcRange, "the job says namespace %q, and is declared in %q: give it as namespace in the spec", ns, p.namespace)
		}
	}
	vars, err := varsOf(raw)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(f.vars)) {
		if _, given := vars[name]; !given && f.vars[name].required {
			return at(f.vars[name].at, "the variable %s has no default, and vars does not give it", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if _, known := f.vars[name]; !known {
			hint := ""
			if like := schema.Closest(name, slices.Collect(maps.Keys(f.vars))); like != "" {
				hint = "; did you mean " + like + "?"
			}
			return fmt.Errorf("%s: it has no variable %s, which vars gives%s", f.name, name, hint)
		}
	}
	return nil
}

// literal is an attribute that is a plain string, or "".
func literal(attr *hclsyntax.Attribute) string {
	v, diags := attr.Expr.Value(nil)
	if diags.HasErrors() || v.IsNull() || !v.IsKnown() || v.Type() != cty.String {
		return ""
	}
	return v.AsString()
}

// takesText says whether a field of the spec may hold a reference's text until
// its value is known: a variable, or a part of one, that is a string.
func (f *jobFile) takesText(at schema.Path) bool {
	steps := at.Steps()
	if len(steps) < 2 || steps[0] != "vars" {
		return false
	}
	t := f.vars[steps[1]].typ
	if t == cty.NilType {
		return false
	}
	for _, s := range steps[2:] {
		switch {
		case t == cty.DynamicPseudoType:
			return true
		case t.IsCollectionType():
			t = t.ElementType()
		case t.IsObjectType() && t.HasAttribute(s):
			t = t.AttributeType(s)
		default:
			return false
		}
	}
	return t == cty.String || t == cty.DynamicPseudoType
}
