package git

import (
	"container/heap"
	"context"
	"errors"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// errCrossed are histories that were merged into each other both ways.
var errCrossed = errors.New("the two histories have several last commits in common")

// The sides from which a commit was reached, and that it is known to lie behind
// a common one.
const (
	fromOurs = 1 << iota
	fromTheirs
	behind
)

// mergeBase is the last commit that two have in common, or zero.
func (s *store) mergeBase(ctx context.Context, ours, theirs plumbing.Hash) (plumbing.Hash, error) {
	if ours == theirs {
		return ours, nil
	}
	p, err := s.painted(ctx, ours, theirs)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	common := p.only(fromOurs | fromTheirs) // and not behind one
	if len(common) > 1 {
		if common, err = s.latest(ctx, common); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	switch len(common) {
	case 0:
		return plumbing.ZeroHash, nil
	case 1:
		return common[0], nil
	}
	return plumbing.ZeroHash, errCrossed
}

// painting colours commits by the sides that reach them, newest first, until
// only such are left that lie behind a common one. Clocks that lie cost steps
// and may leave a common commit that another contains; latest drops those.
type painting struct {
	store *store
	cut   map[plumbing.Hash]bool
	sides map[plumbing.Hash]int
	at    map[plumbing.Hash]time.Time // of the commits that were read
	queue newest
	in    map[plumbing.Hash]bool // the queue
	open  int                    // commits in the queue that do not lie behind a common one
}

// painted colours what either contains and not both.
func (s *store) painted(ctx context.Context, ours, theirs plumbing.Hash) (*painting, error) {
	cut, err := s.shallow()
	if err != nil {
		return nil, err
	}
	p := &painting{store: s, cut: cut, sides: map[plumbing.Hash]int{}, at: map[plumbing.Hash]time.Time{}, in: map[plumbing.Hash]bool{}}
	if err := errors.Join(p.paint(ours, fromOurs), p.paint(theirs, fromTheirs)); err != nil {
		return nil, err
	}
	for p.open > 0 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c := heap.Pop(&p.queue).(*object.Commit)
		side := p.sides[c.Hash]
		delete(p.in, c.Hash)
		if side&behind == 0 {
			p.open--
		}
		if side == fromOurs|fromTheirs {
			side |= behind
		}
		if p.cut[c.Hash] {
			continue
		}
		for _, parent := range c.ParentHashes {
			if err := p.paint(parent, side); err != nil {
				return nil, err
			}
		}
	}
	return p, nil
}

// only are the commits of exactly one colour.
func (p *painting) only(side int) []plumbing.Hash {
	var all []plumbing.Hash
	for h, s := range p.sides {
		if s == side {
			all = append(all, h)
		}
	}
	return all
}

// paint adds sides to a commit, and has it looked at again where that is news.
func (p *painting) paint(h plumbing.Hash, side int) error {
	was, seen := p.sides[h]
	if seen && was&side == side {
		return nil
	}
	p.sides[h] = was | side
	if p.in[h] { // it is looked at with what is known then
		if was&behind == 0 && side&behind != 0 {
			p.open--
		}
		return nil
	}
	c, err := p.store.commit(h)
	if err != nil {
		return err
	}
	heap.Push(&p.queue, lean(c))
	p.at[h] = c.Committer.When
	p.in[h] = true
	if (was|side)&behind == 0 {
		p.open++
	}
	return nil
}

// latest drops commits that another one contains.
func (s *store) latest(ctx context.Context, all []plumbing.Hash) ([]plumbing.Hash, error) {
	older := map[plumbing.Hash]bool{}
	for _, h := range all {
		err := s.walk(ctx, h, func(c *object.Commit) bool {
			for _, other := range all {
				if other != h && c.Hash == other {
					older[other] = true
				}
			}
			return len(older) < len(all)-1
		})
		if err != nil {
			return nil, err
		}
	}
	var left []plumbing.Hash
	for _, h := range all {
		if !older[h] {
			left = append(left, h)
		}
	}
	return left, nil
}
