package git

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/aplomb-dev/aplomb/internal/gittest"
	"github.com/aplomb-dev/aplomb/sources"
)

func TestTree(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		if err := os.Symlink("/etc/passwd", filepath.Join(repo.work.Dir, "link")); err != nil {
			t.Fatal(err)
		}
		repo.work.Write("run.sh", "#!/bin/sh\n")
		if err := os.Chmod(filepath.Join(repo.work.Dir, "run.sh"), 0o755); err != nil {
			t.Fatal(err)
		}
		// Git sorts a.b before a/, a file system does not.
		repo.work.Commit("one", "a.b", "1", "a/x", "2", "a0", "3", "d/e/f/g.yaml", "deep", "empty", "")
		repo.push("main")
		snap := take(t, open(t, repo.cfg))
		if err := fstest.TestFS(snap.FS, "a.b", "a/x", "a0", "d/e/f/g.yaml", "empty", "link", "run.sh"); err != nil {
			t.Fatal(err)
		}
		info, err := fs.Stat(snap.FS, "link")
		if err != nil || info.Mode().Type() != fs.ModeSymlink {
			t.Fatalf("link: %v, %v", info, err)
		}
		if target, err := fs.ReadLink(snap.FS, "link"); err != nil || target != "/etc/passwd" {
			t.Fatalf("target %q, %v", target, err)
		}
		for _, name := range []string{"link", "link/x", "a", "../a.b", "/a.b"} {
			if b, err := fs.ReadFile(snap.FS, name); err == nil {
				t.Errorf("%s was read: %q", name, b)
			}
		}
		if info, err := fs.Stat(snap.FS, "run.sh"); err != nil || info.Mode() != 0o555 {
			t.Errorf("run.sh: %v, %v", info, err)
		}
		if err := snap.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := fs.ReadFile(snap.FS, "a0"); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestPath(t *testing.T) {
	repo := inPlace(t)
	repo.work.Commit("one", "envs/prod/a", "1", "envs/test/a", "1", "file", "x")
	repo.push("main")
	repo.cfg.Path = "envs/prod"
	s := open(t, repo.cfg)
	one := take(t, s)
	wantFile(t, one, "a", "1")
	repo.work.Commit("elsewhere", "envs/test/a", "2")
	repo.push("main")
	two := take(t, s)
	if two.Revision.Tree != one.Revision.Tree || two.Revision.ID == one.Revision.ID {
		t.Fatalf("%+v after %+v", two.Revision, one.Revision)
	}
	repo.work.Commit("here", "envs/prod/a", "2")
	repo.push("main")
	if three := take(t, s); three.Revision.Tree == one.Revision.Tree {
		t.Fatal("a change under the path gives the same tree")
	}
	repo.cfg.Dir = ""
	for path, want := range map[string]string{"envs/none": `no folder "envs/none"`, "none/x": `no folder "none/x"`, "file": `"file" is not a folder`} {
		repo.cfg.Path = path
		if _, err := try(t, open(t, repo.cfg)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestLargeFile(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		repo.work.Commit("one", "huge", strings.Repeat("0123456789", 100_000), "small", "1")
		repo.push("main")
		repo.work.Git("gc", "-q") // one store with a pack, too
		repo.cfg.MaxFile = 1000
		snap := take(t, open(t, repo.cfg))
		if _, err := fs.ReadFile(snap.FS, "huge"); !errors.Is(err, sources.ErrTooLarge) {
			t.Fatalf("huge: %v", err)
		}
		if info, err := fs.Stat(snap.FS, "huge"); err != nil || info.Size() != 1_000_000 {
			t.Fatalf("huge is %v, %v", info, err)
		}
		wantFile(t, snap, "small", "1")
	})
}

func TestEntries(t *testing.T) {
	repo := inPlace(t)
	repo.work.Commit("one", "a/1", "", "a/2", "", "b/1", "")
	repo.push("main")
	repo.cfg.Entries = 4
	snap := take(t, open(t, repo.cfg))
	err := fs.WalkDir(snap.FS, ".", func(_ string, _ fs.DirEntry, err error) error { return err })
	if !errors.Is(err, sources.ErrTooLarge) {
		t.Fatalf("walk: %v", err)
	}
}

func TestSubmodule(t *testing.T) {
	repo := inPlace(t)
	one := repo.work.Commit("one", "a", "1")
	repo.work.Git("update-index", "--add", "--cacheinfo", "160000,"+one+",mod")
	repo.work.Git("commit", "-q", "-m", "two")
	repo.push("main")
	snap := take(t, open(t, repo.cfg))
	info, err := fs.Stat(snap.FS, "mod")
	if err != nil || info.Mode().Type() != Submodule {
		t.Fatalf("mod is %v, %v", info, err)
	}
	if _, err := fs.ReadFile(snap.FS, "mod"); err == nil || !strings.Contains(err.Error(), "submodule") {
		t.Fatalf("read: %v", err)
	}
	if _, err := fs.Stat(snap.FS, "mod/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("below: %v", err)
	}
}

func TestEvilNames(t *testing.T) {
	for _, name := range []string{"..", ".", ".git", ".GIT"} {
		repo := inPlace(t)
		repo.work.Commit("one", "a", "1")
		blob := repo.work.Git("rev-parse", "HEAD:a")
		tree := gittest.Tree(t, repo.work, name, blob)
		commit := repo.work.Git("commit-tree", "-m", "evil", "-p", "HEAD", tree)
		repo.work.Git("update-ref", "refs/heads/main", commit)
		repo.cfg.URL = repo.work.Dir
		snap := take(t, open(t, repo.cfg))
		if list, err := fs.ReadDir(snap.FS, "."); err == nil {
			t.Errorf("%q: listed %v", name, list)
		}
	}
}

func TestConcurrent(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		for i := range 30 {
			repo.work.Write(fmt.Sprintf("d%d/f%d", i%3, i), strconv.Itoa(i))
		}
		repo.work.Commit("one")
		repo.push("main")
		s := open(t, repo.cfg)
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				snap, err := try(t, s)
				if err != nil {
					t.Error(err)
					return
				}
				for i := range 30 {
					b, err := fs.ReadFile(snap.FS, fmt.Sprintf("d%d/f%d", i%3, i))
					if err != nil || string(b) != strconv.Itoa(i) {
						t.Errorf("%q, %v", b, err)
					}
				}
			})
		}
		wg.Wait()
	})
}

func BenchmarkRead(b *testing.B) {
	const files = 10_000
	repo := inPlace(b)
	for i := range files {
		repo.work.Write(fmt.Sprintf("d%d/f%d.yaml", i%100, i), fmt.Sprintf("kind: local.file\nmetadata: {name: f%d}\nspec: {path: f%d, content: x}\n", i, i))
	}
	repo.work.Commit("many")
	for _, packed := range []bool{false, true} {
		if packed {
			repo.work.Git("gc", "-q")
		}
		b.Run(fmt.Sprintf("packed=%v", packed), func(b *testing.B) {
			for b.Loop() {
				cfg := repo.cfg
				cfg.URL, cfg.Dir = repo.work.Dir, ""
				s := open(b, cfg)
				snap := take(b, s)
				n := 0
				err := fs.WalkDir(snap.FS, ".", func(name string, d fs.DirEntry, err error) error {
					if err != nil || d.IsDir() {
						return err
					}
					n++
					_, err = fs.ReadFile(snap.FS, name)
					return err
				})
				if err != nil || n != files {
					b.Fatal(n, err)
				}
			}
		})
	}
}
