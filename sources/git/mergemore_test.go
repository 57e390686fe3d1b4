package git

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/aplomb-dev/aplomb/sources"
)

// What is merged has the whole of the repository around it, as a commit has: what
// a declaration imports from outside of the folder that is followed is there, and
// is that of the merge.
func TestMergeHasItsWhole(t *testing.T) {
	r := proposal(t, map[string]string{"lib/a": "1", "lib/b": "1", "prod/x": "1"}, map[string]string{"lib/a": "ours"}, map[string]string{"lib/b": "theirs"})
	m := merged(t, open(t, Config{URL: r.Dir, Branch: "main", Path: "prod/"}), r, "refs/heads/topic")
	if m.Snapshot.Root == nil || m.Snapshot.Path != "prod" {
		t.Fatalf("root %v at %q", m.Snapshot.Root, m.Snapshot.Path)
	}
	if got := contents(t, m.Snapshot.Root); len(got) != 3 || got["lib/a"] != "ours" || got["lib/b"] != "theirs" || got["prod/x"] != "1" {
		t.Errorf("the whole: %v", got)
	}
	if got := contents(t, m.Snapshot.FS); len(got) != 1 || got["x"] != "1" {
		t.Errorf("the folder: %v", got)
	}
	if err := m.Snapshot.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tree := range []fs.FS{m.Snapshot.FS, m.Snapshot.Root} {
		if _, err := fs.Stat(tree, "."); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	}
	whole := merged(t, open(t, Config{URL: r.Dir, Branch: "main"}), r, "refs/heads/topic")
	if whole.Snapshot.Root != whole.Snapshot.FS || whole.Snapshot.Path != "" {
		t.Errorf("all of it is followed: %+v", whole.Snapshot)
	}
}

// Where one side deletes a folder in which the other one adds a file, no path is
// changed on both sides: Git merges it, too. What the other one changed is a
// conflict, by its own path.
func TestMergeDeletedFolder(t *testing.T) {
	base := map[string]string{"d/a": "1", "d/e/b": "1", "keep": "1"}
	gone := map[string]string{"d/a": "", "d/e/b": ""}
	for name, sides := range map[string][2]map[string]string{
		"deleted here": {gone, {"d/e/new": "1"}}, "deleted there": {{"d/e/new": "1"}, gone},
	} {
		r := proposal(t, base, sides[0], sides[1])
		m := merged(t, open(t, Config{URL: r.Dir, Branch: "main"}), r, "refs/heads/topic")
		if len(m.Conflicts) > 0 {
			t.Errorf("%s: conflicts %v", name, m.Conflicts)
			continue
		}
		if got := contents(t, m.Snapshot.FS); len(got) != 2 || got["d/e/new"] != "1" || got["keep"] != "1" {
			t.Errorf("%s: %v", name, got)
		}
	}
	r := proposal(t, base, gone, map[string]string{"d/e/b": "2"})
	if m := merged(t, open(t, Config{URL: r.Dir, Branch: "main"}), r, "refs/heads/topic"); !slices.Equal(m.Conflicts, []string{"d/e/b"}) {
		t.Errorf("conflicts %v", m.Conflicts)
	}
}

// Histories without a common past are not merged: Git does not, and a signed
// commit of another repository is no proposal of its signer to this one.
func TestMergeApart(t *testing.T) {
	r := proposal(t, map[string]string{"x": "1"}, map[string]string{"y": "1"}, map[string]string{"z": "1"})
	apart := r.Git("commit-tree", r.Git("rev-parse", "topic^{tree}"), "-m", "apart")
	r.Git("update-ref", "refs/heads/topic", apart)
	if m := merged(t, open(t, Config{URL: r.Dir, Branch: "main"}), r, "refs/heads/topic"); m.Apart != errApart.Error() || m.Snapshot != nil || m.Head.ID != apart {
		t.Errorf("%+v", m)
	}
	tree, main, topic := r.Git("rev-parse", "main^{tree}"), r.Git("rev-parse", "main"), r.Git("rev-parse", "topic~0")
	base := r.Git("commit-tree", tree, "-m", "base")
	for i, side := range []*string{&main, &topic} {
		*side = r.Git("commit-tree", tree, "-m", "side "+string(rune('a'+i)), "-p", base)
	}
	r.Git("update-ref", "refs/heads/main", r.Git("commit-tree", tree, "-m", "x", "-p", main, "-p", topic))
	r.Git("update-ref", "refs/heads/topic", r.Git("commit-tree", tree, "-m", "y", "-p", topic, "-p", main))
	if m := merged(t, open(t, Config{URL: r.Dir, Branch: "main"}), r, "refs/heads/topic"); m.Apart != errCrossed.Error() || m.Snapshot != nil {
		t.Errorf("crossed: %+v", m)
	}
}

// chain is a file at the end of folders in each other.
func chain(t *testing.T, s *store, folders int, name, content string) plumbing.Hash {
	t.Helper()
	d := &draft{store: s}
	h, err := d.blob([]byte(content))
	for mode := filemode.Regular; err == nil && folders >= 0; folders-- {
		h, err = d.tree([]object.TreeEntry{{Name: name, Mode: mode, Hash: h}})
		mode = filemode.Dir
	}
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Folders that lie too deep in each other are refused, wherever they are walked:
// the paths of all that is walked together would be as long as their square.
func TestTooDeep(t *testing.T) {
	s := mirrored(t)
	name := strings.Repeat("d", 100)
	trees := [3]plumbing.Hash{chain(t, s, 60, name, "1"), chain(t, s, 60, name, "2"), chain(t, s, 60, name, "3")}
	fresh := func(root plumbing.Hash) *tree { return newTree(s, root, time.Time{}, 1<<20, 1000) }
	j := &joining{tree: fresh(plumbing.ZeroHash)}
	if _, err := j.folders("", trees[0], trees[1], trees[2]); !errors.Is(err, sources.ErrTooLarge) {
		t.Errorf("merge: %v, conflicts %d", err, len(j.conflicts))
	}
	d := &difference{now: fresh(trees[0]), then: fresh(trees[1])}
	if err := d.folders("", trees[0], trees[1]); !errors.Is(err, sources.ErrTooLarge) {
		t.Errorf("undo: %v", err)
	}
	err := fs.WalkDir(fresh(trees[0]), ".", func(_ string, _ fs.DirEntry, err error) error { return err })
	if !errors.Is(err, sources.ErrTooLarge) {
		t.Errorf("walk: %v", err)
	}
	if len(err.Error()) > 400 {
		t.Errorf("the error is of %d bytes", len(err.Error()))
	}
	fine := chain(t, s, 30, name, "1")
	if got := contents(t, fresh(fine)); len(got) != 1 {
		t.Errorf("%d files", len(got))
	}
}
