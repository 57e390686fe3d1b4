package terminal

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// Graph writes the order as text: layer by layer, each with what it needs.
func (p *Printer) Graph(g reconciler.GraphView) {
	n := graphNames(g)
	for _, layer := range layers(g) {
		p.line(styled(layer, bold))
		var rows [][]cell
		for _, node := range g.Nodes {
			if node.Layer != layer {
				continue
			}
			needs := make([]string, 0, len(node.Needs))
			for _, id := range node.Needs {
				needs = append(needs, n.of(id))
			}
			row := []cell{text(n.of(node.ID)), stateCell(node.State), text("")}
			if len(needs) > 0 {
				row[2] = text("needs " + strings.Join(needs, ", "))
			}
			rows = append(rows, row)
		}
		p.rows(2, rows, true)
	}
	if len(g.Nodes) == 0 {
		p.Note("nothing is declared")
	}
}

// DOT writes the order for Graphviz; an arrow points at what is needed.
func (p *Printer) DOT(g reconciler.GraphView) {
	q := p.pipe()
	n := graphNames(g)
	q.Note("digraph aplomb {")
	q.Note("  rankdir=RL; node [shape=box];")
	for i, layer := range layers(g) {
		q.Note(fmt.Sprintf("  subgraph cluster_%d {", i))
		q.Note(fmt.Sprintf("    label=%s;", dotQuote(layer)))
		for _, node := range g.Nodes {
			if node.Layer == layer {
				q.Note(fmt.Sprintf("    %s;", dotQuote(n.of(node.ID))))
			}
		}
		q.Note("  }")
	}
	for _, node := range g.Nodes {
		for _, need := range node.Needs {
			q.Note(fmt.Sprintf("  %s -> %s;", dotQuote(n.of(node.ID)), dotQuote(n.of(need))))
		}
	}
	q.Note("}")
	p.err = q.err
}

// Mermaid writes the order as a Mermaid flowchart.
func (p *Printer) Mermaid(g reconciler.GraphView) {
	q := p.pipe()
	n := graphNames(g)
	index := map[schema.ID]int{}
	for i, node := range g.Nodes {
		index[node.ID] = i
	}
	q.Note("flowchart RL")
	for _, layer := range layers(g) {
		q.Note(fmt.Sprintf("  subgraph %s", layer))
		for i, node := range g.Nodes {
			if node.Layer == layer {
				q.Note(fmt.Sprintf("    n%d[\"%s\"]", i, n.of(node.ID)))
			}
		}
		q.Note("  end")
	}
	for i, node := range g.Nodes {
		for _, need := range node.Needs {
			if at, ok := index[need]; ok {
				q.Note(fmt.Sprintf("  n%d --> n%d", i, at))
			}
		}
	}
	p.err = q.err
}

// pipe is p for what a program reads: not cut, not coloured.
func (p *Printer) pipe() *Printer {
	q := *p
	q.Width, q.Colour = 0, false
	return &q
}

func dotQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func graphNames(g reconciler.GraphView) namer {
	ids := make([]schema.ID, 0, len(g.Nodes))
	for _, node := range g.Nodes {
		ids = append(ids, node.ID)
	}
	return names(ids...)
}

// layers are those of the graph, in the order of screens.
func layers(g reconciler.GraphView) []string {
	var all []string
	for _, node := range g.Nodes {
		if !slices.Contains(all, node.Layer) {
			all = append(all, node.Layer)
		}
	}
	slices.SortStableFunc(all, func(a, b string) int { return slices.Index(schema.Layers, a) - slices.Index(schema.Layers, b) })
	return all
}
