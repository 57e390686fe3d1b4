package plain

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

const (
	heads = "refs/heads/"
	tags  = "refs/tags/"
)

// Proposals implements forge.Forge: the branches that hold what branch does not.
func (p *Plain) Proposals(ctx context.Context, branch string) ([]forge.Proposal, error) {
	all, _, err := p.open(ctx, branch)
	if err != nil {
		return nil, p.fail("list the proposals of", err)
	}
	return all, nil
}

// open are the open proposals, and where the branch is.
func (p *Plain) open(ctx context.Context, branch string) ([]forge.Proposal, string, error) {
	refs, err := p.cfg.Git.Refs(ctx, p.branches(branch)...)
	if err != nil {
		return nil, "", err
	}
	tip := at(refs, heads+branch)
	if tip == "" {
		return nil, "", nil // nothing can be merged into what is not there
	}
	var all []forge.Proposal
	for _, ref := range refs {
		id, ok := p.id(ref.Name)
		if !ok || ref.Name == heads+branch {
			continue
		}
		one, err := p.proposal(ctx, id, ref, branch, tip)
		if ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
		if err != nil { // one that cannot be read must not hide the others
			p.tell(ref.Name, "a proposal cannot be read: "+err.Error())
			continue
		}
		if one.State == forge.Open {
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b forge.Proposal) int {
		if c := a.Updated.Compare(b.Updated); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return all, tip, nil
}

// branches are the names of the branches that matter.
func (p *Plain) branches(branch string) []string {
	names := []string{heads + branch, heads + p.cfg.Prefix}
	if p.cfg.Own != "" {
		names = append(names, heads+p.cfg.Own)
	}
	return names
}

// id is what a branch is called as a proposal. A branch below the prefix that
// would be taken for one of our own is none.
func (p *Plain) id(ref string) (string, bool) {
	own := func(name string) bool { return p.cfg.Own != "" && strings.HasPrefix(name, p.cfg.Own) }
	name, ok := strings.CutPrefix(ref, heads)
	switch below, mine := strings.CutPrefix(name, p.cfg.Prefix); {
	case !ok:
	case mine:
		return below, below != "" && !own(below)
	case own(name):
		return name, true
	}
	return "", false
}

func at(refs []sources.Ref, name string) string {
	for _, r := range refs {
		if r.Name == name {
			return r.ID
		}
	}
	return ""
}

// proposal is a branch as a proposal; merged where branch has all of it.
func (p *Plain) proposal(ctx context.Context, id string, ref sources.Ref, branch, tip string) (forge.Proposal, error) {
	c, err := p.cfg.Git.Commit(ref.ID, p.cfg.Signers)
	if err != nil {
		return forge.Proposal{}, err
	}
	one := forge.Proposal{
		ID: id, Title: c.Title, Author: author(c), State: forge.Open,
		Head: ref.ID, Ref: ref.Name, HeadBranch: strings.TrimPrefix(ref.Name, heads), Branch: branch, Updated: c.At,
	}
	// Histories that were merged into each other both ways have no base; what
	// is proposed is said where it is merged.
	if one.Base, _ = p.cfg.Git.MergeBase(ctx, tip, ref.ID); one.Base == ref.ID {
		one.State = forge.Merged
	}
	return one, nil
}

// author is who signed the proposed commit, and answers for it. Without a
// signature that counts it is whom the commit names, which anybody can write:
// nobody that could be told from others.
func author(c sources.Commit) forge.Account {
	if c.Signer != "" {
		return person(c.Signer)
	}
	return forge.Account{Name: c.Email}
}

// known says that the author is somebody, and not only a name in a commit.
func known(a forge.Account) bool { return a.ID != "" }

// Origin implements forge.Forge: what commit has merged, or is itself, where a
// branch or a tag of somebody who may approve still names it, or the merge
// itself approves. The branch is often deleted by then, so that these have the
// commit for their ID.
func (p *Plain) Origin(ctx context.Context, branch, commit string) ([]forge.Proposal, error) {
	all, err := p.origin(ctx, branch, commit)
	if err != nil {
		return nil, p.fail("look for the origin of "+commit+" in", err)
	}
	return all, nil
}

func (p *Plain) origin(ctx context.Context, branch, commit string) ([]forge.Proposal, error) {
	refs, err := p.cfg.Git.Refs(ctx, append(p.branches(branch), tags+ApprovePrefix)...)
	if err != nil {
		return nil, err
	}
	c, err := p.cfg.Git.Commit(commit, p.cfg.Signers)
	if errors.Is(err, sources.ErrGone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	tip := at(refs, heads+branch)
	if tip == "" {
		return nil, nil
	}
	base, err := p.cfg.Git.MergeBase(ctx, tip, commit)
	if err != nil || base != commit {
		return nil, err // it is not there (yet)
	}
	named, err := p.named(refs)
	if err != nil {
		return nil, err
	}
	for _, head := range merged(c) {
		named[head] = named[head] || approves(c)
	}
	var all []forge.Proposal
	for _, head := range append([]string{commit}, merged(c)...) {
		if !named[head] || slices.ContainsFunc(all, func(o forge.Proposal) bool { return o.Head == head }) {
			continue
		}
		one, err := p.proposal(ctx, head[:12], sources.Ref{ID: head}, branch, tip)
		if err != nil {
			return nil, err
		}
		one.MergeCommit = commit
		all = append(all, one)
	}
	return all, nil
}

// merged are the commits that a merge brought into what it was made on.
func merged(c sources.Commit) []string {
	if len(c.Parents) < 2 {
		return nil
	}
	return c.Parents[1:]
}

// named are the commits that a proposal's branch or an approving tag names.
func (p *Plain) named(refs []sources.Ref) (map[string]bool, error) {
	out := map[string]bool{}
	for _, ref := range refs {
		if _, ok := p.id(ref.Name); ok {
			out[ref.ID] = true
		}
	}
	approving, err := p.approving(refs)
	for _, t := range approving {
		out[t.Commit] = true
	}
	return out, err
}

// Open implements forge.Forge. A branch is its own proposal: what it is called is
// the title of its last commit, and what it is for stands on its page.
func (p *Plain) Open(ctx context.Context, d forge.Draft) (forge.Proposal, error) {
	const op = "propose"
	if _, ok := p.id(heads + d.Branch); !ok {
		return forge.Proposal{}, forge.Refuse(op, d.Branch, "the branch is no proposal by its name", "let it begin with "+p.cfg.Prefix)
	}
	all, _, err := p.open(ctx, d.Base)
	if err != nil {
		return forge.Proposal{}, p.fail(op+" "+d.Branch+" of", err)
	}
	for _, one := range all {
		if one.HeadBranch != d.Branch {
			continue
		}
		if d.Body == "" {
			return one, nil
		}
		return one, p.Comment(ctx, one, "about/"+p.cfg.Environment, d.Body)
	}
	return forge.Proposal{}, forge.Refuse(op, d.Branch, "the branch is not there, or "+d.Base+" has all of it", "")
}
