package git

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/aplomb-dev/aplomb/sources"
)

// TestWhole: a snapshot has the whole commit around the folder that is
// followed.
func TestWhole(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		repo.work.Commit("one", "envs/prod/a.yaml", "1")
		repo.work.Commit("two", "lib/lib.cue", "package lib\n")
		repo.push("main")
		cfg := repo.cfg
		cfg.Path = "envs/prod/"
		snap := take(t, open(t, cfg))
		if snap.Path != "envs/prod" {
			t.Errorf("it lies at %q", snap.Path)
		}
		if err := errors.Join(fstest.TestFS(snap.FS, "a.yaml"), fstest.TestFS(snap.Root, "envs/prod/a.yaml", "lib/lib.cue")); err != nil {
			t.Fatal(err)
		}
		if err := snap.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := fs.ReadFile(snap.Root, "lib/lib.cue"); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		cfg.Path = ""
		if snap := take(t, open(t, cfg)); snap.Root != snap.FS || snap.Path != "" {
			t.Errorf("the root: at %q", snap.Path)
		}
	})
}

// TestKept: what was accepted is read without asking anybody.
func TestKept(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		cfg := repo.cfg
		if cfg.Dir == "" {
			cfg.Dir = t.TempDir()
		}
		repo.work.Commit("one", "a", "1")
		repo.push("main")
		s := open(t, cfg)
		if _, err := s.Kept(); !errors.Is(err, sources.ErrGone) {
			t.Errorf("nothing was accepted yet: %v", err)
		}
		first := take(t, s).Revision
		repo.work.Commit("two", "a", "2")
		repo.push("main")
		snap, err := open(t, cfg).Kept()
		if err != nil || snap.Revision.ID != first.ID {
			t.Fatalf("%+v, %v", snap, err)
		}
		wantFile(t, snap, "a", "1")
	})
}
