package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/aplomb-dev/aplomb/sources"
)

// maxRefs bounds how many refs are told at once.
const maxRefs = 5000

// mostWords bounds what is told of a message, in bytes.
const mostWords = 64 << 10

// Refs are the branches and tags with these names, by name: a whole name, or
// all below one that ends with a slash. What they name can be read afterwards, but
// for what is larger than may be.
func (s *Source) Refs(ctx context.Context, names ...string) ([]sources.Ref, error) {
	all, err := s.refs(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("look for branches and tags of %s: %w", s.at, err)
	}
	slices.SortFunc(all, func(a, b sources.Ref) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func (s *Source) refs(ctx context.Context, names []string) ([]sources.Ref, error) {
	if s.wire == nil {
		return s.store.below(names)
	}
	if err := s.takeTurn(ctx); err != nil {
		return nil, err
	}
	defer func() { <-s.net }()
	if len(s.large) > maxRefs {
		clear(s.large)
	}
	return s.remote().below(ctx, names, s.large)
}

// named says whether a ref is one of those that are asked for. What Git itself
// would not take for a name is none: a lock, or a name that means something.
func named(ref string, names []string) bool {
	short, ok := strings.CutPrefix(ref, "refs/")
	return ok && checkRefName(short) == nil && slices.ContainsFunc(names, func(n string) bool {
		return ref == n || strings.HasSuffix(n, "/") && strings.HasPrefix(ref, n)
	})
}

var errManyRefs = fmt.Errorf("%w: more than %d branches or tags have such names", sources.ErrTooLarge, maxRefs)

// below are the refs of a repository on this machine.
func (s *store) below(names []string) (all []sources.Ref, err error) {
	err = s.with(func() error {
		all = nil
		refs, err := s.own.IterReferences()
		if err != nil {
			return err
		}
		return refs.ForEach(func(r *plumbing.Reference) error {
			if r.Type() != plumbing.HashReference || !named(r.Name().String(), names) {
				return nil
			}
			if all = append(all, sources.Ref{Name: r.Name().String(), ID: r.Hash().String()}); len(all) > maxRefs {
				return errManyRefs
			}
			return nil
		})
	})
	return all, err
}

// below are the refs of a server, with their objects in the mirror. What is too
// large is told by its name alone, and gathered in large, so that it is asked for
// once: it must not hide the others.
func (r remote) below(ctx context.Context, names []string, large map[plumbing.Hash]bool) ([]sources.Ref, error) {
	all, want, err := r.listed(ctx, names, large)
	switch {
	case errors.Is(err, sources.ErrTooLarge) && len(want) > 0:
		for _, h := range want {
			err := r.bring(ctx, h)
			if errors.Is(err, sources.ErrTooLarge) {
				large[h] = true
				continue
			}
			if err != nil {
				return nil, err
			}
		}
	case err != nil:
		return nil, err
	}
	return all, r.marks(all, large)
}

// listed asks for refs, and for what they name that is not here, which it answers
// as well.
func (r remote) listed(ctx context.Context, names []string, large map[plumbing.Hash]bool) (all []sources.Ref, want []plumbing.Hash, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	session, err := r.wire.upload(ctx)
	if err != nil {
		return nil, nil, explain(ctx, err)
	}
	defer session.Close() // what was asked for has arrived, or failed already
	adv, err := session.AdvertisedReferencesContext(ctx)
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, explain(ctx, err)
	}
	for name, h := range adv.References {
		if !named(name, names) || h.IsZero() {
			continue
		}
		if all = append(all, sources.Ref{Name: name, ID: h.String()}); len(all) > maxRefs {
			return nil, nil, errManyRefs
		}
		if large[h] || slices.Contains(want, h) || r.store.marked(markOf(name), h) {
			continue
		}
		whole, err := r.store.whole(ctx, h)
		if err != nil {
			return nil, nil, err
		}
		if !whole {
			want = append(want, h)
		}
	}
	if err := r.store.unmark(adv.References); err != nil || len(want) == 0 {
		return all, nil, err
	}
	if err := r.download(ctx, session, adv, want...); err != nil {
		return all, want, explain(ctx, err)
	}
	return all, want, nil
}

// bring asks for one object and all that it needs.
func (r remote) bring(ctx context.Context, want plumbing.Hash) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	session, err := r.wire.upload(ctx)
	if err != nil {
		return explain(ctx, err)
	}
	defer session.Close() // it has arrived, or failed already
	adv, err := session.AdvertisedReferencesContext(ctx)
	if err == nil {
		err = r.download(ctx, session, adv, want)
	}
	if err != nil {
		return explain(ctx, err)
	}
	return nil
}

// marks remembers that what the refs name has arrived as a whole.
func (r remote) marks(all []sources.Ref, large map[plumbing.Hash]bool) error {
	for _, ref := range all {
		h := plumbing.NewHash(ref.ID)
		if large[h] || r.store.marked(markOf(ref.Name), h) {
			continue
		}
		if err := r.store.mark(markOf(ref.Name), h); err != nil {
			return err
		}
	}
	return nil
}

// unmark forgets the marks of proposals that the server does not have any more:
// each of them is read whenever something is fetched.
func (s *store) unmark(there map[string]plumbing.Hash) error {
	keep := map[string]bool{}
	for name := range there {
		keep[path.Base(markOf(name).String())] = true
	}
	return s.with(func() error {
		dir := filepath.Join(s.lay.common, filepath.FromSlash(proposalMarks))
		list, err := os.ReadDir(dir)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		for _, e := range list {
			if err == nil && len(e.Name()) == 40 && !keep[e.Name()] {
				err = os.Remove(filepath.Join(dir, e.Name()))
			}
		}
		return err
	})
}

// proposalMarks is where the marks of proposals are, and of all that Refs names.
const proposalMarks = "refs/aplomb/proposals/"

func markOf(name string) plumbing.ReferenceName {
	return plumbing.ReferenceName(proposalMarks + markName(plumbing.ReferenceName(name)))
}

// Commit reads a commit that is here, and who of the lists in signers has signed
// it; nobody is no error.
func (s *Source) Commit(id string, signers []string) (sources.Commit, error) {
	c, err := s.told(id, signers)
	if err != nil {
		return c, fmt.Errorf("read commit %s of %s: %w", printable(id, 40), s.at, gone(err))
	}
	return c, nil
}

func (s *Source) told(id string, signers []string) (c sources.Commit, err error) {
	h, err := parseHash(id)
	if err != nil {
		return c, err
	}
	o, err := s.store.commit(h)
	if err != nil {
		return c, err
	}
	c.Revision = sources.Revision{ID: id, Title: title(o.Message), Author: author(o), At: o.Committer.When}
	c.Email, c.Message = printable(o.Author.Email, maxTitle), o.Message
	if n := len(c.Message); n > mostWords {
		c.Message = c.Message[n-mostWords:] // the end: what is signed there must not be what merely stands further up
	}
	for _, p := range o.ParentHashes {
		c.Parents = append(c.Parents, p.String())
	}
	if len(signers) == 0 {
		return c, nil
	}
	keys, err := ReadSigners(signers...)
	if err != nil {
		return c, err
	}
	raw, err := s.store.read(plumbing.CommitObject, h, maxCommit)
	if err != nil {
		return c, err
	}
	if who, err := keys.VerifyCommit(raw); err == nil {
		c.Signer = who
	}
	return c, nil
}

// Signers is who may sign by the lists.
func (s *Source) Signers(signers []string) ([]string, error) {
	keys, err := ReadSigners(signers...)
	if err != nil {
		return nil, err
	}
	return keys.who(), nil
}

// who is everybody of the list, once.
func (k *Signers) who() []string {
	var all []string
	for _, one := range k.ssh {
		all = append(all, one.who)
	}
	for _, one := range k.pgp {
		all = append(all, one.who(k.now()))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Tag reads an annotated tag that is here. sources.ErrUnsigned: nobody of the
// lists in signers has signed it; sources.ErrGone: it is no such tag.
func (s *Source) Tag(id string, signers []string) (sources.Tag, error) {
	t, err := s.tag(id, signers)
	if err != nil {
		return t, fmt.Errorf("read tag %s of %s: %w", printable(id, 40), s.at, gone(err))
	}
	return t, nil
}

func (s *Source) tag(id string, signers []string) (t sources.Tag, err error) {
	h, err := parseHash(id)
	if err != nil {
		return t, err
	}
	raw, err := s.store.read(plumbing.TagObject, h, mostWords)
	if errors.Is(err, errType) || errors.Is(err, sources.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", sources.ErrGone, err)
	}
	if err != nil {
		return t, err
	}
	if plumbing.ComputeHash(plumbing.TagObject, raw) != h {
		return t, errDamaged
	}
	keys, err := ReadSigners(signers...)
	if err != nil {
		return t, err
	}
	if t.Signer, err = keys.VerifyTag(raw); err != nil {
		return t, err
	}
	payload, _ := unsignTag(raw) // only what was signed is taken apart
	o := &object.Tag{}
	if err := o.Decode(encoded(plumbing.TagObject, payload)); err != nil || o.TargetType != plumbing.CommitObject {
		return t, fmt.Errorf("%w: it names no commit", sources.ErrGone)
	}
	t.Name, t.Commit, t.Message = o.Name, o.Target.String(), o.Message
	return t, nil
}

// MergeBase is the last commit that two have in common; empty: none.
func (s *Source) MergeBase(ctx context.Context, a, b string) (string, error) {
	ours, err := parseHash(a)
	if err != nil {
		return "", err
	}
	theirs, err := parseHash(b)
	if err != nil {
		return "", err
	}
	base, err := s.store.mergeBase(ctx, ours, theirs)
	if err != nil {
		return "", fmt.Errorf("compare %s with %s of %s: %w", a, b, s.at, err)
	}
	if base.IsZero() {
		return "", nil
	}
	return base.String(), nil
}
