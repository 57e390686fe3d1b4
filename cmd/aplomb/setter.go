package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/internal/proposals"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema/compile/edit"
	"github.com/aplomb-dev/aplomb/schema/worker"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/git"
)

// setter is how an environment proposes values that somebody asks for; nil where
// it has no forge. What others wrote is parsed in a worker.
func (o *office) setter(e config.Environment, r *reconciler.Reconciler, src sources.Source, pool *worker.Pool) func(context.Context, api.SetRequest) (api.SetResult, error) {
	repo, ok := src.(*git.Source)
	if o == nil || !ok {
		return nil
	}
	s := &proposals.Setter{Environment: e.Name, Branch: e.Source.Branch, Forge: o.forge, Source: repo, Book: o.book, Asked: r.Asked}
	return func(ctx context.Context, r api.SetRequest) (api.SetResult, error) {
		ctx, cancel := context.WithTimeout(ctx, proposalTime)
		defer cancel()
		return propose(ctx, s, pool, r)
	}
}

// notSet is why a declaration is not edited, as the API knows it.
type notSet struct {
	error
	hint string
}

// Hint says what to do about it.
func (n notSet) Hint() string { return n.hint }

// Is makes it an api.ErrNotSet.
func (notSet) Is(target error) bool { return target == api.ErrNotSet }

// propose has a Setter set values.
func propose(ctx context.Context, s *proposals.Setter, pool *worker.Pool, r api.SetRequest) (api.SetResult, error) {
	out := api.SetResult{ID: r.ID}
	w := proposals.Wanted{Subject: r.ID.String(), Title: r.Title, By: r.By, Why: r.Why}
	var sets []edit.Set
	for _, one := range r.Set {
		sets, w.Paths = append(sets, edit.Set(one)), append(w.Paths, one.Path)
	}
	first := true
	w.Edit = func(ctx context.Context, tree fs.FS) (proposals.Edited, error) {
		got, err := edit.In(ctx, pool, tree, r.ID, sets)
		if err != nil {
			return proposals.Edited{}, err
		}
		e := proposals.Edited{Path: got.File.Path, Data: got.File.Data, Changed: got.Changed()}
		for _, c := range got.Changes {
			if !c.Same {
				e.Said = append(e.Said, fmt.Sprintf("%s: %s → %s", c.Path, c.Before, c.After))
			}
			if first {
				out.Changes = append(out.Changes, api.SetChange(c))
			}
		}
		if first {
			out.Pos, out.Changed, first = got.Pos, e.Changed, false
		}
		return e, nil
	}
	p, err := s.Set(ctx, w)
	var why *edit.Error
	if errors.As(err, &why) {
		err = notSet{err, why.Help}
	}
	if err != nil || p == nil {
		return out, err
	}
	out.Proposal = &api.Proposal{ID: p.ID, URL: p.URL, Title: p.Title, Branch: p.HeadBranch}
	return out, nil
}
