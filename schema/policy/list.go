package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/errors"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/cueload"
)

// vocabulary is the import path of the vocabulary of policies.
const vocabulary = cueload.ModulePath + "/policies"

// mark is the field that a policies.#Policy has and nothing else.
var mark = cue.MakePath(cue.Hid("_policy", vocabulary))

// load evaluates a package and lists its policies.
func (e *evaluator) load(i int) (l loaded) {
	defer func() {
		if r := recover(); r != nil {
			l = loaded{Findings: []schema.Diagnostic{{Pos: e.placeOf(i), Message: clip(fmt.Sprint(r))}}}
			e.recycle()
		}
	}()
	root, inst, err := e.bundle(i)
	if err != nil {
		return loaded{Findings: e.diagnose(err, i)}
	}
	fields, err := root.Fields(cue.Hidden(true), cue.Optional(true))
	if err != nil {
		return loaded{Findings: e.diagnose(err, i)}
	}
	for fields.Next() {
		sel, v := fields.Selector(), fields.Value()
		if sel.IsDefinition() {
			continue // others build upon it
		}
		if sel.LabelType() != cue.StringLabel || sel.ConstraintType() != 0 {
			l.Findings = append(l.Findings, e.misplaced(fields, inst, i)...)
			continue
		}
		name := sel.Unquoted()
		if !v.LookupPath(mark).Exists() {
			if looksLikePolicy(v) {
				l.Findings = append(l.Findings, schema.Diagnostic{Pos: e.place(v, i), Message: name + " has a level and is no policy: it would judge nothing",
					Hint: "say " + name + ": policies.#Policy & {…}, with import \"" + vocabulary + "\""})
			} else {
				l.Findings = append(l.Findings, e.misplaced(fields, inst, i)...)
			}
			continue
		}
		p, err := readPolicy(name, v)
		if err != nil {
			l.Findings = append(l.Findings, schema.Diagnostic{Pos: e.place(v, i), Message: "the policy " + name + ": " + err.Error()})
			continue
		}
		p.Pos, p.Doc = e.place(v, i), docOf(v)
		if field := fieldOf(inst, name); field != nil {
			at := field.Pos()
			p.Pos, p.Clauses = schema.Pos{File: at.Filename(), Line: at.Line(), Col: at.Column()}, clausesOf(field)
		}
		l.Policies = append(l.Policies, p)
	}
	return l
}

// looksLikePolicy says of a field that is none whether it was meant to be.
func looksLikePolicy(v cue.Value) bool {
	s, err := v.LookupPath(cue.MakePath(cue.Str("level"))).String()
	l := schema.Level(s)
	return err == nil && (l == schema.Advisory || l == schema.SoftMandatory || l == schema.HardMandatory)
}

func readPolicy(name string, v cue.Value) (*Policy, error) {
	p := &Policy{Name: name}
	if !policyName(name) {
		return nil, fmt.Errorf("its name has other letters than a-z, A-Z, 0-9, - and _")
	}
	for field, into := range map[string]any{"level": &p.Level, "over": &p.Over, "match": &p.Match, "files": &p.Files, "sees": &p.Sees} {
		if err := v.LookupPath(cue.MakePath(cue.Str(field))).Decode(into); err != nil {
			return nil, fmt.Errorf("%s: %s", field, words(err))
		}
	}
	if p.Sees == seesLabels && (p.Files || p.Match.Suspects || p.Over != Resources) {
		return nil, fmt.Errorf("it sees labels alone, and wants more")
	}
	judges := false
	for _, field := range []string{"require", "deny", "approvers"} {
		judges = judges || v.LookupPath(cue.MakePath(cue.Str("rule"), cue.Str(field))).Exists()
	}
	if r := v.LookupPath(rulePath); !judges && !conditional(r) {
		return nil, fmt.Errorf("its rule has none of require, deny and approvers: it would judge nothing")
	}
	return p, nil
}

// conditional says whether more fields come into being with what is filled in.
func conditional(v cue.Value) bool {
	found := false
	look := func(n ast.Node) bool {
		if _, ok := n.(*ast.Comprehension); ok {
			found = true
		}
		return !found
	}
	_, parts := v.Expr()
	for _, part := range append(parts, v) {
		if src := part.Source(); src != nil {
			ast.Walk(src, look, nil)
		}
	}
	return found
}

// policyName says whether a name can be typed after --override.
func policyName(s string) bool {
	return s != "" && len(s) <= 128 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// docOf is the comment of a policy, on one line.
func docOf(v cue.Value) string {
	for _, g := range v.Doc() {
		if doc := strings.Join(strings.Fields(g.Text()), " "); doc != "" {
			return doc
		}
	}
	return ""
}

// place is where a value stands in the tree, or else its package.
func (e *evaluator) place(v cue.Value, bundle int) schema.Pos {
	at := v.Pos()
	if cueload.Own(at.Filename()) && at.Line() > 0 {
		return schema.Pos{File: at.Filename(), Line: at.Line(), Col: at.Column()}
	}
	return e.placeOf(bundle)
}

// fieldOf is the field of a package, as it is written first.
func fieldOf(inst *build.Instance, name string) *ast.Field {
	for _, f := range inst.Files {
		for _, d := range f.Decls {
			field, ok := d.(*ast.Field)
			if !ok {
				continue
			}
			if label, _, err := ast.LabelName(field.Label); err == nil && label == name {
				return field
			}
		}
	}
	return nil
}

// clausesOf are the places of the messages of a policy's denials.
func clausesOf(policy *ast.Field) []string {
	var all []string
	inDeny := func(n ast.Node) bool {
		if f, ok := n.(*ast.Field); ok {
			if label, _, err := ast.LabelName(f.Label); err == nil && label == "message" {
				at := f.Value.Pos()
				all = append(all, fmt.Sprintf("%s:%d", at.Filename(), at.Line()))
			}
		}
		return true
	}
	ast.Walk(policy.Value, func(n ast.Node) bool {
		f, ok := n.(*ast.Field)
		if !ok {
			return true
		}
		if label, _, err := ast.LabelName(f.Label); err == nil && label == "deny" {
			ast.Walk(f.Value, inDeny, nil)
		}
		return true
	}, nil)
	return all
}

func (e *evaluator) placeOf(bundle int) schema.Pos {
	if b := e.bundles[bundle]; len(b.Files) > 0 {
		return schema.Pos{File: b.Files[0].Path, Line: 1, Col: 1}
	}
	return schema.Pos{}
}

// diagnose makes findings of errors of CUE, each at its place in the tree.
func (e *evaluator) diagnose(err error, bundle int) []schema.Diagnostic {
	var all []schema.Diagnostic
	for rest := errors.Errors(err); len(rest) > 0; {
		one, n, message := rest[0], 1, ""
		for n < len(rest) && slices.Equal(rest[n].Path(), one.Path()) {
			n++
		}
		if message = alternatives(rest[:n]); message == "" {
			n, message = 1, clip(one.Error())
		}
		rest = rest[n:]
		d := schema.Diagnostic{Message: message}
		for _, at := range errors.Positions(one) {
			if cueload.Own(at.Filename()) && at.Line() > 0 {
				d.Pos = schema.Pos{File: at.Filename(), Line: at.Line(), Col: at.Column()}
				break
			}
		}
		if name, ok := missingInput(d.Message); ok {
			d.Hint = "name it in the rule: " + name + ": _"
		}
		all = append(all, d)
	}
	if placed := func(d schema.Diagnostic) bool { return d.Pos.Line > 0 }; slices.ContainsFunc(all, placed) {
		all = slices.DeleteFunc(all, func(d schema.Diagnostic) bool { return !placed(d) }) // they sum up the others
	}
	for i := range all {
		if all[i].Pos.Line == 0 {
			all[i].Pos = e.placeOf(bundle)
		}
	}
	if len(all) == 0 {
		all = []schema.Diagnostic{{Pos: e.placeOf(bundle), Message: clip(err.Error())}}
	}
	return all
}

// alternatives makes one message of what CUE says of a field once for each
// alternative that its value does not fit; "" where all are something else.
func alternatives(all []errors.Error) string {
	var values, common []string
	for i, e := range all {
		format, args := e.Msg()
		if !strings.HasPrefix(format, "conflicting values %s and %s") || len(args) < 2 {
			return ""
		}
		pair := []string{fmt.Sprint(args[0]), fmt.Sprint(args[1])}
		if values = append(values, pair...); i == 0 {
			common = pair
		}
		common = slices.DeleteFunc(slices.Clone(common), func(s string) bool { return !slices.Contains(pair, s) })
	}
	if len(all) < 2 || len(common) != 1 {
		return ""
	}
	others := slices.DeleteFunc(values, func(s string) bool { return s == common[0] })
	return clip(fmt.Sprintf("%s: %s is none of %s", strings.Join(all[0].Path(), "."), common[0], strings.Join(others, ", ")))
}

// missingInput finds, in an error of CUE, one of the fields that are filled in
// and that a policy has to name to refer to.
func missingInput(message string) (string, bool) {
	for _, name := range []string{"resource", "change", "plan", "environment", "params"} {
		if strings.Contains(message, `reference "`+name+`" not found`) {
			return name, true
		}
	}
	return "", false
}

// casesAnswer are the cases of a package, as JSON.
type casesAnswer struct {
	Cases json.RawMessage `json:",omitempty"`
	Error string          `json:",omitempty"`
}

// cases evaluates the cases of a package.
func (e *evaluator) cases(i int) casesAnswer {
	root, _, err := e.bundle(i)
	if err != nil {
		return casesAnswer{Error: words(err)}
	}
	v := root.LookupPath(cue.MakePath(cue.Str("cases")))
	if !v.Exists() {
		return casesAnswer{}
	}
	raw, err := v.MarshalJSON()
	if err != nil {
		return casesAnswer{Error: words(err)}
	}
	return casesAnswer{Cases: raw}
}
