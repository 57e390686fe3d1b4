package dir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/aplomb-dev/aplomb/sources"
)

// TestAround: a folder of CUE in a repository has the repository's CUE around
// it, and a revision that changes with it; its tree does not.
func TestAround(t *testing.T) {
	repo := t.TempDir()
	folder := filepath.Join(repo, "envs", "prod")
	write(t, repo, "cue.mod/module.cue", `module: "example.org/fleet"`)
	write(t, repo, "lib/lib.cue", "package lib\n")
	write(t, repo, "lib/readme.md", "x")
	write(t, repo, ".hidden/x.cue", "package x\n")
	write(t, folder, "a.yaml", "a: 1\n")
	s := &Source{Path: folder}
	snap := fetch(t, s)
	if snap.Root != nil || snap.Revision.ID != snap.Revision.Tree {
		t.Fatalf("without CUE nothing around it matters: %+v", snap.Revision)
	}
	write(t, folder, "b.cue", "package prod\n")
	snap = fetch(t, s)
	if snap.Root == nil || snap.Path != "envs/prod" {
		t.Fatalf("%+v", snap)
	}
	if err := fstest.TestFS(snap.Root, "cue.mod/module.cue", "lib/lib.cue", "envs/prod/a.yaml", "envs/prod/b.cue"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lib/readme.md", ".hidden/x.cue"} {
		if _, err := fs.Stat(snap.Root, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	before := snap.Revision
	write(t, repo, "lib/readme.md", "y")
	if now := head(t, s); now.ID != before.ID {
		t.Error("what is no CUE moved the revision")
	}
	write(t, repo, "lib/lib.cue", "package lib\nx: 1\n")
	now := head(t, s)
	if now.ID == before.ID || now.Tree != before.Tree {
		t.Errorf("the CUE around it changed: %+v, before %+v", now, before)
	}
	if fresh := head(t, &Source{Path: folder}); fresh.ID != now.ID {
		t.Error("a fresh look sees another revision")
	}
	if b, err := fs.ReadFile(snap.Root, "lib/lib.cue"); err != nil || string(b) != "package lib\n" {
		t.Errorf("the snapshot changed: %q, %v", b, err)
	}
	if _, err := (&Source{Path: folder, Entries: 5}).Head(t.Context()); !errors.Is(err, sources.ErrTooLarge) {
		t.Errorf("a large whole: %v", err)
	}
}

// TestWhole: which folder is the whole, and which CUE of it may be passed over.
func TestWhole(t *testing.T) {
	repo := t.TempDir()
	deep := filepath.Join(repo, "a", "b")
	write(t, repo, ".git/HEAD", "x")
	write(t, deep, "x.cue", "package b\n")
	real, err := filepath.EvalSymlinks(repo)
	if err != nil {
		t.Fatal(err)
	}
	at := func(folder, root, below string) {
		t.Helper()
		if r, b := Around(folder); r != root || b != below {
			t.Errorf("%s lies at %q of %q, not at %q of %q", folder, b, r, below, root)
		}
	}
	at(deep, real, "a/b")
	at(repo, real, "")
	at(filepath.Join(repo, "none"), "", "")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(deep, link); err != nil {
		t.Fatal(err)
	}
	at(link, real, "a/b")
	if snap := fetch(t, &Source{Path: link}); snap.Path != "a/b" {
		t.Errorf("behind a link: %q", snap.Path)
	}
	closed := filepath.Join(repo, "closed")
	write(t, closed, "y.cue", "package y\n")
	if err := os.Chmod(closed, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(closed, 0o700) })
	head(t, &Source{Path: deep}) // what may not be read around it is passed over
	write(t, repo, "a/cue.mod/module.cue", `module: "example.org/a"`)
	at(deep, filepath.Join(real, "a"), "b")
}
