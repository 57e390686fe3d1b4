package edit

import (
	"bytes"
	"encoding/json"
	"strings"

	"gopkg.in/yaml.v3"
)

// value is a scalar that is wanted: what the parser has to make of it.
type value struct {
	tag, text string
}

// wanted is what a set means where old stands; nil: nothing does. A field that
// is a text stays one, whatever the value looks like: a tag such as 1.10 is no
// number.
func wanted(s Set, old *yaml.Node) value {
	if old == nil || !isText(old) {
		if plain, ok := s.plain(); ok {
			n := parseScalar(plain)
			if n != nil {
				return value{n.ShortTag(), plain}
			}
		}
	}
	return value{"!!str", s.text()}
}

// isText says whether the compiler reads a string there: what looks like a date
// is one, too.
func isText(n *yaml.Node) bool {
	tag := n.ShortTag()
	return tag == "!!str" || tag == "!!timestamp"
}

// is says whether n is v already.
func (v value) is(n *yaml.Node) bool {
	if n.Kind != yaml.ScalarNode || n.Value != v.text && !(v.tag == "!!null" && n.ShortTag() == "!!null") {
		return false
	}
	return n.ShortTag() == v.tag || v.tag == "!!str" && isText(n)
}

// parseScalar reads a text that is nothing but a plain scalar; nil: it is not.
func parseScalar(text string) *yaml.Node {
	var n yaml.Node
	if yaml.Unmarshal([]byte(text), &n) != nil || len(n.Content) != 1 {
		return nil
	}
	if c := n.Content[0]; c.Kind == yaml.ScalarNode && c.Style == 0 && c.Anchor == "" && c.Value == text {
		return c
	}
	return nil
}

// surrounds are what decides how a value may be written.
type surrounds struct {
	flow bool // between { and }, or [ and ]
	json bool
}

// write is v as it stands in a file, in the quotes of old as far as they can
// hold it.
func (v value) write(old *yaml.Node, in surrounds) string {
	if v.tag != "!!str" {
		return v.text
	}
	var style yaml.Style
	if old != nil {
		style = old.Style
	}
	switch {
	case in.json || style&yaml.DoubleQuotedStyle != 0:
	case style&yaml.SingleQuotedStyle != 0 && !strings.ContainsAny(v.text, "\n\t\u0085\u2028\u2029"):
		return "'" + strings.ReplaceAll(v.text, "'", "''") + "'"
	case style&yaml.SingleQuotedStyle == 0 && bare(v.text, in):
		return v.text
	}
	return doubleQuoted(v.text)
}

// key is the name of a field as it stands in a file.
func key(name string, in surrounds) string {
	if !in.json && bare(name, in) {
		return name
	}
	return doubleQuoted(name)
}

// bare says whether a text needs no quotes.
func bare(s string, in surrounds) bool {
	out, err := yaml.Marshal(s)
	if err != nil || string(out) != s+"\n" {
		return false
	}
	return !in.flow || !strings.ContainsAny(s, ",[]{}") && !strings.HasSuffix(s, ":")
}

// doubleQuoted is s in quotes: what JSON makes of it is YAML, too.
func doubleQuoted(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic("edit: " + err.Error()) // strings always marshal
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// extent is from where to where a scalar stands in its file.
func (t text) extent(n *yaml.Node) (from, to int, err error) {
	from = t.offset(n.Line, n.Column)
	switch {
	case from < 0:
		return 0, 0, refuse(n.Line, byHand, "its place cannot be told")
	case n.Anchor != "" || n.Style&yaml.TaggedStyle != 0:
		return 0, 0, refuse(n.Line, byHand, "it has an anchor or a tag")
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return 0, 0, refuse(n.Line, byHand, "it is a text of several lines")
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0:
		to = t.quotesEnd(from)
	case n.Value != "" && bytes.HasPrefix(t.data[from:], []byte(n.Value)):
		to = from + len(n.Value)
	}
	if to <= from {
		return 0, 0, refuse(n.Line, byHand, "it is a text of several lines, or its end cannot be told")
	}
	return from, to, nil
}

const byHand = "change it by hand: only values that stand on one line, by themselves, are set"

// quotesEnd is the offset after the quoted scalar that begins at from; 0: it
// does not end on its line.
func (t text) quotesEnd(from int) int {
	quote := t.data[from]
	if quote != '"' && quote != '\'' {
		return 0
	}
	for i := from + 1; i < len(t.data) && breakAt(t.data[i:]) == 0; i++ {
		switch {
		case t.data[i] == '\\' && quote == '"':
			i++
		case t.data[i] != quote:
		case quote == '\'' && i+1 < len(t.data) && t.data[i+1] == quote:
			i++
		default:
			return i + 1
		}
	}
	return 0
}
