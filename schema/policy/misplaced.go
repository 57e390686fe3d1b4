package policy

import (
	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"

	"github.com/aplomb-dev/aplomb/schema"
)

// misplaced finds what judges nothing, in a field of a package that is no
// policy, and was probably meant to: a field that is an error, and a policy that
// stands where none is looked for. A slip would let everything pass otherwise.
func (e *evaluator) misplaced(field *cue.Iterator, inst *build.Instance, bundle int) []schema.Diagnostic {
	sel, v := field.Selector(), field.Value()
	hidden := sel.LabelType() == cue.HiddenLabel
	if hidden && refersTo(inst, sel.String()) {
		return nil // others build upon it
	}
	if err := v.Err(); err != nil && !hidden && sel.ConstraintType() == 0 {
		return e.diagnose(err, bundle)
	}
	at, found := policyWithin(v)
	if !found {
		return nil
	}
	return []schema.Diagnostic{{
		Pos: e.place(at, bundle), Message: "a policy must be a field of the package itself: in " + sel.String() + " it would judge nothing",
		Hint: "move it to the top of the package, or make " + sel.String() + " a definition (#NAME) if others build upon it",
	}}
}

// policyWithin finds a policy in a value: the value itself, one of those that it
// may be, or one in its fields and items. Optional fields are not followed: they
// may have no end.
func policyWithin(v cue.Value) (cue.Value, bool) {
	if v.LookupPath(mark).Exists() {
		return v, true
	}
	if op, parts := v.Expr(); op == cue.OrOp {
		for _, part := range parts {
			if part.LookupPath(mark).Exists() {
				return v, true
			}
		}
	}
	if items, err := v.List(); err == nil {
		for items.Next() {
			if at, ok := policyWithin(items.Value()); ok {
				return at, true
			}
		}
		return v, false
	}
	fields, err := v.Fields(cue.Hidden(true))
	if err != nil {
		return v, false
	}
	for fields.Next() {
		if fields.Selector().IsDefinition() {
			continue
		}
		if at, ok := policyWithin(fields.Value()); ok {
			return at, true
		}
	}
	return v, false
}

// refersTo says whether something in a package refers to a field by name.
func refersTo(inst *build.Instance, name string) bool {
	found, labels := false, map[ast.Node]bool{}
	for _, f := range inst.Files {
		ast.Walk(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Field:
				labels[n.Label] = true
			case *ast.Ident:
				found = found || n.Name == name && !labels[n]
			}
			return !found
		}, nil)
	}
	return found
}
