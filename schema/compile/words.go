package compile

import (
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"
)

// named are the shared types of the schema, for people.
var named = map[string]struct{ typ, words string }{
	"#Name":     {"name", "a name (lower-case letters, digits and inner hyphens, at most 63)"},
	"#Duration": {"duration", `a duration such as "30s" (units ms, s, m, h, d)`},
	"#Scalar":   {"string | number | bool", "a string, a number or a bool"},
	"#Date":     {"date", "a date such as 2027-01-31"},
	"#Action":   {`"create" | "update" | "replace" | "delete"`, `one of "create", "update", "replace", "delete"`},
	"#Any":      {"anything", "anything"},
	"#Metadata": {"metadata", "metadata"},
}

// typeOf is an expression of a schema for people who know no CUE: defaults and
// the demand not to be empty are left out.
func typeOf(expr ast.Expr) string {
	switch x := expr.(type) {
	case *ast.StructLit:
		if elem := patternOf(x); elem != nil {
			return "{[string]: " + typeOf(elem) + "}"
		}
		return "{...}"
	case *ast.ListLit:
		var parts []string
		for _, e := range x.Elts {
			if more, ok := e.(*ast.Ellipsis); ok {
				parts = append(parts, "..."+typeOf(more.Type))
			} else {
				parts = append(parts, typeOf(e))
			}
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case *ast.BinaryExpr:
		if x.Op == token.OR || x.Op == token.AND {
			return strings.Join(each(alternatives(x, x.Op), typeOf), " "+x.Op.String()+" ")
		}
	case *ast.UnaryExpr:
		if x.Op == token.MUL {
			return typeOf(x.X)
		}
	case *ast.SelectorExpr, *ast.Ident:
		if n, ok := named[lastName(x)]; ok {
			return n.typ
		}
	}
	b, err := format.Node(expr)
	if err != nil {
		return "value"
	}
	return string(b)
}

// wants completes "… is not".
func wants(expr ast.Expr) string {
	switch x := expr.(type) {
	case *ast.StructLit:
		return "a mapping"
	case *ast.ListLit:
		if _, open := x.Elts[0].(*ast.Ellipsis); !open {
			return "a list with at least one element"
		}
		return "a list"
	case *ast.BinaryExpr:
		if x.Op == token.AND {
			return bounded(alternatives(x, token.AND))
		}
		all := alternatives(x, token.OR)
		if !slices.ContainsFunc(all, func(e ast.Expr) bool { return !isLiteral(e) }) {
			return "one of " + strings.Join(each(all, typeOf), ", ")
		}
		return strings.Join(each(all, wants), " or ")
	case *ast.UnaryExpr:
		switch x.Op {
		case token.MUL:
			return wants(x.X)
		case token.MAT:
			return "a string that matches " + unquoted(x.X)
		}
	case *ast.SelectorExpr, *ast.Ident:
		switch name := lastName(x); name {
		case "string", "bool":
			return "a " + name
		case "int":
			return "an int"
		case "number", "float":
			return "a number"
		default:
			if n, ok := named[name]; ok {
				return n.words
			}
		}
	}
	return typeOf(expr)
}

// bounded words a conjunction: "an int from 1 to 65535".
func bounded(all []ast.Expr) string {
	words, low, high := "", "", ""
	for _, e := range all {
		u, ok := e.(*ast.UnaryExpr)
		if !ok {
			words = wants(e)
			continue
		}
		switch bound := typeOf(u.X); u.Op {
		case token.GEQ:
			low = bound
		case token.LEQ:
			high = bound
		}
	}
	switch {
	case low != "" && high != "":
		return words + " from " + low + " to " + high
	case low != "":
		return words + " of at least " + low
	case high != "":
		return words + " of at most " + high
	}
	return words
}

// alternatives are the operands of a chain of op, without what says nothing to
// people: a default among things that are no literals, and !="".
func alternatives(expr ast.Expr, op token.Token) []ast.Expr {
	var all []ast.Expr
	var walk func(ast.Expr)
	walk = func(e ast.Expr) {
		if b, ok := e.(*ast.BinaryExpr); ok && b.Op == op {
			walk(b.X)
			walk(b.Y)
			return
		}
		all = append(all, e)
	}
	walk(expr)
	mixed := slices.ContainsFunc(all, func(e ast.Expr) bool { return !isLiteral(e) })
	return slices.DeleteFunc(all, func(e ast.Expr) bool {
		u, ok := e.(*ast.UnaryExpr)
		return ok && (mixed && u.Op == token.MUL || u.Op == token.NEQ)
	})
}

func isLiteral(e ast.Expr) bool {
	if u, ok := e.(*ast.UnaryExpr); ok && u.Op == token.MUL {
		e = u.X
	}
	_, ok := e.(*ast.BasicLit)
	return ok
}

func patternOf(lit *ast.StructLit) ast.Expr {
	for _, e := range lit.Elts {
		if f, ok := e.(*ast.Field); ok {
			if _, ok := f.Label.(*ast.ListLit); ok {
				return f.Value
			}
		}
	}
	return nil
}

func lastName(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		name, _, _ := ast.LabelName(x.Sel)
		return name
	}
	return ""
}

func unquoted(e ast.Expr) string {
	if lit, ok := e.(*ast.BasicLit); ok {
		if s, err := literal.Unquote(lit.Value); err == nil {
			return s
		}
	}
	return typeOf(e)
}

func each[T any](in []T, f func(T) string) []string {
	var out []string
	for _, x := range in {
		out = append(out, f(x))
	}
	return out
}
