package compile

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"

	"github.com/aplomb-dev/aplomb/schema"
)

// checkSpec checks a spec in three steps: a walk along the model of the kind,
// which finds fields that are unknown, missing or exclude each other, and the
// references; CUE, which says whether every value fits; and, only where CUE
// said no, a second walk that finds words for it.
func (d *document) checkSpec(spec *value) {
	before := len(d.findings)
	d.walk(spec, d.kind.spec, "")
	cv := d.checker.cctx.BuildExpr(expression(spec))
	err := d.kind.spec.accepts.Unify(cv).Validate(cue.Concrete(false))
	if err != nil {
		d.explain(spec, d.kind.spec, "")
		if len(d.findings) == before && !d.found { // no words for it: CUE's place, at least
			d.find(spec.pos(d.file), "/spec", "", "spec does not fit the schema of %s", d.kind.Name)
		}
	}
	if len(d.findings) > before || d.found {
		return
	}
	var buf bytes.Buffer
	d.emit(&buf, spec, d.kind.spec)
	d.out.Spec = buf.Bytes()
	slices.SortFunc(d.out.Refs, func(a, b schema.FieldRef) int { return strings.Compare(string(a.Path), string(b.Path)) })
}

// walk goes along the model. path is below the spec.
func (d *document) walk(v *value, m *model, path schema.Path) {
	switch {
	case v.kind == mapValue && m.shape == fields:
		d.walkFields(v, m, path)
	case v.kind == mapValue && (m.shape == mapping || m.shape == anything):
		for i, item := range v.items {
			at := path.Child(v.keys[i].name)
			if full := d.base + at; schema.HasMark(v.keys[i].name) {
				d.find(v.keys[i].pos(d.file), full, "", "%s: a key cannot hold a reference", full)
			}
			d.walk(item, m.elem, at)
		}
	case v.kind == listValue && (m.shape == list || m.shape == anything):
		for i, item := range v.items {
			d.walk(item, m.elem, path.Index(i))
		}
	case v.kind == stringValue:
		d.text(v, m, path)
	}
}

func (d *document) walkFields(v *value, m *model, path schema.Path) {
	at := d.base + path
	d.unknown(v, at, m.names())
	for _, f := range m.fields {
		item := v.get(f.name)
		if item == nil {
			if f.Required {
				d.missing(v, at, f.name)
			}
			continue
		}
		for _, other := range f.excludes {
			if o := v.get(other); o != nil {
				d.find(o.pos(d.file), at.Child(other), "", "%s and %s exclude each other", at.Child(f.name), at.Child(other))
			}
		}
		d.walk(item, f, path.Child(f.name))
	}
	d.checkOneOf(v, m, at)
}

func (d *document) checkOneOf(v *value, m *model, at schema.Path) {
	var have []string
	for _, name := range m.oneof {
		if v.get(name) != nil {
			have = append(have, at.Child(name).String())
		}
	}
	if len(m.oneof) > 0 && len(have) != 1 && (len(have) > 1 || !v.partial) {
		var want []string
		for _, name := range m.oneof {
			want = append(want, at.Child(name).String())
		}
		got := "there is none"
		if len(have) > 1 {
			got = "there are " + strings.Join(have, " and ")
		}
		d.find(v.pos(d.file), at, "", "exactly one of %s must be there; %s", strings.Join(want, " and "), got)
	}
}

// expression is the value as CUE, a reference standing as its type.
func expression(v *value) ast.Expr {
	switch v.kind {
	case mapValue:
		s := &ast.StructLit{Elts: make([]ast.Decl, len(v.items))}
		for i, item := range v.items {
			s.Elts[i] = &ast.Field{Label: &ast.BasicLit{Kind: token.STRING, Value: literal.String.Quote(v.keys[i].name)}, Value: expression(item)}
		}
		return s
	case listValue:
		l := &ast.ListLit{Elts: make([]ast.Expr, len(v.items))}
		for i, item := range v.items {
			l.Elts[i] = expression(item)
		}
		return l
	case stringValue:
		if schema.HasMark(v.text) {
			return ast.NewIdent(refType(v.text))
		}
		return &ast.BasicLit{Kind: token.STRING, Value: literal.String.Quote(v.text)}
	case boolValue:
		return ast.NewBool(v.text == "true")
	case nullValue:
		return ast.NewNull()
	case brokenValue:
		return ast.NewIdent("_")
	}
	kind := token.INT
	if v.kind == floatValue {
		kind = token.FLOAT
	}
	if digits, negative := strings.CutPrefix(v.text, "-"); negative {
		return &ast.UnaryExpr{Op: token.SUB, X: &ast.BasicLit{Kind: kind, Value: digits}}
	}
	return &ast.BasicLit{Kind: kind, Value: v.text}
}

// explain finds what CUE does not accept, from the leaves up: a composite is
// blamed only if nothing in it is.
func (d *document) explain(v *value, m *model, path schema.Path) {
	before := len(d.findings)
	switch {
	case v.kind == brokenValue:
		return
	case m.shape == anything:
		return
	case v.kind == mapValue && m.shape != leaf && m.shape != list:
		for i, item := range v.items {
			if c := m.child(v.keys[i].name); c != nil {
				d.explain(item, c, path.Child(v.keys[i].name))
			}
		}
		return // what a mapping lacks or has too much is found by walk
	case v.kind == listValue && m.shape == list:
		for i, item := range v.items {
			d.explain(item, m.elem, path.Index(i))
		}
		if len(d.findings) > before || len(v.items) >= len(m.head) {
			d.explainHead(v, m, path)
			return
		}
	default:
		if m.accepts.Unify(d.checker.cctx.BuildExpr(expression(v))).Validate(cue.Concrete(false)) == nil {
			return
		}
	}
	d.misfit(v, m, path)
}

// explainHead checks the leading elements of a list that have a constraint of
// their own.
func (d *document) explainHead(v *value, m *model, path schema.Path) {
	for i := range min(len(m.head), len(v.items)) {
		accepts := m.accepts.LookupPath(cue.MakePath(cue.Index(i)))
		if accepts.Unify(d.checker.cctx.BuildExpr(expression(v.items[i]))).Validate(cue.Concrete(false)) != nil {
			own := *m.elem
			own.expr, own.words, own.narrow = m.head[i], "", nil
			d.misfit(v.items[i], &own, path.Index(i))
		}
	}
}

// misfit reports a value that CUE does not accept. The value of a field that
// takes secrets is not repeated.
func (d *document) misfit(v *value, m *model, path schema.Path) {
	at := d.base + path
	hint := ""
	if isNumberOrBool(v) && strings.Contains(wants(m.expr), "string") {
		hint = "quote it if it is to be a string"
	}
	what := v.words()
	if m.Secret && (v.kind == stringValue || isNumberOrBool(v)) {
		what = "the value"
	}
	if v.kind == listValue && m.shape == list && len(v.items) < len(m.head) {
		d.find(v.pos(d.file), at, "", "%s: the list is empty", at)
		return
	}
	if v.kind == stringValue && v.text == "" && typeOf(m.expr) == "string" {
		d.find(v.pos(d.file), at, "", "%s must not be empty", at)
		return
	}
	if v.kind == stringValue && schema.HasMark(v.text) {
		what += " is " + article(refType(v.text)) + ", which"
	}
	d.find(v.pos(d.file), at, hint, "%s: %s is not %s", at, what, m.wants())
}

func isNumberOrBool(v *value) bool {
	return v.kind == boolValue || v.kind == intValue || v.kind == floatValue
}

func article(typ string) string {
	if strings.HasPrefix(typ, "int") {
		return "an " + typ
	}
	return "a " + typ
}

// emit writes canonical JSON, sorted by key, with the schema's defaults filled
// in. v is nil where the field is left out.
func (d *document) emit(buf *bytes.Buffer, v *value, m *model) {
	switch {
	case v == nil && m.fill != "":
		buf.WriteString(m.fill)
	case v == nil && m.shape == list:
		buf.WriteString("[]")
	case m.shape == fields:
		d.emitFields(buf, v, m)
	case v == nil:
		buf.WriteString("{}")
	case v.kind == mapValue:
		d.emitMap(buf, v, m)
	case v.kind == listValue:
		buf.WriteByte('[')
		for i, item := range v.items {
			if i > 0 {
				buf.WriteByte(',')
			}
			d.emit(buf, item, m.elem)
		}
		buf.WriteByte(']')
	case v.kind == stringValue && (m.File || m.Folder):
		name, _ := within(d.folder(v), strings.TrimSuffix(v.text, "/"))
		buf.Write(quote(name))
	case v.kind == stringValue:
		buf.Write(quote(v.text))
	default:
		buf.WriteString(v.text)
	}
}

func (d *document) emitFields(buf *bytes.Buffer, v *value, m *model) {
	buf.WriteByte('{')
	first := true
	for _, f := range m.sorted {
		item := v.get(f.name)
		if item == nil && (f.optional || f.Required) {
			continue
		}
		if !first {
			buf.WriteByte(',')
		}
		first = false
		buf.Write(quote(f.name))
		buf.WriteByte(':')
		d.emit(buf, item, f)
	}
	buf.WriteByte('}')
}

func (d *document) emitMap(buf *bytes.Buffer, v *value, m *model) {
	order := make([]int, len(v.keys))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(v.keys[a].name, v.keys[b].name) })
	buf.WriteByte('{')
	for n, i := range order {
		if n > 0 {
			buf.WriteByte(',')
		}
		buf.Write(quote(v.keys[i].name))
		buf.WriteByte(':')
		d.emit(buf, v.items[i], m.elem)
	}
	buf.WriteByte('}')
}

// quote is a JSON string without HTML escaping.
func quote(s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'})
}
