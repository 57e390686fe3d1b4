// Package graph puts what is declared in order: it resolves which target every
// resource lives in, what every need and reference means, and who shares an
// address with whom, and answers either an order in which needs come first or
// findings. It is pure, and knows nothing of what lives or is owned.
package graph

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// Node is one declared resource in one target, immutable after Build.
type Node struct {
	ID     schema.ID // whole
	Res    *schema.Resource
	Layer  string
	Handle string  // "" where the engine gives it
	Index  int     // place in the order
	Needs  []*Node // ascending Index
	By     []*Node // who needs it, ascending Index
	Fields []Field // strings of the spec that hold references

	unaddressed bool // its driver refused the address, which was said
}

// Field is one string of a spec, taken apart, with what its references mean.
type Field struct {
	schema.FieldRef
	Parts schema.Text
	To    map[schema.Ref]*Node // by the reference as it stands in Parts
}

// Build answers the nodes in order, needs first and otherwise by layer and
// identity; or findings, and then no node. Everything may be declared anywhere;
// Rules.Build knows better.
func Build(resources []schema.Resource, reg *drivers.Registry) ([]*Node, []schema.Diagnostic) {
	return Rules{}.Build(resources, reg)
}

// Check answers the findings among declarations of which some have findings of
// their own already: those have no Spec, and an empty Kind, Name or target
// where that is not known (compile.Result.Seen). What may be declared by one of
// them is never said to be missing.
func Check(seen []schema.Resource, reg *drivers.Registry) []schema.Diagnostic {
	return Rules{}.Check(seen, reg)
}

type builder struct {
	reg      *drivers.Registry
	rules    Rules
	nodes    []*Node
	byID     map[schema.ID]*Node
	byName   map[schema.ID][]*Node          // Target empty
	declared map[schema.ID]*schema.Resource // Target empty where it is not said and cannot be known
	presumed map[schema.ID]bool             // what exists somewhere, or may: Target empty, "" for any kind or name
	uses     []string                       // what names begin with that a use of a template may yield which has findings
	handles  map[address]*Node
	torn     bool // some resources have findings of their own, and no Spec
	findings []schema.Diagnostic
}

func newBuilder(reg *drivers.Registry, size int) *builder {
	return &builder{
		reg: reg, byID: make(map[schema.ID]*Node, size), byName: make(map[schema.ID][]*Node, size),
		declared: make(map[schema.ID]*schema.Resource, size), presumed: map[schema.ID]bool{},
	}
}

// build finds all that there is to find, and answers the nodes in order as far
// as there is one.
func (b *builder) build(resources []schema.Resource) []*Node {
	for i := range resources {
		b.place(&resources[i])
	}
	for _, n := range b.nodes {
		b.connect(n)
	}
	b.addresses()
	b.permit()
	b.judge()
	order := sorted(b.nodes)
	if len(order) < len(b.nodes) {
		b.cycles()
	}
	return order
}

// broken says whether a declaration has findings of its own.
func (b *builder) broken(r *schema.Resource) bool { return b.torn && r.Spec == nil }

// loose makes a node for what lives nowhere that is known, only to find what
// is wrong with its needs.
func (b *builder) loose(r *schema.Resource) {
	b.nodes = append(b.nodes, &Node{ID: schema.ID{Kind: r.ID.Kind, Name: r.ID.Name}, Res: r})
	b.presumed[schema.ID{Kind: r.ID.Kind, Name: r.ID.Name}] = true
}

// mayBe says whether id may be declared all the same.
func (b *builder) mayBe(id schema.ID) bool {
	return slices.ContainsFunc(b.uses, func(head string) bool { return strings.HasPrefix(id.Name, head) }) || b.presumed[schema.ID{}] || b.presumed[schema.ID{Kind: id.Kind}] || b.presumed[schema.ID{Name: id.Name}] ||
		b.presumed[schema.ID{Kind: id.Kind, Name: id.Name}]
}

func (b *builder) find(pos schema.Pos, id schema.ID, hint, format string, args ...any) {
	subject := ""
	if id.Kind != "" && id.Name != "" {
		subject = id.Short()
	}
	b.findings = append(b.findings, schema.Diagnostic{Pos: pos, Subject: subject, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// unserved says what to do about a kind that no target serves.
func unserved(r *schema.Resource) string {
	if strings.HasPrefix(r.ID.Kind, "local.") {
		return "a target of engine local serves it"
	}
	engine, _, _ := strings.Cut(r.ID.Kind, ".")
	return "the engines stand in the daemon's configuration: add a target of engine " + engine + ", or name the configuration with -c"
}

// place makes one node for each target of a declaration.
func (b *builder) place(r *schema.Resource) {
	if b.broken(r) && (r.ID.Kind == "" || slices.Contains(r.Targets, "")) {
		b.loose(r)
		return
	}
	serving := b.reg.For(r.ID.Kind)
	targets := r.Targets
	switch {
	case len(serving) == 0:
		b.find(r.Pos, r.ID, unserved(r), "no configured target serves %s", r.ID.Kind)
		b.first(r, targets)
		b.loose(r)
		return
	case len(targets) == 0 && len(serving) > 1:
		b.find(r.Pos, r.ID, "metadata.target: one of "+strings.Join(serving, ", "), "several targets serve %s, and none is named", r.ID.Kind)
		b.first(r, targets)
		b.loose(r)
		return
	case len(targets) == 0:
		targets = serving
	}
	for _, t := range b.first(r, targets) {
		if !slices.Contains(serving, t) {
			b.find(r.Pos, r.ID, "one of "+strings.Join(serving, ", "), "no target %q serves %s", t, r.ID.Kind)
			b.loose(r)
			continue
		}
		b.add(schema.ID{Kind: r.ID.Kind, Name: r.ID.Name, Target: t}, r)
	}
}

// first are the targets in which r is declared for the first time; it is a
// finding where it is not.
func (b *builder) first(r *schema.Resource, targets []string) []string {
	if r.ID.Name == "" {
		return targets
	}
	if len(targets) == 0 {
		targets = []string{""}
	}
	var fresh []string
	for _, t := range targets {
		id := schema.ID{Kind: r.ID.Kind, Name: r.ID.Name, Target: t}
		if before := b.declared[id]; before != nil {
			b.find(r.Pos, id, "", "declared twice")
			b.findings[len(b.findings)-1].Also = []schema.Pos{before.Pos}
			b.loose(r)
			continue
		}
		b.declared[id] = r
		fresh = append(fresh, t)
	}
	return fresh
}

// add makes a node. One without an address, which is a finding, is a node all
// the same: others may refer to it.
func (b *builder) add(id schema.ID, r *schema.Resource) {
	n := &Node{ID: id, Res: r}
	if !b.broken(r) {
		handle, err := b.reg.Target(id.Target).Driver.Address(id.Kind, id.Name, r.Spec)
		if err != nil {
			b.refuse(r.Pos, id, err)
		}
		n.Handle, n.unaddressed = handle, err != nil
	}
	if k, ok := schema.KindOf(id.Kind); ok {
		n.Layer = k.Layer
	}
	b.nodes = append(b.nodes, n)
	if id.Name == "" {
		return
	}
	b.byID[id] = n
	short := schema.ID{Kind: id.Kind, Name: id.Name}
	b.byName[short] = append(b.byName[short], n)
}

// connect finds what n's needs and references mean.
func (b *builder) connect(n *Node) {
	for _, need := range n.Res.Needs {
		if to := b.resolve(n, need.ID, need.Pos, "needs "); to != nil {
			n.link(to)
			b.admit(n, to, need.Pos, "needs ")
		}
	}
	for _, fr := range n.Res.Refs {
		parts, err := schema.ParseText(fr.Text)
		if err != nil {
			b.find(fr.Pos, n.ID, "", "%s: %v", "spec"+dotted(fr.Path), err)
			continue
		}
		f := Field{FieldRef: fr, Parts: parts}
		for _, ref := range parts.Refs() {
			to := b.resolve(n, ref.ID, fr.Pos, "refers to ")
			if to == nil {
				continue
			}
			n.link(to)
			b.admit(n, to, fr.Pos, "refers to ")
			if f.To == nil {
				f.To = map[schema.Ref]*Node{}
			}
			f.To[ref] = to
			b.output(n, &f, ref, to)
		}
		n.Fields = append(n.Fields, f)
	}
}

func dotted(p schema.Path) string {
	s := p.String()
	if s == "" || s[0] == '[' {
		return s
	}
	return "." + s
}

// resolve follows the rule for a target that was left out: the referrer's own
// if the resource exists there, else the only one, else it is a finding.
func (b *builder) resolve(from *Node, id schema.ID, pos schema.Pos, verb string) *Node {
	if id.Target != "" {
		if to := b.byID[id]; to != nil {
			return to
		}
	} else {
		all := b.byName[id]
		if own := b.byID[schema.ID{Kind: id.Kind, Name: id.Name, Target: from.ID.Target}]; own != nil {
			return own
		}
		if len(all) > 1 && (from.ID.Target == "" || b.mayBe(id)) {
			return nil // which one cannot be said before what is broken is mended
		}
		if len(all) == 1 {
			return all[0]
		}
		if len(all) > 1 {
			b.find(pos, from.ID, "say which: "+all[0].ID.String(), "%s%s, which exists in %d targets", verb, id, len(all))
			return nil
		}
	}
	if !b.mayBe(id) {
		b.find(pos, from.ID, b.meant(from, id), "%s%s, which is not declared", verb, id)
	}
	return nil
}

// meant suggests the declared resource whose name is closest, and never the
// referrer itself. It compares within the kind only, and only while that is
// cheap.
func (b *builder) meant(from *Node, id schema.ID) string {
	const most = 2000
	var names []string
	for _, n := range b.nodes {
		if n != from && n.ID.Kind == id.Kind && len(names) < most {
			names = append(names, n.ID.Name)
		}
	}
	if near := schema.Closest(id.Name, names); near != "" {
		return fmt.Sprintf("did you mean %s/%s?", id.Kind, near)
	}
	return ""
}

// Alone is n without its graph, to be kept for longer than that: of what it needs
// and of what needs it only the names are left.
func (n *Node) Alone() *Node {
	names := map[*Node]*Node{}
	name := func(m *Node) *Node {
		if names[m] == nil {
			names[m] = &Node{ID: m.ID, Index: m.Index}
		}
		return names[m]
	}
	a, res := *n, *n.Res // which may be one of a slice
	a.Res = &res
	a.Needs, a.By, a.Fields = slices.Clone(n.Needs), slices.Clone(n.By), slices.Clone(n.Fields)
	for i, m := range a.Needs {
		a.Needs[i] = name(m)
	}
	for i, m := range a.By {
		a.By[i] = name(m)
	}
	for i, f := range a.Fields {
		a.Fields[i].To = make(map[schema.Ref]*Node, len(f.To))
		for ref, m := range f.To {
			a.Fields[i].To[ref] = name(m)
		}
	}
	return &a
}

func (n *Node) link(to *Node) {
	if !slices.Contains(n.Needs, to) {
		n.Needs = append(n.Needs, to)
		to.By = append(to.By, n)
	}
}

// address is where a resource lives.
type address struct{ target, handle string }

// addresses finds resources that share one.
func (b *builder) addresses() {
	b.handles = make(map[address]*Node, len(b.nodes))
	for _, n := range b.nodes {
		if n.Handle == "" {
			continue
		}
		k := address{n.ID.Target, n.Handle}
		if first := b.handles[k]; first != nil {
			b.findings = append(b.findings, schema.Diagnostic{Pos: n.Res.Pos, Subject: n.ID.Short(), Also: []schema.Pos{first.Res.Pos},
				Message: fmt.Sprintf("has the same address as %s: %s", first.ID.Short(), n.Handle)})
			continue
		}
		b.handles[k] = n
	}
}

// queue orders what is ready by layer, then identity, so that the order is the
// same however the files were read.
type queue []*Node

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if a, b := slices.Index(schema.Layers, q[i].Layer), slices.Index(schema.Layers, q[j].Layer); a != b {
		return a < b
	}
	return q[i].ID.Compare(q[j].ID) < 0
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(*Node)) }
func (q *queue) Pop() any {
	old := *q
	n := old[len(old)-1]
	*q = old[:len(old)-1]
	return n
}

// sorted is Kahn's algorithm; with a cycle it answers fewer nodes.
func sorted(nodes []*Node) []*Node {
	missing := make(map[*Node]int, len(nodes))
	var ready queue
	for _, n := range nodes {
		if missing[n] = len(n.Needs); len(n.Needs) == 0 {
			ready = append(ready, n)
		}
	}
	heap.Init(&ready)
	order := make([]*Node, 0, len(nodes))
	for len(ready) > 0 {
		n := heap.Pop(&ready).(*Node)
		n.Index = len(order)
		order = append(order, n)
		for _, by := range n.By {
			if missing[by]--; missing[by] == 0 {
				heap.Push(&ready, by)
			}
		}
	}
	byIndex := func(a, b *Node) int { return a.Index - b.Index }
	for _, n := range order {
		slices.SortFunc(n.Needs, byIndex)
		slices.SortFunc(n.By, byIndex)
	}
	return order
}
