package compile

import (
	"slices"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/cueload"
)

// A value of CUE is made of conjuncts: what the user wrote, what a definition
// of his adds, what a schema demands. Which of them its position is taken from
// is up to CUE. What a person wants to be shown is what he wrote in this place;
// so a value is followed along the syntax tree of the place where its resource
// stands, which costs nothing, and CUE is asked only where that leads no
// further: where a reference, a comprehension or a library made the value.

// spot is where a value stands in the files of the tree.
type spot struct {
	key, at schema.Pos // of its label, and of itself
	exprs   []ast.Expr // what stands there
	own     bool       // of itself, and not of what it stands in
	lines   lines      // that the field takes up
}

// lines are parts of files.
type lines []span

type span struct {
	file     string
	from, to int
}

func (l lines) hold(p schema.Pos) bool {
	return slices.ContainsFunc(l, func(s span) bool { return p.File == s.file && s.from <= p.Line && p.Line <= s.to })
}

// lines are those that a part of a file takes up.
func (r *cueReader) lines(n ast.Node) lines {
	from, ok := r.placed(n.Pos())
	if !ok {
		return nil
	}
	return lines{{from.File, from.Line, n.End().Line()}}
}

// placed is the place of an expression in the files of the tree; false where it
// stands in a schema.
func (r *cueReader) placed(p token.Pos) (schema.Pos, bool) {
	if !p.IsValid() || r.tree != nil && !r.tree[p.Filename()] || !cueload.Own(p.Filename()) {
		return schema.Pos{}, false
	}
	return schema.Pos{File: relative(r.base, p.Filename()), Line: p.Line(), Col: p.Column()}, true
}

// spotOf asks CUE where a value stands; up is what it stands in.
func (r *cueReader) spotOf(v cue.Value, up spot) spot {
	if r.place != nil {
		at := r.place(v)
		return spot{key: at, at: at, own: true}
	}
	switch src := v.Source().(type) {
	case *ast.Field:
		if s, ok := r.spotAt(src, src.Label.Pos(), src.Value); ok {
			return s
		}
	case ast.Expr:
		if s, ok := r.spotAt(src, src.Pos(), src); ok {
			return s
		}
	}
	if at, ok := r.placed(v.Pos()); ok {
		return spot{key: at, at: at, own: true}
	}
	if v.IncompleteKind()&(cue.StructKind|cue.ListKind) == 0 {
		for _, part := range conjuncts(v) {
			if s := r.sourceOf(part); s.own {
				return s
			}
		}
	}
	return spot{key: up.key, at: up.at, lines: up.lines}
}

// sourceOf is the spot of one conjunct.
func (r *cueReader) sourceOf(part cue.Value) spot {
	if f, ok := part.Source().(*ast.Field); ok {
		if s, ok := r.spotAt(f, f.Label.Pos(), f.Value); ok {
			return s
		}
	}
	at, ok := r.placed(part.Pos())
	return spot{key: at, at: at, own: ok}
}

func (r *cueReader) spotAt(n ast.Node, label token.Pos, e ast.Expr) (spot, bool) {
	key, ok := r.placed(label)
	at, is := r.placed(e.Pos())
	if !ok || !is {
		return spot{}, false
	}
	return spot{key: key, at: at, exprs: []ast.Expr{e}, own: true, lines: r.lines(n)}, true
}

// nearby is the spot of a field among those that declarations walks through.
// What a library says is placed where the package uses it.
func (r *cueReader) nearby(v cue.Value, up spot) spot {
	s := r.spotOf(v, up)
	if r.near != nil && s.own && !r.near(s.at.File) {
		s.key, s.at, s.lines, s.own = up.key, up.at, up.lines, false
	}
	return s
}

// conjuncts are what a value that no literal alone makes is made of.
func conjuncts(v cue.Value) []cue.Value {
	op, parts := v.Expr()
	if op != cue.AndOp {
		return nil
	}
	return parts
}

// members are the fields that literals among exprs write out, by name.
func (r *cueReader) members(exprs []ast.Expr) map[string]spot {
	var all map[string]spot
	for _, e := range exprs {
		eachField(e, 0, func(f *ast.Field) {
			name, _, err := ast.LabelName(f.Label)
			if err != nil {
				return
			}
			s, ok := r.spotAt(f, f.Label.Pos(), f.Value)
			if !ok {
				return
			}
			if all == nil {
				all = map[string]spot{}
			}
			if first, ok := all[name]; ok {
				s.key, s.at, s.exprs, s.lines = first.key, first.at, append(first.exprs, s.exprs...), append(first.lines, s.lines...)
			}
			all[name] = s
		})
	}
	return all
}

// maxNested bounds how far literals are looked for in an expression.
const maxNested = 100

// eachField calls f with the fields of the structs that an expression is made
// of: its operands, what it embeds, and what comprehensions in it yield.
func eachField(e ast.Expr, depth int, f func(*ast.Field)) {
	if depth > maxNested {
		return
	}
	switch x := e.(type) {
	case *ast.BinaryExpr:
		if x.Op == token.AND {
			eachField(x.X, depth+1, f)
			eachField(x.Y, depth+1, f)
		}
	case *ast.ParenExpr:
		eachField(x.X, depth+1, f)
	case *ast.StructLit:
		for _, d := range x.Elts {
			switch d := d.(type) {
			case *ast.Field:
				f(d)
			case *ast.EmbedDecl:
				eachField(d.Expr, depth+1, f)
			case *ast.Comprehension:
				eachField(d.Value, depth+1, f)
			}
		}
	}
}

// elements are what a list literal writes out, up to a comprehension.
func (r *cueReader) elements(exprs []ast.Expr) []spot {
	if len(exprs) != 1 {
		return nil
	}
	lit, ok := exprs[0].(*ast.ListLit)
	if !ok {
		return nil
	}
	var all []spot
	for _, e := range lit.Elts {
		if _, made := e.(*ast.Comprehension); made {
			break
		}
		s, ok := r.spotAt(e, e.Pos(), e)
		if !ok {
			break
		}
		all = append(all, s)
	}
	return all
}
