package gitlab

import (
	"context"
	"errors"
	"strconv"

	api "gitlab.com/gitlab-org/api/client-go/v2"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Proposals lists the open merge requests into a branch. The list does not say
// what a head is compared with, so each head is asked about once.
func (f *Forge) Proposals(ctx context.Context, branch string) ([]forge.Proposal, error) {
	const op = "list the merge requests of"
	list, err := f.list(ctx, &api.ListProjectMergeRequestsOptions{State: api.Ptr("opened"), TargetBranch: &branch})
	if err != nil {
		return nil, forge.Fail(op, f.subject(), err)
	}
	known := map[string]string{}
	for i := range list {
		if list[i].Base, err = f.base(ctx, list[i]); err != nil {
			return nil, forge.Fail(op, f.subject(list[i].ID), err)
		}
		known[baseKey(list[i])] = list[i].Base
	}
	f.mu.Lock()
	f.bases = known // of what is open: the rest is forgotten
	f.mu.Unlock()
	return list, nil
}

func (f *Forge) list(ctx context.Context, opts *api.ListProjectMergeRequestsOptions) ([]forge.Proposal, error) {
	opts.OrderBy, opts.Sort = api.Ptr("created_at"), api.Ptr("asc") // pages do not move while they are read
	list, err := pages(nil, func(o api.ListOptions) ([]*api.BasicMergeRequest, *api.Response, error) {
		opts.ListOptions = o
		return f.client.MergeRequests.ListProjectMergeRequests(f.project, opts, api.WithContext(ctx))
	})
	var out []forge.Proposal
	for _, mr := range list {
		if p := proposal(mr); p.State == forge.Open {
			out = append(out, p)
		}
	}
	return out, err
}

func baseKey(p forge.Proposal) string { return p.ID + " " + p.Head }

// base is the merge base of a head with its branch, as GitLab found it. It is
// remembered: a head that moves has another key.
func (f *Forge) base(ctx context.Context, p forge.Proposal) (string, error) {
	f.mu.Lock()
	known := f.bases[baseKey(p)]
	f.mu.Unlock()
	if known != "" {
		return known, nil
	}
	n, err := f.number("read", p)
	if err != nil {
		return "", err
	}
	mr, _, err := f.client.MergeRequests.GetMergeRequest(f.project, n, nil, api.WithContext(ctx))
	if err != nil || mr.DiffRefs.HeadSha != p.Head {
		return "", err // it moved meanwhile, or GitLab has not looked yet
	}
	return mr.DiffRefs.BaseSha, nil
}

// Origin lists the merged merge requests that GitLab names for a commit.
func (f *Forge) Origin(ctx context.Context, branch, commit string) ([]forge.Proposal, error) {
	list, err := pages(nil, func(o api.ListOptions) ([]*api.BasicMergeRequest, *api.Response, error) {
		return f.client.Commits.ListMergeRequestsByCommit(f.project, commit, api.WithContext(ctx), api.WithOffsetPaginationParameters(o.Page))
	})
	if errors.Is(err, forge.ErrGone) {
		return nil, nil
	}
	var out []forge.Proposal
	for _, mr := range list {
		if p := proposal(mr); p.State == forge.Merged && p.Branch == branch {
			out = append(out, p)
		}
	}
	return out, forge.Fail("look for the origin of", f.project+"@"+commit, err)
}

// unsure are the states of a merge request while GitLab finds out.
var unsure = map[string]bool{"": true, "checking": true, "unchecked": true, "preparing": true, "approvals_syncing": true}

func proposal(mr *api.BasicMergeRequest) forge.Proposal {
	p := forge.Proposal{
		ID: strconv.FormatInt(mr.IID, 10), Title: mr.Title, Author: user(mr.Author), URL: mr.WebURL, Draft: mr.Draft,
		Head: mr.SHA, HeadBranch: mr.SourceBranch, Branch: mr.TargetBranch, State: forge.Closed, Updated: at(mr.UpdatedAt),
		Fork: mr.SourceProjectID == 0 || mr.SourceProjectID != mr.TargetProjectID, // 0: the fork was deleted
	}
	switch mr.State {
	case "opened", "locked": // locked: while it is being merged
		p.State = forge.Open
	case "merged":
		p.State = forge.Merged
		// Fast forward makes no commit of its own, squashing makes one.
		for _, sha := range []string{mr.MergeCommitSHA, mr.SquashCommitSHA, mr.SHA} {
			if p.MergeCommit == "" {
				p.MergeCommit = sha
			}
		}
	}
	switch {
	case mr.HasConflicts:
		p.Mergeable = forge.No
	case !unsure[mr.DetailedMergeStatus]:
		p.Mergeable = forge.Yes
	}
	return p
}

// Open makes a merge request, unless there is one.
func (f *Forge) Open(ctx context.Context, d forge.Draft) (forge.Proposal, error) {
	p, err := forge.OpenOnce(d, func() ([]forge.Proposal, error) {
		return f.list(ctx, &api.ListProjectMergeRequestsOptions{State: api.Ptr("opened"), TargetBranch: &d.Base, SourceBranch: &d.Branch})
	}, func() (forge.Proposal, error) {
		mr, _, err := f.client.MergeRequests.CreateMergeRequest(f.project, &api.CreateMergeRequestOptions{
			SourceBranch: &d.Branch, TargetBranch: &d.Base, Title: &d.Title, Description: &d.Body,
		}, api.WithContext(ctx))
		if err != nil {
			return forge.Proposal{}, err
		}
		p := proposal(&mr.BasicMergeRequest)
		p.Base = mr.DiffRefs.BaseSha
		return p, nil
	})
	return p, forge.Fail("propose a branch of", f.subject(), err)
}
