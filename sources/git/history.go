package git

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/aplomb-dev/aplomb/sources"
)

// newest is a queue of commits, the newest first.
type newest []*object.Commit

func (q newest) Len() int           { return len(q) }
func (q newest) Less(i, j int) bool { return q[i].Committer.When.After(q[j].Committer.When) }
func (q newest) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *newest) Push(x any)        { *q = append(*q, x.(*object.Commit)) }
func (q *newest) Pop() any {
	old := *q
	c := old[len(old)-1]
	*q = old[:len(old)-1]
	return c
}

// lean is what a walk needs of a commit: as many may wait at once as one has
// parents, and each may hold a text of megabytes.
func lean(c *object.Commit) *object.Commit {
	return &object.Commit{Hash: c.Hash, Committer: object.Signature{When: c.Committer.When}, ParentHashes: c.ParentHashes}
}

// walk visits from and all that it contains until visit says no, each as lean has
// it. Dates decide only the order, never what is visited: clocks lie.
func (s *store) walk(ctx context.Context, from plumbing.Hash, visit func(*object.Commit) bool) error {
	cut, err := s.shallow()
	if err != nil {
		return err
	}
	seen := map[plumbing.Hash]bool{from: true}
	first, err := s.commit(from)
	if err != nil {
		return err
	}
	queue := &newest{lean(first)}
	for queue.Len() > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		c := heap.Pop(queue).(*object.Commit)
		if !visit(c) {
			return nil
		}
		if cut[c.Hash] {
			continue
		}
		for _, p := range c.ParentHashes {
			if seen[p] {
				continue
			}
			seen[p] = true
			parent, err := s.commit(p)
			if err != nil {
				return err
			}
			heap.Push(queue, lean(parent))
		}
	}
	return nil
}

// MaxSince bounds how many revisions are told of one step.
const MaxSince = 500

// Since are the revisions that newer contains and older does not, the newest
// first and at most MaxSince; where older is none, newer alone.
func (s *Source) Since(ctx context.Context, older, newer sources.Revision) ([]sources.Revision, error) {
	all, err := s.since(ctx, older, newer)
	if err != nil {
		return nil, fmt.Errorf("look for what came with %s of %s: %w", newer.Short(), s.at, err)
	}
	return all, nil
}

func (s *Source) since(ctx context.Context, older, newer sources.Revision) ([]sources.Revision, error) {
	to, err := parseHash(newer.ID)
	if err != nil {
		return nil, err
	}
	fresh := []plumbing.Hash{to}
	if older.ID != "" {
		from, err := parseHash(older.ID)
		if err != nil {
			return nil, err
		}
		p, err := s.store.painted(ctx, to, from)
		if err != nil {
			return nil, err
		}
		fresh = p.only(fromOurs)
		slices.SortFunc(fresh, func(a, b plumbing.Hash) int {
			return cmp.Or(p.at[b].Compare(p.at[a]), bytes.Compare(a[:], b[:]))
		})
		fresh = fresh[:min(len(fresh), MaxSince)] // before they are read: a merge may bring any number
	}
	all := make([]sources.Revision, 0, len(fresh))
	for _, h := range fresh {
		rev, _, err := s.describe(h)
		if err != nil && !errors.Is(err, errNotFolder) { // what is followed may have been something else once
			return nil, err
		}
		all = append(all, rev)
	}
	return all, nil
}
