package graph

import (
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// cycles makes one finding of every cycle that a depth-first walk closes,
// printed as the path that it is. The walk keeps its own stack, so that a long
// chain of needs cannot exhaust the goroutine's.
func (b *builder) cycles() {
	nodes := slices.Clone(b.nodes)
	slices.SortFunc(nodes, func(x, y *Node) int { return x.ID.Compare(y.ID) })
	done := map[*Node]bool{}
	for _, start := range nodes {
		b.walk(start, done)
	}
}

type step struct {
	n    *Node
	next int // index into n.Needs
}

func (b *builder) walk(start *Node, done map[*Node]bool) {
	if done[start] {
		return
	}
	path := []step{{n: start}}
	on := map[*Node]bool{start: true}
	for len(path) > 0 {
		top := &path[len(path)-1]
		if top.next == len(top.n.Needs) {
			done[top.n], on[top.n] = true, false
			path = path[:len(path)-1]
			continue
		}
		to := top.n.Needs[top.next]
		top.next++
		switch {
		case on[to]:
			b.cycle(path, to)
		case !done[to]:
			path, on[to] = append(path, step{n: to}), true
		}
	}
}

// cycle reports the part of path that begins at to, at the place that closes
// it.
func (b *builder) cycle(path []step, to *Node) {
	from := slices.IndexFunc(path, func(s step) bool { return s.n == to })
	var names []string
	for _, s := range path[from:] {
		names = append(names, s.n.ID.Short())
	}
	names = append(names, to.ID.Short())
	last := path[len(path)-1].n
	b.find(last.why(to), last.ID, "", "needs itself: %s", strings.Join(names, " -> "))
}

// why is where n says that it needs to.
func (n *Node) why(to *Node) schema.Pos {
	for _, need := range n.Res.Needs {
		if to.ID.Matches(need.ID) {
			return need.Pos
		}
	}
	for _, f := range n.Fields {
		for _, t := range f.To {
			if t == to {
				return f.Pos
			}
		}
	}
	return n.Res.Pos
}
