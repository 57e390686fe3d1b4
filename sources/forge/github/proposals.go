package github

import (
	"context"
	"strconv"
	"strings"

	api "github.com/google/go-github/v89/github"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Proposals lists the open pull requests into a branch.
func (f *Forge) Proposals(ctx context.Context, branch string) ([]forge.Proposal, error) {
	list, err := f.list(ctx, &api.PullRequestListOptions{State: "open", Base: branch})
	return list, forge.Fail("list the pull requests of", f.subject(), err)
}

func (f *Forge) list(ctx context.Context, opts *api.PullRequestListOptions) ([]forge.Proposal, error) {
	opts.Sort, opts.Direction = "created", "asc" // pages do not move while they are read
	list, err := pages(nil, func(o api.ListOptions) ([]*api.PullRequest, *api.Response, error) {
		opts.ListOptions = o
		return f.client.PullRequests.List(ctx, f.owner, f.name, opts)
	})
	return proposals(list, func(p forge.Proposal) bool { return p.State == forge.Open }), err
}

// Origin lists the merged pull requests that GitHub names for a commit.
func (f *Forge) Origin(ctx context.Context, branch, commit string) ([]forge.Proposal, error) {
	list, err := pages(nil, func(o api.ListOptions) ([]*api.PullRequest, *api.Response, error) {
		return f.client.PullRequests.ListPullRequestsWithCommit(ctx, f.owner, f.name, commit, &o)
	})
	if forge.Class(err) == forge.ErrRefused && len(commit) >= 40 {
		return nil, nil // 422: no commit of this repository
	}
	return proposals(list, func(p forge.Proposal) bool { return p.State == forge.Merged && p.Branch == branch }),
		forge.Fail("look for the origin of", f.owner+"/"+f.name+"@"+commit, err)
}

func proposals(list []*api.PullRequest, want func(forge.Proposal) bool) []forge.Proposal {
	var out []forge.Proposal
	for _, pr := range list {
		if p := proposal(pr); want(p) {
			out = append(out, p)
		}
	}
	return out
}

func proposal(pr *api.PullRequest) forge.Proposal {
	p := forge.Proposal{
		ID: strconv.Itoa(pr.GetNumber()), Title: pr.GetTitle(), Author: account(pr.User), URL: pr.GetHTMLURL(), Draft: pr.GetDraft(),
		Head: pr.GetHead().GetSHA(), HeadBranch: pr.GetHead().GetRef(), Branch: pr.GetBase().GetRef(), Base: pr.GetBase().GetSHA(),
		State: forge.Closed, Updated: pr.GetUpdatedAt().Time,
	}
	// The repository of a fork that was deleted is null.
	from, to := pr.GetHead().GetRepo().GetFullName(), pr.GetBase().GetRepo().GetFullName()
	p.Fork = from == "" || !strings.EqualFold(from, to)
	switch {
	case pr.GetState() == "open":
		p.State = forge.Open
	case pr.MergedAt != nil:
		p.State, p.MergeCommit = forge.Merged, pr.GetMergeCommitSHA()
	}
	if pr.Mergeable != nil {
		p.Mergeable = forge.No
		if *pr.Mergeable {
			p.Mergeable = forge.Yes
		}
	}
	return p
}

// Open makes a pull request, unless there is one.
func (f *Forge) Open(ctx context.Context, d forge.Draft) (forge.Proposal, error) {
	p, err := forge.OpenOnce(d, func() ([]forge.Proposal, error) {
		return f.list(ctx, &api.PullRequestListOptions{State: "open", Base: d.Base, Head: f.owner + ":" + d.Branch})
	}, func() (forge.Proposal, error) {
		pr, _, err := f.client.PullRequests.Create(ctx, f.owner, f.name, &api.NewPullRequest{
			Title: &d.Title, Head: &d.Branch, Base: &d.Base, Body: &d.Body, MaintainerCanModify: api.Ptr(false),
		})
		if err != nil {
			return forge.Proposal{}, err
		}
		return proposal(pr), nil
	})
	return p, forge.Fail("propose a branch of", f.subject(), err)
}
