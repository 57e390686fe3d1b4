package policy

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/worker"
)

// The cases beside policies stand in files NAME_test.cue of the same package:
//
//	cases: noLatest: pass: digest:   resource: {kind: "nomad.job", spec: …}
//	cases: noLatest: fail: untagged: resource: {kind: "nomad.job", spec: …}
//
// A case has what is filled into the policy: resource, change, plan,
// environment. One that is to fail may say, in says, a part of what is said.

// testCase is one case as it is written.
type testCase struct {
	Environment string          `json:"environment"`
	Resource    *caseResource   `json:"resource"`
	Change      json.RawMessage `json:"change"`
	Plan        json.RawMessage `json:"plan"`
	Says        string          `json:"says"`
}

// caseResource is a resource of a case: a declaration, and what is known of it.
type caseResource struct {
	Kind     string            `json:"kind"`
	Metadata metadataInput     `json:"metadata"`
	Spec     json.RawMessage   `json:"spec"`
	Data     bool              `json:"data"`
	File     string            `json:"file"`
	Files    map[string]string `json:"files"`
}

// Report is what became of the cases of a tree.
type Report struct {
	Policies []Coverage          `json:"policies"`
	Cases    []CaseResult        `json:"cases"`
	Findings []schema.Diagnostic `json:"findings,omitempty"` // then nothing was tried
}

// Good says whether every case came out as it says.
func (r *Report) Good() bool {
	return len(r.Findings) == 0 && !slices.ContainsFunc(r.Cases, func(c CaseResult) bool { return !c.OK })
}

// Coverage is how well the cases try one policy.
type Coverage struct {
	Policy string       `json:"policy"`
	Level  schema.Level `json:"level"`
	Pos    schema.Pos   `json:"pos"`
	Pass   int          `json:"pass"` // cases that are to pass
	Fail   int          `json:"fail"` // and to fail
	// Unseen are the places of denials in the policy that no case has brought
	// about; those of a policy that is taken over from elsewhere are not known.
	Unseen []string `json:"unseen,omitempty"`
	Seen   int      `json:"seen"` // denials, and fields of require, that were
}

// CaseResult is what became of one case.
type CaseResult struct {
	Policy string   `json:"policy"`
	Name   string   `json:"name"`
	Want   string   `json:"want"` // "pass" or "fail"
	OK     bool     `json:"ok"`
	Reason string   `json:"reason,omitempty"` // why it is not OK
	Says   []string `json:"says,omitempty"`   // what the policy says
}

// Test tries the cases beside the policies of a tree. An error means that they
// could not be tried; what is wrong with the tree are findings.
func (j *Judge) Test(ctx context.Context, fsys fs.FS) (*Report, error) {
	s, findings, err := j.Load(ctx, casesFS{fsys})
	if err != nil {
		return nil, err
	}
	for i := range findings {
		findings[i].Pos.File = written(findings[i].Pos.File)
		findings[i].Message = written(findings[i].Message)
	}
	t := &trial{Set: s, report: &Report{Findings: findings}, seen: map[string]map[string]bool{}}
	if len(findings) > 0 {
		return t.report, nil
	}
	all, err := s.cases(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range s.policies {
		t.seen[p.Name] = map[string]bool{}
		c := Coverage{Policy: p.Name, Level: p.Level, Pos: p.Pos}
		for _, kind := range []string{"pass", "fail"} {
			some := all[p.bundle][p.Name][kind]
			for _, name := range sortedKeys(some) {
				if err := t.try(ctx, p, kind, name, some[name]); err != nil {
					return nil, err
				}
			}
			*map[string]*int{"pass": &c.Pass, "fail": &c.Fail}[kind] = len(some)
		}
		c.Seen = len(t.seen[p.Name])
		for _, clause := range p.Clauses {
			if !t.seen[p.Name][clause] {
				c.Unseen = append(c.Unseen, written(clause))
			}
		}
		t.report.Policies = append(t.report.Policies, c)
	}
	t.strays(all)
	return t.report, nil
}

// casesOf are the cases of a package, by policy, by "pass" or "fail", by name.
type casesOf map[string]map[string]map[string]json.RawMessage

// cases evaluates the cases of every package.
func (s *Set) cases(ctx context.Context) ([]casesOf, error) {
	all := make([]casesOf, len(s.bundles))
	var items []worker.Item
	for i := range s.bundles {
		data, err := encode(request{Cases: &i})
		if err != nil {
			return nil, err
		}
		items = append(items, worker.Item{Name: "cases", Data: data})
	}
	setup, err := s.setup()
	if err != nil {
		return nil, err
	}
	var bad error
	err = s.judge.options.Workers.Run(ctx, worker.Job{Service: Service, Setup: setup, Items: items,
		Done: func(i int, answer []byte) error {
			var got struct {
				Cases json.RawMessage
				Error string
			}
			if err := json.Unmarshal(answer, &got); err != nil {
				return err
			}
			if got.Error != "" {
				return fmt.Errorf("the cases of %s: %s", s.bundles[i].Dir, written(got.Error))
			}
			if len(got.Cases) == 0 {
				return nil
			}
			if err := json.Unmarshal(got.Cases, &all[i]); err != nil {
				return fmt.Errorf("the cases of %s are not cases: POLICY: pass: NAME: {…}: %w", s.bundles[i].Dir, err)
			}
			return nil
		},
		Blame: func(i int, why string) {
			bad = fmt.Errorf("the cases of %s: evaluating them %s", s.bundles[i].Dir, why)
		},
	})
	return all, cmp.Or(err, bad)
}

// trial is cases that are being tried.
type trial struct {
	*Set
	report *Report
	seen   map[string]map[string]bool // by policy: what has spoken
}

// strays are cases of what is no policy of their package.
func (t *trial) strays(all []casesOf) {
	for _, c := range all {
		for _, name := range sortedKeys(c) {
			if !slices.ContainsFunc(t.policies, func(p *Policy) bool { return p.Name == name }) {
				t.report.Cases = append(t.report.Cases, CaseResult{Policy: name, Reason: "there is no such policy"})
			}
			for kind := range c[name] {
				if kind != "pass" && kind != "fail" {
					t.report.Cases = append(t.report.Cases, CaseResult{Policy: name, Name: kind, Reason: "cases are below pass or fail"})
				}
			}
		}
	}
}

// try tries one case.
func (t *trial) try(ctx context.Context, p *Policy, want, name string, raw json.RawMessage) error {
	out := CaseResult{Policy: p.Name, Name: name, Want: want}
	var c testCase
	if err := json.Unmarshal(raw, &c); err != nil {
		out.Reason = "it is no case: " + err.Error()
		t.report.Cases = append(t.report.Cases, out)
		return nil
	}
	q, judged, err := t.queryOf(p, c)
	if err != nil {
		out.Reason = err.Error()
		t.report.Cases = append(t.report.Cases, out)
		return nil
	}
	var got said
	if judged {
		answers, err := t.ask(ctx, []query{q})
		if err != nil {
			return err
		}
		if judged = len(answers[0].said) > 0; judged {
			got = answers[0].said[0]
		}
	}
	for _, at := range slices.Concat(got.At, got.Leaves) {
		t.seen[p.Name][at] = true
	}
	out.settle(got, judged, c.Says)
	t.report.Cases = append(t.report.Cases, out)
	return nil
}

// settle says whether what was said is what was wanted.
func (c *CaseResult) settle(got said, judged bool, says string) {
	for _, d := range got.Denials {
		line := d.Message
		if d.Path != "" {
			line = d.Path.String() + ": " + line
		}
		c.Says = append(c.Says, line)
	}
	switch {
	case got.Broken != "":
		c.Reason = "the policy cannot be judged: " + written(got.Broken)
	case c.Want == "pass" && len(c.Says) > 0:
		c.Reason = "it fails: " + c.Says[0]
	case c.Want == "fail" && !judged:
		c.Reason = "the policy does not judge it: its match says no"
	case c.Want == "fail" && len(c.Says) == 0:
		c.Reason = "it passes"
	case c.Want == "fail" && !slices.ContainsFunc(c.Says, func(s string) bool { return strings.Contains(s, says) }):
		c.Reason = fmt.Sprintf("it fails, but does not say %q: %s", says, c.Says[0])
	default:
		c.OK = true
	}
}

// queryOf is what a case asks of a policy; false where its match says no.
func (t *trial) queryOf(p *Policy, c testCase) (query, bool, error) {
	env := cmp.Or(c.Environment, "test")
	if !anyOf(p.matcher.environments, env) {
		return query{}, false, nil
	}
	switch p.Over {
	case Resources:
		if c.Resource == nil {
			return query{}, false, errors.New("it has no resource, which the policy is over")
		}
		r := c.Resource.resource()
		if p.Sees == seesLabels {
			return t.aboutLabels([]*Policy{p}, env, &r)
		}
		q, ok := t.about([]*Policy{p}, env, &r)
		return q, ok, nil
	case Changes:
		var change schema.ChangeFacts
		if err := json.Unmarshal(c.Change, &change); err != nil {
			return query{}, false, fmt.Errorf("its change, which the policy is over: %w", err)
		}
		change.Kind, change.Name = cmp.Or(change.Kind, change.ID.Kind), cmp.Or(change.Name, change.ID.Name)
		if !p.of(&change) {
			return query{}, false, nil
		}
		in := changeInput{Change: normal(&change), Environment: env}
		if len(c.Plan) > 0 {
			if err := json.Unmarshal(c.Plan, &in.Plan); err != nil {
				return query{}, false, err
			}
		}
		if c.Resource != nil {
			r := c.Resource.resource()
			input := inputOf(&r, p.Files, nil)
			in.Resource = &input
		}
		q, err := t.newQuery([]*Policy{p}, in)
		return q, true, err
	default:
		var plan schema.PlanFacts
		if err := json.Unmarshal(c.Plan, &plan); err != nil {
			return query{}, false, fmt.Errorf("its plan, which the policy is over: %w", err)
		}
		plan.Environment = cmp.Or(plan.Environment, env)
		q, err := t.newQuery([]*Policy{p}, planQuery{plan, env})
		return q, true, err
	}
}

func (c *caseResource) resource() schema.Resource {
	m := c.Metadata
	r := schema.Resource{
		ID: schema.ID{Kind: c.Kind, Name: m.Name, Target: m.Target}, Targets: m.Targets, Labels: m.Labels, Hold: m.Hold, Adopt: m.Adopt,
		Spec: c.Spec, Data: c.Data, Pos: schema.Pos{File: c.File},
	}
	if len(r.Spec) == 0 {
		r.Spec = json.RawMessage("{}")
	}
	for _, name := range sortedKeys(c.Files) {
		r.Files = append(r.Files, schema.File{Path: name, Data: []byte(c.Files[name])})
	}
	return r
}

// casesFS is a tree in which the files of tests are part of their packages: CUE
// leaves out what ends in _test.cue.
type casesFS struct{ fs.FS }

const (
	testEnd  = "_test.cue"
	shownEnd = "_test_.cue"
)

// written is a text with the names of files as they are.
func written(s string) string { return strings.ReplaceAll(s, shownEnd, testEnd) }

func (c casesFS) Open(name string) (fs.File, error) { return c.FS.Open(written(name)) }

func (c casesFS) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(c.FS, name)
	for i, e := range entries {
		if strings.HasSuffix(e.Name(), testEnd) && e.Type().IsRegular() {
			entries[i] = renamed{e}
		}
	}
	return entries, err
}

// renamed is the entry of a file of tests.
type renamed struct{ fs.DirEntry }

func (r renamed) Name() string {
	return strings.TrimSuffix(path.Base(r.DirEntry.Name()), testEnd) + shownEnd
}
