package git

import (
	"container/heap"
	"context"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
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

// walk visits from and all that it contains until visit says no. Dates decide
// only the order, never what is visited: clocks lie.
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
	queue := &newest{first}
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
			heap.Push(queue, parent)
		}
	}
	return nil
}
