package git

import (
	"errors"
	"testing"

	"github.com/aplomb-dev/aplomb/sources"
)

func TestFollow(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		one := repo.work.Commit("one: the first\n\nbody", "a.yaml", "a: 1\n")
		repo.push("main")
		s := open(t, repo.cfg)
		snap := take(t, s)
		r := snap.Revision
		if r.ID != one || r.Title != "one: the first" || r.Author != "Ana <ana@example.org>" || r.At.IsZero() {
			t.Fatalf("revision %+v", r)
		}
		wantFile(t, snap, "a.yaml", "a: 1\n")

		two := repo.work.Commit("two", "a.yaml", "a: 2\n", "deep/er/b.yaml", "b: 1\n")
		repo.push("main")
		next := take(t, s)
		if next.Revision.ID != two || next.Revision.Tree == r.Tree {
			t.Fatalf("revision %+v after %+v", next.Revision, r)
		}
		wantFile(t, next, "a.yaml", "a: 2\n")
		wantFile(t, next, "deep/er/b.yaml", "b: 1\n")
		wantFile(t, snap, "a.yaml", "a: 1\n")

		old, err := s.Fetch(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		wantFile(t, old, "a.yaml", "a: 1\n")
		if rev, err := s.Head(t.Context()); err != nil || rev.ID != two {
			t.Fatalf("head %v, %v after going back", rev, err)
		}
	})
}

func TestRewound(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		one := repo.work.Commit("one", "a", "1")
		repo.work.Commit("two", "a", "2")
		repo.push("main")
		s := open(t, repo.cfg)
		take(t, s)
		repo.work.Git("reset", "-q", "--hard", one)
		forked := repo.work.Commit("other", "a", "3")
		for _, target := range []string{one, forked} {
			repo.push("-f", target+":main")
			if _, err := try(t, s); !errors.Is(err, sources.ErrRewound) || HintOf(err) == "" {
				t.Fatalf("rewound to %s: %v", target, err)
			}
		}
		again := open(t, repo.cfg) // a restart remembers
		if _, err := try(t, again); !errors.Is(err, sources.ErrRewound) {
			t.Fatalf("after a restart: %v", err)
		}
		cfg := repo.cfg
		cfg.AllowRewind = true
		wantFile(t, take(t, open(t, cfg)), "a", "3")
		wantFile(t, take(t, open(t, repo.cfg)), "a", "3") // in force now
	})
}
