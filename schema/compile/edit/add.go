package edit

import (
	"bytes"
	"strings"

	"gopkg.in/yaml.v3"
)

// add writes a field that is not there, at the end of the mapping that it
// belongs to, with what has to be there for it.
func (e *editor) add(p place) ([]byte, error) {
	for _, s := range p.rest {
		if s.list {
			return nil, refuse(p.node.Line, "write the list by hand", "%s: there is no list there", words(e.from))
		}
	}
	switch {
	case p.node.Kind == yaml.ScalarNode: // null
		return e.fill(p)
	case p.node.Style&yaml.FlowStyle != 0:
		return e.addFlow(p)
	default:
		return e.addBlock(p.node, p.rest)
	}
}

// inline is a field, and those around it, on one line.
func (e *editor) inline(rest []step, in surrounds) string {
	text := wanted(e.set, nil).write(nil, in)
	for i := len(rest) - 1; i >= 0; i-- {
		text = key(rest[i].key, in) + ": " + text
		if i > 0 {
			text = "{" + text + "}"
		}
	}
	return text
}

// fill gives fields to a mapping of which only the key is there, or null.
func (e *editor) fill(p place) ([]byte, error) {
	if p.node.Value == "" && p.node.Style == 0 && !e.in.flow && p.key != nil {
		if _, err := e.colon(p.key); err != nil {
			return nil, err
		}
		return e.insert(p.key.Line, e.lines(p.rest, p.key.Column-1+e.step)), nil
	}
	in := e.in
	in.flow = true
	text := "{" + e.inline(p.rest, in) + "}"
	if p.node.Value == "" {
		at, err := e.colon(p.key)
		if err != nil {
			return nil, err
		}
		return e.splice(at, at, " "+text), nil
	}
	from, to, err := e.extent(p.node)
	if err != nil {
		return nil, about(err, e.from)
	}
	return e.splice(from, to, text), nil
}

// lines is a field, and those around it, a line each.
func (e *editor) lines(rest []step, indent int) []string {
	var all []string
	for i, s := range rest {
		line := strings.Repeat(" ", indent+i*e.step) + key(s.key, e.in) + ":"
		if i == len(rest)-1 {
			line += " " + wanted(e.set, nil).write(nil, e.in)
		}
		all = append(all, line)
	}
	return all
}

// insert puts lines after a line.
func (e *editor) insert(after int, lines []string) []byte {
	content, end := e.line(after)
	at := e.starts[after-1] + len(content) + len(end)
	if len(end) == 0 && len(content) == 0 { // after the last line
		return e.splice(at, at, strings.Join(lines, e.eol())+e.eol())
	}
	if len(end) == 0 { // the last line, which does not end
		return e.splice(at, at, e.eol()+strings.Join(lines, e.eol()))
	}
	return e.splice(at, at, strings.Join(lines, string(end))+string(end))
}

// addBlock adds lines after the last one of a mapping.
func (e *editor) addBlock(n *yaml.Node, rest []step) ([]byte, error) {
	if len(n.Content) == 0 {
		return nil, refuse(n.Line, byHand, "%s: the mapping is empty", words(e.from))
	}
	indent, last := n.Column-1, min(lastLine(n), len(e.starts)) // the parser may place what is empty after the end
	for i := last + 1; i <= len(e.starts); i++ {
		content, _ := e.line(i)
		bare := bytes.TrimLeft(content, " ")
		if len(bytes.TrimSpace(bare)) == 0 {
			continue
		}
		if len(content)-len(bare) < indent || marker(content) {
			break
		}
		last = i
	}
	return e.insert(last, e.lines(rest, indent)), nil
}

// marker says whether a line ends a document.
func marker(line []byte) bool {
	for _, m := range []string{"---", "..."} {
		if rest, ok := bytes.CutPrefix(line, []byte(m)); ok && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t') {
			return true
		}
	}
	return false
}

// lastLine is the last line on which something within n begins.
func lastLine(n *yaml.Node) int {
	last := n.Line
	for _, c := range n.Content {
		last = max(last, lastLine(c))
	}
	return last
}

// addFlow adds a field after the last one between { and }.
func (e *editor) addFlow(p place) ([]byte, error) {
	n, in := p.node, e.in
	in.flow = true
	text := e.inline(p.rest, in)
	if len(n.Content) == 0 {
		at := e.offset(n.Line, n.Column)
		if at < 0 || at >= len(e.data) || e.data[at] != '{' {
			return nil, refuse(n.Line, byHand, "%s: its place cannot be told", words(e.from))
		}
		return e.splice(at+1, at+1, text), nil
	}
	at, err := e.end(n.Content[len(n.Content)-1])
	if err != nil {
		return nil, about(err, e.from)
	}
	lastKey := n.Content[len(n.Content)-2]
	before := e.data[e.starts[lastKey.Line-1]:max(e.offset(lastKey.Line, lastKey.Column), e.starts[lastKey.Line-1])]
	if lastKey.Line > n.Line && len(bytes.TrimSpace(before)) == 0 { // a field a line
		return e.splice(at, at, ","+e.eol()+string(before)+text), nil
	}
	return e.splice(at, at, ", "+text), nil
}

// end is the offset after a value between { and }.
func (e *editor) end(n *yaml.Node) (int, error) {
	closing := byte('}')
	switch n.Kind {
	case yaml.ScalarNode:
		_, to, err := e.extent(n)
		return to, err
	case yaml.AliasNode:
		at := e.offset(n.Line, n.Column)
		if at < 0 {
			return 0, refuse(n.Line, byHand, "its place cannot be told")
		}
		return at + 1 + len(n.Value), nil
	case yaml.SequenceNode:
		closing = ']'
	}
	at := e.offset(n.Line, n.Column) + 1
	if len(n.Content) > 0 {
		var err error
		if at, err = e.end(n.Content[len(n.Content)-1]); err != nil {
			return 0, err
		}
	}
	for at > 0 && at < len(e.data) {
		c := e.data[at]
		switch {
		case c == closing:
			return at + 1, nil
		case c == ' ', c == '\t', c == ',', breakAt(e.data[at:]) > 0:
			at++
			continue
		}
		break
	}
	return 0, refuse(n.Line, byHand, "its end cannot be told")
}
