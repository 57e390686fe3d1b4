package tofu

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/aplomb-dev/aplomb/internal/hclbounds"
	"github.com/aplomb-dev/aplomb/schema"
)

// rules are what a module must keep to that is planned without anybody having
// agreed to it.
type rules struct {
	providers []schema.Glob // HOST/NAMESPACE/TYPE
	modules   []string      // sources, each with all that lies below it
	opentofu  bool
}

// judged is what was found of a module.
type judged struct {
	providers []string // that it names, HOST/NAMESPACE/TYPE
	findings  []finding
}

// judge reads a module and all that lies with it, and finds what it would run or
// read beyond itself. It stands before the sandbox, which holds without it: what
// is refused here is refused with its place and its reason. The module was found
// good by Driver.Check.
func (r *rules) judge(folder string, files schema.Tree) judged {
	j := &judging{rules: r, folder: folder, files: files, required: map[string]map[string][]string{}, implied: map[string]map[string]finding{}, templates: map[string]bool{}}
	for _, f := range files {
		name, ok := strings.CutPrefix(f.Path, folder+"/")
		if ok && isConfig(name) {
			j.file(f, name)
		}
	}
	j.resolve()
	slices.Sort(j.providers)
	return judged{slices.Compact(j.providers), j.findings}
}

type judging struct {
	*rules
	folder    string
	files     schema.Tree
	required  map[string]map[string][]string // by folder and local name: the sources, since a file may override another
	implied   map[string]map[string]finding  // by folder and local name: where it is used
	templates map[string]bool                // that were looked at
	providers []string
	findings  []finding
}

func (j *judging) find(at hcl.Range, format string, args ...any) {
	j.findings = append(j.findings, finding{at.Filename, at.Start.Line, fmt.Sprintf(format, args...)})
}

func (j *judging) file(f schema.File, name string) {
	if strings.HasSuffix(name, ".json") {
		j.findings = append(j.findings, finding{f.Path, 1, "modules in JSON are not planned on proposals"})
		return
	}
	file, diags := hclsyntax.ParseConfig(f.Data, f.Path, hcl.InitialPos)
	if diags.HasErrors() {
		j.findings = append(j.findings, finding{f.Path, 1, "it cannot be read"})
		return
	}
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok {
		return
	}
	dir := path.Dir(name)
	for _, b := range body.Blocks {
		j.block(b, dir)
	}
	j.calls(body, dir)
}

// uses are the blocks whose type names a provider.
var uses = []string{"resource", "data", "ephemeral", "action"}

// readers are data sources that run something, or read what lies elsewhere.
var readers = map[string]string{
	"external": "it runs a program", "http": "it asks another machine", "local_file": "it reads a file of the machine",
	"local_sensitive_file": "it reads a file of the machine", "terraform_remote_state": "it reads another state",
}

func (j *judging) block(b *hclsyntax.Block, dir string) {
	attr := b.Body.Attributes
	switch {
	case b.Type == "terraform":
		for _, inner := range b.Body.Blocks {
			if inner.Type == "required_providers" {
				j.requires(inner, dir)
			}
		}
	case b.Type == "module":
		j.module(b)
	case b.Type == "provider" && len(b.Labels) == 1:
		j.uses(dir, b.Labels[0], b.DefRange())
	case slices.Contains(uses, b.Type) && len(b.Labels) == 2:
		if why := readers[b.Labels[0]]; why != "" && b.Type != "resource" {
			j.find(b.DefRange(), "%s %s: %s", b.Type, b.Labels[0], why)
		}
		local, _, _ := strings.Cut(b.Labels[0], "_")
		if p := attr["provider"]; p != nil {
			local = root(p.Expr)
		}
		j.uses(dir, local, b.DefRange())
	case b.Type == "import":
		if p := attr["provider"]; p != nil {
			j.uses(dir, root(p.Expr), b.DefRange())
		}
	case b.Type == "check":
		for _, inner := range b.Body.Blocks {
			if inner.Type == "data" {
				j.block(inner, dir)
			}
		}
	}
}

// root is the first name of a reference; "" where it is none.
func root(e hclsyntax.Expression) string {
	switch x := e.(type) {
	case *hclsyntax.ScopeTraversalExpr:
		return x.Traversal.RootName()
	case *hclsyntax.IndexExpr: // name.alias[each.key]
		return root(x.Collection)
	case *hclsyntax.RelativeTraversalExpr:
		return root(x.Source)
	}
	return ""
}

func (j *judging) uses(dir, local string, at hcl.Range) {
	if j.implied[dir] == nil {
		j.implied[dir] = map[string]finding{}
	}
	if _, seen := j.implied[dir][local]; !seen {
		j.implied[dir][local] = finding{file: at.Filename, line: at.Start.Line}
	}
}

// requires reads required_providers.
func (j *judging) requires(b *hclsyntax.Block, dir string) {
	if j.required[dir] == nil {
		j.required[dir] = map[string][]string{}
	}
	for _, name := range slices.Sorted(maps.Keys(b.Body.Attributes)) {
		attr := b.Body.Attributes[name]
		source := name
		if pairs, diags := hcl.ExprMap(attr.Expr); !diags.HasErrors() {
			for _, kv := range pairs {
				if hcl.ExprAsKeyword(kv.Key) != "source" {
					if key, diags := kv.Key.Value(nil); diags.HasErrors() || !isText(key) || key.AsString() != "source" {
						continue
					}
				}
				written, ok := text(&hcl.Attribute{Expr: kv.Value})
				if !ok {
					j.find(attr.SrcRange, "the source of provider %s is not written out", name)
				}
				source = written
			}
		}
		j.required[dir][name] = append(j.required[dir][name], source)
		j.uses(dir, name, attr.SrcRange)
	}
}

// resolve judges the providers that are named or meant.
func (j *judging) resolve() {
	for _, dir := range slices.Sorted(maps.Keys(j.implied)) {
		for _, local := range slices.Sorted(maps.Keys(j.implied[dir])) {
			sources := j.required[dir][local]
			if len(sources) == 0 && local == "terraform" {
				continue // it is part of the program
			}
			if len(sources) == 0 {
				sources = []string{local}
			}
			for _, source := range sources {
				j.provider(source, j.implied[dir][local])
			}
		}
	}
}

func (j *judging) provider(source string, at finding) {
	name, ok := providerName(source, j.opentofu)
	switch {
	case !ok || strings.ContainsAny(name, "*?"):
		at.text = fmt.Sprintf("%q names no provider", source)
	case name == "terraform.io/builtin/terraform":
		return
	case !j.runs(name):
		at.text = fmt.Sprintf("the provider %s is not among those that proposals are planned with", name)
	default:
		j.providers = append(j.providers, name)
		return
	}
	j.findings = append(j.findings, at)
}

// runs says whether a provider may be run.
func (r *rules) runs(name string) bool {
	return slices.ContainsFunc(r.providers, func(g schema.Glob) bool { return g.Match(name) })
}

// providerName is the whole name of a provider: HOST/NAMESPACE/TYPE, of which a
// pattern may hold some.
func providerName(source string, opentofu bool) (string, bool) {
	host := "registry.terraform.io"
	if opentofu {
		host = "registry.opentofu.org"
	}
	steps := strings.Split(strings.ToLower(source), "/")
	switch len(steps) {
	case 1:
		steps = []string{host, "hashicorp", steps[0]}
	case 2:
		steps = append([]string{host}, steps...)
	case 3:
	default:
		return "", false
	}
	for _, s := range steps {
		if s == "" || s == "." || s == ".." || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-_:*?") != "" {
			return "", false
		}
	}
	return strings.Join(steps, "/"), true
}

// module judges where a module comes from. One that lies in the folder is part
// of it; that it does not lie beside it was found before.
func (j *judging) module(b *hclsyntax.Block) {
	attr := b.Body.Attributes["source"]
	if attr == nil {
		return
	}
	source, ok := text(&hcl.Attribute{Expr: attr.Expr})
	switch {
	case !ok:
		j.find(attr.SrcRange, "the source of the module %s is not written out", strings.Join(b.Labels, " "))
	case strings.HasPrefix(source, "./"), strings.HasPrefix(source, "../"):
	case !allowedModule(j.modules, source):
		j.find(attr.SrcRange, "the module %q is not among those that proposals may use", source)
	}
}

// allowedModule says whether a source is one of a list, or lies below one.
func allowedModule(list []string, source string) bool {
	if slices.Contains(strings.FieldsFunc(source, func(r rune) bool { return r == '/' || r == '?' || r == '&' || r == '=' }), "..") {
		return false
	}
	return slices.ContainsFunc(list, func(have string) bool {
		rest, ok := strings.CutPrefix(source, have)
		return ok && (rest == "" || rest[0] == '/' || rest[0] == '?' || strings.HasSuffix(have, "/"))
	})
}

// bounded says whether a template can be parsed without the stack overflowing.
func bounded(data []byte, name string) bool {
	const most = 1 << 20
	return len(data) <= most && hclbounds.BeyondTemplate(data, name) == 0
}
