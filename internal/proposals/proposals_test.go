package proposals

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/gittest"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/git"
)

// stage is a Desk over a real repository and a board; what is planned is one
// update for each file.
type stage struct {
	t     *testing.T
	repo  *gittest.Repo
	board *board
	desk  *Desk

	mu      sync.Mutex
	hold    chan struct{} // plans wait for it; nil: they do not
	began   chan struct{} // one for each plan that has begun
	refused *reconciler.Refusal
	away    int                // plans for which a target is out of reach
	violate []schema.Violation // what policies say of the first change
}

func newStage(t *testing.T, alter func(*Desk), signers ...string) *stage {
	t.Helper()
	s := &stage{t: t, repo: gittest.New(t), board: newBoard(), began: make(chan struct{}, 100)}
	s.repo.Commit("base", "a.yaml", "1", "b.yaml", "1")
	src, err := git.Open(git.Config{URL: s.repo.Dir, Branch: "main", Signers: signers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	log := logrus.New()
	log.SetOutput(io.Discard)
	s.desk = &Desk{Environment: "prod", Branch: "main", Forge: s.board, Source: src, Plan: s.plan, Log: log}
	if alter != nil {
		alter(s.desk)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.desk.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

func (s *stage) plan(ctx context.Context, snap *sources.Snapshot) (reconciler.Proposed, error) {
	s.mu.Lock()
	hold, refused, away := s.hold, s.refused, s.away > 0
	s.away--
	s.mu.Unlock()
	s.began <- struct{}{}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return reconciler.Proposed{}, ctx.Err()
		}
	}
	v := reconciler.PlanView{Environment: "prod", Counts: map[schema.Action]int{}, Complete: true, Digest: strings.Repeat("5e0c7a1f", 8)}
	names, err := fs.Glob(snap.FS, "*.yaml")
	for _, n := range names {
		data, rerr := fs.ReadFile(snap.FS, n)
		err = errors.Join(err, rerr)
		raw, _ := json.Marshal(string(data))
		c := reconciler.PlannedChange{Layer: "scheduler", Pos: schema.Pos{File: n, Line: 1}}
		c.ID, c.Action = schema.ID{Kind: "nomad.job", Name: strings.TrimSuffix(n, ".yaml"), Target: "eu"}, schema.Update
		c.Diff = []drivers.Delta{{Path: "/count", Op: schema.Update, Before: json.RawMessage(`"0"`), After: raw}}
		v.Changes = append(v.Changes, c)
		v.Counts[schema.Update]++
	}
	s.mu.Lock()
	v.Changes[0].Violations = s.violate
	s.mu.Unlock()
	if away {
		v.Unplanned = append(v.Unplanned, reconciler.ResourceStatus{State: reconciler.Degraded, Reason: "eu is out of reach"})
	}
	return reconciler.Proposed{Plan: v, Refused: refused}, err
}

// propose makes or moves a proposal.
func (s *stage) propose(id string, alter func(*forge.Proposal), files ...string) string {
	s.t.Helper()
	s.repo.Git("checkout", "-q", "-B", "topic-"+id, "main")
	head := s.repo.Commit("proposal "+id, files...)
	s.repo.Git("update-ref", "refs/pull/"+id+"/head", head)
	s.repo.Git("checkout", "-q", "main")
	s.board.set(func() {
		p := forge.Proposal{ID: id, Head: head, Ref: "refs/pull/" + id + "/head", Branch: "main", State: forge.Open}
		if alter != nil {
			alter(&p)
		}
		for i := range s.board.open {
			if s.board.open[i].ID == id {
				s.board.open[i] = p
				return
			}
		}
		s.board.open = append(s.board.open, p)
	})
	s.desk.Kick()
	return head
}

func (s *stage) status(head, want string) {
	s.t.Helper()
	if !s.board.until(s.t.Context(), func() bool {
		all := s.board.statuses[head]
		return len(all) > 0 && all[len(all)-1] == want
	}) {
		s.t.Fatalf("statuses of %s: %q, want %q", head, s.board.statuses[head], want)
	}
}

func (s *stage) comment(id string) string {
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	return s.board.comments[id+" plan/prod"]
}

// A proposal is planned as it would be merged; a push, or a branch that moves,
// has it planned again, in the same comment.
func TestPlanned(t *testing.T) {
	s := newStage(t, nil)
	head := s.propose("7", nil, "a.yaml", "2")
	s.status(head, "success aplomb/plan: prod 2 changes, update at worst")
	if c := s.comment("7"); !strings.Contains(c, "2 update") || !strings.Contains(c, "<code>nomad.job/a</code>") || !strings.Contains(c, "5e0c7a1f5e0c") {
		t.Errorf("%s", c)
	}
	moved := s.propose("7", nil, "a.yaml", "3", "c.yaml", "1")
	s.status(moved, "success aplomb/plan: prod 3 changes, update at worst")
	s.repo.Commit("beside", "d.yaml", "1")
	s.desk.Kick()
	s.status(moved, "success aplomb/plan: prod 4 changes, update at worst")
	if s.board.written != 3 || len(s.board.comments) != 1 {
		t.Errorf("%d comments were written, %d are there", s.board.written, len(s.board.comments))
	}
}

// A new push ends the plan of the old one, which is never told.
func TestCancelled(t *testing.T) {
	s := newStage(t, nil)
	s.hold = make(chan struct{})
	old := s.propose("7", nil, "a.yaml", "2")
	<-s.began
	s.mu.Lock()
	s.hold = nil
	s.mu.Unlock()
	s.status(s.propose("7", nil, "c.yaml", "1"), "success aplomb/plan: prod 3 changes, update at worst")
	if all := s.board.statuses[old]; len(all) != 1 || s.board.written != 1 {
		t.Errorf("the old head has %q; %d comments", all, s.board.written)
	}
}

// A plan that lacks what was out of reach is no success, and is made again,
// without a push, until it is whole.
func TestOutOfReach(t *testing.T) {
	s := newStage(t, func(d *Desk) { d.Interval = time.Millisecond })
	s.mu.Lock()
	s.away = 3
	s.mu.Unlock()
	head := s.propose("7", nil, "a.yaml", "2")
	s.status(head, "success aplomb/plan: prod 2 changes, update at worst")
	want := []string{"pending aplomb/plan: prod being planned", "error aplomb/plan: prod 2 changes, and 1 not planned: the comment says why", "success aplomb/plan: prod 2 changes, update at worst"}
	if got := s.board.statuses[head]; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for range 4 {
		<-s.began
	}
	s.desk.Kick()
	s.status(s.propose("8", nil, "c.yaml", "2"), "success aplomb/plan: prod 3 changes, update at worst")
	if n := len(s.began); n != 1 {
		t.Errorf("a plan that is whole was made again: %d", n)
	}
}

func TestNeedsRebase(t *testing.T) {
	s := newStage(t, nil)
	s.repo.Git("checkout", "-q", "-b", "other")
	s.repo.Git("checkout", "-q", "main")
	head := s.propose("7", nil, "a.yaml", "2")
	s.status(head, "success aplomb/plan: prod 2 changes, update at worst")
	s.repo.Commit("ours", "a.yaml", "3")
	s.desk.Kick()
	s.status(head, "failure aplomb/plan: prod needs rebase")
	if c := s.comment("7"); !strings.Contains(c, "<code>a.yaml</code>") || !strings.Contains(c, "needs rebase") {
		t.Errorf("%s", c)
	}
}

// That two histories have nothing in common is said on the proposal, once: it is
// nothing that could pass, nor for the daemon's log.
func TestApart(t *testing.T) {
	s := newStage(t, nil)
	apart := s.repo.Git("commit-tree", s.repo.Git("rev-parse", "main^{tree}"), "-m", "apart")
	s.propose("7", func(p *forge.Proposal) {
		p.Head = apart
		s.repo.Git("update-ref", p.Ref, apart)
	}, "b.yaml", "2")
	s.status(apart, "failure aplomb/plan: prod needs rebase")
	if c := s.comment("7"); !strings.Contains(c, "needs rebase") || !strings.Contains(c, "no commit in common") {
		t.Errorf("%s", c)
	}
	s.desk.Kick()
	s.status(s.propose("8", nil, "a.yaml", "2"), "success aplomb/plan: prod 2 changes, update at worst")
	if all := s.board.statuses[apart]; len(all) != 2 {
		t.Errorf("it was planned again: %q", all)
	}
}

func TestFindings(t *testing.T) {
	s := newStage(t, nil)
	s.refused = &reconciler.Refusal{Findings: []schema.Diagnostic{{Pos: schema.Pos{File: "a.yaml", Line: 3, Col: 1}, Message: "unknown field <img src=x> @everyone", Hint: "did you mean `b`?"}}}
	s.status(s.propose("7", nil, "a.yaml", "2"), "failure aplomb/plan: prod 1 finding")
	c := s.comment("7")
	if strings.Contains(c, "<img") || strings.Contains(c, "@") || strings.Contains(c, "`") || !strings.Contains(c, "a.yaml") {
		t.Errorf("%s", c)
	}
}

// Drafts and forks are planned where that is wanted; a forge that is down is
// asked again, and what was told before stands.
func TestWhichArePlanned(t *testing.T) {
	s := newStage(t, func(d *Desk) { d.Drafts = true })
	s.board.set(func() { // anybody can open as many
		for i := range mostPlanned {
			s.board.open = append(s.board.open, forge.Proposal{ID: fmt.Sprint("fork", i), Branch: "main", State: forge.Open, Fork: true})
		}
	})
	fork := s.propose("8", func(p *forge.Proposal) { p.Fork = true }, "a.yaml", "2")
	draft := s.propose("9", func(p *forge.Proposal) { p.Draft = true }, "a.yaml", "2")
	s.status(draft, "success aplomb/plan: prod 2 changes, update at worst")
	s.board.set(func() { s.board.down = &forge.Error{Op: "list", Class: forge.ErrUnreachable} })
	s.desk.Kick()
	s.board.set(func() { s.board.down = nil })
	s.status(s.propose("9", nil, "a.yaml", "5"), "success aplomb/plan: prod 2 changes, update at worst")
	if all := s.board.statuses[fork]; len(all) > 0 {
		t.Errorf("a fork was planned: %q", all)
	}
}
