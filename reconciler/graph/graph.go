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
}

// Field is one string of a spec, taken apart, with what its references mean.
type Field struct {
	schema.FieldRef
	Parts schema.Text
	To    map[schema.Ref]*Node // by the reference as it stands in Parts
}

// Build answers the nodes in order, needs first and otherwise by layer and
// identity; or findings, and then no node.
func Build(resources []schema.Resource, reg *drivers.Registry) ([]*Node, []schema.Diagnostic) {
	b := &builder{reg: reg, byID: make(map[schema.ID]*Node, len(resources)), byName: make(map[schema.ID][]*Node, len(resources))}
	for i := range resources {
		b.place(&resources[i])
	}
	for _, n := range b.nodes {
		b.connect(n)
	}
	b.addresses()
	if len(b.findings) > 0 {
		return nil, schema.SortDiagnostics(b.findings)
	}
	order := sorted(b.nodes)
	if len(order) < len(b.nodes) {
		b.cycles()
		return nil, schema.SortDiagnostics(b.findings)
	}
	return order, nil
}

type builder struct {
	reg      *drivers.Registry
	nodes    []*Node
	byID     map[schema.ID]*Node
	byName   map[schema.ID][]*Node // Target empty
	findings []schema.Diagnostic
}

func (b *builder) find(pos schema.Pos, id schema.ID, hint, format string, args ...any) {
	b.findings = append(b.findings, schema.Diagnostic{Pos: pos, Subject: id.Short(), Message: fmt.Sprintf(format, args...), Hint: hint})
}

// place makes one node for each target of a declaration.
func (b *builder) place(r *schema.Resource) {
	serving := b.reg.For(r.ID.Kind)
	targets := r.Targets
	switch {
	case len(serving) == 0:
		b.find(r.Pos, r.ID, "", "no configured target serves %s", r.ID.Kind)
		return
	case len(targets) == 0 && len(serving) > 1:
		b.find(r.Pos, r.ID, "metadata.target: one of "+strings.Join(serving, ", "), "several targets serve %s, and none is named", r.ID.Kind)
		return
	case len(targets) == 0:
		targets = serving
	}
	for _, t := range targets {
		if !slices.Contains(serving, t) {
			b.find(r.Pos, r.ID, "one of "+strings.Join(serving, ", "), "no target %q serves %s", t, r.ID.Kind)
			continue
		}
		id := schema.ID{Kind: r.ID.Kind, Name: r.ID.Name, Target: t}
		if first := b.byID[id]; first != nil {
			b.findings = append(b.findings, schema.Diagnostic{Pos: r.Pos, Subject: id.Short(), Message: "declared twice", Also: []schema.Pos{first.Res.Pos}})
			continue
		}
		b.add(id, r)
	}
}

func (b *builder) add(id schema.ID, r *schema.Resource) {
	handle, err := b.reg.Target(id.Target).Driver.Address(id.Kind, id.Name, r.Spec)
	if err != nil {
		b.find(r.Pos, id, drivers.HintOf(err), "%v", err)
		return
	}
	n := &Node{ID: id, Res: r, Handle: handle}
	if k, ok := schema.KindOf(id.Kind); ok {
		n.Layer = k.Layer
	}
	b.nodes = append(b.nodes, n)
	b.byID[id] = n
	short := schema.ID{Kind: id.Kind, Name: id.Name}
	b.byName[short] = append(b.byName[short], n)
}

// connect finds what n's needs and references mean.
func (b *builder) connect(n *Node) {
	for _, need := range n.Res.Needs {
		if to := b.resolve(n, need.ID, need.Pos, "needs "); to != nil {
			n.link(to)
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
			if f.To == nil {
				f.To = map[schema.Ref]*Node{}
			}
			f.To[ref] = to
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
		if len(all) == 1 {
			return all[0]
		}
		if len(all) > 1 {
			b.find(pos, from.ID, "say which: "+all[0].ID.String(), "%s%s, which exists in %d targets", verb, id, len(all))
			return nil
		}
	}
	b.find(pos, from.ID, b.meant(from, id), "%s%s, which is not declared", verb, id)
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

func (n *Node) link(to *Node) {
	if !slices.Contains(n.Needs, to) {
		n.Needs = append(n.Needs, to)
		to.By = append(to.By, n)
	}
}

// addresses finds resources that share one.
func (b *builder) addresses() {
	type key struct{ target, handle string }
	seen := make(map[key]*Node, len(b.nodes))
	for _, n := range b.nodes {
		if n.Handle == "" {
			continue
		}
		k := key{n.ID.Target, n.Handle}
		if first := seen[k]; first != nil {
			b.findings = append(b.findings, schema.Diagnostic{Pos: n.Res.Pos, Subject: n.ID.Short(), Also: []schema.Pos{first.Res.Pos},
				Message: fmt.Sprintf("has the same address as %s: %s", first.ID.Short(), n.Handle)})
			continue
		}
		seen[k] = n
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
