package compile

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// narrowed is m where the schema is also e: an operator asks more of the input
// of a template that is not his own. CUE knows that already; this is for words.
// m may be shared, and is left as it is.
func (m *model) narrowed(e ast.Expr, defs *definitions) *model {
	own := *m
	switch x := e.(type) {
	case *ast.StructLit:
		own.narrowFields(x, defs)
		return &own
	case *ast.ListLit:
		for _, elt := range x.Elts {
			if more, ok := elt.(*ast.Ellipsis); ok && more.Type != nil && m.shape == list {
				own.elem = m.elem.narrowed(more.Type, defs)
			}
		}
		return &own
	case *ast.Ident:
		if x.Name == "_" {
			return &own
		}
		if lit := defs.lits[x.Name]; lit != nil {
			own.narrowFields(lit, defs)
			return &own
		}
	}
	own.narrow = append(slices.Clip(m.narrow), narrowing(e, defs))
	if strings.Contains(own.Type, " | ") {
		own.Type = "(" + own.Type + ")"
	}
	own.Type += " & " + typeOf(e)
	return &own
}

func (m *model) narrowFields(lit *ast.StructLit, defs *definitions) {
	if m.shape != fields && m.shape != mapping {
		return
	}
	m.fields, m.sorted, m.byName = slices.Clone(m.fields), slices.Clone(m.sorted), maps.Clone(m.byName)
	for _, decl := range lit.Elts {
		f, ok := decl.(*ast.Field)
		if !ok {
			continue
		}
		if pattern, ok := f.Label.(*ast.ListLit); ok && len(pattern.Elts) == 1 && m.shape == mapping {
			m.elem = m.elem.narrowed(f.Value, defs)
			continue
		}
		name, _, err := ast.LabelName(f.Label)
		old := m.byName[name]
		if err != nil || old == nil {
			continue
		}
		child := old.narrowed(f.Value, defs)
		if f.Constraint == token.NOT {
			child.Required, child.optional = true, false
		}
		m.byName[name] = child
		m.fields[slices.Index(m.fields, old)] = child
		m.sorted[slices.Index(m.sorted, old)] = child
	}
}

// narrowing completes "that is also".
func narrowing(e ast.Expr, defs *definitions) string {
	switch x := e.(type) {
	case *ast.Ident:
		if words := defs.words(x); words != "" {
			return words
		}
	case *ast.UnaryExpr:
		if words := map[token.Token]string{
			token.GEQ: "at least ", token.LEQ: "at most ", token.GTR: "more than ", token.LSS: "less than ", token.NEQ: "other than ",
		}[x.Op]; words != "" {
			return words + typeOf(x.X)
		}
	}
	return strings.TrimSpace(wants(e))
}

// wants completes "… is not".
func (m *model) wants() string {
	words := cmp.Or(m.words, wants(m.expr))
	if len(m.narrow) > 0 {
		words += " that is also " + strings.Join(m.narrow, " and ")
	}
	return words
}
