package plain

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Reviews implements forge.Forge: nobody reviews here. What is said is said by
// tags and merges, which name what they are for; see Comments.
func (p *Plain) Reviews(context.Context, forge.Proposal) ([]forge.Review, error) { return nil, nil }

// Comments implements forge.Forge: what people of the list said by signed tags
// on the proposal's last commit, and by the commit that merged it. Nobody can
// tell when they did: a signature proves who, and its time is what the signer
// says. Nothing of what is said counts where the author is not known, since it
// could be the author who says it.
func (p *Plain) Comments(ctx context.Context, of forge.Proposal, _ time.Time) ([]forge.Comment, error) {
	all, err := p.comments(ctx, of)
	if err != nil {
		return nil, p.fail("read what was said of "+of.ID+" in", err)
	}
	return all, nil
}

func (p *Plain) comments(ctx context.Context, of forge.Proposal) ([]forge.Comment, error) {
	refs, err := p.cfg.Git.Refs(ctx, tags+ApprovePrefix)
	if err != nil {
		return nil, err
	}
	head, err := p.cfg.Git.Commit(of.Head, p.cfg.Signers)
	if err != nil {
		return nil, err
	}
	if !known(author(head)) {
		p.tell(of.Head, "a proposal whose last commit nobody of the list has signed cannot be approved by tags: its author could be who approves")
		return nil, nil
	}
	approving, err := p.approving(refs)
	if err != nil {
		return nil, err
	}
	var all []forge.Comment
	for _, t := range approving {
		if t.Commit == of.Head {
			all = append(all, forge.Comment{ID: tags + t.Name, Author: person(t.Signer), Body: t.Message, Means: "signed tag " + t.Name})
		}
	}
	if of.MergeCommit == "" || of.MergeCommit == of.Head {
		return all, nil
	}
	m, err := p.cfg.Git.Commit(of.MergeCommit, p.cfg.Signers)
	if err != nil {
		return nil, err
	}
	if approves(m) && slices.Contains(merged(m), of.Head) {
		all = append(all, forge.Comment{ID: m.ID, Author: person(m.Signer), Body: trailers(m.Message), Means: "signed merge " + m.Short()})
	}
	return all, nil
}

// approving are the tags that somebody of the list has signed under the very
// name that they have.
func (p *Plain) approving(refs []sources.Ref) ([]sources.Tag, error) {
	var all []sources.Tag
	for _, ref := range refs {
		name, ok := strings.CutPrefix(ref.Name, tags)
		if !ok || !strings.HasPrefix(name, ApprovePrefix) {
			continue
		}
		t, err := p.cfg.Git.Tag(ref.ID, p.cfg.Signers)
		switch {
		case errors.Is(err, sources.ErrUnsigned), errors.Is(err, sources.ErrGone):
			p.tell(ref.Name, "a tag approves nothing: "+err.Error())
		case err != nil:
			return nil, err
		case t.Name != name:
			p.tell(ref.Name, "a tag approves nothing: it was signed under another name")
		default:
			all = append(all, t)
		}
	}
	return all, nil
}

// trailerRE is the line by which the message of a merge approves.
var trailerRE = regexp.MustCompile(`(?m)^Aplomb-Approve:[ \t]*([0-9a-f]{12,64})[ \t]*\r?$`)

// approves says whether somebody of the list has signed a commit that approves.
func approves(c sources.Commit) bool { return c.Signer != "" && trailers(c.Message) != "" }

// trailers are the approvals of a message's last paragraph, as comments say
// them. A line further up is quoted, or of what was merged.
func trailers(message string) string {
	message = strings.TrimRight(strings.ReplaceAll(message, "\r\n", "\n"), "\n")
	i := strings.LastIndex(message, "\n\n")
	if i < 0 {
		return "" // the subject is no trailer
	}
	var lines []string
	for _, m := range trailerRE.FindAllStringSubmatch(message[i:], -1) {
		lines = append(lines, "aplomb approve "+m[1])
	}
	return strings.Join(lines, "\n")
}
