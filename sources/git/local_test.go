package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/internal/gittest"
	"github.com/aplomb-dev/aplomb/sources"
)

func TestLayouts(t *testing.T) {
	work := gittest.New(t)
	work.Commit("one", "a", "1")
	base := t.TempDir()
	linked := filepath.Join(base, "linked")
	work.Git("worktree", "add", "-q", linked, "-b", "side")
	gittest.At(t, linked).Commit("two", "a", "2")
	borrowing := filepath.Join(base, "borrowing")
	work.Git("clone", "-q", "--shared", work.Dir, borrowing)
	twice := filepath.Join(base, "twice.git")
	work.Git("clone", "-q", "--bare", "--shared", borrowing, twice)
	shallow := filepath.Join(base, "shallow")
	work.Commit("three", "a", "3")
	work.Git("clone", "-q", "--depth", "1", "file://"+work.Dir, shallow)
	work.Git("config", "extensions.worktreeConfig", "true")

	for _, c := range []struct{ url, branch, want string }{
		{work.Dir, "", "3"},
		{work.Dir, "side", "2"},
		{"file://" + work.Dir, "main", "3"},
		{filepath.Join(work.Dir, ".git"), "main", "3"},
		{linked, "", "2"},
		{linked, "main", "3"},
		{borrowing, "main", "1"},
		{twice, "main", "1"},
		{shallow, "main", "3"},
	} {
		wantFile(t, take(t, open(t, Config{URL: c.url, Branch: c.branch})), "a", c.want)
	}

	for name, url := range map[string]string{"a folder": base, "nothing": filepath.Join(base, "none")} {
		if _, err := open(t, Config{URL: url}).Head(t.Context()); !errors.Is(err, errNoRepository) {
			t.Errorf("%s: %v", name, err)
		}
	}
	sha256 := filepath.Join(base, "sha256")
	work.Git("init", "-q", "--object-format=sha256", sha256)
	if _, err := open(t, Config{URL: sha256}).Head(t.Context()); err == nil || !strings.Contains(err.Error(), "objectformat") {
		t.Errorf("sha256: %v", err)
	}
}

func TestNothingToFollow(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		s := open(t, repo.cfg)
		if _, err := s.Head(t.Context()); !errors.Is(err, sources.ErrGone) {
			t.Fatalf("empty: %v", err)
		}
		repo.work.Commit("one", "a", "1")
		repo.push("main:other")
		if _, err := s.Head(t.Context()); !errors.Is(err, sources.ErrGone) {
			t.Fatalf("branch missing: %v", err)
		}
		repo.push("main")
		snap := take(t, s)
		none := sources.Revision{ID: strings.Repeat("12", 20)}
		if _, err := s.Fetch(t.Context(), none); !errors.Is(err, sources.ErrGone) {
			t.Fatalf("no such commit: %v", err)
		}
		for _, id := range []string{"", "main", "HEAD", snap.Revision.ID[:12], strings.Repeat("g", 40)} {
			if _, err := s.Fetch(t.Context(), sources.Revision{ID: id}); err == nil {
				t.Errorf("%q was fetched", id)
			}
		}
	})
}

func TestTag(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		one := repo.work.Commit("one", "a", "1")
		repo.work.Git("tag", "-a", "-m", "noted", "v1")
		repo.push("main", "v1")
		repo.cfg.Branch, repo.cfg.Tag = "", "v1"
		s := open(t, repo.cfg)
		if snap := take(t, s); snap.Revision.ID != one {
			t.Fatalf("the tag gives %+v", snap.Revision)
		}
		two := repo.work.Commit("two", "a", "2")
		repo.push("main")
		if rev, err := s.Head(t.Context()); err != nil || rev.ID != one {
			t.Fatalf("the branch moved the tag: %v, %v", rev, err)
		}
		repo.work.Git("tag", "-f", "v1") // light now, and forward
		repo.push("-f", "v1")
		if snap := take(t, s); snap.Revision.ID != two {
			t.Fatalf("the moved tag gives %+v", snap.Revision)
		}
	})
}

func TestAnotherBranchIsNotTheSource(t *testing.T) {
	repo := inPlace(t)
	repo.work.Commit("one", "a", "1")
	repo.push("main")
	s := open(t, repo.cfg)
	take(t, s)
	repo.work.Git("switch", "-q", "-c", "side")
	side := repo.work.Commit("side", "a", "evil")
	repo.push("side")
	if _, err := s.Fetch(t.Context(), sources.Revision{ID: side}); !errors.Is(err, sources.ErrGone) {
		t.Fatalf("a commit of another branch: %v", err)
	}
}

func TestInForceDamaged(t *testing.T) {
	repo := inPlace(t)
	repo.work.Commit("one", "a", "1")
	repo.push("main")
	take(t, open(t, repo.cfg))
	write(t, filepath.Join(repo.cfg.Dir, "in-force"), "refs/heads/main 12\n")
	if _, err := try(t, open(t, repo.cfg)); err == nil || HintOf(err) == "" {
		t.Fatalf("a damaged file was taken for none: %v", err)
	}
}

func TestRepacked(t *testing.T) {
	repo := inPlace(t)
	for i := range 20 {
		repo.work.Commit(fmt.Sprint(i), fmt.Sprintf("f%d", i), fmt.Sprint(i), "d/x", fmt.Sprint(i))
	}
	repo.push("main")
	s := open(t, repo.cfg)
	snap := take(t, s)
	wantFile(t, snap, "f1", "1")
	for range 3 {
		repo.bare.Git("repack", "-q", "-a", "-d", "-f")
		repo.bare.Git("prune", "--expire=now")
		repo.bare.Git("pack-refs", "--all")
		for i := range 20 {
			wantFile(t, snap, fmt.Sprintf("f%d", i), fmt.Sprint(i))
		}
		repo.work.Commit("more", "d/x", "more")
		repo.push("main")
		wantFile(t, take(t, s), "d/x", "more")
		repo.work.Commit("less", "d/x", "less")
		repo.push("main")
		wantFile(t, take(t, s), "d/x", "less")
	}
}

func TestPrunedIsGone(t *testing.T) {
	repo := inPlace(t)
	one := repo.work.Commit("one", "a", "1")
	repo.work.Commit("two", "b", "2")
	repo.push("main")
	s := open(t, repo.cfg)
	snap := take(t, s)
	repo.bare.Git("update-ref", "refs/heads/main", one)
	repo.bare.Git("reflog", "expire", "--expire=now", "--all")
	repo.bare.Git("gc", "-q", "--prune=now")
	s.store.close()
	if _, err := fs.ReadFile(snap.FS, "b"); !errors.Is(err, sources.ErrGone) {
		t.Fatalf("read what was pruned: %v", err)
	}
}

func TestAncestry(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		one := repo.work.Commit("one", "a", "1")
		repo.work.Git("switch", "-q", "-c", "side")
		side := repo.work.Commit("side", "b", "1")
		repo.work.Git("switch", "-q", "main")
		two := repo.work.Commit("two", "a", "2")
		repo.work.Git("merge", "-q", "--no-ff", "-m", "merge", "side")
		merge := repo.work.Head()
		repo.push("main")
		s := open(t, repo.cfg)
		take(t, s)
		rev := func(id string) sources.Revision { return sources.Revision{ID: id} }
		for _, c := range []struct {
			d, a string
			want bool
		}{{merge, one, true}, {merge, side, true}, {merge, two, true}, {two, side, false}, {one, merge, false}, {one, one, true}} {
			for range 2 { // the second answer is remembered
				if ok, err := s.Contains(t.Context(), rev(c.d), rev(c.a)); err != nil || ok != c.want {
					t.Errorf("%s contains %s: %v, %v", c.d, c.a, ok, err)
				}
			}
		}
		for _, name := range []string{side, side[:7], strings.ToUpper(two[:12])} {
			r, err := s.Resolve(t.Context(), name)
			if err != nil || !strings.HasPrefix(r.ID, strings.ToLower(name)) || r.Title == "" {
				t.Errorf("resolve %s: %+v, %v", name, r, err)
			}
		}
		for _, name := range []string{"", one[:6], "main", "HEAD~1", strings.Repeat("ab", 20)} {
			if r, err := s.Resolve(t.Context(), name); err == nil {
				t.Errorf("%q resolved to %+v", name, r)
			}
		}
		if old, err := s.Fetch(t.Context(), rev(side)); err != nil {
			t.Error(err)
		} else {
			wantFile(t, old, "b", "1")
		}
		if again := take(t, s); again.Revision.ID != merge {
			t.Errorf("after looking back the tip is %+v", again.Revision)
		}
	})
}

func TestWatch(t *testing.T) {
	work := gittest.New(t)
	work.Commit("one", "a", "1")
	work.Git("switch", "-q", "-c", "team/prod")
	s := open(t, Config{URL: work.Dir, Branch: "team/prod", Interval: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	told, done := make(chan struct{}, 100), make(chan error, 1)
	go func() { done <- s.Watch(ctx, func() { told <- struct{}{} }) }()
	next := func(what string, do func(i int)) {
		t.Helper()
		for len(told) > 0 {
			<-told
		}
		tick := time.NewTicker(300 * time.Millisecond) // until the watch is there
		defer tick.Stop()
		end := time.After(20 * time.Second)
		do(0)
		for i := 1; ; i++ {
			select {
			case <-told:
				return
			case <-tick.C:
				do(i)
			case <-end:
				t.Fatalf("%s: not told", what)
			}
		}
	}
	next("a commit", func(i int) { work.Commit("two", "a", fmt.Sprint("x", i)) })
	work.Git("pack-refs", "--all", "--prune")
	next("a commit after refs were packed", func(i int) { work.Commit("three", "a", fmt.Sprint("y", i)) })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestWatchInterval(t *testing.T) {
	repo := overHTTPS(t)
	repo.cfg.Interval = time.Millisecond
	s := open(t, repo.cfg)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	told, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.Watch(ctx, func() {
			select {
			case told <- struct{}{}:
			case <-ctx.Done():
			}
		})
	}()
	for range 3 {
		<-told
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestMirrorStaysSmall(t *testing.T) {
	repo := overHTTPS(t)
	s := open(t, repo.cfg)
	for i := range 5 {
		repo.work.Commit("next", "a", fmt.Sprint(i))
		repo.push("main")
		wantFile(t, take(t, s), "a", fmt.Sprint(i))
	}
	packs, err := filepath.Glob(filepath.Join(s.store.path, "objects/pack/*.pack"))
	if err != nil || len(packs) != 0 {
		t.Fatalf("%d packs after small fetches, %v", len(packs), err)
	}
	gittest.At(t, s.store.path).Git("fsck", "--strict")
	if _, err := os.Stat(filepath.Join(s.store.path, "index")); !os.IsNotExist(err) {
		t.Fatalf("a work tree: %v", err)
	}
}
