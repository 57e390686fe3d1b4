package git

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/aplomb-dev/aplomb/internal/gittest"
	"github.com/aplomb-dev/aplomb/sources"
)

// proposal makes a branch with these files beside main, and main with those.
func proposal(t *testing.T, base, ours, theirs map[string]string) *gittest.Repo {
	t.Helper()
	r := gittest.New(t)
	commit := func(files map[string]string) {
		for name, content := range files {
			if content == "" {
				r.Git("rm", "-q", name)
				continue
			}
			r.Write(name, content)
		}
		r.Git("add", "-A")
		r.Git("commit", "-q", "--allow-empty", "-m", "x")
	}
	commit(base)
	r.Git("checkout", "-q", "-b", "topic")
	commit(theirs)
	r.Git("checkout", "-q", "main")
	commit(ours)
	return r
}

func merged(t *testing.T, s *Source, r *gittest.Repo, ref string) *sources.Merged {
	t.Helper()
	m, err := s.Merge(t.Context(), ref, r.Git("rev-parse", "topic"))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func contents(t *testing.T, fsys fs.FS) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := fs.ReadFile(fsys, name)
		got[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestMerge(t *testing.T) {
	base := map[string]string{"keep": "1", "a/x": "1", "a/y": "1", "b/z": "1", "gone": "1"}
	r := proposal(t, base,
		map[string]string{"a/x": "ours", "new/ours": "1", "gone": "", "same": "both"},
		map[string]string{"a/y": "theirs", "new/theirs": "1", "b/z": "", "same": "both"})
	s := open(t, Config{URL: r.Dir, Branch: "main"})
	m := merged(t, s, r, "refs/heads/topic")
	want := map[string]string{"keep": "1", "a/x": "ours", "a/y": "theirs", "new/ours": "1", "new/theirs": "1", "same": "both"}
	if got := contents(t, m.Snapshot.FS); fmt.Sprint(got) != fmt.Sprint(want) || len(m.Conflicts) > 0 {
		t.Errorf("%v, conflicts %v", got, m.Conflicts)
	}
	if m.Onto.ID != r.Head() || m.Head.ID != r.Git("rev-parse", "topic") || m.Snapshot.Revision.ID != m.Head.ID || m.Snapshot.Revision.Tree == m.Head.Tree {
		t.Errorf("%+v", m)
	}
	below := open(t, Config{URL: r.Dir, Branch: "main", Path: "a"})
	if got := contents(t, merged(t, below, r, "refs/heads/topic").Snapshot.FS); len(got) != 2 || got["x"] != "ours" || got["y"] != "theirs" {
		t.Errorf("below a: %v", got)
	}
}

func TestMergeConflicts(t *testing.T) {
	r := proposal(t, map[string]string{"a/x": "1", "both": "1", "del": "1"},
		map[string]string{"a/x": "ours", "both": "ours", "new": "ours", "del": ""},
		map[string]string{"a/x": "theirs", "new": "theirs", "del": "theirs"})
	m := merged(t, open(t, Config{URL: r.Dir, Branch: "main"}), r, "refs/heads/topic")
	if !slices.Equal(m.Conflicts, []string{"a/x", "del", "new"}) || m.Snapshot != nil {
		t.Errorf("conflicts %v, snapshot %v", m.Conflicts, m.Snapshot)
	}
}

// A proposal that moves, that there is not, or whose ref is none, is an error;
// what is in force is not moved by any.
func TestMergeRefuses(t *testing.T) {
	r := proposal(t, map[string]string{"x": "1"}, map[string]string{"x": "2"}, map[string]string{"y": "1"})
	s := open(t, Config{URL: r.Dir, Branch: "main"})
	was := take(t, s)
	old := r.Git("rev-parse", "topic^")
	if _, err := s.Merge(t.Context(), "refs/heads/topic", old); !errors.Is(err, sources.ErrMoved) {
		t.Errorf("moved: %v", err)
	}
	for _, ref := range []string{"refs/heads/none", "refs/heads/../x", "", "--upload-pack=x"} {
		if _, err := s.Merge(t.Context(), ref, old); err == nil {
			t.Errorf("%q is taken", ref)
		}
	}
	if _, err := s.Merge(t.Context(), "refs/heads/topic", "topic"); err == nil {
		t.Error("a name is taken for a hash")
	}
	if now := take(t, s); now.Revision.ID != was.Revision.ID {
		t.Errorf("in force is %s", now.Revision.ID)
	}
}

// From a server the proposal's own ref is fetched.
func TestMergeFromServer(t *testing.T) {
	for name, over := range map[string]func(testing.TB) *served{"https": overHTTPS, "ssh": throughSSH} {
		t.Run(name, func(t *testing.T) {
			s := over(t)
			s.work.Commit("base", "x", "1")
			s.push("main")
			s.work.Git("checkout", "-q", "-b", "topic")
			s.work.Commit("proposal", "y", "theirs")
			s.push("topic:refs/pull/7/head")
			s.work.Git("checkout", "-q", "main")
			s.work.Commit("ours", "z", "ours")
			s.push("main")
			s.cfg.Branch = "main"
			src := open(t, s.cfg)
			m, err := src.Merge(t.Context(), "refs/pull/7/head", s.work.Git("rev-parse", "topic"))
			if err != nil {
				t.Fatal(err)
			}
			if got := contents(t, m.Snapshot.FS); len(got) != 3 {
				t.Errorf("%v", got)
			}
		})
	}
}

// Whatever two histories look like, the last commit that they have in common is
// the one that Git finds.
func TestMergeBase(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	r := gittest.New(t)
	r.Commit("root", "f", "0")
	var all []string
	tree := r.Git("rev-parse", "HEAD^{tree}")
	for i := range 120 {
		parents := []string{r.Head()}
		if len(all) > 0 {
			parents = []string{all[rng.IntN(len(all))]}
			if rng.IntN(3) == 0 {
				if other := all[rng.IntN(len(all))]; other != parents[0] {
					parents = append(parents, other)
				}
			}
		}
		args := []string{"commit-tree", tree, "-m", fmt.Sprint(i)}
		for _, p := range parents {
			args = append(args, "-p", p)
		}
		all = append(all, r.Git(args...))
	}
	s := open(t, Config{URL: r.Dir, Branch: "main"})
	crossed := 0
	for range 300 {
		a, b := all[rng.IntN(len(all))], all[rng.IntN(len(all))]
		want := strings.Fields(r.Git("merge-base", "--all", a, b))
		got, err := s.store.mergeBase(t.Context(), plumbing.NewHash(a), plumbing.NewHash(b))
		switch {
		case len(want) > 1:
			crossed++
			if !errors.Is(err, errCrossed) {
				t.Errorf("%s %s: %v, %v, want several", a, b, got, err)
			}
		case err != nil || got.String() != want[0]:
			t.Errorf("%s %s: %v, %v, want %v", a, b, got, err, want)
		}
	}
	for range 50 {
		a, b := all[rng.IntN(len(all))], all[rng.IntN(len(all))]
		revs, err := s.Since(t.Context(), sources.Revision{ID: a}, sources.Revision{ID: b})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, rev := range revs {
			got = append(got, rev.ID)
		}
		want := strings.Fields(r.Git("rev-list", b, "^"+a))
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("since %s up to %s: %v, want %v", a, b, got, want)
		}
	}
	if crossed == 0 {
		t.Error("no crossed history was tried")
	}
	if got, err := s.store.mergeBase(t.Context(), plumbing.NewHash(all[3]), plumbing.NewHash(r.Git("commit-tree", tree, "-m", "apart"))); err != nil || !got.IsZero() {
		t.Errorf("histories that have nothing in common: %v, %v", got, err)
	}
}
