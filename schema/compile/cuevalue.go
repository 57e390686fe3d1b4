package compile

import (
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/cueload"
)

// cueReader makes values of what CUE evaluated to: regular fields, with defaults
// chosen. What has an error, or is not concrete, gets a finding and is broken.
// What only a schema says of a declaration is left out: its model says the same.
type cueReader struct {
	*builder
	// place says where a value stands. nil finds that out, for values of files
	// of the tree, which lies at base in what they are named from.
	place func(cue.Value) schema.Pos
	base  string
	tree  map[string]bool // its files, where CUE may name others: text that it decodes has places too
	// near says of a file, as findings name it, whether it belongs to the
	// package itself and not to a library; nil is not to ask.
	near func(file string) bool
	// kinds are those whose models have words for what is wrong; nil is none.
	kinds map[string]*kind

	// root is where a whole package stands; nil is not known.
	root *spot

	// Of the declaration that is read:
	spot    spot
	outer   int   // selectors of its path
	kind    *kind // nil is not known
	clashes []clash
	follows bool // something in it is wrong since something else is

	// derived are the findings about such things: they are told where nothing
	// else is.
	derived []schema.Diagnostic
}

// clash is a value of a declaration that something in CUE contradicts. Where
// the model of the kind has words for it, those are better.
type clash struct {
	at      schema.Pos
	path    schema.Path
	message string
}

// declaration makes a value of v, which declarations found.
func (r *cueReader) declaration(v cue.Value) *value {
	r.outer, r.clashes, r.kind, r.follows = len(v.Path().Selectors()), nil, nil, false
	if name, err := v.LookupPath(kindPath).String(); err == nil {
		r.kind = r.kinds[name]
	}
	out := r.readAt(v, 1, r.spot)
	for i, k := range out.keys {
		if at := k.pos(r.file); k.name == "apiVersion" && r.place == nil && !r.spot.lines.hold(at) {
			out.keys[i].file, out.keys[i].line, out.keys[i].col = r.spot.key.File, r.spot.key.Line, r.spot.key.Col
		}
		if k.name == "kind" && slices.ContainsFunc(r.clashes, func(c clash) bool { return c.path == "/kind" }) {
			out.items[i].kind = brokenValue // nobody knows which one it is
		}
	}
	return out
}

// read makes a value of v, at depth; 1 is a whole declaration.
func (r *cueReader) read(v cue.Value, depth int) *value {
	return r.readAt(v, depth, r.spotOf(v, r.top()))
}

// top is where a value stands of which nothing else is known.
func (r *cueReader) top() spot {
	at := schema.Pos{File: r.file, Line: 1, Col: 1}
	return spot{key: at, at: at}
}

func (r *cueReader) readAt(v cue.Value, depth int, s spot) *value {
	if depth > r.limits.Depth {
		return r.find(v, s, "", "nested deeper than %d levels", r.limits.Depth)
	}
	if d, ok := v.Default(); ok {
		v = d
	}
	out := &value{file: s.at.File, line: s.at.Line, col: s.at.Col, nodes: 1, height: 1}
	switch v.Kind() {
	case cue.StructKind:
		return r.fields(v, out, depth, s)
	case cue.ListKind:
		return r.list(v, out, depth, s)
	case cue.StringKind:
		out.kind = stringValue
		out.text, _ = v.String()
	case cue.BoolKind:
		out.kind = boolValue
		yes, _ := v.Bool()
		out.text = strconv.FormatBool(yes)
	case cue.NullKind:
		out.kind, out.text = nullValue, "null"
	case cue.IntKind, cue.FloatKind:
		return r.number(v, out, s)
	case cue.BytesKind:
		return r.find(v, s, "use a string", "%s is bytes, which declarations do not hold", r.name(v))
	default:
		return r.unsettled(v, out, depth, s)
	}
	out.bytes = len(out.text)
	return out
}

// unsettled reads what has an error in it, or is not concrete.
func (r *cueReader) unsettled(v cue.Value, out *value, depth int, s spot) *value {
	if v.Err() == nil {
		return r.open(v, s)
	}
	it, what := partsOf(v)
	switch {
	case what == cue.BottomKind:
		return r.contradicted(v, depth, s)
	case cue.IsIncomplete(v.Err()) && !it.Next():
		return r.wrong(v, s)
	case what == cue.ListKind:
		return r.list(v, out, depth, s)
	default:
		return r.fields(v, out, depth, s)
	}
}

func (r *cueReader) fields(v cue.Value, out *value, depth int, s spot) *value {
	out.kind = mapValue
	for _, err := range ownErrors(v) {
		msg, hint := cueWords(err)
		r.tell(v, s, err, msg, hint)
		out.partial = true
	}
	it, _ := partsOf(v)
	written := r.members(s.exprs)
	for it.Next() {
		field, name := it.Value(), it.Selector().Unquoted()
		at, ok := written[name]
		if !ok {
			if depth > 1 && ofSchema(field) {
				continue
			}
			at = r.spotOf(field, s)
		}
		if isRequired(it) && !field.Exists() {
			continue // the model misses it
		}
		item := r.readAt(field, depth+1, at)
		out.keys = append(out.keys, key{name: name, file: at.key.File, line: at.key.Line, col: at.key.Col})
		out.items = append(out.items, item)
	}
	return r.weigh(out)
}

func isRequired(it *cue.Iterator) bool {
	return it.FieldType().ConstraintType() == cue.RequiredConstraint
}

// ofSchema says whether nothing but a schema of this program speaks of a field.
func ofSchema(v cue.Value) bool {
	f, ok := v.Source().(*ast.Field)
	return ok && f.Pos().IsValid() && strings.HasPrefix(f.Pos().Filename(), cueload.ModulePath+"/")
}

func (r *cueReader) list(v cue.Value, out *value, depth int, s spot) *value {
	out.kind = listValue
	for _, err := range ownErrors(v) {
		msg, hint := cueWords(err)
		r.tell(v, s, err, msg, hint)
	}
	it, _ := partsOf(v)
	written := r.elements(s.exprs)
	for i := 0; it.Next(); i++ {
		var at spot
		if i < len(written) {
			at = written[i]
		} else {
			at = r.spotOf(it.Value(), s)
		}
		out.items = append(out.items, r.readAt(it.Value(), depth+1, at))
	}
	return r.weigh(out)
}

func (r *cueReader) number(v cue.Value, out *value, s spot) *value {
	if v.Kind() == cue.IntKind {
		i, err := v.Int64()
		if err != nil {
			return r.find(v, s, "quote it if it is to be a string", "%s is not a number that fits into 64 bits", r.name(v))
		}
		out.kind, out.text = intValue, strconv.FormatInt(i, 10)
	} else {
		f, err := v.Float64()
		text, ok := formatFloat(f)
		if err != nil || !ok {
			return r.find(v, s, "quote it if it is to be a string", "%s is not a number that fits into 64 bits", r.name(v))
		}
		out.kind, out.text = floatValue, text
	}
	out.raw, out.bytes = out.text, len(out.text)
	return out
}
