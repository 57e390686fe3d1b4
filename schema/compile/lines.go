package compile

import (
	"strconv"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// mostLines is how many fields of one declaration are remembered with their
// places: what lies beyond is found at the declaration.
const mostLines = 4000

// linesOf notes where the fields of a document stand: a key of a map, an
// element of a list.
func linesOf(d *document) schema.Lines {
	l := &liner{file: d.out.Pos.File, base: d.out.Pos.Line}
	l.walk(d.root, 0)
	return schema.Lines(l.text.String())
}

type liner struct {
	file string
	base int
	text strings.Builder
	n    int
}

func (l *liner) walk(v *value, depth int) {
	for i, item := range v.items {
		key, at := strconv.Itoa(i), item.pos(l.file)
		if v.kind == mapValue {
			key = v.keys[i].name
			if k := v.keys[i].pos(l.file); k.Line > 0 && item.kind != stringValue {
				at = k
			}
		}
		if l.n++; l.n > mostLines || at.File != l.file || at.Line == 0 {
			continue
		}
		l.text.WriteString(string(schema.Lines("").Add(depth, at.Line-l.base, at.Col, key)))
		l.walk(item, depth+1)
	}
}
