package tofu

import (
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/aplomb-dev/aplomb/schema"
)

// fileFunctions read a file, or say whether there is one.
var fileFunctions = []string{
	"file", "filebase64", "fileexists", "fileset", "filemd5", "filesha1", "filesha256", "filesha512", "filebase64sha256", "filebase64sha512", "templatefile",
}

// calls judges the functions that are called anywhere within.
func (j *judging) calls(within hclsyntax.Node, dir string) {
	_ = hclsyntax.VisitAll(within, func(n hclsyntax.Node) hcl.Diagnostics {
		if call, ok := n.(*hclsyntax.FunctionCallExpr); ok {
			j.call(call, dir)
		}
		return nil
	})
}

func (j *judging) call(call *hclsyntax.FunctionCallExpr, dir string) {
	name := strings.TrimPrefix(call.Name, "core::")
	if provider, ok := strings.CutPrefix(name, "provider::"); ok {
		local, _, _ := strings.Cut(provider, "::")
		j.uses(dir, local, call.NameRange)
		return
	}
	switch {
	case name == "nonsensitive":
		j.find(call.NameRange, "nonsensitive() shows what is secret")
	case name == "templatestring":
		j.find(call.NameRange, "templatestring() evaluates what is not written out")
	case slices.Contains(fileFunctions, name):
		j.reads(call, name, dir)
	}
}

// reads judges a function that reads files: which it reads is written out, and
// lies in the module's folder.
func (j *judging) reads(call *hclsyntax.FunctionCallExpr, name, dir string) {
	if len(call.Args) == 0 || call.ExpandFinal {
		j.find(call.NameRange, "%s(): what it reads is not written out", name)
		return
	}
	at, ok := place(call.Args[0], dir)
	if name == "fileset" && ok {
		pattern, written := "", false
		if len(call.Args) > 1 {
			pattern, written = text(&hcl.Attribute{Expr: call.Args[1]})
		}
		if ok = written; slices.Contains(strings.Split(pattern, "/"), "..") {
			at = ".."
		}
	}
	switch {
	case !ok:
		j.find(call.NameRange, "%s(): what it reads is not written out", name)
	case at == ".." || strings.HasPrefix(at, "../") || strings.HasPrefix(at, "~") || path.IsAbs(at):
		j.find(call.NameRange, "%s(): what it reads lies outside the folder that spec.module names", name)
	case name == "templatefile":
		j.template(at, call.NameRange)
	}
}

// template judges what a template calls: it may call what a module may, itself
// too, which once is enough to look at.
func (j *judging) template(at string, from hcl.Range) {
	if j.templates[at] {
		return
	}
	j.templates[at] = true
	i := slices.IndexFunc(j.files, func(f schema.File) bool { return f.Path == path.Join(j.folder, at) })
	if i < 0 {
		return // the tool will say so
	}
	f := j.files[i]
	if !bounded(f.Data, f.Path) {
		j.find(from, "the template %s is too large, or nested too deeply", at)
		return
	}
	expr, diags := hclsyntax.ParseTemplate(f.Data, f.Path, hcl.InitialPos)
	if diags.HasErrors() {
		j.find(from, "the template %s cannot be read", at)
		return
	}
	j.calls(expr, ".")
}

// place is the path, below the module's folder, that an expression of a module
// in dir names: written out, or behind path.module, path.root or path.cwd.
func place(e hclsyntax.Expression, dir string) (string, bool) {
	switch x := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		return place(x.Expression, dir)
	case *hclsyntax.TemplateWrapExpr:
		return place(x.Wrapped, dir)
	case *hclsyntax.ScopeTraversalExpr:
		return folderOf(x, dir)
	case *hclsyntax.TemplateExpr:
		return joined(x, dir)
	}
	return "", false
}

// joined is place of text with at most one reference in it, at its beginning.
func joined(x *hclsyntax.TemplateExpr, dir string) (string, bool) {
	base, rest, parts := "", "", x.Parts
	if len(parts) > 0 {
		if ref, ok := parts[0].(*hclsyntax.ScopeTraversalExpr); ok {
			if base, ok = folderOf(ref, dir); !ok {
				return "", false
			}
			parts = parts[1:]
		}
	}
	for _, p := range parts {
		lit, ok := p.(*hclsyntax.LiteralValueExpr)
		if !ok || !isText(lit.Val) {
			return "", false
		}
		rest += lit.Val.AsString()
	}
	if base == "" {
		return path.Clean(rest), true
	}
	if rest != "" && rest[0] != '/' {
		return "", false
	}
	return path.Join(base, rest), true
}

func folderOf(x *hclsyntax.ScopeTraversalExpr, dir string) (string, bool) {
	if len(x.Traversal) != 2 || x.Traversal.RootName() != "path" {
		return "", false
	}
	step, ok := x.Traversal[1].(hcl.TraverseAttr)
	switch {
	case ok && step.Name == "module":
		return dir, true
	case ok && (step.Name == "root" || step.Name == "cwd"):
		return ".", true
	}
	return "", false
}

func isText(v cty.Value) bool { return v.Type() == cty.String && v.IsKnown() && !v.IsNull() }
