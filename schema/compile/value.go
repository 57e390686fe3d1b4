package compile

import (
	"cmp"
	"fmt"
	"strconv"

	"github.com/aplomb-dev/aplomb/schema"
)

type valueKind uint8

const (
	brokenValue valueKind = iota // has a finding already: it fits everywhere
	nullValue
	boolValue
	intValue
	floatValue
	stringValue
	listValue
	mapValue
)

// value is a parsed document or a part of one, with the place it stands at. An
// anchored value is shared by its aliases and never altered.
type value struct {
	kind      valueKind
	text      string // of a string: itself; of another scalar: canonical, as in JSON
	raw       string // of a scalar that is not a string: as written
	items     []*value
	keys      []key  // of a map, in the file's order; keys[i] belongs to items[i]
	file      string // that it stands in, where that is not the document's
	line, col int
	partial   bool // a map of which a key could not be read: what it lacks is not known
	height    int  // levels, itself included
	nodes     int  // itself and all below it, aliases written out
	bytes     int  // of text, likewise
}

// broken stands where a value would that has a finding.
func broken(line, col int) *value { return &value{line: line, col: col, nodes: 1, height: 1} }

type key struct {
	name      string
	file      string // as of a value
	line, col int
}

// get is the value of a map's key, or nil.
func (v *value) get(name string) *value {
	if v == nil || v.kind != mapValue {
		return nil
	}
	for i, k := range v.keys {
		if k.name == name {
			return v.items[i]
		}
	}
	return nil
}

func (v *value) pos(file string) schema.Pos {
	return schema.Pos{File: cmp.Or(v.file, file), Line: v.line, Col: v.col}
}

func (k key) pos(file string) schema.Pos {
	return schema.Pos{File: cmp.Or(k.file, file), Line: k.line, Col: k.col}
}

// words is what a finding calls the value.
func (v *value) words() string {
	switch v.kind {
	case nullValue:
		return "nothing"
	case listValue:
		return "a list"
	case mapValue:
		return "a mapping"
	case stringValue:
		return strconv.Quote(shorten(v.text))
	}
	if v.raw != "" {
		return shorten(v.raw)
	}
	return shorten(v.text)
}

// shorten bounds what a finding repeats of its file.
func shorten(s string) string { return shortenTo(s, 60) }

func shortenTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	n := most
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}

// builder makes values and keeps the limits and the findings of one file.
type builder struct {
	file     string
	limits   Limits
	findings []schema.Diagnostic
}

func (b *builder) report(line, col int, hint, format string, args ...any) {
	b.findings = append(b.findings, schema.Diagnostic{
		Pos: schema.Pos{File: b.file, Line: line, Col: col}, Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}

// deep reports a value that nests too deep, and says whether it does.
func (b *builder) deep(depth, line, col int) bool {
	if depth <= b.limits.Depth {
		return false
	}
	b.report(line, col, "", "nested deeper than %d levels", b.limits.Depth)
	return true
}

// weigh adds up what a composite value holds, and reports a document that has
// become too large.
func (b *builder) weigh(v *value) *value {
	v.nodes, v.height = 1, 1
	for i, item := range v.items {
		v.height = max(v.height, item.height+1)
		v.nodes += item.nodes
		v.bytes += item.bytes
		if v.keys != nil {
			v.bytes += len(v.keys[i].name)
		}
		if v.nodes > b.limits.Nodes || v.bytes > maxExpandedBytes {
			b.report(v.line, v.col, "split it up, or use fewer aliases",
				"more than %d values or %d MiB of text in one document, aliases written out", b.limits.Nodes, maxExpandedBytes>>20)
			b.findings[len(b.findings)-1].Pos = v.pos(b.file)
			return &value{file: v.file, line: v.line, col: v.col, nodes: 1, height: 1}
		}
	}
	return v
}

// distinct reports the second of two equal keys of a map, and leaves it out.
func (b *builder) distinct(v *value) {
	seen := make(map[string]key, len(v.keys))
	n := 0
	for i, k := range v.keys {
		if first, dup := seen[k.name]; dup {
			b.report(k.line, k.col, "", "the key %q stands twice", shorten(k.name))
			b.findings[len(b.findings)-1].Also = []schema.Pos{first.pos(b.file)}
			continue
		}
		seen[k.name] = k
		v.keys[n], v.items[n] = k, v.items[i]
		n++
	}
	v.keys, v.items = v.keys[:n], v.items[:n]
}

// parsed is one document of a file, with the findings that reading it made:
// builder.findings[from:to].
type parsed struct {
	root     *value
	from, to int
}
