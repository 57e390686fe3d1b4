package github

import (
	"context"
	"errors"
	"strconv"
	"time"

	api "github.com/google/go-github/v89/github"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Comment keeps one comment of ours for each key.
func (f *Forge) Comment(ctx context.Context, p forge.Proposal, key, body string) error {
	const op = "comment on"
	n, err := f.number(op, p)
	if err != nil {
		return err
	}
	text, err := forge.Compose(key, body, f.Limits().Comment)
	if err != nil {
		return forge.Fail(op, f.subject(p.ID), err)
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	old, err := f.ours(ctx, n, key)
	switch {
	case err != nil:
	case old == nil:
		_, _, err = f.client.Issues.CreateComment(ctx, f.owner, f.name, n, &api.IssueComment{Body: &text})
	case !forge.Same(old.Body, text):
		var id int64
		if id, err = strconv.ParseInt(old.ID, 10, 64); err == nil {
			_, _, err = f.client.Issues.EditComment(ctx, f.owner, f.name, id, &api.IssueComment{Body: &text})
		}
	}
	return forge.Fail(op, f.subject(p.ID), err)
}

// ours is our first comment with a key, nil where there is none.
func (f *Forge) ours(ctx context.Context, n int, key string) (*forge.Comment, error) {
	me, err := f.self(ctx)
	if err != nil {
		return nil, err
	}
	return forge.Find(key, me, func(take func(forge.Comment) bool) error {
		_, err := f.comments(ctx, n, time.Time{}, func(c *api.IssueComment) bool { return take(comment(c, me)) })
		return err
	})
}

// Status writes a commit status, where the newest of its context differs.
func (f *Forge) Status(ctx context.Context, commit string, s forge.Status) error {
	s = s.Fit(f.Limits())
	f.writing.Lock()
	defer f.writing.Unlock()
	err := f.status(ctx, commit, s)
	return forge.Fail("set the status of", f.owner+"/"+f.name+"@"+commit, err)
}

// errNothing is an answer without the thing that was asked for.
var errNothing = errors.New("the server answers with nothing")

func (f *Forge) status(ctx context.Context, commit string, s forge.Status) error {
	// The combined status has the newest of each context, not the history.
	var have *api.RepoStatus
	_, err := pages(func(old *api.RepoStatus) bool {
		if old.GetContext() == s.Context {
			have = old
		}
		return have == nil
	}, func(o api.ListOptions) ([]*api.RepoStatus, *api.Response, error) {
		c, res, err := f.client.Repositories.GetCombinedStatus(ctx, f.owner, f.name, commit, &o)
		if err != nil {
			return nil, res, err
		}
		if c == nil {
			return nil, res, errNothing
		}
		return c.Statuses, res, nil
	})
	if err != nil {
		return err
	}
	if have != nil && have.GetState() == string(s.State) && have.GetDescription() == s.Description && have.GetTargetURL() == s.URL {
		return nil
	}
	state, next := string(s.State), api.RepoStatus{Context: &s.Context, Description: &s.Description}
	next.State = &state
	if s.URL != "" {
		next.TargetURL = &s.URL
	}
	_, _, err = f.client.Repositories.CreateStatus(ctx, f.owner, f.name, commit, next)
	return err
}
