package proposals

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/internal/gittest"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// linked is a board that knows where a repository has what is proposed.
type linked struct {
	*board
	repo *gittest.Repo
}

func (l linked) Proposals(ctx context.Context, branch string) ([]forge.Proposal, error) {
	all, err := l.board.Proposals(ctx, branch)
	for i := range all {
		all[i].Ref, all[i].Head = "refs/heads/"+all[i].HeadBranch, l.repo.Git("rev-parse", all[i].HeadBranch)
	}
	return all, err
}

// counter is a repository with a file web.txt that is to hold a value, and who
// asks for it.
type counter struct {
	*testing.T
	repo   *gittest.Repo
	board  *board
	setter *Setter
	asked  []string
	refuse error
}

func newCounter(t *testing.T) *counter {
	c := &counter{T: t, repo: gittest.New(t), board: newBoard()}
	c.repo.Commit("base", "prod/web.txt", "v1", "prod/other.txt", "x", "stage/web.txt", "v1")
	c.setter = &Setter{Environment: "prod", Branch: "main", Forge: linked{c.board, c.repo}, Source: following(t, c.repo, "main", "prod"), Book: bookIn(t, t.TempDir()),
		Asked: func(_ context.Context, by, subject, why string) error {
			c.asked = append(c.asked, by+" "+subject+" "+why)
			return c.refuse
		}}
	return c
}

// set asks for a value of web.txt.
func (c *counter) set(by, value string) (*forge.Proposal, error) {
	return c.setter.Set(c.Context(), Wanted{Subject: "nomad.job/web", Paths: []string{"image"}, By: by, Why: "a build <b>\n@all", Edit: func(_ context.Context, tree fs.FS) (Edited, error) {
		was, err := fs.ReadFile(tree, "web.txt")
		return Edited{Path: "web.txt", Data: []byte(value), Changed: string(was) != value, Said: []string{"image: " + string(was) + " → " + value + "\nSigned-off-by: ben"}}, err
	}})
}

func (c *counter) must(by, value string) *forge.Proposal {
	c.Helper()
	p, err := c.set(by, value)
	if err != nil {
		c.Fatal(err)
	}
	return p
}

// TestSetter: one proposal for one value, moved on to what is wanted last; what
// is so already, or proposed already, writes nothing.
func TestSetter(t *testing.T) {
	c := newCounter(t)
	if p := c.must("pipe", "v1"); p != nil || len(c.board.drafts)+len(c.asked) > 0 {
		t.Fatalf("it is so already, and %+v is proposed", p)
	}
	p := c.must("pipe", "v2")
	if p == nil || len(c.board.drafts) != 1 || !strings.HasPrefix(p.HeadBranch, "aplomb/set-prod-nomad.job-web-") || p.Title != "Set image of nomad.job/web" {
		t.Fatalf("%+v", p)
	}
	head := c.repo.Git("rev-parse", p.HeadBranch)
	if got := c.repo.Git("diff", "--name-only", "main", head); got != "prod/web.txt" || c.repo.Git("show", head+":prod/web.txt") != "v2" {
		t.Errorf("changed: %s", got)
	}
	if m := c.repo.Git("log", "-1", "--format=%B", head); !strings.Contains(m, "image: v1 → v2 Signed-off-by: ben") {
		t.Errorf("what was asked for begins a line of its own: %s", m)
	}
	if page := c.board.comments["1 set/prod"]; !strings.Contains(page, "<code>pipe</code>") || !strings.Contains(page, "&#60;b&#62; &#64;all") {
		t.Errorf("%s", page)
	}
	c.repo.Commit("other", "prod/other.txt", "y") // the same again, also after the branch moved on
	if again := c.must("pipe", "v2"); again == nil || again.ID != p.ID || c.repo.Git("rev-parse", p.HeadBranch) != head || len(c.asked) != 1 {
		t.Errorf("the same again: %+v, asked %q", again, c.asked)
	}
	if next := c.must("pipe", "v3"); next.ID != p.ID || len(c.board.drafts) != 1 || c.repo.Git("show", p.HeadBranch+":prod/web.txt") != "v3" || c.repo.Git("rev-parse", p.HeadBranch+"^") != c.repo.Head() {
		t.Errorf("another value: %+v", next)
	}
	if page := c.board.comments["1 set/prod"]; !strings.Contains(page, "v3") || strings.Contains(page, "v2") {
		t.Errorf("%s", page)
	}
}

// TestSetterRefused: without the audit nothing is written, and what a person
// wrote to the branch stays.
func TestSetterRefused(t *testing.T) {
	c := newCounter(t)
	c.refuse = errors.New("the disk is full")
	if _, err := c.set("pipe", "v2"); !errors.Is(err, c.refuse) || len(c.board.drafts) > 0 || strings.Contains(c.repo.Git("branch"), "set-prod") {
		t.Errorf("%v: %s", err, c.repo.Git("branch"))
	}
	c.refuse = nil
	p := c.must("pipe", "v2")
	c.repo.Git("checkout", "-q", p.HeadBranch)
	mine := c.repo.Commit("mine", "prod/other.txt", "z")
	c.repo.Git("checkout", "-q", "main")
	if _, err := c.set("pipe", "v3"); err == nil || c.repo.Git("rev-parse", p.HeadBranch) != mine {
		t.Errorf("%v, and the branch is at %s", err, c.repo.Git("rev-parse", p.HeadBranch))
	}
}

// TestSetterAuthor: who asked for a proposal does not agree with themselves,
// though aplomb opened it.
func TestSetterAuthor(t *testing.T) {
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	word := func(name string) forge.Review {
		return forge.Review{Author: forge.Account{Name: name}, Verdict: forge.Approved, Commit: "head", At: at.Add(3 * time.Hour)}
	}
	a, _ := approver(t, people{board: newBoard(), writers: map[string]bool{"Ana": true, "ben": true}, reviews: map[string][]forge.Review{"7": {word("Ana"), word("ben")}}})
	if _, err := a.Book.count(asked("aplomb/set-x", "ana")); err != nil {
		t.Fatal(err)
	}
	if err := a.Book.write("head", page{Branch: "aplomb/set-x", Digest: digest[1:] + "0", Shown: []plan.Masked{{}}, At: at.Add(2 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	var got []string
	a.Approve = func(_ context.Context, y gate.Approval) error { got = append(got, y.By); return nil }
	for _, branch := range []string{"", "aplomb/set-x"} { // "": it was merged, and is gone
		got = nil
		a.Book.counted = map[string]time.Time{asked("aplomb/set-x", "ana"): at}
		p := forge.Proposal{ID: "7", Head: "head", HeadBranch: branch, Author: forge.Account{Name: "aplomb"}}
		if err := a.proposal(t.Context(), p); err != nil || strings.Join(got, " ") != "ben" {
			t.Errorf("the word of %q counts, %v", got, err)
		}
	}
}

// TestSetterUpstream: who asked for a value in one environment does not agree with
// themselves where it is promoted to.
func TestSetterUpstream(t *testing.T) {
	who := func(name string) forge.Account { return forge.Account{ID: name, Name: name} }
	p := people{board: newBoard(), writers: map[string]bool{"ana": true, "ben": true}}
	a, at := approver(t, p)
	a.Upstream = "next"
	a.UpstreamAsked = func(head, branch, by string) bool {
		return head == "set" && branch == "aplomb/set-staging-x" && by == "ana"
	}
	p.origin = map[string][]forge.Proposal{"merge": {{ID: "7", Head: "head", Author: who("aplomb")}},
		"next merge": {{ID: "6", Head: "set", HeadBranch: "aplomb/set-staging-x", Author: who("aplomb")}}}
	for _, name := range []string{"ana", "ben"} {
		p.reviewed("7", forge.Review{Author: who(name), Verdict: forge.Approved, Commit: "head", At: at.Add(2 * time.Hour)})
	}
	a.Forge = p
	if got, err := counted(t, a); err != nil || strings.Join(got, "; ") != "ben 5e0c review of 7 web" {
		t.Errorf("%q, %v", got, err)
	}
}
