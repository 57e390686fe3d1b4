package forge

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// Guard keeps an answer from ending this process. The clients of forges fall
// over some that their API does not promise, such as a list with nothing at one
// place: behind a Guard that is an answer of class ErrUnreachable.
func Guard(f Forge) Forge { return guarded{f} }

type guarded struct{ forge Forge }

// fallen makes an error of a panic.
func fallen(op string, err *error) {
	r := recover()
	if r == nil {
		return
	}
	why := errors.New("the server answers what its client does not understand")
	if e, is := r.(runtime.Error); is { // it names no data
		why = fmt.Errorf("%w: %w", why, e)
	}
	*err = &Error{Op: op, Class: ErrUnreachable, Err: why}
}

func (g guarded) File(at, path string, line int) string { return g.forge.File(at, path, line) }

func (g guarded) Proposals(ctx context.Context, branch string) (_ []Proposal, err error) {
	defer fallen("list the proposals", &err)
	return g.forge.Proposals(ctx, branch)
}

func (g guarded) Origin(ctx context.Context, branch, commit string) (_ []Proposal, err error) {
	defer fallen("look for the origin of "+commit, &err)
	return g.forge.Origin(ctx, branch, commit)
}

func (g guarded) Reviews(ctx context.Context, p Proposal) (_ []Review, err error) {
	defer fallen("read the reviews of "+p.ID, &err)
	return g.forge.Reviews(ctx, p)
}

func (g guarded) Comments(ctx context.Context, p Proposal, since time.Time) (_ []Comment, err error) {
	defer fallen("read the comments on "+p.ID, &err)
	return g.forge.Comments(ctx, p, since)
}

func (g guarded) Comment(ctx context.Context, p Proposal, key, body string) (err error) {
	defer fallen("comment on "+p.ID, &err)
	return g.forge.Comment(ctx, p, key, body)
}

func (g guarded) Status(ctx context.Context, commit string, s Status) (err error) {
	defer fallen("set the status of "+commit, &err)
	return g.forge.Status(ctx, commit, s)
}

func (g guarded) Members(ctx context.Context, team string) (_ []Account, err error) {
	defer fallen("list the members of "+team, &err)
	return g.forge.Members(ctx, team)
}

func (g guarded) Permission(ctx context.Context, account string) (_ Permission, err error) {
	defer fallen("ask what "+account+" may do", &err)
	return g.forge.Permission(ctx, account)
}

func (g guarded) Open(ctx context.Context, d Draft) (_ Proposal, err error) {
	defer fallen("propose "+d.Branch, &err)
	return g.forge.Open(ctx, d)
}

func (g guarded) Limits() Limits { return g.forge.Limits() }
