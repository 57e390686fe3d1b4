package compile

import (
	"fmt"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/cueload"
)

// cueReader makes values of what CUE evaluated to: regular fields, with defaults
// chosen. What has an error, or is not concrete, gets a finding and is broken.
type cueReader struct {
	*builder
	// place says where a value stands: in the files of the tree, never in a
	// schema.
	place func(cue.Value) schema.Pos
}

func (r *cueReader) broken(v cue.Value) *value {
	at := r.place(v)
	return &value{file: at.File, line: at.Line, col: at.Col, nodes: 1, height: 1}
}

// find reports what is wrong with v.
func (r *cueReader) find(v cue.Value, hint, format string, args ...any) *value {
	b := r.broken(v)
	r.report(b.line, b.col, hint, format, args...)
	r.findings[len(r.findings)-1].Pos = b.pos(r.file)
	return b
}

// read makes a value of v, at depth.
func (r *cueReader) read(v cue.Value, depth int) *value {
	at := r.place(v)
	if depth > r.limits.Depth {
		return r.find(v, "", "nested deeper than %d levels", r.limits.Depth)
	}
	if d, ok := v.Default(); ok {
		v = d
	}
	out := &value{file: at.File, line: at.Line, col: at.Col, nodes: 1, height: 1}
	switch v.Kind() {
	case cue.StructKind:
		return r.fields(v, out, depth)
	case cue.ListKind:
		out.kind = listValue
		for it, err := v.List(); err == nil && it.Next(); {
			out.items = append(out.items, r.read(it.Value(), depth+1))
		}
		return r.weigh(out)
	case cue.StringKind:
		out.kind = stringValue
		out.text, _ = v.String()
	case cue.BoolKind:
		out.kind = boolValue
		yes, _ := v.Bool()
		out.text = map[bool]string{true: "true", false: "false"}[yes]
	case cue.NullKind:
		out.kind, out.text = nullValue, "null"
	case cue.IntKind, cue.FloatKind:
		return r.number(v, out)
	case cue.BytesKind:
		return r.find(v, "use a string", "%s is bytes, which declarations do not hold", v.Path())
	default:
		return r.wrong(v)
	}
	out.bytes = len(out.text)
	return out
}

func (r *cueReader) fields(v cue.Value, out *value, depth int) *value {
	out.kind = mapValue
	it, err := v.Fields() // regular ones
	if err != nil {
		return r.wrong(v)
	}
	for it.Next() {
		item := r.read(it.Value(), depth+1)
		out.keys = append(out.keys, key{name: it.Selector().Unquoted(), file: item.file, line: item.line, col: item.col})
		out.items = append(out.items, item)
	}
	return r.weigh(out)
}

func (r *cueReader) number(v cue.Value, out *value) *value {
	if v.Kind() == cue.IntKind {
		i, err := v.Int64()
		if err != nil {
			return r.find(v, "quote it if it is to be a string", "%s is not a number that fits into 64 bits", v.Path())
		}
		out.kind, out.text = intValue, strconv.FormatInt(i, 10)
	} else {
		f, err := v.Float64()
		text, ok := formatFloat(f)
		if err != nil || !ok {
			return r.find(v, "quote it if it is to be a string", "%s is not a number that fits into 64 bits", v.Path())
		}
		out.kind, out.text = floatValue, text
	}
	out.raw, out.bytes = out.text, len(out.text)
	return out
}

// wrong reports a value that has an error or is not concrete.
func (r *cueReader) wrong(v cue.Value) *value {
	err := v.Err()
	if err == nil {
		return r.find(v, "", "%s has no concrete value: it is %s", v.Path(), shorten(strings.Join(strings.Fields(fmt.Sprint(v)), " ")))
	}
	first := errors.Errors(err)[0]
	out := r.find(v, "", "%s: %s", v.Path(), cueMessage(first))
	if p, ok := ownPos(errors.Positions(first)); ok {
		out.file, out.line, out.col = p.File, p.Line, p.Col
		r.findings[len(r.findings)-1].Pos = p
	}
	return out
}

// ownPos is the first of positions that lies in the tree.
func ownPos(all []token.Pos) (schema.Pos, bool) {
	for _, p := range all {
		if cueload.Own(p.Filename()) {
			return schema.Pos{File: p.Filename(), Line: p.Line(), Col: p.Column()}, true
		}
	}
	return schema.Pos{}, false
}

// cueMessage is what CUE says, without the path and in one line.
func cueMessage(err errors.Error) string {
	format, args := err.Msg()
	return shortenTo(strings.Join(strings.Fields(fmt.Sprintf(format, args...)), " "), 200)
}

// declarations calls found for every declaration in v, at any depth of structs
// and lists: a struct with regular fields apiVersion and kind. It does not look
// into those, nor into what has an error, which is answered by wrong.
func (r *cueReader) declarations(v cue.Value, depth int, found, wrong func(cue.Value)) {
	if depth > r.limits.Depth {
		r.find(v, "", "nested deeper than %d levels", r.limits.Depth)
		return
	}
	switch v.IncompleteKind() {
	case cue.BottomKind:
		wrong(v)
	case cue.ListKind:
		for it, err := v.List(); err == nil && it.Next(); {
			r.declarations(it.Value(), depth+1, found, wrong)
		}
	case cue.StructKind:
		if v.LookupPath(cue.ParsePath("apiVersion")).Exists() && v.LookupPath(cue.ParsePath("kind")).Exists() {
			found(v)
			return
		}
		it, err := v.Fields()
		if err != nil {
			wrong(v)
			return
		}
		for it.Next() {
			r.declarations(it.Value(), depth+1, found, wrong)
		}
	}
}
