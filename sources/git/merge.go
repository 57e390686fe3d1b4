package git

import (
	"context"
	"crypto/sha1" // #nosec: names what Git names so
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/aplomb-dev/aplomb/sources"
)

// errApart are histories without a common past, which Git does not merge either:
// who signed such a commit may have done so for another repository.
var errApart = errors.New("the two histories have no commit in common")

var _ sources.Merger = (*Source)(nil)

// Merge implements sources.Merger. Objects of the proposal are fetched into the
// mirror, and nothing else of the repository is touched: what is in force stays
// so. The merge is one of whole files: two changes to one file do not go
// together, whatever their lines.
func (s *Source) Merge(ctx context.Context, ref, head string) (*sources.Merged, error) {
	m, err := s.merge(ctx, plumbing.ReferenceName(ref), head)
	if err != nil {
		return nil, fmt.Errorf("merge %s into %s of %s: %w", printable(ref, 200), s.followed(), s.at, err)
	}
	return m, nil
}

func (s *Source) merge(ctx context.Context, ref plumbing.ReferenceName, head string) (*sources.Merged, error) {
	theirs, err := s.proposed(ctx, ref, head)
	if err != nil {
		return nil, err
	}
	ours, err := s.lookup(ctx)
	if err != nil {
		return nil, err
	}
	m := &sources.Merged{}
	if m.Onto, _, err = s.describe(ours); err != nil {
		return nil, err
	}
	if m.Head, _, err = s.describe(theirs); err != nil {
		return nil, err
	}
	if _, err := s.signer(theirs); errors.Is(err, sources.ErrUnsigned) {
		m.Unsigned = printable(err.Error(), maxTitle)
	} else if err != nil {
		return nil, err
	}
	base, err := s.store.mergeBase(ctx, ours, theirs)
	switch {
	case err == nil && base.IsZero():
		err = errApart
		fallthrough
	case errors.Is(err, errCrossed):
		m.Apart = err.Error()
		return m, nil
	case err != nil:
		return nil, err
	}
	j := &joining{tree: newTree(s.store, plumbing.ZeroHash, m.Head.At, s.cfg.MaxFile, s.cfg.Entries)}
	var roots [3]plumbing.Hash
	for i, h := range []plumbing.Hash{base, ours, theirs} {
		c, err := s.store.commit(h)
		if err != nil {
			return nil, err
		}
		roots[i] = c.TreeHash
	}
	if j.tree.root, err = j.folders("", roots[0], roots[1], roots[2]); err != nil {
		return nil, err
	}
	if len(j.conflicts) > 0 {
		m.Conflicts = j.conflicts
		return m, nil
	}
	return m, s.rooted(m, j.tree)
}

// proposed has the commit of a proposal, and all that it needs, afterwards.
func (s *Source) proposed(ctx context.Context, ref plumbing.ReferenceName, head string) (plumbing.Hash, error) {
	want, err := parseHash(head)
	if err != nil {
		return want, err
	}
	if err := ref.Validate(); err != nil {
		return want, fmt.Errorf("%q is no ref", printable(ref.String(), 200))
	}
	var got plumbing.Hash
	if s.wire == nil {
		got, err = s.store.ref(ref)
	} else {
		got, err = s.pullRef(ctx, ref, markOf(ref.String()))
	}
	if err != nil {
		return want, err
	}
	if got, err = s.store.peel(got); err != nil {
		return want, err
	}
	if got != want {
		return want, fmt.Errorf("it is at %s by now: %w", got.String()[:7], sources.ErrMoved)
	}
	return want, nil
}

// markName is a name for the mark of a ref, whatever the ref is called.
func markName(ref plumbing.ReferenceName) string {
	return fmt.Sprintf("%x", sha1.Sum([]byte(ref))) // #nosec
}

// rooted makes the snapshot of a merged tree: the folder that is followed, in
// the whole that it is a part of, as of a commit.
func (s *Source) rooted(m *sources.Merged, whole *tree) error {
	at, err := whole.find("open", path.Clean("./"+s.cfg.Path))
	if err != nil || !at.mode.IsDir() {
		return fmt.Errorf("with it there is no folder %q", s.cfg.Path)
	}
	rev := m.Head
	rev.Tree = at.hash.String()
	if at.hash == whole.root {
		m.Snapshot = &sources.Snapshot{Revision: rev, FS: whole, Root: whole, Close: whole.close}
		return nil
	}
	t := newTree(whole.store, at.hash, whole.at, whole.maxFile, whole.max)
	t.dirs, t.count = maps.Clone(whole.dirs), whole.count // the joined ones are nowhere else
	closeBoth := func() error { return errors.Join(t.close(), whole.close()) }
	m.Snapshot = &sources.Snapshot{Revision: rev, FS: t, Root: whole, Path: strings.TrimSuffix(s.cfg.Path, "/"), Close: closeBoth}
	return nil
}

// joining makes one tree of two that have a common past.
type joining struct {
	tree      *tree
	conflicts []string
}

// maxConflicts bounds how many conflicts are told.
const maxConflicts = 100

// folders joins two folders; a zero hash is one that is not there.
func (j *joining) folders(at string, base, ours, theirs plumbing.Hash) (plumbing.Hash, error) {
	if err := checkLength(at); err != nil {
		return plumbing.ZeroHash, err
	}
	switch {
	case ours == theirs, base == theirs:
		return ours, nil
	case base == ours:
		return theirs, nil
	}
	var lists [3]map[string]entry
	names := map[string]bool{}
	for i, h := range []plumbing.Hash{base, ours, theirs} {
		lists[i] = map[string]entry{}
		if h.IsZero() {
			continue
		}
		list, err := j.tree.dir(h)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		for _, e := range list {
			lists[i][e.name] = e
			names[e.name] = true
		}
	}
	var joined []entry
	for name := range names {
		e, err := j.entry(path.Join(at, name), lists[0][name], lists[1][name], lists[2][name])
		if err != nil {
			return plumbing.ZeroHash, err
		}
		if e.name != "" {
			joined = append(joined, e)
		}
	}
	return j.keep(joined), nil
}

// entry joins what two folders have under one name; the zero entry is nothing.
func (j *joining) entry(at string, base, ours, theirs entry) (entry, error) {
	switch {
	case ours == theirs, base == theirs:
		return ours, nil
	case base == ours:
		return theirs, nil
	case ours.folder() && theirs.folder(): // where one is gone, what was in it is
		var was plumbing.Hash
		if base.mode.IsDir() {
			was = base.hash
		}
		h, err := j.folders(at, was, ours.hash, theirs.hash)
		if err != nil || h.IsZero() {
			return entry{}, err
		}
		return entry{path.Base(at), fs.ModeDir | 0o555, h}, nil
	}
	if len(j.conflicts) < maxConflicts {
		j.conflicts = append(j.conflicts, at)
		slices.Sort(j.conflicts)
	}
	return entry{}, nil
}

// keep puts a folder into the tree that no repository holds, under a name of
// its own; an empty one is none.
func (j *joining) keep(list []entry) plumbing.Hash {
	if len(list) == 0 {
		return plumbing.ZeroHash
	}
	slices.SortFunc(list, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	h := sha1.New() // #nosec
	_, _ = h.Write([]byte("joined\n"))
	for _, e := range list {
		_, _ = fmt.Fprintf(h, "%o %s %s\n", e.mode, e.hash, e.name)
	}
	name := plumbing.Hash(h.Sum(nil))
	j.tree.mu.Lock()
	j.tree.dirs[name] = list
	j.tree.mu.Unlock()
	return name
}
