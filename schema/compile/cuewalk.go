package compile

import (
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/errors"

	"github.com/aplomb-dev/aplomb/schema"
)

// declarations calls found for every declaration in v, at any depth of structs
// and lists: a struct with regular fields apiVersion and kind, or one that
// lacks one of them and is a declaration by the other. It does not look into
// those. What has an error of its own, so that nobody can say what it declares,
// is answered by wrong.
func (r *cueReader) declarations(v cue.Value, depth int, found, wrong func(cue.Value)) {
	if depth > r.limits.Depth {
		r.find(v, r.spotOf(v, spot{}), "", "nested deeper than %d levels", r.limits.Depth)
		return
	}
	if d, ok := v.Default(); ok && v.Err() == nil {
		v = d
	}
	switch v.IncompleteKind() {
	case cue.BottomKind:
		if scalarToBe(v) {
			return
		}
	case cue.StructKind, cue.ListKind:
	default:
		return // no part of it is a struct, or everything may be
	}
	if it, err := v.Fields(); err == nil {
		if r.declares(v) {
			found(v)
			return
		}
		if len(ownErrors(v)) > 0 {
			wrong(v)
		}
		for it.Next() {
			if !isRequired(it) || it.Value().Exists() {
				r.declarations(it.Value(), depth+1, found, wrong)
			}
		}
		return
	}
	if it, err := v.List(); err == nil {
		for it.Next() {
			r.declarations(it.Value(), depth+1, found, wrong)
		}
		return
	}
	wrong(v)
}

var (
	apiVersionPath = cue.MakePath(cue.Str("apiVersion"))
	kindPath       = cue.MakePath(cue.Str("kind"))
)

// declares says whether a struct is a declaration.
func (r *cueReader) declares(v cue.Value) bool {
	version, kind := v.LookupPath(apiVersionPath), v.LookupPath(kindPath)
	is, of := version.Exists(), kind.Exists()
	if is != of {
		text, err := version.String()
		is = is && err == nil && text == schema.APIVersion
		text, err = kind.String()
		of = of && err == nil && r.kinds[text] != nil
		return is || of
	}
	return is
}

// ownErrors are the errors of a struct itself, rather than of a regular field
// of it: also that it is not known yet which fields it has.
func ownErrors(v cue.Value) []errors.Error {
	err := v.Err()
	if err == nil {
		return nil
	}
	var own []errors.Error
	depth := len(v.Path().Selectors())
	for _, e := range errors.Errors(err) {
		if p := e.Path(); len(p) <= depth || strings.HasPrefix(p[depth], "#") || strings.HasPrefix(p[depth], "_") {
			own = append(own, e)
		}
	}
	return own
}

// scalarToBe says of a value that is not known yet that no struct can come of
// it: text put together, arithmetic, comparisons.
func scalarToBe(v cue.Value) bool {
	if !cue.IsIncomplete(v.Err()) {
		return false
	}
	switch op, _ := v.Expr(); op {
	case cue.InterpolationOp, cue.AddOp, cue.SubtractOp, cue.MultiplyOp, cue.FloatQuotientOp,
		cue.EqualOp, cue.NotEqualOp, cue.LessThanOp, cue.LessThanEqualOp, cue.GreaterThanOp, cue.GreaterThanEqualOp,
		cue.RegexMatchOp, cue.NotRegexMatchOp, cue.BooleanAndOp, cue.BooleanOrOp, cue.NotOp:
		return true
	}
	return false
}
