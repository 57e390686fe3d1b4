package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// BranchPrefix is what every branch begins with that aplomb proposes.
const BranchPrefix = "aplomb/"

// MaxEdits bounds what the files of one branch hold together, in bytes.
const MaxEdits = 64 << 20

// ErrTaken is a branch that somebody else has written to.
var ErrTaken = errors.New("somebody else wrote to the branch")

// Branch is a branch to be proposed: one commit on top of another, or none.
type Branch struct {
	Name    string // begins with BranchPrefix
	Base    string // whole hash of a commit that this source has
	Edits   []Edit // none: the branch is at Base itself
	Message string
}

// Edit is what becomes of one file.
type Edit struct {
	Path   string // below the folder that is followed
	Data   []byte // a link's is what it points to
	Delete bool

	// Mode is what the file is afterwards: fs.ModeSymlink, or permissions, of
	// which one to execute makes it executable. Zero: what it is; a new file is
	// a plain one, and a link is refused, since what it says is no content.
	Mode fs.FileMode
}

// Branch makes the branch what b says, without a work tree, and answers the
// commit that it is at. It is idempotent: the same edits of the same base are
// the same commit, and a branch that is there already is left alone. One that
// is at something else is moved where nothing is lost by that: where the new
// commit contains it, or where it is at a commit that only aplomb made. Else
// the error is ErrTaken.
func (s *Source) Branch(ctx context.Context, b Branch) (string, error) {
	h, err := s.branch(ctx, b)
	if err != nil {
		return "", fmt.Errorf("write branch %s of %s: %w", printable(b.Name, 255), s.at, err)
	}
	return h.String(), nil
}

func (s *Source) branch(ctx context.Context, b Branch) (plumbing.Hash, error) {
	base, err := parseHash(b.Base)
	if err != nil {
		return base, err
	}
	if err := s.writable(b.Name); err != nil {
		return base, err
	}
	if err := s.ensure(ctx, base); err != nil {
		return base, err
	}
	d := &draft{store: s.store}
	commit, err := s.edited(d, base, b)
	if err != nil {
		return commit, err
	}
	for attempt := 1; ; attempt++ {
		err := s.point(ctx, plumbing.NewBranchReferenceName(b.Name), commit, d.made)
		if !errors.Is(err, errRaced) || attempt == branchAttempts {
			return commit, err
		}
	}
}

// branchAttempts is how often a branch is written that moves meanwhile.
const branchAttempts = 3

var errNotOurs = errors.New("that branch is followed, or holds reports")

// writable refuses names that are not aplomb's to write to.
func (s *Source) writable(name string) error {
	if err := checkRefName(name); err != nil {
		return err
	}
	if !strings.HasPrefix(name, BranchPrefix) {
		return fmt.Errorf("only branches that begin with %q are written", BranchPrefix)
	}
	for _, kept := range append([]string{s.cfg.Branch}, s.cfg.Reserved...) {
		if name == kept {
			return errNotOurs
		}
	}
	return nil
}

// edited is the commit on top of base that the edits make; base itself where
// there are none, or where they alter nothing.
func (s *Source) edited(d *draft, base plumbing.Hash, b Branch) (plumbing.Hash, error) {
	if len(b.Edits) == 0 {
		return base, nil
	}
	old, err := s.store.commit(base)
	if err != nil {
		return base, err
	}
	files, err := s.grafts(b.Edits)
	if err != nil {
		return base, err
	}
	root, err := d.graft("", old.TreeHash, files)
	if err != nil {
		return base, err
	}
	if root == old.TreeHash {
		d.made = nil
		return base, nil
	}
	if root.IsZero() { // a repository without a file is an empty tree
		if root, err = d.tree(nil); err != nil {
			return base, err
		}
	}
	// Nothing of now: who makes the commit again makes the same.
	by := object.Signature{Name: ownName, Email: ownEmail, When: old.Committer.When.UTC()}
	c := &object.Commit{Author: by, Committer: by, Message: message(b), TreeHash: root, ParentHashes: []plumbing.Hash{base}}
	return d.put(plumbing.CommitObject, c)
}

// Who makes commits where nothing else is said.
const (
	ownName  = "aplomb"
	ownEmail = "aplomb@localhost"
)

// trailer is the line of a commit message by which aplomb knows its own branch
// again.
const trailer = "Aplomb-Branch: "

// maxMessage bounds a commit message, in bytes.
const maxMessage = 64 << 10

func message(b Branch) string {
	lines := strings.Split(strings.TrimSpace(b.Message), "\n")
	for i, line := range lines {
		lines[i] = printable(line, maxMessage)
	}
	text := strings.Join(lines, "\n")
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "")
	}
	return text + "\n\n" + trailer + b.Name + "\n"
}

// grafts are the edits by their path from the root of the repository.
func (s *Source) grafts(edits []Edit) (map[string]Edit, error) {
	out := map[string]Edit{}
	total := 0
	for _, e := range edits {
		if !fs.ValidPath(e.Path) || e.Path == "." || hasControl(e.Path) {
			return nil, fmt.Errorf("%q is no path inside the folder that is followed", printable(e.Path, maxTitle))
		}
		for part := range strings.SplitSeq(e.Path, "/") {
			if !validName(part) {
				return nil, fmt.Errorf("%q cannot name a file", printable(e.Path, maxTitle))
			}
		}
		at := path.Join(s.cfg.Path, e.Path)
		if _, twice := out[at]; twice {
			return nil, fmt.Errorf("%q is edited twice", e.Path)
		}
		if total += len(e.Data); total > MaxEdits {
			return nil, fmt.Errorf("the edits are of more than %d bytes", MaxEdits)
		}
		out[at] = e
	}
	return out, nil
}

// point moves a branch to commit, if nothing is lost by that.
func (s *Source) point(ctx context.Context, ref plumbing.ReferenceName, commit plumbing.Hash, made []plumbing.Hash) error {
	now, err := s.branchAt(ctx, ref)
	if err != nil || now == commit {
		return err
	}
	if !now.IsZero() {
		if err := s.movable(ctx, ref, now, commit); err != nil {
			return err
		}
	}
	if s.wire == nil {
		return s.store.swap(ref, now, commit)
	}
	if err := s.takeTurn(ctx); err != nil {
		return err
	}
	defer func() { <-s.net }()
	var refused refusedError
	err = s.remote().push(ctx, ref, now, commit, made)
	switch {
	case errors.As(err, &refused):
		return withHint(fmt.Errorf("the server refused the push: %w", refused.error),
			"let the account of this environment write to branches that begin with "+BranchPrefix)
	case err != nil:
		return err
	}
	return s.store.mark(branchMark(ref), commit)
}

func branchMark(ref plumbing.ReferenceName) plumbing.ReferenceName {
	return plumbing.ReferenceName("refs/aplomb/branches/" + markName(ref))
}

// branchAt is what a branch is at, with all that it contains; zero where it is
// not there.
func (s *Source) branchAt(ctx context.Context, ref plumbing.ReferenceName) (h plumbing.Hash, err error) {
	var head string
	if s.wire != nil {
		if err := s.takeTurn(ctx); err != nil {
			return h, err
		}
		defer func() { <-s.net }()
		h, head, err = s.remote().pull(ctx, ref, branchMark(ref))
	} else if h, err = s.store.ref(ref); err == nil || isAbsent(err) {
		head, err = s.store.headBranch()
	}
	if isAbsent(err) {
		h, err = plumbing.ZeroHash, nil
	}
	if err == nil && s.cfg.Branch == "" && head == ref.Short() {
		err = errNotOurs
	}
	return h, err
}

// movable says whether a branch may leave what it is at: a commit that the new
// one contains, or one that aplomb made for this very branch and that nobody
// amended.
func (s *Source) movable(ctx context.Context, ref plumbing.ReferenceName, now, next plumbing.Hash) error {
	c, err := s.store.commit(now)
	if err != nil {
		return err
	}
	if madeHere(c, ref) {
		return nil
	}
	forward, err := s.contains(ctx, next, now)
	if err == nil && !forward {
		err = withHint(fmt.Errorf("%w: it is at %s", ErrTaken, now.String()[:7]), "merge it, or delete the branch: aplomb then makes it anew")
	}
	return err
}

// madeHere says whether aplomb made a commit for a branch, and nobody amended it.
func madeHere(c *object.Commit, ref plumbing.ReferenceName) bool {
	own := func(s object.Signature) bool { return s.Name == ownName && s.Email == ownEmail }
	return own(c.Author) && own(c.Committer) && c.Author.When.Equal(c.Committer.When) && len(c.ParentHashes) == 1 &&
		strings.HasSuffix(c.Message, "\n"+trailer+ref.Short()+"\n")
}
