package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"unicode"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/aplomb-dev/aplomb/sources"
)

// maxTitle bounds the first line of a commit message, in bytes.
const maxTitle = 200

// Head asks for the tip. From a server it fetches the tip's commits at once
// where they are new, so that the revision has its Tree; asking again costs
// one listing of refs. A path that the tip does not have gives an empty Tree:
// Fetch says what is wrong. Whether the tip was rewound is for Fetch to say.
func (s *Source) Head(ctx context.Context) (sources.Revision, error) {
	rev, err := s.look(ctx)
	if errors.Is(err, errDamaged) && s.wire != nil {
		s.log.WithError(err).Warn("the mirror is damaged and is fetched again")
		if err = s.store.discard(); err == nil {
			rev, err = s.look(ctx)
		}
	}
	if err != nil {
		return sources.Revision{}, fmt.Errorf("look at %s of %s: %w", s.followed(), s.at, err)
	}
	return rev, nil
}

func (s *Source) look(ctx context.Context) (sources.Revision, error) {
	h, err := s.lookup(ctx)
	if err != nil {
		return sources.Revision{}, err
	}
	rev, _, err := s.describe(h)
	if err != nil {
		return sources.Revision{}, damaged(err)
	}
	s.mu.Lock()
	s.tip = h
	s.mu.Unlock()
	return rev, nil
}

// damaged marks an error that only what is on disk can have caused.
func damaged(err error) error {
	if !isDamaged(err) {
		return err
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}

// Fetch reads one revision: the tip, or an older one that it contains. The
// first revision fetched is in force; from then on a tip is accepted only if
// it contains what is in force, and is in force from then on. This is kept in
// Dir over restarts.
func (s *Source) Fetch(ctx context.Context, rev sources.Revision) (*sources.Snapshot, error) {
	snap, err := s.fetch(ctx, rev)
	if err != nil {
		return nil, fmt.Errorf("fetch %s of %s: %w", rev.Short(), s.at, err)
	}
	return snap, nil
}

func (s *Source) fetch(ctx context.Context, rev sources.Revision) (*sources.Snapshot, error) {
	h, err := parseHash(rev.ID)
	if err != nil {
		return nil, err
	}
	if err := s.ensure(ctx, h); err != nil {
		return nil, err
	}
	if err := s.admit(ctx, h); err != nil {
		return nil, err
	}
	return s.snapshot(h)
}

// snapshot is a commit that is here: the folder that is followed, in the whole
// that it is a part of.
func (s *Source) snapshot(h plumbing.Hash) (*sources.Snapshot, error) {
	c, err := s.store.commit(h)
	if err != nil {
		return nil, err
	}
	full, folder, err := s.describe(h)
	if err != nil {
		return nil, err
	}
	if folder.IsZero() {
		return nil, fmt.Errorf("the commit has no folder %q", s.cfg.Path)
	}
	t := newTree(s.store, folder, full.At, s.cfg.MaxFile, s.cfg.Entries)
	if folder == c.TreeHash {
		return &sources.Snapshot{Revision: full, FS: t, Root: t, Close: t.close}, nil
	}
	whole := newTree(s.store, c.TreeHash, full.At, s.cfg.MaxFile, s.cfg.Entries)
	closeBoth := func() error { return errors.Join(t.close(), whole.close()) }
	return &sources.Snapshot{Revision: full, FS: t, Root: whole, Path: strings.TrimSuffix(s.cfg.Path, "/"), Close: closeBoth}, nil
}

// Kept reads the revision that was accepted last from what is on this machine:
// nobody is asked, and nothing moves. sources.ErrGone: none was accepted yet.
func (s *Source) Kept() (*sources.Snapshot, error) {
	h, err := s.inForce()
	if err == nil && h.IsZero() {
		err = sources.ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("read what was fetched of %s: %w", s.at, err)
	}
	snap, err := s.snapshot(h)
	if err != nil {
		return nil, fmt.Errorf("read what was fetched of %s: %w", s.at, gone(err))
	}
	return snap, nil
}

// ensure makes the commit available, and knows a tip afterwards.
func (s *Source) ensure(ctx context.Context, h plumbing.Hash) error {
	here, err := s.store.has(h)
	if err != nil {
		return err
	}
	s.mu.Lock()
	seen := !s.tip.IsZero()
	s.mu.Unlock()
	if here && seen {
		return nil
	}
	tip, err := s.lookup(ctx)
	if err != nil && !here {
		return err
	}
	if err == nil {
		s.mu.Lock()
		s.tip = tip
		s.mu.Unlock()
	}
	if here, err = s.store.has(h); err != nil {
		return err
	}
	if !here {
		return fmt.Errorf("commit %s: %w", h, sources.ErrGone)
	}
	return nil
}

// lookup finds the tip and has its objects afterwards.
func (s *Source) lookup(ctx context.Context) (plumbing.Hash, error) {
	if err := ctx.Err(); err != nil {
		return plumbing.ZeroHash, err
	}
	if s.wire != nil {
		return s.pull(ctx)
	}
	h, err := s.store.ref(s.cfg.ref())
	if errors.Is(err, plumbing.ErrReferenceNotFound) || errors.Is(err, os.ErrNotExist) {
		return h, fmt.Errorf("%w: no such branch or tag, or no commit yet", sources.ErrGone)
	}
	if err != nil {
		return h, err
	}
	return s.store.peel(h)
}

// describe reads the revision and the folder that the path names; the folder
// is zero where the commit does not have it. With errNotFolder the revision is
// told nevertheless, without Tree and Signer.
func (s *Source) describe(h plumbing.Hash) (sources.Revision, plumbing.Hash, error) {
	c, err := s.store.commit(h)
	if err != nil {
		return sources.Revision{}, plumbing.ZeroHash, err
	}
	rev := sources.Revision{ID: h.String(), Title: title(c.Message), Author: author(c), At: c.Committer.When}
	root, err := s.folder(c)
	if err != nil {
		return rev, plumbing.ZeroHash, err
	}
	if who, err := s.signed(h); err == nil { // what nobody signed is refused where it would be put in force
		rev.Signer = who
	}
	if !root.IsZero() {
		rev.Tree = root.String()
	}
	return rev, root, nil
}

var errNotFolder = errors.New("is not a folder")

func (s *Source) folder(c *object.Commit) (plumbing.Hash, error) {
	at := c.TreeHash
	p := strings.TrimSuffix(s.cfg.Path, "/")
	if p == "" || p == "." {
		return at, nil
	}
	for i, part := range strings.Split(p, "/") {
		t, err := s.store.tree(at)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		at = plumbing.ZeroHash
		for _, e := range t.Entries {
			if e.Name == part && e.Mode == filemode.Dir {
				at = e.Hash
			} else if e.Name == part {
				return at, fmt.Errorf("%q %w in commit %s", path.Join(strings.Split(p, "/")[:i+1]...), errNotFolder, c.Hash)
			}
		}
		if at.IsZero() {
			return at, nil
		}
	}
	return at, nil
}

func (s *Source) followed() string {
	switch {
	case s.cfg.Tag != "":
		return "tag " + s.cfg.Tag
	case s.cfg.Branch != "":
		return "branch " + s.cfg.Branch
	}
	return "HEAD"
}

func title(message string) string {
	line, _, _ := strings.Cut(strings.TrimLeft(message, "\r\n"), "\n")
	return printable(line, maxTitle)
}

func author(c *object.Commit) string {
	if c.Author.Email == "" {
		return printable(c.Author.Name, maxTitle)
	}
	return printable(c.Author.Name+" <"+c.Author.Email+">", maxTitle)
}

// printable keeps what somebody else wrote from doing anything to a terminal, or
// to the order in which what stands beside it is read.
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	for i := range s {
		if i > limit {
			return strings.ToValidUTF8(s[:limit], "")
		}
	}
	return s
}

func parseHash(id string) (plumbing.Hash, error) {
	if len(id) != 40 || !plumbing.IsHash(id) {
		return plumbing.ZeroHash, fmt.Errorf("%q is not a whole commit hash", printable(id, 64))
	}
	return plumbing.NewHash(id), nil
}
