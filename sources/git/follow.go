package git

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/aplomb-dev/aplomb/sources"
)

// admit decides whether a revision may be read, and puts a tip in force.
//
//	in force ── … ── tip      the tip contains what is in force: accepted
//	older ── … ── in force    not the tip, and contained: readable, nothing moves
//	anything else             refused
func (s *Source) admit(ctx context.Context, h plumbing.Hash) error {
	force, err := s.inForce()
	if err != nil {
		return err
	}
	if h == force {
		return nil
	}
	s.mu.Lock()
	tip := s.tip
	s.mu.Unlock()
	if s.cfg.AllowRewind {
		if h != tip {
			return nil
		}
		return s.accept(ctx, h, force)
	}
	ofTip, err := s.contains(ctx, tip, h)
	if err != nil {
		return err
	}
	forward, err := s.contains(ctx, h, force)
	if err != nil {
		return err
	}
	switch {
	case forward && ofTip, force.IsZero() && ofTip:
		return s.accept(ctx, h, force)
	case h == tip:
		return withHint(fmt.Errorf("%s: %w %s", s.followed(), sources.ErrRewound, force.String()[:7]),
			"to follow it nevertheless: aplomb up --allow-rewind; to keep history: merge the old tip")
	case ofTip:
		return nil
	}
	before, err := s.contains(ctx, force, h)
	if err == nil && !before {
		err = fmt.Errorf("commit %s is not part of %s: %w", h, s.followed(), sources.ErrGone)
	}
	return err
}

func (s *Source) accept(ctx context.Context, h, force plumbing.Hash) error {
	if _, err := s.signed(h); err != nil {
		return err
	}
	if s.cfg.AllowRewind && !force.IsZero() {
		if ok, err := s.contains(ctx, h, force); err == nil && !ok {
			s.log.WithField("revision", h.String()).Warn("the branch was rewound, which is allowed")
		}
	}
	if s.wire != nil { // whoever tidies up the mirror must keep it
		if err := s.store.mark("refs/aplomb/in-force", h); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.Dir != "" {
		if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
			return fmt.Errorf("keep the revision in force: %w", err)
		}
		line := s.cfg.ref().String() + " " + h.String() + "\n"
		if err := writeAtomic(s.forceFile(), []byte(line)); err != nil {
			return fmt.Errorf("keep the revision in force: %w", err)
		}
	}
	s.force = &h
	return nil
}

func (s *Source) forceFile() string { return filepath.Join(s.cfg.Dir, "in-force") }

// inForce is the revision accepted last, or zero. Following another branch
// starts anew. A damaged file is an error: forgetting would let a rewound
// branch pass.
func (s *Source) inForce() (plumbing.Hash, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.force != nil {
		return *s.force, nil
	}
	var h plumbing.Hash
	if s.cfg.Dir != "" {
		text, err := readSmall(s.forceFile())
		if err != nil && !os.IsNotExist(err) {
			return h, fmt.Errorf("read the revision in force: %w", err)
		}
		if err == nil {
			name, id, _ := strings.Cut(text, " ")
			if h, err = parseHash(id); err != nil {
				return h, withHint(fmt.Errorf("read the revision in force: %s: %w", s.forceFile(), err),
					"remove the file to accept whatever the branch holds now")
			}
			if name != s.cfg.ref().String() {
				h = plumbing.ZeroHash
			}
		}
	}
	s.force = &h
	return h, nil
}

// Contains says whether descendant is, or came after, ancestor. It walks the
// history newest first, so that the usual answer takes a few commits; a "no"
// reads the whole history, once.
func (s *Source) Contains(ctx context.Context, descendant, ancestor sources.Revision) (bool, error) {
	d, err := parseHash(descendant.ID)
	if err != nil {
		return false, err
	}
	a, err := parseHash(ancestor.ID)
	if err != nil {
		return false, err
	}
	ok, err := s.contains(ctx, d, a)
	if err != nil {
		return false, fmt.Errorf("compare %s with %s of %s: %w", descendant.Short(), ancestor.Short(), s.at, err)
	}
	return ok, nil
}

const maxKnown = 4096

func (s *Source) contains(ctx context.Context, d, a plumbing.Hash) (bool, error) {
	switch {
	case d.IsZero() || a.IsZero():
		return false, nil
	case d == a:
		return true, nil
	}
	s.mu.Lock()
	ok, known := s.known[[2]plumbing.Hash{d, a}]
	s.mu.Unlock()
	if known {
		return ok, nil
	}
	err := s.store.walk(ctx, d, func(c *object.Commit) bool {
		ok = c.Hash == a
		return !ok
	})
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxKnown {
		clear(s.known)
	}
	s.known[[2]plumbing.Hash{d, a}] = ok
	return ok, nil
}

// Resolve finds a commit by its hash, or at least 7 digits of it, among those
// that the tip or the revision in force contain.
func (s *Source) Resolve(ctx context.Context, name string) (sources.Revision, error) {
	h, err := s.resolve(ctx, strings.ToLower(name))
	if err != nil {
		return sources.Revision{}, fmt.Errorf("find revision %q of %s: %w", printable(name, 64), s.at, err)
	}
	rev, _, err := s.describe(h)
	return rev, err
}

func (s *Source) resolve(ctx context.Context, name string) (plumbing.Hash, error) {
	if len(name) < 7 || len(name) > 40 || strings.Trim(name, "0123456789abcdef") != "" {
		return plumbing.ZeroHash, fmt.Errorf("give 7 to 40 hexadecimal digits of a commit")
	}
	force, err := s.inForce()
	if err != nil {
		return force, err
	}
	tip, lookErr := s.lookup(ctx) // without an answer what is known must do
	if lookErr != nil {
		s.mu.Lock()
		tip = s.tip
		s.mu.Unlock()
	}
	found := map[plumbing.Hash]bool{}
	for _, from := range []plumbing.Hash{tip, force} {
		if from.IsZero() {
			continue
		}
		err := s.store.walk(ctx, from, func(c *object.Commit) bool {
			if strings.HasPrefix(c.Hash.String(), name) {
				found[c.Hash] = true
			}
			return len(found) < 2
		})
		if err != nil {
			return plumbing.ZeroHash, err
		}
	}
	switch len(found) {
	case 0:
		if lookErr != nil {
			return plumbing.ZeroHash, lookErr
		}
		return plumbing.ZeroHash, fmt.Errorf("%s does not contain it: %w", s.followed(), sources.ErrGone)
	case 1:
		for h := range found {
			return h, nil
		}
	}
	return plumbing.ZeroHash, fmt.Errorf("more than one commit starts so; give more digits")
}
