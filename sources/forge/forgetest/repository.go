package forgetest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Repository is one on a forge, in memory: what a fake server shows by its API.
// It has a clock of its own, which moves a second with each thing that happens.
// Every method that is not People's wants the lock held: Lock, Unlock.
type Repository struct {
	sync.Mutex
	Proposals []*Proposal
	Commits   map[string]bool // that the forge knows
	Heads     map[string]string
	statuses  []*Status
	now       time.Time
	ids       int64
}

// Proposal is one with all that happened to it.
type Proposal struct {
	forge.Proposal
	Number   int64
	Created  time.Time
	Versions []Version // heads that were pushed, the oldest first
	Reviews  []*Review // all that were submitted
	Comments []*Comment
}

// Version is a head at a time.
type Version struct {
	Head string
	At   time.Time
}

// Review is one that was submitted; a Verdict of "" only comments.
type Review struct {
	forge.Review
	ID     int64
	Remark bool
}

// Comment is one with the time of its last change.
type Comment struct {
	forge.Comment
	Number  int64
	Updated time.Time
	System  bool // the forge's own note
}

// Status is one that was written.
type Status struct {
	forge.Status
	ID     int64
	Commit string
	At     time.Time
}

// NewRepository has a commit on Main and nothing else.
func NewRepository() *Repository {
	r := &Repository{Commits: map[string]bool{}, Heads: map[string]string{}, now: time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)}
	r.Heads[Main] = r.commit()
	return r
}

// Person is an account by its name.
func Person(name string) forge.Account {
	i := slices.Index([]string{Us, Ana, Bo, Cy}, name)
	if i < 0 {
		return forge.Account{}
	}
	return forge.Account{ID: strconv.Itoa(100 + i), Name: name}
}

// Tick is the next moment.
func (r *Repository) Tick() time.Time { r.now = r.now.Add(time.Second); return r.now }

// NextID is a number that nothing else has.
func (r *Repository) NextID() int64 { r.ids++; return r.ids }

func (r *Repository) commit() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "commit %d", r.NextID()))
	sha := hex.EncodeToString(sum[:20])
	r.Commits[sha] = true
	return sha
}

// Find is a proposal by its number, nil where there is none.
func (r *Repository) Find(id string) *Proposal {
	i := slices.IndexFunc(r.Proposals, func(p *Proposal) bool { return p.ID == id })
	if i < 0 {
		return nil
	}
	return r.Proposals[i]
}

// Add makes a proposal.
func (r *Repository) Add(w Wish, head string) *Proposal {
	n := int64(len(r.Proposals) + 1)
	p := &Proposal{Number: n, Created: r.Tick(), Proposal: forge.Proposal{
		ID: strconv.FormatInt(n, 10), Title: w.Title, Author: Person(w.By), State: forge.Open, Draft: w.Draft, HeadBranch: w.Branch,
		Fork: w.Fork, Branch: w.Into, Base: r.Heads[w.Into], Head: head, Updated: r.now,
	}}
	p.Versions = []Version{{head, r.now}}
	r.Proposals = append(r.Proposals, p)
	return p
}

// AddComment writes one.
func (r *Repository) AddComment(p *Proposal, by, body string, system bool) *Comment {
	c := &Comment{Number: r.NextID(), System: system, Updated: r.Tick(), Comment: forge.Comment{
		Author: Person(by), Body: body, At: r.now, Ours: by == Us,
	}}
	c.ID = strconv.FormatInt(c.Number, 10)
	p.Comments = append(p.Comments, c)
	return c
}

// EditComment alters one.
func (r *Repository) EditComment(c *Comment, body string) {
	c.Body, c.Updated, c.Edited = body, r.Tick(), true
}

// AddStatus writes one.
func (r *Repository) AddStatus(commit string, s forge.Status) *Status {
	st := &Status{Status: s, ID: r.NextID(), Commit: commit, At: r.Tick()}
	r.statuses = append(r.statuses, st)
	return st
}

// Latest are the newest statuses of a commit, one of each context.
func (r *Repository) Latest(commit string) []*Status {
	var out []*Status
	seen := map[string]bool{}
	for _, s := range slices.Backward(r.statuses) {
		if s.Commit == commit && !seen[s.Context] {
			seen[s.Context] = true
			out = append(out, s)
		}
	}
	return out
}

// People does what people do on a forge in memory; a fake embeds it.
type People struct{ Repo *Repository }

// Cheap is true.
func (People) Cheap() bool { return true }

// Conditional is true.
func (People) Conditional() bool { return true }

func (p People) find(t testing.TB, id string) *Proposal {
	t.Helper()
	found := p.Repo.Find(id)
	if found == nil {
		t.Fatalf("there is no proposal %q", id)
	}
	return found
}

// Commit pushes to Main.
func (p People) Commit(testing.TB) string {
	p.Repo.Lock()
	defer p.Repo.Unlock()
	p.Repo.Heads[Main] = p.Repo.commit()
	return p.Repo.Heads[Main]
}

// Branch pushes a branch.
func (p People) Branch(_ testing.TB, name string) {
	p.Repo.Lock()
	defer p.Repo.Unlock()
	p.Repo.Heads[name] = p.Repo.commit()
}

// Propose pushes a branch and proposes it.
func (p People) Propose(_ testing.TB, w Wish) string {
	p.Repo.Lock()
	defer p.Repo.Unlock()
	if w.Into == "" {
		w.Into = Main
	}
	head := p.Repo.commit()
	if !w.Fork {
		p.Repo.Heads[w.Branch] = head
	}
	return p.Repo.Add(w, head).ID
}

// Push adds a commit to a proposal.
func (p People) Push(t testing.TB, id string) string {
	p.Repo.Lock()
	defer p.Repo.Unlock()
	pr := p.find(t, id)
	pr.Head, pr.Updated = p.Repo.commit(), p.Repo.Tick()
	pr.Versions = append(pr.Versions, Version{pr.Head, p.Repo.now})
	return pr.Head
}

// Head is the head of a proposal.
func (p People) Head(t testing.TB, id string) string {
	p.Repo.Lock()
	defer p.Repo.Unlock()
	return p.find(t, id).Head
}

// Merge merges.
func (p People) Merge(t testing.TB, id string) string {
	p.Repo.Lock()
	defer p.Repo.Unlock()
	pr := p.find(t, id)
	pr.State, pr.MergeCommit, pr.Updated = forge.Merged, p.Repo.commit(), p.Repo.Tick()
	p.Repo.Heads[pr.Branch] = pr.MergeCommit
	return pr.MergeCommit
}

// Close closes.
func (p People) Close(t testing.TB, id string) {
	p.Repo.Lock()
	defer p.Repo.Unlock()
	pr := p.find(t, id)
	pr.State, pr.Updated = forge.Closed, p.Repo.Tick()
}

// Say comments.
func (p People) Say(t testing.TB, id, by, body string) {
	p.Repo.Lock()
	defer p.Repo.Unlock()
	p.Repo.AddComment(p.find(t, id), by, body, false)
}

// Edit alters the newest comment of somebody.
func (p People) Edit(t testing.TB, id, by, body string) {
	p.Repo.Lock()
	defer p.Repo.Unlock()
	for _, c := range slices.Backward(p.find(t, id).Comments) {
		if c.Author.Name == by && !c.System {
			p.Repo.EditComment(c, body)
			return
		}
	}
	t.Fatalf("%s has said nothing on %s", by, id)
}

// Review submits a review, or dismisses the last one.
func (p People) Review(t testing.TB, id, by string, v forge.Verdict) {
	p.Repo.Lock()
	defer p.Repo.Unlock()
	pr := p.find(t, id)
	if v == forge.Dismissed {
		for _, r := range slices.Backward(pr.Reviews) {
			if r.Author.Name == by && !r.Remark {
				r.Verdict = v
				return
			}
		}
		t.Fatalf("%s has not reviewed %s", by, id)
	}
	pr.Reviews = append(pr.Reviews, &Review{ID: p.Repo.NextID(), Review: forge.Review{Author: Person(by), Verdict: v, Commit: pr.Head, At: p.Repo.Tick()}})
}

// Remark submits a review that only comments.
func (p People) Remark(t testing.TB, id, by string) {
	p.Repo.Lock()
	defer p.Repo.Unlock()
	pr := p.find(t, id)
	pr.Reviews = append(pr.Reviews, &Review{ID: p.Repo.NextID(), Remark: true, Review: forge.Review{Author: Person(by), Commit: pr.Head, At: p.Repo.Tick()}})
}

// Comments are those of people and of us.
func (p People) Comments(t testing.TB, id string) []forge.Comment {
	p.Repo.Lock()
	defer p.Repo.Unlock()
	var out []forge.Comment
	for _, c := range p.find(t, id).Comments {
		if !c.System {
			out = append(out, c.Comment)
		}
	}
	return out
}

// Statuses are all that were written.
func (p People) Statuses(_ testing.TB, commit, context string) []forge.Status {
	p.Repo.Lock()
	defer p.Repo.Unlock()
	var out []forge.Status
	for _, s := range p.Repo.statuses {
		if s.Commit == commit && s.Context == context {
			out = append(out, s.Status)
		}
	}
	return out
}
