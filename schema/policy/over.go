package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// Unloaded is the name under which a Set that does not load refuses everything:
// no policy's.
const Unloaded = "policies"

// refusal is what a Set that does not load says of everything.
func (s *Set) refusal() []schema.Violation {
	if len(s.findings) == 0 {
		return nil
	}
	more := ""
	if n := len(s.findings) - 1; n > 0 {
		more = fmt.Sprintf(" (and %d more)", n)
	}
	return []schema.Violation{{Policy: Unloaded, Level: schema.HardMandatory, Message: "the policies do not load: " + s.findings[0].String() + more, Hint: s.findings[0].Hint}}
}

// judging are the policies over something in an environment.
func (s *Set) judging(over Over, env string) []*Policy {
	var all []*Policy
	for _, p := range s.policies {
		if p.Over == over && anyOf(p.matcher.environments, env) {
			all = append(all, p)
		}
	}
	return all
}

// Resources says what the policies over resources say of each, in order.
func (s *Set) Resources(ctx context.Context, env string, resources []schema.Resource) ([][]schema.Violation, error) {
	out := make([][]schema.Violation, len(resources))
	if refusal := s.refusal(); refusal != nil {
		for i := range out {
			out[i] = placed(slices.Clone(refusal), &resources[i])
		}
		return out, nil
	}
	policies := s.judging(Resources, env)
	whole, labels := apart(policies)
	var queries []query
	var of []int
	for i := range resources {
		if q, ok := s.about(whole, env, &resources[i]); ok {
			queries, of = append(queries, q), append(of, i)
		}
		if q, ok, err := s.aboutLabels(labels, env, &resources[i]); err != nil {
			return nil, err
		} else if ok {
			queries, of = append(queries, q), append(of, i)
		}
	}
	answers, err := s.ask(ctx, queries)
	if err != nil {
		return nil, err
	}
	for n, i := range of {
		out[i] = append(out[i], placed(violations(answers[n]), &resources[i])...)
	}
	return out, nil
}

// seesLabels is what a policy sees that needs no more than labels.
const seesLabels = "labels"

// apart are the policies that see all of a resource, and those that see labels.
func apart(policies []*Policy) (whole, labels []*Policy) {
	for _, p := range policies {
		if p.Sees == seesLabels {
			labels = append(labels, p)
		} else {
			whole = append(whole, p)
		}
	}
	return whole, labels
}

// aboutLabels is the query about the labels of a resource: the same for all
// that have them.
func (s *Set) aboutLabels(policies []*Policy, env string, r *schema.Resource) (query, bool, error) {
	who := matching(policies, r)
	if len(who) == 0 {
		return query{}, false, nil
	}
	in := labelsInput{Environment: env}
	in.Resource.Kind, in.Resource.Metadata.Labels = r.ID.Kind, r.Labels
	if r.Labels == nil {
		in.Resource.Metadata.Labels = map[string]string{}
	}
	q, err := s.newQuery(who, in)
	return q, true, err
}

func matching(policies []*Policy, r *schema.Resource) []*Policy {
	var who []*Policy
	for _, p := range policies {
		if p.matcher.matches(subject{kind: r.ID.Kind, file: r.Pos.File, labels: r.Labels}) {
			who = append(who, p)
		}
	}
	return who
}

// about is the query about a resource; false where no policy judges it.
func (s *Set) about(policies []*Policy, env string, r *schema.Resource) (query, bool) {
	who := matching(policies, r)
	scanned := slices.ContainsFunc(who, func(p *Policy) bool { return p.Match.Suspects })
	files := slices.ContainsFunc(who, func(p *Policy) bool { return p.Files })
	if len(who) == 0 {
		return query{}, false
	}
	build := func(ctx context.Context) ([]*Policy, any, error) {
		var suspects []Suspect
		var err error
		if scanned {
			suspects, err = suspectsOf(ctx, r)
		}
		asked := slices.DeleteFunc(slices.Clone(who), func(p *Policy) bool { return p.Match.Suspects && len(suspects) == 0 })
		return asked, struct {
			Resource    resourceInput `json:"resource"`
			Environment string        `json:"environment"`
		}{inputOf(r, files, suspects), env}, err
	}
	in := inputOf(r, false, nil)
	in.Spec = nil // it is hashed as it stands
	rest, _ := encode(in)
	tree := ""
	if files || scanned {
		tree = r.Files.Hash()
	}
	return query{key: keyOf(s.sum[:], namesOf(who), []byte(env), r.Spec, rest, []byte(tree)), build: build}, true
}

// violations puts what policies said into the words of the vocabulary.
func violations(by answer) []schema.Violation {
	var all []schema.Violation
	for i, p := range by.policies {
		a := by.said[i]
		if a.Broken != "" {
			level := schema.HardMandatory
			if p.Level == schema.Advisory { // it could have refused nothing
				level = schema.Advisory
			}
			hint := "its rule is at " + p.Pos.String() + " of the policies"
			if strings.Contains(a.Broken, ": undefined field: ") {
				hint += "; a field that may not be there wants a default, as in (*resource.spec.count | 0)"
			}
			all = append(all, schema.Violation{Policy: p.Name, Level: level, Message: fmt.Sprintf("the policy %s cannot be judged: %s", p.Name, a.Broken), Hint: hint})
			continue
		}
		for n, d := range a.Denials {
			v := schema.Violation{Policy: p.Name, Level: p.Level, Message: schema.Mask(clip(d.Message)), Hint: schema.Mask(clip(d.Hint)), Path: d.Path}
			if v.Message == "" {
				v.Message = "it is not what the policy requires"
			}
			if a.Approvers > 0 && n == len(a.Denials)-1 {
				v.Approvers = a.Approvers
			}
			all = append(all, v)
		}
	}
	return all
}

// placed fills in where each violation stands: of what a template yielded, at
// its use, whose author knows no other place.
func placed(all []schema.Violation, r *schema.Resource) []schema.Violation {
	for i := range all {
		all[i].Pos = r.Pos
		if r.Use == nil {
			all[i].Pos = r.Lines.At(r.Pos, all[i].Path)
		}
	}
	return all
}

// Wants says whether some policy over changes would judge such a change, so
// that others need not be told of.
func (s *Set) Wants(env string, c *schema.ChangeFacts) bool {
	if len(s.findings) > 0 {
		return true
	}
	return slices.ContainsFunc(s.policies, func(p *Policy) bool { return p.Over == Changes && anyOf(p.matcher.environments, env) && p.of(c) })
}

func (p *Policy) of(c *schema.ChangeFacts) bool {
	return p.matcher.matches(subject{kind: c.Kind, file: c.File, labels: c.Labels, was: c.Was, wasFiles: c.WasFiles, unlabelled: c.WasUnknown, action: c.Action})
}

// changeInput is what is filled into a policy over changes.
type changeInput struct {
	Change      *schema.ChangeFacts `json:"change"`
	Resource    *resourceInput      `json:"resource"` // null of a deletion
	Plan        planInput           `json:"plan"`
	Environment string              `json:"environment"`
}

// planInput is what does not change while a plan unfolds.
type planInput struct {
	Author string `json:"author"`
	Signer string `json:"signer"`
}

// Changes says what the policies over changes say of each, in order. Positions
// are those of the declarations; a deletion has none.
func (s *Set) Changes(ctx context.Context, plan schema.PlanFacts, changes []schema.ChangeFacts) ([][]schema.Violation, error) {
	out := make([][]schema.Violation, len(changes))
	if refusal := s.refusal(); refusal != nil {
		for i := range out {
			if changes[i].Declared == nil { // what is declared is refused already
				out[i] = refusal
			}
		}
		return out, nil
	}
	policies := s.judging(Changes, plan.Environment)
	var queries []query
	var of []int
	for i := range changes {
		c := &changes[i]
		who := slices.DeleteFunc(slices.Clone(policies), func(p *Policy) bool { return !p.of(c) })
		if len(who) == 0 {
			continue
		}
		in := changeInput{Change: normal(c), Plan: planInput{Author: plan.Author, Signer: plan.Signer}, Environment: plan.Environment}
		if c.Declared != nil {
			r := inputOf(c.Declared, slices.ContainsFunc(who, func(p *Policy) bool { return p.Files }), nil)
			in.Resource = &r
		}
		q, err := s.newQuery(who, in)
		if err != nil {
			return nil, err
		}
		queries, of = append(queries, q), append(of, i)
	}
	answers, err := s.ask(ctx, queries)
	if err != nil {
		return nil, err
	}
	for n, i := range of {
		if out[i] = violations(answers[n]); changes[i].Declared != nil {
			out[i] = placed(out[i], changes[i].Declared)
		}
	}
	return out, nil
}

// normal has empty lists and mappings where there are none.
func normal(c *schema.ChangeFacts) *schema.ChangeFacts {
	n := *c
	if n.Deltas == nil {
		n.Deltas = []schema.DeltaFacts{}
	}
	if n.Held == nil {
		n.Held = []string{}
	}
	if n.Labels == nil {
		n.Labels = map[string]string{}
	}
	return &n
}

// planQuery is what is filled into a policy over plans.
type planQuery struct {
	Plan        schema.PlanFacts `json:"plan"`
	Environment string           `json:"environment"`
}

// Plan says what the policies over plans say of one, and of which of its
// changes each holds. What a Set that does not load refuses, it refuses one by
// one.
func (s *Set) Plan(ctx context.Context, plan schema.PlanFacts) ([]schema.PlanViolation, error) {
	policies := s.judging(Plans, plan.Environment)
	if len(policies) == 0 {
		return nil, nil
	}
	q, err := s.newQuery(policies, planQuery{plan, plan.Environment})
	if err != nil {
		return nil, err
	}
	answers, err := s.ask(ctx, []query{q})
	if err != nil {
		return nil, err
	}
	var all []schema.PlanViolation
	for i, p := range answers[0].policies {
		for _, v := range violations(answer{answers[0].policies[i : i+1], answers[0].said[i : i+1]}) {
			all = append(all, schema.PlanViolation{Violation: v, Applies: func(kind string, a schema.Action) bool {
				return anyOf(p.matcher.kinds, kind) && (len(p.matcher.actions) == 0 || slices.Contains(p.matcher.actions, a))
			}})
		}
	}
	return all, nil
}
