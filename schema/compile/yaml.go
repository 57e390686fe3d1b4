package compile

import (
	"bytes"
	"io"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// parseYAML reads every document of a file, those that are empty left out;
// false if not all of it parses. One that does not parse hides no other: the
// file is then read piece by piece, from each line of --- to the next.
func (b *builder) parseYAML(data []byte) (docs []parsed, whole bool) {
	from := len(b.findings)
	docs, err := b.yamlStream(data, 0)
	if err == nil {
		return docs, true
	}
	pieces := yamlPieces(data)
	if len(pieces) < 2 {
		b.yamlBroken(data, 0, err)
		return docs, false
	}
	b.findings, docs = b.findings[:from], nil
	line, ended := 0, true
	for _, piece := range pieces {
		more, err := b.yamlStream(piece, line)
		if err != nil {
			b.yamlBroken(piece, line, err)
			ended = false
		}
		docs = append(docs, more...)
		line += countLines(piece) - 1
	}
	return docs, ended
}

// yamlPieces cuts a file before each line of ---, which always begins a
// document; one with directives stays whole, since they belong to what follows.
func yamlPieces(data []byte) [][]byte {
	if directiveRE.Match(data) {
		return [][]byte{data}
	}
	var pieces [][]byte
	at := 0
	for _, m := range markerRE.FindAllIndex(data, -1) {
		if m[0] > at {
			pieces = append(pieces, data[at:m[0]])
			at = m[0]
		}
	}
	return append(pieces, data[at:])
}

var (
	directiveRE = regexp.MustCompile(`(?m)^%`)
	markerRE    = regexp.MustCompile(`(?m)^---(?:[ \t\r]|$)`)
)

// yamlStream reads documents until one does not parse. base is how many lines
// come before data.
func (b *builder) yamlStream(data []byte, base int) (docs []parsed, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var n yaml.Node
		err := dec.Decode(&n)
		if err == io.EOF {
			return docs, nil
		}
		if err != nil {
			return docs, err
		}
		if len(n.Content) == 0 {
			continue
		}
		shift(&n, base)
		from := len(b.findings)
		y := yamlReader{builder: b, anchored: map[*yaml.Node]*value{}, open: map[*yaml.Node]bool{}}
		if v := y.read(n.Content[0], 1); v.kind != nullValue || v.raw != "" {
			docs = append(docs, parsed{v, from, len(b.findings)})
		}
	}
}

// shift moves a tree down by lines.
func shift(n *yaml.Node, lines int) {
	if lines == 0 {
		return
	}
	n.Line += lines
	for _, c := range n.Content {
		shift(c, lines)
	}
}

// yamlBroken reports that data, which begins after base lines, does not parse.
func (b *builder) yamlBroken(data []byte, base int, err error) {
	line, msg := yamlError(err)
	line = min(line, countLines(data))
	lines := bytes.Split(data, []byte{'\n'})
	for at := line; at <= min(line+1, len(lines)); at++ {
		text := lines[at-1]
		indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]
		if tab := bytes.IndexByte(indent, '\t'); tab >= 0 && len(indent) < len(text) {
			b.report(base+at, tab+1, "indent with spaces", "not YAML: a tab is used for indentation")
			return
		}
	}
	b.report(base+line, 1, unclosed(lines[:min(line, len(lines))], base, msg), "not YAML: %s", msg)
}

// unclosed says where the { or [ began that an error of the parser is probably
// about.
func unclosed(lines [][]byte, base int, msg string) string {
	if !strings.HasPrefix(msg, "did not find expected ',' or ") {
		return ""
	}
	const most = 200
	for i := len(lines) - 1; i >= max(0, len(lines)-most); i-- {
		for _, m := range openerRE.FindAllSubmatchIndex(lines[i], -1) {
			rest := bytes.Join(append([][]byte{lines[i][m[2]:]}, lines[i+1:]...), []byte{'\n'})
			if bytes.Count(rest, []byte{'{'}) > bytes.Count(rest, []byte{'}'}) || bytes.Count(rest, []byte{'['}) > bytes.Count(rest, []byte{']'}) {
				return "is the " + string(lines[i][m[2]]) + " of line " + strconv.Itoa(base+i+1) + " closed?"
			}
		}
	}
	return ""
}

// openerRE finds where a value begins with { or [.
var openerRE = regexp.MustCompile(`(?:^|[:-])[ \t]+([{\[])`)

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

// read answers a broken value for what has a finding.
func (y *yamlReader) read(n *yaml.Node, depth int) *value {
	if y.deep(depth, n.Line, n.Column) {
		return broken(n.Line, n.Column)
	}
	if n.Kind != yaml.AliasNode && n.Style&yaml.TaggedStyle != 0 && n.ShortTag() != "!!str" {
		y.report(n.Line, n.Column, "leave the tag out; quote what is to be a string", "the tag %s is not read", shorten(n.Tag))
		return broken(n.Line, n.Column)
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
		for _, c := range n.Content {
			v.items = append(v.items, y.read(c, depth+1))
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
		return broken(n.Line, n.Column)
	}
	v := y.anchored[n.Alias]
	if v == nil || y.deep(depth+v.height-1, n.Line, n.Column) { // nil: its anchor was not read, which was said
		return broken(n.Line, n.Column)
	}
	return v
}

func (y *yamlReader) mapping(n *yaml.Node, depth int) *value {
	v := &value{kind: mapValue, line: n.Line, col: n.Column}
	size := len(n.Content) / 2
	v.keys, v.items = make([]key, 0, size), make([]*value, 0, size)
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, good := y.key(n.Content[i])
		item := y.read(n.Content[i+1], depth+1)
		if !good {
			v.partial = true
			continue
		}
		v.keys = append(v.keys, key{name: name, line: n.Content[i].Line, col: n.Content[i].Column})
		v.items = append(v.items, item)
	}
	y.distinct(v)
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
		return broken(n.Line, n.Column)
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
