package compile

import (
	"encoding/json"
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// expr is the JSON Schema of an expression of a CUE schema.
func (w *schemaWriter) expr(e ast.Expr) node {
	switch x := e.(type) {
	case *ast.StructLit:
		return w.structure(x)
	case *ast.ListLit:
		return w.list(x)
	case *ast.BinaryExpr:
		if x.Op == token.AND {
			return w.all(alternativesOf(x, token.AND))
		}
		return w.any(alternativesOf(x, token.OR))
	case *ast.UnaryExpr:
		return w.bound(x)
	case *ast.BasicLit:
		return node{"const": literalOf(x)}
	case *ast.Ident:
		return w.ident(x.Name)
	case *ast.SelectorExpr:
		return node{"$ref": "#/$defs/" + strings.TrimPrefix(lastName(x), "#")}
	}
	return node{}
}

func (w *schemaWriter) ident(name string) node {
	switch name {
	case "string":
		return node{"type": "string"}
	case "bool":
		return node{"type": "boolean"}
	case "int":
		return node{"type": "integer"}
	case "number", "float":
		return node{"type": "number"}
	case "_":
		return node{}
	}
	return node{"$ref": "#/$defs/" + w.defName(name)}
}

func (w *schemaWriter) structure(lit *ast.StructLit) node {
	n := node{"type": "object", "additionalProperties": false}
	properties, required := node{}, []string{}
	var excluded []node
	for _, e := range lit.Elts {
		f, ok := e.(*ast.Field)
		if !ok {
			continue
		}
		if pattern, ok := f.Label.(*ast.ListLit); ok && len(pattern.Elts) == 1 {
			n["additionalProperties"] = w.field(f)
			continue
		}
		name, _, err := ast.LabelName(f.Label)
		if err != nil || strings.HasPrefix(name, "#") {
			continue
		}
		properties[name] = w.field(f)
		if f.Constraint.String() == "!" {
			required = append(required, name)
		}
		for _, other := range strings.Fields(attributes(f.Attrs)["excludes"]) {
			excluded = append(excluded, node{"not": node{"required": []string{name, other}}})
		}
	}
	if len(properties) > 0 {
		n["properties"] = properties
	}
	if len(required) > 0 {
		n["required"] = required
	}
	if len(excluded) > 0 {
		n["allOf"] = excluded
	}
	var one []node
	for _, name := range strings.Fields(declared(lit)["oneof"]) {
		one = append(one, node{"required": []string{name}})
	}
	if one != nil {
		n["oneOf"] = one
	}
	return n
}

// field is a field's schema, with what is said of it, and with references where
// it takes them.
func (w *schemaWriter) field(f *ast.Field) node {
	n := w.expr(f.Value)
	attrs := attributes(f.Attrs)
	plain := slices.ContainsFunc([]string{"address", "file", "folder"}, func(a string) bool { _, ok := attrs[a]; return ok })
	if !plain && w.pkg != "." {
		n = referable(n)
	}
	describe(n, docOf(f))
	return n
}

// referable lets a schema accept a reference too, where it does not yet.
func referable(n node) node {
	if n["type"] == "string" && n["pattern"] == nil || n["type"] == "object" || len(n) == 0 {
		return n
	}
	out := node{"anyOf": []node{n, {"$ref": referText}}}
	if d, ok := n["default"]; ok {
		out["default"] = d
		delete(n, "default")
	}
	return out
}

func (w *schemaWriter) list(lit *ast.ListLit) node {
	n := node{"type": "array"}
	var head []node
	for _, e := range lit.Elts {
		if more, ok := e.(*ast.Ellipsis); ok {
			n["items"] = w.element(more.Type)
		} else {
			head = append(head, w.element(e))
		}
	}
	if head != nil {
		n["prefixItems"], n["minItems"] = head, len(head)
	}
	return n
}

func (w *schemaWriter) element(e ast.Expr) node {
	if w.pkg == "." {
		return w.expr(e)
	}
	return referable(w.expr(e))
}

// any is a choice.
func (w *schemaWriter) any(all []ast.Expr) node {
	n := node{}
	var literals []any
	var others []node
	for _, e := range all {
		if u, ok := e.(*ast.UnaryExpr); ok && u.Op == token.MUL {
			lit, isLit := u.X.(*ast.BasicLit)
			if isLit {
				n["default"] = literalOf(lit)
			}
			if e = u.X; isLit && slices.ContainsFunc(all, func(e ast.Expr) bool { return !isLiteral(e) }) {
				continue // the others accept their default
			}
		}
		if lit, ok := e.(*ast.BasicLit); ok {
			literals = append(literals, literalOf(lit))
		} else {
			others = append(others, w.expr(e))
		}
	}
	if literals != nil {
		others = append(others, node{"enum": literals})
	}
	if len(others) > 1 {
		n["anyOf"] = others
		return n
	}
	for k, v := range others[0] {
		n[k] = v
	}
	return n
}

// all is what each of the expressions demands. They are few and of one type.
func (w *schemaWriter) all(parts []ast.Expr) node {
	n := node{}
	for _, e := range parts {
		for k, v := range w.expr(e) {
			if k == "type" && n["type"] == "integer" {
				continue // >=1 says number
			}
			n[k] = v
		}
	}
	return n
}

func (w *schemaWriter) bound(x *ast.UnaryExpr) node {
	limit := func(key string) node {
		n := node{"type": "number"}
		if lit, ok := x.X.(*ast.BasicLit); ok {
			n[key] = literalOf(lit)
		}
		return n
	}
	switch x.Op {
	case token.MAT:
		return node{"type": "string", "pattern": unquoted(x.X)}
	case token.NMAT:
		return node{"type": "string", "not": node{"pattern": unquoted(x.X)}}
	case token.NEQ:
		return node{"type": "string", "minLength": 1}
	case token.GEQ:
		return limit("minimum")
	case token.LEQ:
		return limit("maximum")
	case token.GTR:
		return limit("exclusiveMinimum")
	case token.LSS:
		return limit("exclusiveMaximum")
	}
	return w.expr(x.X) // *x
}

// alternativesOf are the operands of a chain of op, all of them.
func alternativesOf(e ast.Expr, op token.Token) []ast.Expr {
	if b, ok := e.(*ast.BinaryExpr); ok && b.Op == op {
		return append(alternativesOf(b.X, op), alternativesOf(b.Y, op)...)
	}
	if p, ok := e.(*ast.ParenExpr); ok {
		return alternativesOf(p.X, op)
	}
	return []ast.Expr{e}
}

func literalOf(lit *ast.BasicLit) any {
	switch lit.Kind {
	case token.STRING:
		return unquoted(lit)
	case token.TRUE, token.FALSE:
		return lit.Kind == token.TRUE
	case token.NULL:
		return nil
	}
	return json.Number(lit.Value)
}
