package github

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	api "github.com/google/go-github/v89/github"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// verdicts are the reviews that are a word: a comment is none, and leaves what
// the same person said before in force.
var verdicts = map[string]forge.Verdict{
	"APPROVED": forge.Approved, "CHANGES_REQUESTED": forge.Changes, "DISMISSED": forge.Dismissed,
}

// Reviews reads the whole history, of which the last word counts.
func (f *Forge) Reviews(ctx context.Context, p forge.Proposal) ([]forge.Review, error) {
	const op = "read the reviews of"
	n, err := f.number(op, p)
	if err != nil {
		return nil, err
	}
	list, err := pages(nil, func(o api.ListOptions) ([]*api.PullRequestReview, *api.Response, error) {
		return f.client.PullRequests.ListReviews(ctx, f.owner, f.name, n, &o)
	})
	if err != nil {
		return nil, forge.Fail(op, f.subject(p.ID), err)
	}
	var history []forge.Review
	for _, r := range list {
		if v, ok := verdicts[strings.ToUpper(r.GetState())]; ok && r.User != nil {
			history = append(history, forge.Review{Author: account(r.User), Verdict: v, Commit: r.GetCommitID(), At: r.GetSubmittedAt().Time})
		}
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
	me, err := f.self(ctx)
	if err != nil {
		return nil, forge.Fail("ask who we are on", f.subject(), err)
	}
	list, err := f.comments(ctx, n, since, nil)
	if err != nil {
		return nil, forge.Fail(op, f.subject(p.ID), err)
	}
	var out []forge.Comment
	for _, c := range list {
		out = append(out, comment(c, me))
	}
	return out, nil
}

func (f *Forge) comments(ctx context.Context, n int, since time.Time, take func(*api.IssueComment) bool) ([]*api.IssueComment, error) {
	opts := &api.IssueListCommentsOptions{}
	if !since.IsZero() {
		since = since.UTC().Truncate(time.Second)
		opts.Since = &since
	}
	return pages(take, func(o api.ListOptions) ([]*api.IssueComment, *api.Response, error) {
		opts.ListOptions = o
		return f.client.Issues.ListComments(ctx, f.owner, f.name, n, opts)
	})
}

func comment(c *api.IssueComment, me forge.Account) forge.Comment {
	by := account(c.User)
	return forge.Comment{
		ID: strconv.FormatInt(c.GetID(), 10), Author: by, Ours: by.ID != "" && by.ID == me.ID, Body: c.GetBody(),
		At: c.GetCreatedAt().Time, Edited: !c.GetUpdatedAt().Equal(c.GetCreatedAt()),
	}
}

// Members lists a team of an organisation.
func (f *Forge) Members(ctx context.Context, team string) ([]forge.Account, error) {
	org, slug, ok := strings.Cut(team, "/")
	if !ok {
		org, slug = f.owner, team
	}
	list, err := pages(nil, func(o api.ListOptions) ([]*api.User, *api.Response, error) {
		return f.client.Teams.ListTeamMembersBySlug(ctx, org, slug, &api.TeamListTeamMembersOptions{ListOptions: o})
	})
	if err != nil {
		return nil, forge.Fail("list the team", org+"/"+slug, err)
	}
	var out []forge.Account
	for _, u := range list {
		out = append(out, account(u))
	}
	return out, nil
}

// Permission asks for somebody's access, teams and organisation counted in.
func (f *Forge) Permission(ctx context.Context, name string) (forge.Permission, error) {
	level, _, err := f.client.Repositories.GetPermissionLevel(ctx, f.owner, f.name, name)
	switch {
	case errors.Is(err, forge.ErrGone):
		return forge.None, nil
	case err != nil:
		return forge.None, forge.Fail("ask for the access of", name+" to "+f.subject(), err)
	}
	switch level.GetPermission() { // maintain is told as write, triage as read
	case "admin":
		return forge.Admin, nil
	case "write":
		return forge.Write, nil
	case "read":
		return forge.Read, nil
	}
	return forge.None, nil
}
