package graph

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// Rule is what the declarations below a folder may be. It is the operator's: a
// repository cannot loosen it. Of its lists nil allows anything, an empty one
// nothing.
type Rule struct {
	Path            string // the folder, slash-separated; "" is everything
	Kinds           []schema.Glob
	Templates       []schema.Glob // whatever these yield is of a kind that may be
	Targets         []schema.Glob
	Names           []schema.Glob // of declarations, and of what their specs call by the engine's own name
	NomadNamespaces []schema.Glob
	VaultPaths      []schema.Glob
}

// Rules are the rules of an environment. The rule whose folder is nearest above
// a file holds for it; a file that none holds for may declare nothing. The zero
// Rules allow everything.
type Rules struct {
	list []*Rule // the longest path first
	base string  // where the declarations lie in what the rules speak of
}

// NewRules makes Rules; without a rule everything is allowed.
func NewRules(rules []Rule) Rules {
	var r Rules
	for i := range rules {
		r.list = append(r.list, &rules[i])
	}
	slices.SortStableFunc(r.list, func(a, b *Rule) int { return len(b.Path) - len(a.Path) })
	return r
}

// Below are the rules for a tree of declarations that lies at base in the one
// that the rules speak of.
func (r Rules) Below(base string) Rules {
	r.base = base
	return r
}

// Build is graph.Build under these rules.
func (r Rules) Build(resources []schema.Resource, reg *drivers.Registry) ([]*Node, []schema.Diagnostic) {
	b := newBuilder(reg, len(resources))
	b.rules = r
	order := b.build(resources)
	if len(b.findings) > 0 {
		return nil, schema.SortDiagnostics(b.findings)
	}
	return order, nil
}

// Check is graph.Check under these rules.
func (r Rules) Check(seen []schema.Resource, reg *drivers.Registry) []schema.Diagnostic {
	b := newBuilder(reg, len(seen))
	b.rules, b.torn = r, true
	for i := range seen {
		if seen[i].Spec == nil {
			b.presumed[schema.ID{Kind: seen[i].ID.Kind, Name: seen[i].ID.Name}] = true
			if use := seen[i].Use; use != nil && use.Name != "" {
				b.uses = append(b.uses, use.Name+"-")
			}
		}
	}
	_ = b.build(seen)
	return schema.SortDiagnostics(b.findings)
}

// file is where a declaration stands, as the rules speak of files.
func (r Rules) file(res *schema.Resource) string {
	at := res.Origin
	if at == "" {
		at = res.Pos.File
	}
	return path.Join(r.base, at)
}

// of is the rule that holds for a declaration; nil: none does.
func (r Rules) of(res *schema.Resource) *Rule {
	file := r.file(res)
	for _, rule := range r.list {
		if rule.Path == "" || strings.HasPrefix(file, rule.Path+"/") {
			return rule
		}
	}
	return nil
}

// where is how messages call a rule.
func (r *Rule) where() string {
	if r.Path == "" {
		return "by the operator's rule for all paths"
	}
	return "by the operator's rule for " + r.Path
}

// allows says whether a list lets something pass.
func allows(list []schema.Glob, name string) bool {
	return list == nil || slices.ContainsFunc(list, func(g schema.Glob) bool { return g.Match(name) })
}

// permit finds what a declaration may not be where it stands.
func (b *builder) permit() {
	if len(b.rules.list) == 0 {
		return
	}
	for _, n := range b.nodes {
		if n.ID.Kind == "" {
			continue // nothing can be said of it
		}
		rule := b.rules.of(n.Res)
		if rule == nil {
			b.find(n.Res.Pos, n.ID, "the rules are for "+b.rules.paths(), "nothing may be declared here: no rule of the operator is for this path")
			continue
		}
		b.permitKind(rule, n)
		if n.ID.Target != "" {
			b.permitOne(rule, n, rule.Targets, "target", n.ID.Target)
		}
		if n.ID.Name != "" {
			b.permitOne(rule, n, rule.Names, "name", n.ID.Name)
		}
		if !b.broken(n.Res) {
			b.permitSpec(rule, n)
		}
	}
}

func (r Rules) paths() string {
	var all []string
	for _, rule := range r.list {
		all = append(all, rule.Path)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// permitKind judges what a person wrote: a use of a template, or a kind.
func (b *builder) permitKind(rule *Rule, n *Node) {
	if u := n.Res.Use; u != nil {
		if !allows(rule.Templates, u.Template) {
			b.findings = append(b.findings, schema.Diagnostic{Pos: u.Pos, Subject: u.String(), Hint: allowed("templates", rule.Templates),
				Message: fmt.Sprintf("the template %s may not be used here, %s", u.Template, rule.where())})
		}
		return
	}
	b.permitOne(rule, n, rule.Kinds, "kind", n.ID.Kind)
}

func (b *builder) permitOne(rule *Rule, n *Node, list []schema.Glob, what, got string) {
	if !allows(list, got) {
		b.find(n.Res.Pos, n.ID, allowed(what+"s", list), "the %s %s may not be declared here, %s", what, got, rule.where())
	}
}

// permitSpec judges what the engine will call it.
func (b *builder) permitSpec(rule *Rule, n *Node) {
	if rule.Names != nil {
		for _, own := range ownNames(n.Res.Spec) {
			b.permitOne(rule, n, rule.Names, "name", own)
		}
	}
	if n.unaddressed {
		return
	}
	if ns, ok := nomadNamespace(n); ok {
		b.permitOne(rule, n, rule.NomadNamespaces, "namespace", ns)
	}
	if at, ok := vaultPath(n); ok {
		b.permitOne(rule, n, rule.VaultPaths, "path", at)
	}
}

// ownNames are what a spec says as the engine's own name.
func ownNames(spec json.RawMessage) []string {
	var s map[string]json.RawMessage
	if json.Unmarshal(spec, &s) != nil {
		return nil
	}
	var names []string
	for _, field := range []string{"id", "name", "ID", "Name"} { // engines have their own spelling
		var text string
		if json.Unmarshal(s[field], &text) == nil && text != "" {
			names = append(names, text)
		}
	}
	return names
}

// nomadNamespace is the namespace that a thing lives in, or is.
func nomadNamespace(n *Node) (string, bool) {
	kind, rest, ok := strings.Cut(n.Handle, "/")
	if !ok || !strings.HasPrefix(n.ID.Kind, "nomad.") {
		return "", false
	}
	if kind != "namespace" {
		rest, _, _ = strings.Cut(rest, "/")
	}
	return rest, true
}

// vaultPath is the path that a thing has in Vault, as people say it: of a
// secret without the data that stands behind its mount. Policies have a name
// instead.
func vaultPath(n *Node) (string, bool) {
	word, rest, ok := strings.Cut(n.Handle, "/")
	if !ok || !strings.HasPrefix(n.ID.Kind, "vault.") {
		return "", false
	}
	switch word {
	case "kv":
		return strings.Replace(rest, "/data/", "/", 1), true
	case "auth":
		return n.Handle, true
	case "mount", "path":
		return rest, true
	}
	return "", false
}

func allowed(what string, list []schema.Glob) string {
	if len(list) == 0 {
		return "no " + what + " are allowed here"
	}
	var all []string
	for _, g := range list {
		all = append(all, g.String())
	}
	return what + " here are " + strings.Join(all, ", ")
}

// admit finds a reference to, or a need of, what another rule holds for, where
// its owner does not share it.
func (b *builder) admit(n, to *Node, pos schema.Pos, verb string) {
	if len(b.rules.list) == 0 || b.broken(to.Res) {
		return
	}
	mine, theirs := b.rules.of(n.Res), b.rules.of(to.Res)
	if mine == nil || theirs == nil || mine == theirs { // without a rule it may not be there at all
		return
	}
	file := b.rules.file(n.Res)
	for _, text := range to.Res.Share {
		if g, err := schema.ParseGlob(text); err == nil && g.Match(file) {
			return
		}
	}
	share := "**"
	if mine.Path != "" {
		share = mine.Path + "/**"
	}
	b.find(pos, n.ID, fmt.Sprintf("its owner lets you with metadata.share: [%q]", share), "%s%s, which is not shared with this path", verb, to.ID.Short())
	b.findings[len(b.findings)-1].Also = []schema.Pos{to.Res.Pos}
}
