package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/cueload"
)

// recycleInputs is how many things one CUE context judges: contexts keep what
// was ever encoded in them.
const recycleInputs = 2000

// evaluator judges. It is what runs in a worker; not safe for concurrent use.
type evaluator struct {
	bundles []*cueload.Bundle
	cctx    *cue.Context
	built   map[int]cue.Value
	named   map[policyRef]rule
	used    int
}

func newEvaluator(bundles []*cueload.Bundle) *evaluator {
	e := &evaluator{bundles: bundles}
	e.recycle()
	return e
}

func (e *evaluator) recycle() {
	e.cctx, e.built, e.named, e.used = cuecontext.New(), map[int]cue.Value{}, map[policyRef]rule{}, 0
}

// bundle evaluates a package, once a context.
func (e *evaluator) bundle(i int) (cue.Value, *build.Instance, error) {
	if i < 0 || i >= len(e.bundles) {
		return cue.Value{}, nil, fmt.Errorf("there is no package %d", i)
	}
	v, inst, err := e.bundles[i].Build(e.cctx)
	if err == nil {
		err = v.Err()
	}
	e.built[i] = v
	return v, inst, err
}

// rule is what of a policy is evaluated for each thing, with nothing filled in,
// and what it tells.
type rule struct {
	value         cue.Value
	message, hint string
}

// rule is the rule of a policy.
func (e *evaluator) rule(ref policyRef) (rule, error) {
	if r, ok := e.named[ref]; ok {
		return r, nil
	}
	root, ok := e.built[ref.Bundle]
	if !ok {
		var err error
		if root, _, err = e.bundle(ref.Bundle); err != nil {
			return rule{}, err
		}
	}
	p := root.LookupPath(cue.MakePath(cue.Str(ref.Name)))
	r := rule{value: p.LookupPath(rulePath), message: text(p, "message"), hint: text(p, "hint")}
	if !r.value.Exists() {
		return r, fmt.Errorf("there is no policy %s", ref.Name)
	}
	e.named[ref] = r
	return r, nil
}

var rulePath = cue.MakePath(cue.Str("rule"))

// judge lets policies judge one thing.
func (e *evaluator) judge(p pairs) []said {
	if e.used++; e.used > recycleInputs {
		e.recycle()
	}
	all := make([]said, len(p.Policies))
	dec := json.NewDecoder(bytes.NewReader(p.Input))
	dec.UseNumber()
	var raw map[string]any
	err := dec.Decode(&raw)
	var input cue.Value
	if err == nil {
		if r, ok := raw["resource"].(map[string]any); ok {
			if texts := hclOf(r); texts != nil {
				r["hcl"] = texts
			}
		}
		input = e.cctx.Encode(numbers(raw))
		err = input.Err()
	}
	for i, ref := range p.Policies {
		if err != nil {
			all[i].Broken = clip(err.Error())
			continue
		}
		all[i] = e.one(ref, input)
	}
	return all
}

// one lets one policy judge. A fault of CUE is the policy's.
func (e *evaluator) one(ref policyRef, input cue.Value) (s said) {
	defer func() {
		if r := recover(); r != nil {
			s = said{Broken: clip(fmt.Sprint(r))}
			e.recycle()
		}
	}()
	r, err := e.rule(ref)
	if err != nil {
		return said{Broken: valueless(err)}
	}
	filled := r.value.Unify(input)
	if err := filled.Err(); err != nil {
		return said{Broken: valueless(err)}
	}
	if err := s.deny(filled, r); err != nil {
		return said{Broken: "deny: " + valueless(err)}
	}
	if err := s.require(filled, r, input.LookupPath(cue.MakePath(cue.Str(string(ref.Over))))); err != nil {
		return said{Broken: "require: " + valueless(err)}
	}
	if n := filled.LookupPath(cue.MakePath(cue.Str("approvers"))); n.Exists() {
		count, err := n.Int64()
		if err != nil {
			return said{Broken: "approvers: " + valueless(err)}
		}
		s.Approvers = int(count)
		if count > 0 {
			s.Denials = append(s.Denials, denial{Message: "it wants the approval of " + people(s.Approvers), Hint: r.hint})
		}
	}
	return s
}

func people(n int) string {
	if n == 1 {
		return "a person"
	}
	return fmt.Sprintf("%d different people", n)
}

// mostDenials is how much one policy says of one thing.
const mostDenials = 50

// deny takes what the policy's deny says.
func (s *said) deny(filled cue.Value, r rule) error {
	list := filled.LookupPath(cue.MakePath(cue.Str("deny")))
	if !list.Exists() {
		return nil
	}
	if d, ok := list.Default(); ok {
		list = d
	}
	it, err := list.List()
	if err != nil {
		return err
	}
	for it.Next() && len(s.Denials) < mostDenials {
		v := it.Value()
		if err := v.Validate(cue.Concrete(true)); err != nil {
			return err
		}
		d := denial{Message: text(v, "message"), Hint: text(v, "hint"), Path: schema.Path(text(v, "path"))}
		if d.Hint == "" {
			d.Hint = r.hint
		}
		if d.Path != "" && !strings.HasPrefix(string(d.Path), "/") {
			return fmt.Errorf("the path %q does not begin with /", clip(string(d.Path)))
		}
		s.Denials = append(s.Denials, d)
		s.At = append(s.At, clause(v))
	}
	return nil
}

// clause is where a denial comes from: the place of its message in the policy.
func clause(v cue.Value) string {
	at := v.LookupPath(cue.MakePath(cue.Str("message"))).Pos()
	return fmt.Sprintf("%s:%d", at.Filename(), at.Line())
}

// text is a string field; "" where there is none.
func text(v cue.Value, field string) string {
	s, _ := v.LookupPath(cue.MakePath(cue.Str(field))).String()
	return s
}

// require finds what does not unify with the constraint, at its field.
func (s *said) require(filled cue.Value, r rule, subject cue.Value) error {
	want := filled.LookupPath(cue.MakePath(cue.Str("require")))
	if !want.Exists() {
		return nil
	}
	if err := want.Err(); err != nil {
		return err
	}
	err := want.Unify(subject).Validate(cue.Concrete(true), cue.All())
	if err == nil {
		return nil
	}
	seen := map[schema.Path]bool{}
	for _, e := range errors.Errors(err) {
		at := below(e.Path())
		if seen[at] || len(s.Denials) >= mostDenials {
			continue
		}
		seen[at] = true
		what := r.message
		if what == "" {
			what = misfit(at, e)
		}
		s.Denials = append(s.Denials, denial{Path: at, Message: what, Hint: r.hint})
		s.Leaves = append(s.Leaves, string(at))
	}
	if len(s.Leaves) == 0 { // CUE has no place for it
		s.Denials = append(s.Denials, denial{Message: r.message, Hint: r.hint})
	}
	return nil
}

// below is the part of a CUE path after the policy's require.
func below(steps []string) schema.Path {
	for i, step := range steps {
		if step == "require" {
			steps = steps[i+1:]
			break
		}
	}
	p := schema.Path("")
	for _, step := range steps {
		if sel := cue.ParsePath(step); sel.Err() == nil && len(sel.Selectors()) == 1 && sel.Selectors()[0].LabelType() == cue.StringLabel {
			step = sel.Selectors()[0].Unquoted()
		}
		p = p.Child(step)
	}
	return p
}

// misfit says of a field that it does not fit, without repeating what it holds.
func misfit(at schema.Path, e errors.Error) string {
	if format, _ := e.Msg(); strings.Contains(format, "required but not present") {
		return at.String() + " is missing"
	}
	return at.String() + " is not what is required"
}

// words is an error of CUE on one line.
func words(err error) string { return wordsOf(err, fmt.Sprintf) }

// valueless is words without the values in them: those are the resource's, and
// may be what another policy found to be a secret.
func valueless(err error) string {
	return wordsOf(err, func(format string, _ ...any) string { return verbRE.ReplaceAllString(format, "…") })
}

var verbRE = regexp.MustCompile(`%[-+# 0-9.\[\]*]*[a-zA-Z]`)

func wordsOf(err error, say func(format string, args ...any) string) string {
	all := errors.Errors(err)
	if len(all) == 0 {
		return clip(say("%v", err))
	}
	format, args := all[0].Msg()
	msg := say(format, args...)
	for _, at := range errors.Positions(all[0]) {
		if cueload.Own(at.Filename()) && at.Line() > 0 {
			return clip(fmt.Sprintf("%s%s:%d:%d: %s", prefix, at.Filename(), at.Line(), at.Column(), msg))
		}
	}
	return clip(msg)
}

// clip bounds what an error repeats, on one line.
func clip(s string) string {
	const most = 300
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// numbers makes of json.Number what CUE takes, exactly.
func numbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, item := range v {
			v[k] = numbers(item)
		}
	case []any:
		for i, item := range v {
			v[i] = numbers(item)
		}
	case json.Number:
		kind := token.INT
		if strings.ContainsAny(v.String(), ".eE") {
			kind = token.FLOAT
		}
		if n, err := v.Int64(); err == nil {
			return n
		}
		return &ast.BasicLit{Kind: kind, Value: v.String()}
	}
	return v
}
