package compile

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	cuejson "cuelang.org/go/encoding/json"

	"github.com/aplomb-dev/aplomb/schema"
)

// What one use of a template may come to.
const (
	maxYield      = 200     // resources
	maxYieldBytes = 4 << 20 // of their specs
	// recycleUses is how many uses one CUE context unfolds: contexts keep what
	// was ever encoded in them.
	recycleUses = 500
)

// unfolded is what a use is to those who need it or refer to it.
type unfolded struct {
	Use     schema.Use                 `json:"use"`
	Outputs map[string]json.RawMessage `json:"outputs,omitempty"` // a string may hold references
	Failed  bool                       `json:"failed,omitempty"`  // it has findings: what it yields is not known
}

// unfolding is one use on its way to what it yields.
type unfolding struct {
	*templates
	checker  *checker // of what is yielded
	use      *templateUse
	template *template
	given    map[string]schema.Pos // references in the input, with their places
	out      schema.Use
	res      fileResult
	bytes    int
}

// unfold makes of a use what its template makes of it. It never fails: what
// goes wrong is a finding at the use.
func (t *templates) unfold(c *checker, u *templateUse) fileResult {
	x := &unfolding{templates: t, checker: c, use: u, out: *u.use(), given: map[string]schema.Pos{}}
	x.whole()
	res := x.res
	failed := len(res.Findings) > 0
	if failed {
		res.Resources, res.Uses = nil, nil
		res.Findings = bound(schema.SortDiagnostics(res.Findings))
		res.Broken = []fragment{{Kind: u.Declared.ID.Kind, Name: u.Declared.ID.Name, Needs: u.Declared.Needs, Pos: u.Declared.Pos}}
		if res.Unfolded != nil {
			res.Unfolded.Outputs = nil
		}
	}
	res.Unfolded = cmp.Or(res.Unfolded, &unfolded{})
	res.Unfolded.Use, res.Unfolded.Failed = x.out, failed
	return res
}

func (x *unfolding) whole() {
	defer func() {
		if r := recover(); r != nil {
			x.find(schema.Pos{}, "", "its template cannot be evaluated: %s", shorten(fmt.Sprint(r)))
		}
	}()
	if !x.choose() {
		return
	}
	input, ok := x.readInput()
	if !ok {
		return
	}
	if v := x.fill(input); len(x.res.Findings) == 0 {
		x.yield(v)
	}
}

// find reports at the use; from is the place in the template that it came from.
func (x *unfolding) find(from schema.Pos, hint, format string, args ...any) {
	d := schema.Diagnostic{Pos: x.use.Declared.Pos, Subject: x.use.Declared.ID.Short(), Message: fmt.Sprintf(format, args...), Hint: hint}
	if from != (schema.Pos{}) {
		d.Also = []schema.Pos{from}
	}
	x.res.Findings = append(x.res.Findings, d)
}

// choose finds the template and the version that the use means.
func (x *unfolding) choose() bool {
	name := x.use.Declared.ID.Kind
	versions := x.named[name]
	refuse := func(hint, format string, args ...any) bool {
		x.find(schema.Pos{}, hint, format, args...)
		x.res.Findings[0].Pos, x.res.Findings[0].Path = x.use.KindPos, "/kind"
		return false
	}
	if len(versions) == 0 {
		if at, broken := x.faulty[name]; broken {
			return refuse("mend the template first", "the template %s does not load: see %s", name, at)
		}
		return refuse(x.unknownHint(name), "unknown template %s", shorten(name))
	}
	var known []string
	for _, v := range versions {
		if x.use.Pin == "" || v.Version == x.use.Pin {
			x.template = v
			x.out.Version = v.Version
			return true
		}
		known = append(known, cmp.Or(v.Version, "one without a version"))
	}
	return refuse(name+" has "+strings.Join(known, ", "), "unknown version %s of the template %s", x.use.Pin, name)
}

// unknownHint says what an unknown template was meant to be.
func (x *unfolding) unknownHint(got string) string {
	names := slices.Sorted(maps.Keys(x.named))
	if hint := didYouMean(closest(got, append(slices.Collect(maps.Keys(x.checker.kinds)), names...))); hint != "" {
		return hint
	}
	if len(names) == 0 {
		return "there are no templates here; kinds have a dot, such as local.file"
	}
	return "the templates are " + strings.Join(names, ", ") + "; kinds have a dot, such as local.file"
}

// readInput checks the spec of the use as that of a kind is checked, and
// answers it with defaults filled in.
func (x *unfolding) readInput() (json.RawMessage, bool) {
	u := x.use
	d := &document{
		builder: &builder{file: u.File, limits: x.limits}, checker: x.input, kind: x.template.input, base: "/spec",
		root: u.Spec, subject: u.Declared.ID.Short(),
	}
	d.checkSpec(u.Spec)
	for _, ref := range d.out.Refs {
		if text, err := schema.ParseText(ref.Text); err == nil {
			for _, r := range text.Refs() {
				x.given[r.String()] = ref.Pos
			}
		}
	}
	for _, f := range d.uses {
		x.given[f.File] = f.Pos
	}
	x.res.Findings = append(x.res.Findings, d.findings...)
	return d.out.Spec, len(d.findings) == 0
}

// fill is the template with all that it is told.
func (x *unfolding) fill(input json.RawMessage) cue.Value {
	u := x.use.Declared
	labels := u.Labels
	if labels == nil {
		labels = map[string]string{}
	}
	own := map[string]any{
		"use":         map[string]any{"name": u.ID.Name, "labels": labels, "path": strings.TrimPrefix(path.Dir(x.use.File), ".")},
		"environment": map[string]any{"name": x.Environment},
	}
	told := ast.NewStruct()
	for _, part := range slices.Sorted(maps.Keys(own)) {
		for _, name := range slices.Sorted(maps.Keys(own[part].(map[string]any))) {
			x.tell(told, own[part].(map[string]any)[name], part, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(x.Values)) {
		x.tell(told, x.Values[name], "environment", "values", name)
	}
	told.Elts = append(told.Elts, &ast.Field{Label: ast.NewString("spec"), Value: asCUE(input)})
	v := x.template.value.Unify(x.cctx.BuildExpr(told))
	x.values(v)
	return v
}

// tell adds what the template takes at a path. What it does not take it cannot
// ask for.
func (x *unfolding) tell(told *ast.StructLit, value any, path ...string) {
	at := x.template.value
	for _, step := range path {
		if !at.Allows(cue.Str(step)) {
			return
		}
		next := at.LookupPath(cue.MakePath(cue.Str(step)))
		if !next.Exists() {
			next = at.LookupPath(cue.MakePath(cue.AnyString))
		}
		at = next
	}
	raw, err := json.Marshal(value)
	if err != nil {
		panic(err) // texts, and JSON that was read
	}
	expr := asCUE(raw)
	for i := len(path) - 1; i >= 0; i-- {
		field := &ast.Field{Label: ast.NewString(path[i]), Value: expr}
		if i == 0 {
			told.Elts = append(told.Elts, field)
			return
		}
		expr = ast.NewStruct(field)
	}
}

// asCUE is JSON as an expression.
func asCUE(data json.RawMessage) ast.Expr {
	expr, err := cuejson.Extract("", data)
	if err != nil {
		panic(err) // it was written by this package, or read as JSON
	}
	return expr
}

// values reports values of the environment that the template wants, and that
// are not given or do not fit.
func (x *unfolding) values(v cue.Value) {
	it, err := v.LookupPath(cue.ParsePath("environment.values")).Fields()
	if err != nil {
		return
	}
	for it.Next() {
		name := it.Selector().Unquoted()
		at := x.place(x.template.value.LookupPath(cue.MakePath(cue.Str("environment"), cue.Str("values"), cue.Str(name))))
		_, given := x.Values[name]
		switch err := it.Value().Validate(cue.Concrete(true)); {
		case err == nil:
		case given:
			x.find(at, "the operator says it, in values: of the environment or with --value", "the template %s does not take the environment's value %s: %s", x.template, name, words(err))
		default:
			x.find(at, "values: {"+name+": …} in the environment's configuration, or --value "+name+"=…", "the template %s wants the value %s of the environment, which is not given", x.template, name)
		}
	}
}

// words are what people are told for an error of CUE.
func words(err error) string {
	msg, _ := cueWords(firstError(err))
	return msg
}

// sortedJSON is JSON with sorted keys and nothing escaped for HTML, as emit
// writes it.
func sortedJSON(v any) (json.RawMessage, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), err
}
