package gitea

import (
	"context"
	"strconv"
	"strings"
	"time"

	api "code.gitea.io/sdk/gitea"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Reviews reads the whole history, of which the last word counts. Comments,
// requests for a review and the words of teams, which have no author, are none.
func (f *Forge) Reviews(ctx context.Context, p forge.Proposal) ([]forge.Review, error) {
	const op = "read the reviews of"
	n, err := f.number(op, p)
	if err != nil {
		return nil, err
	}
	c, err := f.client(ctx)
	if err != nil {
		return nil, err
	}
	list, err := pages(func(o api.ListOptions) ([]*api.PullReview, *api.Response, error) {
		return c.ListPullReviews(f.owner, f.name, n, api.ListPullReviewsOptions{ListOptions: o})
	})
	if err != nil {
		return nil, forge.Fail(op, f.subject(p.ID), err)
	}
	var history []forge.Review
	for _, r := range list {
		word := forge.Review{Author: account(r.Reviewer), Commit: r.CommitID, At: r.Submitted}
		switch {
		case word.Author.ID == "" || r.State != api.ReviewStateApproved && r.State != api.ReviewStateRequestChanges:
			continue
		case r.Dismissed:
			word.Verdict = forge.Dismissed
		case r.State == api.ReviewStateApproved:
			word.Verdict = forge.Approved
		default:
			word.Verdict = forge.Changes
		}
		history = append(history, word)
	}
	return forge.LastWords(history), nil
}

// Comments reads those of the conversation; comments on lines are reviews'.
func (f *Forge) Comments(ctx context.Context, p forge.Proposal, since time.Time) ([]forge.Comment, error) {
	const op = "read the comments of"
	n, err := f.number(op, p)
	if err != nil {
		return nil, err
	}
	c, err := f.client(ctx)
	if err != nil {
		return nil, err
	}
	list, err := f.comments(c, n, since)
	return list, forge.Fail(op, f.subject(p.ID), err)
}

// comments is one request: Gitea does not page this list.
func (f *Forge) comments(c *api.Client, n int64, since time.Time) ([]forge.Comment, error) {
	me, err := f.self(c)
	if err != nil {
		return nil, err
	}
	opts := api.ListIssueCommentOptions{}
	if !since.IsZero() {
		opts.Since = since.UTC().Truncate(time.Second)
	}
	list, _, err := c.ListIssueComments(f.owner, f.name, n, opts)
	if err != nil {
		return nil, err
	}
	if len(list) > forge.MaxItems {
		return nil, forge.Refuse("read the comments of", f.subject(strconv.FormatInt(n, 10)), "there are too many", "")
	}
	var out []forge.Comment
	for _, got := range list {
		by := account(got.Poster)
		out = append(out, forge.Comment{
			ID: strconv.FormatInt(got.ID, 10), Author: by, Ours: by.ID != "" && by.ID == me.ID, Body: got.Body,
			At: got.Created, Edited: !got.Updated.Equal(got.Created),
		})
	}
	return out, nil
}

// Members lists a team of an organisation.
func (f *Forge) Members(ctx context.Context, team string) ([]forge.Account, error) {
	const op = "list the team"
	org, name, ok := strings.Cut(team, "/")
	if !ok {
		org, name = f.owner, team
	}
	c, err := f.client(ctx)
	if err != nil {
		return nil, err
	}
	teams, err := pages(func(o api.ListOptions) ([]*api.Team, *api.Response, error) {
		return c.ListOrgTeams(org, api.ListTeamsOptions{ListOptions: o})
	})
	if err != nil {
		return nil, forge.Fail(op, org+"/"+name, err)
	}
	for _, t := range teams {
		if !strings.EqualFold(t.Name, name) {
			continue
		}
		list, err := pages(func(o api.ListOptions) ([]*api.User, *api.Response, error) {
			return c.ListTeamMembers(t.ID, api.ListTeamMembersOptions{ListOptions: o})
		})
		var out []forge.Account
		for _, u := range list {
			out = append(out, account(u))
		}
		return out, forge.Fail(op, org+"/"+name, err)
	}
	return nil, forge.Fail(op, org+"/"+name, &forge.Error{Class: forge.ErrGone, Help: "the organisation has no such team, or the token may not see it"})
}
