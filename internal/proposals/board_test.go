package proposals

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// board is a forge in memory.
type board struct {
	forge.Forge // what proposals do not ask for is not there

	mu       sync.Mutex
	open     []forge.Proposal
	comments map[string]string   // by proposal and key
	written  int                 // comments, each time one changed
	statuses map[string][]string // by commit: state and text
	drafts   []forge.Draft       // that were opened
	down     error
	hidden   string // a commit that it says it does not have
	pages    map[string][]byte
	news     chan struct{} // closed and made anew with each write
}

func newBoard() *board {
	return &board{comments: map[string]string{}, statuses: map[string][]string{}, news: make(chan struct{})}
}

func (b *board) told() {
	close(b.news)
	b.news = make(chan struct{})
}

func (b *board) Proposals(_ context.Context, branch string) ([]forge.Proposal, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down != nil {
		return nil, b.down
	}
	return slices.DeleteFunc(slices.Clone(b.open), func(p forge.Proposal) bool { return p.Branch != branch }), nil
}

func (b *board) Comment(ctx context.Context, p forge.Proposal, key, body string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down != nil || ctx.Err() != nil {
		return cmpErr(b.down, ctx.Err())
	}
	if at := p.ID + " " + key; b.comments[at] != body {
		b.comments[at] = body
		b.written++
	}
	b.told()
	return nil
}

func (b *board) Status(ctx context.Context, commit string, s forge.Status) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down != nil || ctx.Err() != nil {
		return cmpErr(b.down, ctx.Err())
	}
	if commit == b.hidden {
		return &forge.Error{Op: "status", Class: forge.ErrGone}
	}
	line := string(s.State) + " " + s.Context + " " + s.Description
	if all := b.statuses[commit]; len(all) == 0 || all[len(all)-1] != line {
		b.statuses[commit] = append(all, line)
	}
	b.told()
	return nil
}

func (b *board) Open(ctx context.Context, d forge.Draft) (forge.Proposal, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down != nil || ctx.Err() != nil {
		return forge.Proposal{}, cmpErr(b.down, ctx.Err())
	}
	for _, p := range b.open {
		if p.HeadBranch == d.Branch && p.Branch == d.Base {
			return p, nil
		}
	}
	b.drafts = append(b.drafts, d)
	p := forge.Proposal{ID: strconv.Itoa(len(b.drafts)), HeadBranch: d.Branch, Branch: d.Base, Title: d.Title, State: forge.Open}
	b.open = append(b.open, p)
	b.told()
	return p, nil
}

// limit is how much a comment of a board holds, in bytes.
const limit = 20_000

func (b *board) Limits() forge.Limits { return forge.Limits{Comment: limit} }

func (b *board) File(at, path string, line int) string {
	return forge.FileURL("https://forge.example.org", at, path, line)
}

// Revise makes the board a shelf of pages, too.
func (b *board) Revise(_ context.Context, environment, _ string, change func(map[string][]byte) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pages == nil {
		b.pages = map[string][]byte{"12.md": []byte("of before"), "notes.md": []byte("not ours")}
	}
	defer b.told()
	return change(b.pages)
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// set changes the board.
func (b *board) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	b.told()
}

// until waits until the board is as it should be.
func (b *board) until(ctx context.Context, ok func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		b.mu.Lock()
		yes, news := ok(), b.news
		b.mu.Unlock()
		if yes {
			return true
		}
		select {
		case <-news:
		case <-ctx.Done():
			return false
		}
	}
}

// people is what a board knows of reviews.
type people struct {
	*board
	origin   map[string][]forge.Proposal // by commit
	reviews  map[string][]forge.Review   // by proposal
	said     map[string][]forge.Comment
	writers  map[string]bool
	teams    map[string][]forge.Account
	failWith error
	noTeams  error // what asking for members fails with
}

// reviewed adds a review.
func (p *people) reviewed(id string, r forge.Review) {
	if p.reviews == nil {
		p.reviews = map[string][]forge.Review{}
	}
	p.reviews[id] = append(p.reviews[id], r)
}

func (p people) Origin(_ context.Context, branch, commit string) ([]forge.Proposal, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if branch != "main" {
		commit = branch + " " + commit
	}
	return p.origin[commit], p.failWith
}

func (p people) Reviews(_ context.Context, of forge.Proposal) ([]forge.Review, error) {
	return p.reviews[of.ID], p.failWith
}

func (p people) Comments(_ context.Context, of forge.Proposal, _ time.Time) ([]forge.Comment, error) {
	return p.said[of.ID], p.failWith
}

func (p people) Permission(_ context.Context, name string) (forge.Permission, error) {
	if p.writers[name] {
		return forge.Write, nil
	}
	return forge.Read, nil
}

func (p people) Members(_ context.Context, team string) ([]forge.Account, error) {
	members, known := p.teams[team]
	if !known && p.noTeams == nil {
		return nil, &forge.Error{Op: "read", Class: forge.ErrGone}
	}
	return members, p.noTeams
}
