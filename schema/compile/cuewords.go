package compile

import (
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/errors"

	"github.com/aplomb-dev/aplomb/schema"
)

// find reports what is wrong with v, which is broken then.
func (r *cueReader) find(v cue.Value, s spot, hint, format string, args ...any) *value {
	b := &value{file: s.at.File, line: s.at.Line, col: s.at.Col, nodes: 1, height: 1}
	r.findings = append(r.findings, schema.Diagnostic{Pos: s.at, Path: r.path(v), Message: fmt.Sprintf(format, args...), Hint: hint})
	return b
}

// path is where v stands in the declaration that is read; outside of one, in
// its package.
func (r *cueReader) path(v cue.Value) schema.Path {
	var p schema.Path
	for _, sel := range v.Path().Selectors()[r.outer:] {
		switch {
		case sel.LabelType() == cue.IndexLabel:
			p = p.Index(sel.Index())
		case sel.LabelType() == cue.StringLabel:
			p = p.Child(sel.Unquoted())
		default:
			p = p.Child(sel.String())
		}
	}
	return p
}

// name is the path for people.
func (r *cueReader) name(v cue.Value) string {
	if p := r.path(v); p != "" {
		return p.String()
	}
	return "the package"
}

// model is what is known of the field of a declaration that v is; nil is
// nothing.
func (r *cueReader) model(v cue.Value) *model {
	below, ok := strings.CutPrefix(string(r.path(v)), "/spec")
	if !ok || r.kind == nil {
		return nil
	}
	m := r.kind.spec
	for _, step := range schema.Path(below).Steps() {
		if m = m.child(step); m == nil || m.Secret {
			return m
		}
	}
	return m
}

// hidden says whether nothing of v is to be repeated: it may be a secret.
func (r *cueReader) hidden(v cue.Value) bool {
	m := r.model(v)
	return m != nil && m.Secret
}

// open reports a value of a declaration that is not concrete, where it is
// declared: who wrote what it builds on left it to others.
func (r *cueReader) open(v cue.Value, s spot) *value {
	want := typeText(v)
	if m := r.model(v); m != nil {
		want = wants(m.expr)
	} else if r.path(v) == "/metadata/name" {
		want = named["#Name"].words
	}
	var also []schema.Pos
	if r.spot.lines != nil && !r.spot.lines.hold(s.at) {
		also, s.at = []schema.Pos{s.at}, r.spot.key
	}
	b := r.find(v, s, "give it a value", "%s has no value yet: it wants %s", r.name(v), want)
	r.findings[len(r.findings)-1].Also = also
	return b
}

// typeText is a constraint in one short line, without what a schema adds for
// references and without marks of defaults.
func typeText(v cue.Value) string {
	text := strings.Join(strings.Fields(fmt.Sprint(v)), " ")
	text = strings.ReplaceAll(text, ` | =~"@{"`, "")
	switch text = strings.ReplaceAll(text, "*", ""); text {
	case "_":
		return "anything"
	case "string", "number", "bool", "int":
		return article(text)
	}
	return shorten(text)
}

// contradicted reads a leaf that has an error. Where one literal of the user's
// stands against constraints, it is the value, so that the model can find words
// for it; see clash.
func (r *cueReader) contradicted(v cue.Value, depth int, s spot) *value {
	if format, _ := firstError(v.Err()).Msg(); format == "field not allowed" {
		r.clash(v, s.key, "unknown field "+r.name(v))
		return &value{file: s.at.File, line: s.at.Line, col: s.at.Col, nodes: 1, height: 1}
	}
	if r.place == nil && r.elsewhere(v) {
		before := len(r.findings)
		b := r.wrong(v, s)
		r.derived = append(r.derived, r.findings[before:]...)
		r.findings, r.follows = r.findings[:before], true
		return b
	}
	mine, message := r.against(v)
	if message == "" || r.place != nil {
		return r.wrong(v, s)
	}
	if at := r.sourceOf(mine); at.own && len(s.exprs) == 0 {
		s = at
	}
	if r.hidden(v) {
		message = unfit
	}
	r.clash(v, s.at, r.name(v)+": "+message)
	return r.readAt(mine, depth, s)
}

// unfit is what is said of a value that is not to be repeated.
const unfit = "the value does not fit what else is said of it"

// against finds the literal of the user's in a value that has an error, and
// says what stands against it; "" where there is none.
func (r *cueReader) against(v cue.Value) (mine cue.Value, message string) {
	if v.Err() == nil || cue.IsIncomplete(v.Err()) {
		return mine, ""
	}
	parts := conjuncts(v)
	at := slices.IndexFunc(parts, func(part cue.Value) bool {
		_, own := r.placed(part.Pos())
		return own && sound(part) && scalar(part)
	})
	if at < 0 {
		return mine, ""
	}
	mine = parts[at]
	var others []string
	both := false
	for _, part := range parts {
		if sound(part) && mine.Unify(part).Err() != nil {
			others = append(others, typeText(part))
			both = both || scalar(part)
		}
	}
	if len(others) == 0 {
		return mine, ""
	}
	if both && len(others) == 1 {
		return mine, fmt.Sprintf("%s and %s contradict each other", shorten(fmt.Sprint(mine)), others[0])
	}
	return mine, unfits(fmt.Sprint(mine), others, " and ")
}

func unfits(what string, others []string, between string) string {
	return fmt.Sprintf("%s does not fit %s", shorten(what), shortenTo(strings.Join(others, between), 200))
}

func sound(v cue.Value) bool { return v.Err() == nil && v.IncompleteKind() != cue.BottomKind }

func scalar(v cue.Value) bool {
	return v.IsConcrete() && v.IncompleteKind()&(cue.StructKind|cue.ListKind) == 0
}

func (r *cueReader) clash(v cue.Value, at schema.Pos, message string) {
	r.clashes = append(r.clashes, clash{at: at, path: r.path(v), message: message})
}

// wrong reports a value that has an error and no words of its own.
func (r *cueReader) wrong(v cue.Value, s spot) *value {
	err := v.Err()
	if err == nil {
		return r.open(v, s)
	}
	msg, hint := severalWords(errors.Errors(err))
	return r.tell(v, s, firstError(err), msg, hint)
}

// firstError is the first of errors that says something.
func firstError(err error) errors.Error { return firstOf(errors.Errors(err)) }

func firstOf(all []errors.Error) errors.Error {
	if i := slices.IndexFunc(all, func(e errors.Error) bool { return !isHeading(e) }); i >= 0 {
		return all[i]
	}
	return all[0]
}

// elsewhere says whether what is wrong with v is an error of another field, to
// which v refers: that one is told, and not what follows from it.
func (r *cueReader) elsewhere(v cue.Value) bool {
	var own []string
	for _, sel := range v.Path().Selectors() {
		own = append(own, sel.String())
	}
	for _, e := range errors.Errors(v.Err()) {
		if p := e.Path(); len(p) < len(own) || !slices.Equal(p[:len(own)], own) {
			continue
		}
		return false
	}
	return !cue.IsIncomplete(v.Err())
}

// isHeading says of an error that it only counts those that follow it.
func isHeading(err errors.Error) bool {
	format, _ := err.Msg()
	return strings.HasSuffix(format, "errors in empty disjunction:")
}

// What CUE says of a field that is not there, and of a call of one.
const (
	noField    = "undefined field: %s"
	noFunction = "cannot call non-function %s (type %s)"
)

// isMissing says of an error that it names a field or a function which is not
// there: it holds no value, and nothing that is given later can mend it.
func isMissing(err errors.Error) bool {
	format, args := said(err).Msg()
	return format == noField || format == noFunction && len(args) == 2 && fmt.Sprint(args[1]) == "_|_"
}

// tell reports an error of CUE that v has: where the declaration stands, if
// CUE names a place in it.
func (r *cueReader) tell(v cue.Value, s spot, err errors.Error, msg, hint string) *value {
	if r.place == nil {
		first, ok := schema.Pos{}, false
		for _, p := range errors.Positions(err) {
			at, in := r.placed(p)
			if in && (!ok || r.spot.lines.hold(at) && !r.spot.lines.hold(first)) {
				first, ok = at, true
			}
		}
		if ok && (!s.own || r.spot.lines.hold(first) && !r.spot.lines.hold(s.at)) {
			s.at = first
		}
	}
	if r.hidden(v) && !cue.IsIncomplete(v.Err()) && !isMissing(err) {
		msg, hint = unfit, ""
	}
	b := r.find(v, s, hint, "%s: %s", r.name(v), msg)
	if r.place == nil {
		r.findings[len(r.findings)-1].Also = r.otherPlaces(err, s.at)
	}
	return b
}

// firstPlace is the first place in the tree that an error names.
func (r *cueReader) firstPlace(err errors.Error) (schema.Pos, bool) {
	for _, p := range errors.Positions(err) {
		if at, ok := r.placed(p); ok {
			return at, true
		}
	}
	return schema.Pos{}, false
}

// maxAlso bounds the further places that a finding names.
const maxAlso = 3

// otherPlaces are those in the tree that an error names, on other lines than
// at.
func (r *cueReader) otherPlaces(err errors.Error, at schema.Pos) []schema.Pos {
	var also []schema.Pos
	for _, p := range errors.Positions(err) {
		here, ok := r.placed(p)
		same := func(o schema.Pos) bool { return o.File == here.File && o.Line == here.Line }
		if ok && !same(at) && !slices.ContainsFunc(also, same) && len(also) < maxAlso {
			also = append(also, here)
		}
	}
	return also
}

// severalWords are the words for one value's errors: those of the alternatives
// that it fits none of become one.
func severalWords(all []errors.Error) (msg, hint string) {
	msg, hint = cueWords(firstOf(all))
	if !isHeading(all[0]) {
		return msg, hint
	}
	common := ""
	var others []string
	for _, e := range all[1:] {
		_, args := e.Msg()
		if len(args) < 2 {
			return msg, hint
		}
		a, b := fmt.Sprint(args[0]), fmt.Sprint(args[1])
		switch {
		case common == "" && len(all) > 2:
			_, next := all[2].Msg()
			if len(next) > 1 && (a == fmt.Sprint(next[0]) || a == fmt.Sprint(next[1])) {
				a, b = b, a
			}
			common = b
			others = append(others, a)
		case a == common:
			others = append(others, b)
		case b == common:
			others = append(others, a)
		default:
			return msg, hint
		}
	}
	others = slices.DeleteFunc(others, func(s string) bool { return s == `=~"@{"` })
	if common == "" || len(others) == 0 {
		return msg, hint
	}
	return unfits(common, others, " | "), ""
}

// cueWords are what people are told for an error of CUE.
func cueWords(err errors.Error) (msg, hint string) {
	format, args := said(err).Msg()
	arg := func(i int) string {
		if i >= len(args) {
			return "it"
		}
		return shorten(strings.Join(strings.Fields(fmt.Sprint(args[i])), " "))
	}
	switch format {
	case "conflicting values %s and %s (mismatched types %s and %s)":
		return fmt.Sprintf("%s does not fit %s", arg(0), arg(1)), ""
	case "conflicting values %s and %s":
		return fmt.Sprintf("%s and %s contradict each other", arg(0), arg(1)), ""
	case "invalid value %v (out of bound %s)":
		return fmt.Sprintf("%s does not fit %s", arg(0), arg(1)), ""
	case "field not allowed":
		return "unknown field", ""
	case "reference %q not found":
		return fmt.Sprintf("%s is not defined here", arg(0)), "import the package that defines it, or quote a name that is meant as text"
	case "structural cycle":
		return "it holds itself, without end", ""
	case "non-concrete value %v in operand to %s", "invalid interpolation", "invalid non-ground value %s (must be concrete %s)":
		return "it depends on a value that is not given", "give that value, or make this a definition (#name) that others fill in"
	case "cannot reference optional field: %s":
		return fmt.Sprintf("it depends on %s, which is not given", arg(0)), ""
	case "field is required but not present":
		return "it must be given", ""
	case "@%s":
		return "@" + arg(0) + " is not read here", "a field that takes a file names it itself, such as hcl or template"
	case noField:
		return "there is no field " + arg(0), ""
	case noFunction:
		return "there is no function " + arg(0), ""
	case "cannot use %s (type %s) as type %s":
		return fmt.Sprintf("%s is used where %s is wanted", arg(0), article(arg(2))), ""
	}
	return plainWords(fmt.Sprintf(format, args...)), ""
}

// said is the first error of those that err wraps that says something.
func said(err errors.Error) errors.Error {
	for {
		format, args := err.Msg()
		var inner errors.Error
		if fmt.Sprintf(format, args...) != "" || !errors.As(errors.Unwrap(err), &inner) {
			return err
		}
		err = inner
	}
}

// jargon is what CUE says, and what it means.
var jargon = strings.NewReplacer(
	"incomplete value", "a value that is not given:", "non-concrete value", "a value that is not given:", "conflicting values", "a contradiction:",
	"in empty disjunction", "among the alternatives", "disjunction", "alternatives", "mismatched types", "types differ:",
	"/nonexistent/aplomb/", "",
)

// plainWords is a message of CUE in one short line.
func plainWords(msg string) string {
	return shortenTo(jargon.Replace(strings.Join(strings.Fields(msg), " ")), 200)
}
