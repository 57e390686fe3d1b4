package gitea

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	api "code.gitea.io/sdk/gitea"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Proposals lists the open pull requests into a branch. Gitea lists those into
// all branches.
func (f *Forge) Proposals(ctx context.Context, branch string) ([]forge.Proposal, error) {
	c, err := f.client(ctx)
	if err != nil {
		return nil, err
	}
	list, err := f.open(c, branch)
	return list, forge.Fail("list the pull requests of", f.subject(), err)
}

func (f *Forge) open(c *api.Client, branch string) ([]forge.Proposal, error) {
	list, err := pages(func(o api.ListOptions) ([]*api.PullRequest, *api.Response, error) {
		return c.ListRepoPullRequests(f.owner, f.name, api.ListPullRequestsOptions{ListOptions: o, State: api.StateOpen, Sort: "oldest"})
	})
	if err != nil {
		return nil, err
	}
	var out []forge.Proposal
	for _, pr := range list {
		if p := proposal(pr); p.Branch == branch && p.State == forge.Open {
			out = append(out, p)
		}
	}
	return out, nil
}

// Origin asks for the pull request that made a commit. Gitea knows those that a
// merge made, not what else came with it.
func (f *Forge) Origin(ctx context.Context, branch, commit string) ([]forge.Proposal, error) {
	c, err := f.client(ctx)
	if err != nil {
		return nil, err
	}
	pr, _, err := c.GetCommitPullRequest(f.owner, f.name, commit)
	switch {
	case errors.Is(err, forge.ErrGone):
		return nil, nil
	case err != nil:
		return nil, forge.Fail("look for the origin of", f.owner+"/"+f.name+"@"+commit, err)
	}
	if p := proposal(pr); p.Branch == branch && p.State == forge.Merged {
		return []forge.Proposal{p}, nil
	}
	return nil, nil
}

func proposal(pr *api.PullRequest) forge.Proposal {
	p := forge.Proposal{
		ID: strconv.FormatInt(pr.Index, 10), Title: pr.Title, Author: account(pr.Poster), URL: pr.HTMLURL, Draft: pr.Draft,
		Ref: fmt.Sprintf("refs/pull/%d/head", pr.Index), Base: pr.MergeBase, State: forge.Closed, Fork: true,
	}
	if pr.Updated != nil {
		p.Updated = *pr.Updated
	}
	if pr.Base != nil {
		p.Branch = pr.Base.Ref
		if p.Base == "" {
			p.Base = pr.Base.Sha
		}
	}
	if pr.Head != nil {
		p.Head, p.HeadBranch = pr.Head.Sha, pr.Head.Ref
		if strings.HasPrefix(p.HeadBranch, "refs/") { // of a branch that is gone only the label has the name
			p.HeadBranch = pr.Head.Name
		}
		// The repository of a fork that was deleted is null.
		p.Fork = pr.Base == nil || pr.Head.Repository == nil || pr.Head.RepoID != pr.Base.RepoID
	}
	switch {
	case pr.HasMerged:
		p.State = forge.Merged
		if pr.MergedCommitID != nil {
			p.MergeCommit = *pr.MergedCommitID
		}
	case pr.State == api.StateOpen:
		p.State = forge.Open
	}
	if pr.Mergeable { // false also while it is being found out
		p.Mergeable = forge.Yes
	}
	return p
}

// Open makes a pull request, unless there is one.
func (f *Forge) Open(ctx context.Context, d forge.Draft) (forge.Proposal, error) {
	c, err := f.client(ctx)
	if err != nil {
		return forge.Proposal{}, err
	}
	p, err := forge.OpenOnce(d, func() ([]forge.Proposal, error) { return f.open(c, d.Base) }, func() (forge.Proposal, error) {
		pr, _, err := c.CreatePullRequest(f.owner, f.name, api.CreatePullRequestOption{Head: d.Branch, Base: d.Base, Title: d.Title, Body: d.Body})
		if err != nil {
			return forge.Proposal{}, err
		}
		return proposal(pr), nil
	})
	return p, forge.Fail("propose a branch of", f.subject(), err)
}
