package compile

import (
	"bytes"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// parseYAML reads every document of a file. A document that is empty is left
// out, and so is one with a finding.
func (b *builder) parseYAML(data []byte) []*value {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var docs []*value
	for {
		var n yaml.Node
		err := dec.Decode(&n)
		if err == io.EOF {
			return docs
		}
		if err != nil {
			line, msg := yamlError(err)
			b.report(min(line, countLines(data)), 1, "", "not YAML: %s", msg)
			return docs
		}
		if len(n.Content) == 0 {
			continue
		}
		y := yamlReader{builder: b, anchored: map[*yaml.Node]*value{}, open: map[*yaml.Node]bool{}}
		if v := y.read(n.Content[0], 1); v != nil && (v.kind != nullValue || v.raw != "") {
			docs = append(docs, v)
		}
	}
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// countLines counts as YAML does: a lone carriage return ends a line too.
func countLines(data []byte) int {
	return 1 + bytes.Count(data, []byte{'\n'}) + bytes.Count(data, []byte{'\r'}) - bytes.Count(data, []byte("\r\n"))
}

// yamlGrammar are the errors of the library's parser, as opposed to those of
// its scanner.
var yamlGrammar = regexp.MustCompile(`^did not find expected (?:<|node|'-'|key|',')`)

func yamlError(err error) (line int, msg string) {
	msg = err.Error()
	m := yamlLine.FindStringSubmatch(msg)
	if m == nil {
		return 1, msg
	}
	line, _ = strconv.Atoi(m[1])
	msg = strings.TrimPrefix(msg, m[0])
	if yamlGrammar.MatchString(msg) {
		line++ // the library counts these from zero
	}
	return max(line, 1), msg
}

// yamlReader makes values of one document's nodes.
type yamlReader struct {
	*builder
	anchored map[*yaml.Node]*value
	open     map[*yaml.Node]bool // anchors being read: one that contains itself
}

// read answers nil for what has a finding.
func (y *yamlReader) read(n *yaml.Node, depth int) *value {
	if y.deep(depth, n.Line, n.Column) {
		return nil
	}
	if n.Kind != yaml.AliasNode && n.Style&yaml.TaggedStyle != 0 && n.ShortTag() != "!!str" {
		y.report(n.Line, n.Column, "leave the tag out; quote what is to be a string", "the tag %s is not read", shorten(n.Tag))
		return nil
	}
	if n.Anchor == "" {
		return y.readNode(n, depth)
	}
	y.open[n] = true
	v := y.readNode(n, depth)
	delete(y.open, n)
	y.anchored[n] = v
	return v
}

func (y *yamlReader) readNode(n *yaml.Node, depth int) *value {
	switch n.Kind {
	case yaml.MappingNode:
		return y.mapping(n, depth)
	case yaml.SequenceNode:
		v := &value{kind: listValue, line: n.Line, col: n.Column}
		ok := true
		for _, c := range n.Content {
			item := y.read(c, depth+1)
			if item == nil {
				ok = false
				continue
			}
			v.items = append(v.items, item)
		}
		if !ok {
			return nil
		}
		return y.weigh(v)
	case yaml.AliasNode:
		return y.alias(n, depth)
	default:
		return y.scalar(n)
	}
}

// alias shares the anchored value; how deep it nests is counted again where it
// stands.
func (y *yamlReader) alias(n *yaml.Node, depth int) *value {
	if y.open[n.Alias] {
		y.report(n.Line, n.Column, "", "the alias *%s stands inside what it names", shorten(n.Value))
		return nil
	}
	v := y.anchored[n.Alias]
	if v != nil && y.deep(depth+v.height-1, n.Line, n.Column) {
		return nil
	}
	return v
}

func (y *yamlReader) mapping(n *yaml.Node, depth int) *value {
	v := &value{kind: mapValue, line: n.Line, col: n.Column}
	size := len(n.Content) / 2
	v.keys, v.items = make([]key, 0, size), make([]*value, 0, size)
	ok := true
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, good := y.key(n.Content[i])
		item := y.read(n.Content[i+1], depth+1)
		if !good || item == nil {
			ok = false
			continue
		}
		v.keys = append(v.keys, key{name, n.Content[i].Line, n.Content[i].Column})
		v.items = append(v.items, item)
	}
	if !y.distinct(v.keys) || !ok {
		return nil
	}
	return y.weigh(v)
}

func (y *yamlReader) key(n *yaml.Node) (string, bool) {
	switch {
	case n.Kind == yaml.AliasNode:
		y.report(n.Line, n.Column, "", "a key cannot be an alias")
	case n.Kind != yaml.ScalarNode:
		y.report(n.Line, n.Column, "", "a key must be a string")
	case n.ShortTag() == "!!merge":
		y.report(n.Line, n.Column, "write the fields out, or use an alias for a whole value", "merge keys (<<) are not read")
	case n.ShortTag() != "!!str" && n.ShortTag() != "!!timestamp":
		y.report(n.Line, n.Column, "quote it", "the key %s is not a string", shorten(n.Value))
	default:
		return n.Value, true
	}
	return "", false
}

func (y *yamlReader) scalar(n *yaml.Node) *value {
	v := &value{line: n.Line, col: n.Column, text: n.Value, raw: n.Value, nodes: 1, height: 1}
	ok := true
	switch n.ShortTag() {
	case "!!null":
		v.kind, v.text = nullValue, "null"
	case "!!bool":
		v.kind, v.text = boolValue, strings.ToLower(n.Value)
	case "!!int":
		v.kind = intValue
		v.text, ok = yamlInt(n)
	case "!!float":
		v.kind = floatValue
		v.text, ok = canonicalFloat(n)
	default:
		v.kind, v.raw = stringValue, ""
	}
	v.bytes = len(v.text)
	if !ok {
		y.report(n.Line, n.Column, "quote it if it is to be a string", "%s is not a number that fits into 64 bits", shorten(n.Value))
		return nil
	}
	return v
}

func yamlInt(n *yaml.Node) (string, bool) {
	if i, err := strconv.ParseInt(n.Value, 10, 64); err == nil && (n.Value == "0" || n.Value[0] != '0') {
		return strconv.FormatInt(i, 10), true
	}
	var i int64
	if err := n.Decode(&i); err != nil {
		return "", false
	}
	return strconv.FormatInt(i, 10), true
}

// canonicalFloat refuses what is infinite, not a number, or a whole number
// that a float would round.
func canonicalFloat(n *yaml.Node) (string, bool) {
	if strings.Trim(n.Value, "+-0123456789_") == "" {
		return "", false
	}
	var f float64
	if err := n.Decode(&f); err != nil {
		return "", false
	}
	return formatFloat(f)
}
