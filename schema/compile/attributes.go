package compile

import (
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// schemaError is what is wrong with a schema, at a place in it.
type schemaError struct {
	pos  token.Pos
	hint string
	msg  string
}

func (e *schemaError) Error() string { return e.msg }

// vocabulary is what @aplomb may say at a place. What is not in it would be
// ignored in silence, with what it was to bring about.
type vocabulary []string

var (
	ofField    = vocabulary{"address", "data", "excludes", "file", "folder", "immutable", "secret"}
	ofStruct   = vocabulary{"oneof"}
	ofKind     = vocabulary{"kind", "layer", "deadline", "data", "outputs", "secrets", "oneof"}
	ofTemplate = vocabulary{"template", "version"}
	ofOutput   = vocabulary{"secret"}
)

// check answers an error for the first argument that v has not.
func (v vocabulary) check(attrs []*ast.Attribute) error {
	args := attributes(attrs)
	if v.is(ofStruct) && args["kind"] != "" {
		v = ofKind
	}
	for _, a := range attrs {
		for _, word := range arguments(a) {
			if slices.Contains(v, word.key) {
				continue
			}
			hint := didYouMean(closest(word.key, v))
			if hint == "" {
				hint = "what can stand here: " + strings.Join(v, ", ")
			}
			return &schemaError{a.Pos(), hint, fmt.Sprintf("@aplomb(%s): nothing is called that here", shorten(word.key))}
		}
	}
	return nil
}

func (v vocabulary) is(other vocabulary) bool { return slices.Equal(v, other) }

// siblings checks that the fields which oneof and excludes name are there.
func (m *model) siblings(lit *ast.StructLit) error {
	check := func(what string, names []string, at token.Pos) error {
		for _, name := range names {
			if m.byName[name] == nil {
				return &schemaError{at, didYouMean(closest(name, m.names())), fmt.Sprintf("@aplomb(%s): there is no field %s beside it", what, shorten(name))}
			}
		}
		return nil
	}
	if err := check("oneof", m.oneof, lit.Pos()); err != nil {
		return err
	}
	for _, decl := range lit.Elts {
		f, ok := decl.(*ast.Field)
		if !ok {
			continue
		}
		if err := check("excludes", strings.Fields(attributes(f.Attrs)["excludes"]), f.Pos()); err != nil {
			return err
		}
	}
	return nil
}

// notField says of what stands among the fields of a schema why it cannot.
func notField(decl ast.Decl) error {
	const hint = "an input is fixed: use refuse or resources for what depends on something"
	what, at := "what is no field", decl.Pos()
	switch decl.(type) {
	case *ast.Comprehension:
		what = "a condition or a loop"
	case *ast.EmbedDecl:
		what = "an embedded value"
	case *ast.Ellipsis:
		what = "..."
	case *ast.LetClause:
		what = "let"
	}
	return &schemaError{at, hint, what + " in a schema: only fields are understood"}
}

// structAttributes are the attributes that stand in a struct.
func structAttributes(lit *ast.StructLit) []*ast.Attribute {
	var attrs []*ast.Attribute
	for _, e := range lit.Elts {
		if a, ok := e.(*ast.Attribute); ok {
			attrs = append(attrs, a)
		}
	}
	return attrs
}

// declared are the arguments of a struct's own attributes.
func declared(lit *ast.StructLit) map[string]string { return attributes(structAttributes(lit)) }

// attributes are the arguments of @aplomb(flag, key=value, key="value").
func attributes(attrs []*ast.Attribute) map[string]string {
	args := map[string]string{}
	for _, a := range attrs {
		for _, arg := range arguments(a) {
			args[arg.key] = arg.value
		}
	}
	return args
}

type argument struct{ key, value string }

func arguments(a *ast.Attribute) (all []argument) {
	name, body := a.Split()
	if name != "aplomb" {
		return nil
	}
	for arg := range strings.SplitSeq(body, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(arg), "=")
		all = append(all, argument{strings.TrimSpace(k), strings.Trim(strings.TrimSpace(v), `"`)})
	}
	return all
}
