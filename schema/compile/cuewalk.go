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
	s := r.nearby(v, r.top())
	if depth == 1 && r.root != nil {
		s = *r.root
	}
	r.walk(v, depth, s, found, wrong)
}

func (r *cueReader) walk(v cue.Value, depth int, s spot, found, wrong func(cue.Value)) {
	r.spot = s
	if depth > r.limits.Depth {
		r.find(v, s, "", "nested deeper than %d levels", r.limits.Depth)
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
	switch it, what := partsOf(v); what {
	case cue.ListKind:
		r.walkList(v, it, depth, s, found, wrong)
	case cue.StructKind:
		r.walkFields(v, it, depth, s, found, wrong)
	default:
		wrong(v)
	}
}

// partsOf are the elements of a list or the regular fields of a struct, also of
// one that has errors; BottomKind if it is neither.
func partsOf(v cue.Value) (*cue.Iterator, cue.Kind) {
	if v.IncompleteKind() != cue.StructKind {
		if it, err := v.List(); err == nil {
			return &it, cue.ListKind
		}
	}
	it, err := v.Fields()
	if err != nil {
		return nil, cue.BottomKind
	}
	if v.IncompleteKind() == cue.StructKind {
		return it, cue.StructKind
	}
	if first, err := v.Fields(); err == nil && first.Next() && first.Selector().LabelType() == cue.IndexLabel {
		return it, cue.ListKind
	}
	return it, cue.StructKind
}

func (r *cueReader) walkFields(v cue.Value, it *cue.Iterator, depth int, s spot, found, wrong func(cue.Value)) {
	if r.declares(v) {
		found(v)
		return
	}
	if len(ownErrors(v)) > 0 {
		wrong(v)
	}
	written := r.members(s.exprs)
	for it.Next() {
		if isRequired(it) && !it.Value().Exists() {
			continue
		}
		at, ok := written[it.Selector().Unquoted()]
		if !ok {
			at = r.nearby(it.Value(), s)
		}
		r.walk(it.Value(), depth+1, at, found, wrong)
	}
}

func (r *cueReader) walkList(v cue.Value, it *cue.Iterator, depth int, s spot, found, wrong func(cue.Value)) {
	if len(ownErrors(v)) > 0 {
		wrong(v)
	}
	written := r.elements(s.exprs)
	for i := 0; it.Next(); i++ {
		var at spot
		if i < len(written) {
			at = written[i]
		} else {
			at = r.nearby(it.Value(), s)
		}
		r.walk(it.Value(), depth+1, at, found, wrong)
	}
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
