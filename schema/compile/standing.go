package compile

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// standing is one string of a spec whose references to uses are replaced.
type standing struct {
	table    *useTable
	resource *schema.Resource
	field    *schema.FieldRef
	within   []string // outputs that are being replaced, outermost first
}

// whole answers what stands in the field instead: a text, which may hold
// references to resources, or another value of JSON. false: there is a finding,
// or will be once what is broken is mended.
func (s *standing) whole() (any, bool) {
	v, ok := s.value(s.field.Text)
	if !ok {
		return nil, false
	}
	return v, s.fits(v)
}

// value replaces the references in a text.
func (s *standing) value(text string) (any, bool) {
	t, err := schema.ParseText(text)
	if err != nil {
		return nil, s.refuse("", "%s", err)
	}
	if only, single := t.Single(); single {
		if !isTemplate(only.ID.Kind) {
			return text, true
		}
		return s.output(only)
	}
	var b strings.Builder
	for _, seg := range t {
		switch {
		case seg.Ref == nil:
			b.WriteString(escape(seg.Lit))
		case !isTemplate(seg.Ref.ID.Kind):
			b.WriteString("@{" + seg.Ref.String() + "}")
		default:
			v, ok := s.output(*seg.Ref)
			if !ok {
				return nil, false
			}
			part, scalar := inText(v)
			if !scalar {
				return nil, s.refuse("", "@{%s}: inside a longer string only a scalar can stand", seg.Ref)
			}
			b.WriteString(part)
		}
		if b.Len() > maxOutputText {
			return nil, s.refuse("", "with outputs of templates in its place it is longer than %d KiB", maxOutputText>>10)
		}
	}
	return b.String(), true
}

// escape writes literal text as ParseText reads it.
func escape(lit string) string { return strings.ReplaceAll(lit, "@{", "@@{") }

// inText is an output as part of a longer text.
func inText(v any) (string, bool) {
	switch x := v.(type) {
	case string:
		t, err := schema.ParseText(x)
		if err != nil {
			return "", false
		}
		if only, single := t.Single(); single && only.Path == "" {
			if k, ok := schema.KindOf(only.ID.Kind); ok {
				if out, fixed := k.Output(only.Output); fixed && !scalarTypes[out.Type] {
					return "", false
				}
			}
		}
		return x, true
	case json.Number:
		return x.String(), true
	case bool:
		return strconv.FormatBool(x), true
	}
	return "", false
}

// output is what a reference to a use stands for.
func (s *standing) output(r schema.Ref) (any, bool) {
	u, ok := s.table.find(s.resource, r.ID, s.field.Pos, "refers to ")
	if !ok {
		return nil, false
	}
	raw, ok := u.Outputs[r.Output]
	if !ok {
		var names []string
		for name := range u.Outputs {
			names = append(names, name)
		}
		slices.Sort(names)
		hint := didYouMean(closest(r.Output, names))
		if hint == "" && len(names) > 0 {
			hint = r.ID.Short() + " has " + strings.Join(names, ", ")
		}
		return nil, s.refuse(hint, "@{%s}: %s has no output %s", r, r.ID.Short(), r.Output)
	}
	at := r.ID.Short() + "." + r.Output
	if slices.Contains(s.within, at) || len(s.within) == maxOutputDepth {
		return nil, s.refuse("", "@{%s}: outputs that refer to each other: %s", r, strings.Join(append(slices.Clone(s.within), at), " -> "))
	}
	s.within = append(s.within, at)
	defer func() { s.within = s.within[:len(s.within)-1] }()
	v, ok := s.nested(decode(raw))
	if !ok {
		return nil, false
	}
	return s.below(r, v)
}

// nested replaces the references in all texts of a value.
func (s *standing) nested(v any) (_ any, ok bool) {
	switch x := v.(type) {
	case string:
		return s.value(x)
	case []any:
		for i := range x {
			if x[i], ok = s.nested(x[i]); !ok {
				return nil, false
			}
		}
	case map[string]any:
		for k := range x {
			if x[k], ok = s.nested(x[k]); !ok {
				return nil, false
			}
		}
	}
	return v, true
}

func decode(raw json.RawMessage) (v any) {
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		panic(err) // sortedJSON wrote it
	}
	return v
}

// below follows the path of a reference into an output.
func (s *standing) below(r schema.Ref, v any) (any, bool) {
	if text, isText := v.(string); isText && r.Path != "" {
		if t, err := schema.ParseText(text); err == nil {
			if only, single := t.Single(); single {
				only.Path += r.Path
				return "@{" + only.String() + "}", true
			}
		}
	}
	for _, step := range r.Path.Steps() {
		switch x := v.(type) {
		case map[string]any:
			v = x[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(x) {
				v = nil
				break
			}
			v = x[i]
		default:
			v = nil
		}
		if v == nil {
			return nil, s.refuse("", "@{%s}: the output %s holds no %s", r, r.Output, r.Path)
		}
	}
	return v, true
}

// fits checks type and secrecy of what stands in the field.
func (s *standing) fits(v any) bool {
	text, isText := v.(string)
	if !isText {
		for _, f := range refsIn(v, *s.field) {
			if t, err := schema.ParseText(f.Text); err == nil && !s.field.Secret && slices.ContainsFunc(t.Refs(), secretRef) {
				return s.refuse("a secret flows only into a field that takes secrets", "%s holds the secret %s, and this field takes none", s.field.Text, f.Text)
			}
		}
		return s.takes(jsonType(v))
	}
	t, err := schema.ParseText(text)
	if err != nil {
		return s.refuse("", "%s", err)
	}
	only, single := t.Single()
	for _, r := range t.Refs() {
		k, ok := schema.KindOf(r.ID.Kind)
		if !ok {
			continue
		}
		out, fixed := k.Output(r.Output)
		switch {
		case !fixed: // the graph says, from FieldRef.Takes
		case out.Secret && !s.field.Secret:
			return s.refuse("a secret flows only into a field that takes secrets", "@{%s} is a secret, and this field takes none", r)
		case single && r.Path == "" && !s.takes(outputType(out.Type)):
			return false
		case r.Path != "" && scalarTypes[out.Type]:
			return s.refuse("", "@{%s}: the output %s is %s and holds nothing below it", r, r.Output, article(out.Type))
		}
	}
	k, known := schema.KindOf(only.ID.Kind)
	if single && known {
		if _, fixed := k.Output(only.Output); fixed {
			s.field.Takes = nil // it was said
		}
	} else {
		own := s.takes("string")
		s.field.Takes = nil
		return own
	}
	return true
}

// secretRef says whether a reference is to a secret that every resource of a
// kind has.
func secretRef(r schema.Ref) bool {
	k, ok := schema.KindOf(r.ID.Kind)
	if !ok {
		return false
	}
	out, _ := k.Output(r.Output)
	return out.Secret
}

// refsIn are the texts in a value that hold references, as those of a field.
func refsIn(v any, f schema.FieldRef) (all []schema.FieldRef) {
	at := func(step string) schema.FieldRef {
		below := f
		below.Path, below.Takes = f.Path.Child(step), nil
		return below
	}
	switch x := v.(type) {
	case string:
		if schema.HasMark(x) {
			f.Text = x
			all = append(all, f)
		}
	case []any:
		for i := range x {
			all = append(all, refsIn(x[i], at(strconv.Itoa(i)))...)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(x)) {
			all = append(all, refsIn(x[k], at(k))...)
		}
	}
	return all
}

// takes says whether the field takes a type; "" is not known.
func (s *standing) takes(typ string) bool {
	if typ == "" || s.field.Takes == nil || slices.Contains(s.field.Takes, typ) {
		return true
	}
	return s.refuse("", "%s is a %s, and this field takes %s", s.field.Text, typ, strings.Join(s.field.Takes, " or "))
}

// outputType is the type of a kind's output in the words of FieldRef.Takes.
func outputType(typ string) string {
	switch {
	case typ == "int" || typ == "number":
		return "number"
	case typ == "string" || typ == "bool":
		return typ
	case strings.HasPrefix(typ, "["):
		return "list"
	case strings.HasPrefix(typ, "{"):
		return "map"
	}
	return ""
}

func jsonType(v any) string {
	switch v.(type) {
	case json.Number:
		return "number"
	case bool:
		return "bool"
	case []any:
		return "list"
	case map[string]any:
		return "map"
	}
	return ""
}

// refuse reports at the field; it answers false.
func (s *standing) refuse(hint, format string, args ...any) bool {
	at := "/spec" + s.field.Path
	s.table.report(s.resource, s.field.Pos, hint, "%s: %s", at, fmt.Sprintf(format, args...))
	s.table.findings[len(s.table.findings)-1].Path = at
	return false
}
