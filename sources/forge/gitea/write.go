package gitea

import (
	"context"
	"strconv"
	"time"

	api "code.gitea.io/sdk/gitea"

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
	c, err := f.client(ctx)
	if err != nil {
		return err
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	return forge.Fail(op, f.subject(p.ID), f.comment(c, n, key, text))
}

func (f *Forge) comment(c *api.Client, n int64, key, text string) error {
	me, err := f.self(c)
	if err != nil {
		return err
	}
	old, err := forge.Find(key, me, func(take func(forge.Comment) bool) error {
		list, err := f.comments(c, n, time.Time{})
		for _, it := range list {
			if !take(it) {
				break
			}
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case old == nil:
		_, _, err = c.CreateIssueComment(f.owner, f.name, n, api.CreateIssueCommentOption{Body: text})
		return err
	case forge.Same(old.Body, text):
		return nil
	}
	id, err := strconv.ParseInt(old.ID, 10, 64)
	if err != nil {
		return err
	}
	_, _, err = c.EditIssueComment(f.owner, f.name, id, api.EditIssueCommentOption{Body: text})
	return err
}

// Status writes a commit status, where the newest of its context differs.
func (f *Forge) Status(ctx context.Context, commit string, s forge.Status) error {
	s = s.Fit(f.Limits())
	c, err := f.client(ctx)
	if err != nil {
		return err
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	return forge.Fail("set the status of", f.owner+"/"+f.name+"@"+commit, f.status(c, commit, s))
}

func (f *Forge) status(c *api.Client, commit string, s forge.Status) error {
	list, err := pages(func(o api.ListOptions) ([]*api.Status, *api.Response, error) {
		return c.ListStatuses(f.owner, f.name, commit, api.ListStatusesOption{ListOptions: o})
	})
	if err != nil {
		return err
	}
	var have *api.Status // times are of whole seconds: the id tells which is newest
	for _, old := range list {
		if old.Context == s.Context && (have == nil || old.ID > have.ID) {
			have = old
		}
	}
	if have != nil && string(have.State) == string(s.State) && have.Description == s.Description && have.TargetURL == s.URL {
		return nil
	}
	_, _, err = c.CreateStatus(f.owner, f.name, commit, api.CreateStatusOption{
		State: api.StatusState(s.State), TargetURL: s.URL, Description: s.Description, Context: s.Context,
	})
	return err
}
