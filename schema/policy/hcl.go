package policy

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"

	hclv1 "github.com/hashicorp/hcl"
	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/aplomb-dev/aplomb/internal/hclbounds"
	"github.com/aplomb-dev/aplomb/schema"
)

// Policies see of a text in HCL what its engine would, not how it is written:
// a comment, an escape or a variable does not hide anything. What cannot be
// told from the text alone is said to be so, for a policy to refuse.

// hclInput is what policies see of one such text.
type hclInput struct {
	At      schema.Path `json:"at"`     // the field that holds it, or names its file
	Name    string      `json:"name"`   // of the file; "" where a field holds it
	Unread  string      `json:"unread"` // why nothing could be read; "" where it was
	Drivers []hclText   `json:"drivers"`
	Images  []hclText   `json:"images"`
	Tasks   []hclTask   `json:"tasks"`
	Paths   []hclText   `json:"paths"` // that a policy of Vault opens or closes
}

// hclText is a text, with variables filled in.
type hclText struct {
	Text    string `json:"text"`
	Literal bool   `json:"literal"` // false: it is not known from here, and "" in Text
	Where   string `json:"where"`   // FILE:LINE
}

// hclTask is a task of a job and what it may use; 0 is nothing said.
type hclTask struct {
	Name      string `json:"name"`
	Where     string `json:"where"`
	Resources bool   `json:"resources"` // it has the block
	Literal   bool   `json:"literal"`   // false: some number in it is not known
	MemoryMB  int64  `json:"memoryMB"`
	CPU       int64  `json:"cpu"`
}

// hclOf reads the HCL of a resource as policies see it; nil where its kind has
// none. It runs in a worker: how long an expression takes is up to who wrote it.
func hclOf(resource map[string]any) []hclInput {
	spec, _ := resource["spec"].(map[string]any)
	files, _ := resource["files"].(map[string]any)
	unread, _ := resource["unread"].([]any)
	var at schema.Path
	var read func(in *hclInput, text string) error
	all := []hclInput{}
	switch resource["kind"] {
	case "nomad.job":
		at, read = "/spec/hcl", func(in *hclInput, text string) error { return in.job(text, spec["vars"]) }
	case "vault.policy":
		at, read = "/spec/file", (*hclInput).vault
		if text, ok := spec["policy"].(string); ok {
			all = append(all, readHCL("/spec/policy", "", text, read))
		}
	default:
		return nil
	}
	for _, name := range sortedKeys(files) {
		if slices.Contains(unread, any(name)) {
			all = append(all, readHCL(at, name, "", func(*hclInput, string) error { return fmt.Errorf("it is too large") }))
			continue
		}
		text, _ := files[name].(string)
		all = append(all, readHCL(at, name, text, read))
	}
	return all
}

func readHCL(at schema.Path, name, text string, read func(*hclInput, string) error) (in hclInput) {
	blank := func() hclInput {
		return hclInput{At: at, Name: name, Drivers: []hclText{}, Images: []hclText{}, Tasks: []hclTask{}, Paths: []hclText{}}
	}
	in = blank()
	var err error
	defer func() {
		if r := recover(); r != nil { // a fault of a parser: nothing is known
			err = fmt.Errorf("it cannot be parsed")
		}
		if err != nil {
			in = blank()
			in.Unread = clip(err.Error())
		}
	}()
	if line := hclbounds.Beyond([]byte(text), name); line > 0 {
		err = fmt.Errorf("line %d: it is nested too deeply", line)
		return in
	}
	err = read(&in, text)
	return in
}

// vault reads a policy of Vault with the parser that Vault has.
func (in *hclInput) vault(text string) error {
	file, err := hclv1.Parse(text)
	if err != nil {
		return fmt.Errorf("it is no policy: %w", err)
	}
	root, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return fmt.Errorf("it is no policy")
	}
	in.paths(root.Filter("path"))
	return nil
}

// paths takes the path of each item, or those in a structure that is assigned.
func (in *hclInput) paths(items *ast.ObjectList) {
	for _, item := range items.Items {
		if len(item.Keys) > 0 {
			text, ok := item.Keys[0].Token.Value().(string)
			in.Paths = append(in.Paths, hclText{Text: text, Literal: ok, Where: in.where(item.Keys[0].Pos().Line)})
			continue
		}
		switch v := item.Val.(type) {
		case *ast.ObjectType:
			in.paths(v.List)
		default:
			in.Paths = append(in.Paths, hclText{Where: in.where(item.Pos().Line)})
		}
	}
}

func (in *hclInput) where(line int) string {
	if in.Name == "" {
		return fmt.Sprintf("line %d", line)
	}
	return fmt.Sprintf("%s:%d", in.Name, line)
}

// job reads a job file.
func (in *hclInput) job(text string, vars any) error {
	parsed, diags := hclsyntax.ParseConfig([]byte(text), in.Name, hcl.InitialPos)
	if diags.HasErrors() {
		d := diags[0]
		if d.Subject != nil {
			return fmt.Errorf("line %d: %s", d.Subject.Start.Line, d.Summary)
		}
		return fmt.Errorf("%s", d.Summary)
	}
	body, ok := parsed.Body.(*hclsyntax.Body)
	if !ok {
		return fmt.Errorf("it is no job file")
	}
	j := &jobReader{in: in, known: &hcl.EvalContext{Variables: map[string]cty.Value{}}}
	j.variables(body, vars)
	j.body(body)
	return nil
}

// jobReader walks through a job file.
type jobReader struct {
	in    *hclInput
	known *hcl.EvalContext
}

// mostLocal is how long a text may be that a local stands for, in bytes: locals
// that double each other grow fast.
const mostLocal = 4096

// variables learns what the file's variables and locals stand for, as far as
// that can be told: of variables that are given, then of defaults.
func (j *jobReader) variables(body *hclsyntax.Body, given any) {
	vars, locals := map[string]cty.Value{}, map[string]cty.Value{}
	var open []*hclsyntax.Attribute
	for _, b := range body.Blocks {
		switch {
		case b.Type == "variable" && len(b.Labels) == 1:
			if def := b.Body.Attributes["default"]; def != nil {
				if v, diags := def.Expr.Value(nil); !diags.HasErrors() {
					vars[b.Labels[0]] = v
				}
			}
		case b.Type == "locals":
			for _, name := range sortedKeys(b.Body.Attributes) {
				open = append(open, b.Body.Attributes[name])
			}
		}
	}
	if given, ok := given.(map[string]any); ok {
		for name, v := range given {
			delete(vars, name)
			if raw, err := json.Marshal(v); err == nil {
				var of ctyjson.SimpleJSONValue
				if of.UnmarshalJSON(raw) == nil {
					vars[name] = of.Value
				}
			}
		}
	}
	j.known.Variables["var"] = cty.ObjectVal(vars)
	for progress := true; progress; { // a local may refer to any other
		progress = false
		j.known.Variables["local"] = cty.ObjectVal(locals)
		open = slices.DeleteFunc(open, func(a *hclsyntax.Attribute) bool {
			v, diags := a.Expr.Value(j.known)
			if diags.HasErrors() {
				return false
			}
			if v.IsKnown() && !v.IsNull() && v.Type() == cty.String && len(v.AsString()) > mostLocal {
				return true
			}
			locals[a.Name], progress = v, true
			return true
		})
	}
}

// body looks through a block and those within.
func (j *jobReader) body(b *hclsyntax.Body) {
	for _, name := range sortedKeys(b.Attributes) {
		attr := b.Attributes[name]
		switch name {
		case "driver":
			j.in.Drivers = append(j.in.Drivers, j.text(attr))
		case "image":
			j.in.Images = append(j.in.Images, j.text(attr))
		case "config": // it is a block, and would not be read as one
			t := j.text(attr)
			j.in.Images = append(j.in.Images, hclText{Where: t.Where})
		}
	}
	for _, inner := range blocksOf(b) {
		switch inner.name {
		case "variable", "locals", "env", "meta":
		case "config":
			if attr := inner.body.Attributes["image"]; attr != nil {
				j.in.Images = append(j.in.Images, j.text(attr))
			}
		case "task":
			j.task(inner)
			j.body(inner.body)
		default:
			j.body(inner.body)
		}
	}
}

// inner is a block by the name that it has, or that a dynamic one makes.
type inner struct {
	name, label string
	line        int
	body        *hclsyntax.Body
}

func blocksOf(b *hclsyntax.Body) []inner {
	var all []inner
	for _, block := range b.Blocks {
		label := ""
		if len(block.Labels) > 0 {
			label = block.Labels[0]
		}
		if block.Type != "dynamic" {
			all = append(all, inner{block.Type, label, block.TypeRange.Start.Line, block.Body})
			continue
		}
		for _, content := range block.Body.Blocks {
			all = append(all, inner{label, "", block.TypeRange.Start.Line, content.Body})
		}
	}
	return all
}

func (j *jobReader) task(of inner) {
	t := hclTask{Name: cmp.Or(of.label, "of a dynamic block"), Where: j.in.where(of.line), Literal: true}
	for _, in := range blocksOf(of.body) {
		if in.name != "resources" {
			continue
		}
		t.Resources = true
		for name, into := range map[string]*int64{"memory": &t.MemoryMB, "cpu": &t.CPU} {
			attr := in.body.Attributes[name]
			if attr == nil {
				continue
			}
			n, ok := j.number(attr)
			*into, t.Literal = max(*into, n), t.Literal && ok
		}
	}
	j.in.Tasks = append(j.in.Tasks, t)
}

func (j *jobReader) text(attr *hclsyntax.Attribute) hclText {
	t := hclText{Where: j.in.where(attr.SrcRange.Start.Line)}
	v, diags := attr.Expr.Value(j.known)
	if !diags.HasErrors() && v.IsKnown() && !v.IsNull() && v.Type() == cty.String {
		t.Text, t.Literal = strings.TrimSpace(v.AsString()), true
	}
	return t
}

// number is a whole number, or a text that is one.
func (j *jobReader) number(attr *hclsyntax.Attribute) (int64, bool) {
	v, diags := attr.Expr.Value(j.known)
	if diags.HasErrors() || !v.IsKnown() || v.IsNull() {
		return 0, false
	}
	f := new(big.Float)
	switch v.Type() {
	case cty.Number:
		f = v.AsBigFloat()
	case cty.String:
		if _, ok := f.SetString(v.AsString()); !ok {
			return 0, false
		}
	default:
		return 0, false
	}
	n, _ := f.Int64() // what is larger is the largest there is
	return n, true
}
