package main

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/policy"
	"github.com/aplomb-dev/aplomb/sources"
)

// guard judges what an environment declares and plans by its policies. The zero
// value, without a Judge, judges nothing.
type guard struct {
	judge *policy.Judge
	env   string // the environment's name, as policies see it

	mu   sync.Mutex
	last *policy.Set
	of   sources.Revision // what last was loaded of
}

// set loads the policies of a snapshot, unless they are those of before.
func (g *guard) set(ctx context.Context, snap *sources.Snapshot) (*policy.Set, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if rev := snap.Revision; g.last != nil && rev.ID != "" && rev.ID == g.of.ID {
		return g.last, nil
	}
	root, at := snap.FS, "."
	if snap.Root != nil && snap.Path != "" {
		root, at = snap.Root, snap.Path
	}
	s, _, err := g.judge.LoadAt(ctx, root, at) // its findings are what it refuses with
	if err != nil {
		return nil, err
	}
	g.last, g.of = s, snap.Revision
	return s, nil
}

// guarded lets the policies of a snapshot judge what was compiled. nil is no
// policies.
func (g *guard) guarded(ctx context.Context, snap *sources.Snapshot, c *reconciler.Compiled) error {
	if snap == nil {
		return nil
	}
	s, err := g.set(ctx, snap)
	if err != nil {
		return err
	}
	if err := attach(ctx, s, g.env, c.Resources); err != nil {
		return err
	}
	c.Judge, c.Outside = judgeOf(s, g.env), c.Outside || s.Outside()
	return nil
}

// attach puts what policies say of resources beside them.
func attach(ctx context.Context, s *policy.Set, env string, resources []schema.Resource) error {
	said, err := s.Resources(ctx, env, resources)
	if err != nil {
		return err
	}
	for i := range resources {
		resources[i].Violations = slices.Concat(resources[i].Violations, said[i])
	}
	return nil
}

// judgeOf is a Set as the reconciler wants it.
func judgeOf(s *policy.Set, env string) *reconciler.Judge {
	j := &reconciler.Judge{}
	if s.Has(policy.Changes) {
		j.Wants = func(c *schema.ChangeFacts) bool { return s.Wants(env, c) }
		j.Changes = s.Changes
	}
	if s.Has(policy.Plans) {
		j.Plan = s.Plan
	}
	return j
}

// judge puts what policies say of declarations beside what else is wrong with
// them. Policies that do not load are told whatever else there is.
func (v *validation) judge(ctx context.Context, g *guard, snap *sources.Snapshot, folder string, resources []schema.Resource) error {
	s, err := g.set(ctx, snap)
	if err != nil {
		return err
	}
	for _, d := range s.Findings() {
		d.Message = "the policies do not load: " + d.Message
		v.Refusals, v.unloaded = append(v.Refusals, d), true
	}
	if v.unloaded || len(v.Findings) > 0 {
		return nil
	}
	if err := attach(ctx, s, g.env, resources); err != nil {
		return err
	}
	refusals, advice := remarks(resources)
	v.Refusals, v.Advice = below(folder, refusals), below(folder, advice)
	return nil
}

// remarks are violations as findings are told: at the line, of what, by which
// policy.
func remarks(resources []schema.Resource) (refusals, advice []schema.Diagnostic) {
	for _, r := range resources {
		for _, v := range r.Violations {
			d := schema.Diagnostic{Pos: v.Pos, Subject: r.ID.Short(), Path: v.Path, Hint: v.Hint, Message: fmt.Sprintf("policy %s (%s): %s", v.Policy, v.Level, v.Message)}
			if v.Level == schema.Advisory || v.Approvers > 0 {
				advice = append(advice, d)
				continue
			}
			refusals = append(refusals, d)
		}
	}
	return schema.SortDiagnostics(refusals), schema.SortDiagnostics(advice)
}
