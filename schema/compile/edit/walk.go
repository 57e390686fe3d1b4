package edit

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// editor makes one change in one document.
type editor struct {
	text
	set  Set
	in   surrounds
	from []step // the spec, and the set's path
	step int    // by how much nested mappings are indented here
}

// place is where a path leads.
type place struct {
	node *yaml.Node
	key  *yaml.Node // whose value it is; nil: it is an item of a list
	rest []step     // of the path: what is not there yet
}

// find walks from the root of a document as far as the path is there.
func (e *editor) find(root *yaml.Node) (place, error) {
	p := place{node: root}
	for i, s := range e.from {
		n := p.node
		e.in.flow = e.in.flow || n.Style&yaml.FlowStyle != 0
		if err := shared(n, e.from[:i]); err != nil {
			return p, err
		}
		switch {
		case n.Kind == yaml.MappingNode && !s.list:
			k, v, err := field(n, s.key)
			if err != nil {
				return p, err
			}
			if v == nil {
				p.rest = e.from[i:]
				return p, nil
			}
			p.key, p.node = k, v
		case n.Kind == yaml.SequenceNode && s.list:
			if s.index >= len(n.Content) {
				return p, refuse(n.Line, "items are counted from 0", "%s has %d items, and no [%d]", words(e.from[:i]), len(n.Content), s.index)
			}
			p.key, p.node = nil, n.Content[s.index]
		case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && !s.list:
			p.rest = e.from[i:]
			return p, nil
		default:
			return p, refuse(n.Line, "", "%s is %s: it has no %s", words(e.from[:i]), kindOf(n), s)
		}
	}
	return p, shared(p.node, e.from)
}

// shared refuses what stands in other places, too.
func shared(n *yaml.Node, at []step) error {
	const hint = "change it by hand: what is shared would change in every place that uses it"
	switch {
	case n.Kind == yaml.AliasNode:
		return refuse(n.Line, hint, "%s is an alias, *%s", words(at), clip(n.Value))
	case n.Anchor != "":
		return refuse(n.Line, hint, "%s has an anchor, &%s", words(at), clip(n.Anchor))
	}
	return nil
}

// field is a field of a mapping; nil: it has none of that name.
func field(n *yaml.Node, name string) (k, v *yaml.Node, err error) {
	merged := 0
	for i := 0; i+1 < len(n.Content); i += 2 {
		c := n.Content[i]
		switch {
		case c.Kind == yaml.ScalarNode && c.ShortTag() == "!!merge":
			merged = c.Line
		case c.Kind != yaml.ScalarNode || c.Value != name:
		case k != nil:
			return nil, nil, refuse(c.Line, "take one of them out", "%s stands there twice", clip(name))
		default:
			k, v = c, n.Content[i+1]
		}
	}
	if v == nil && merged > 0 {
		return nil, nil, refuse(merged, "write the fields out", "merge keys (<<) are not read")
	}
	return k, v, nil
}

// words are steps as people write them.
func words(steps []step) string {
	if len(steps) == 0 {
		return "the declaration"
	}
	var b strings.Builder
	for i, s := range steps {
		if i > 0 && !s.list {
			b.WriteByte('.')
		}
		b.WriteString(s.String())
	}
	return clip(b.String())
}

// kindOf is what a node is, in words.
func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case isText(n):
		return "a text"
	}
	return fmt.Sprintf("the value %s", clip(n.Value))
}

// apply answers the file with the change; the same file where nothing is to be
// changed, and what stood there before.
func (e *editor) apply(root *yaml.Node) (out []byte, before string, err error) {
	p, err := e.find(root)
	switch {
	case err != nil:
		return nil, "", err
	case len(p.rest) > 0:
		out, err = e.add(p)
		return out, "", err
	case p.node.Kind != yaml.ScalarNode:
		return nil, "", refuse(p.node.Line, "name a field in it", "%s is %s, and a value is put in the place of a value only", words(e.from), kindOf(p.node))
	}
	v := wanted(e.set, p.node)
	if v.is(p.node) {
		return e.data, p.node.Value, nil
	}
	if p.node.Value == "" && p.node.Style == 0 {
		at, err := e.colon(p.key)
		if err != nil {
			return nil, "", err
		}
		return e.splice(at, at, " "+v.write(nil, e.in)), "", nil
	}
	from, to, err := e.extent(p.node)
	if err != nil {
		return nil, "", about(err, e.from)
	}
	return e.splice(from, to, v.write(p.node, e.in)), p.node.Value, nil
}

// about says what an error is about.
func about(err error, at []step) error {
	if e, ok := err.(*Error); ok {
		e.Msg = words(at) + ": " + e.Msg
	}
	return err
}

// colon is the offset after the colon of a key.
func (e *editor) colon(k *yaml.Node) (int, error) {
	if k == nil {
		return 0, refuse(0, byHand, "%s is an empty item of a list", words(e.from))
	}
	_, to, err := e.extent(k)
	if err != nil {
		return 0, about(err, e.from)
	}
	to = e.blanks(to)
	if to >= len(e.data) || e.data[to] != ':' {
		return 0, refuse(k.Line, byHand, "%s: its colon cannot be told", words(e.from))
	}
	return to + 1, nil
}
