package git

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/aplomb-dev/aplomb/sources"
)

// What came since is undone below the folder that is followed, and only there.
func TestUndo(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		s, one := fleet(t, repo)
		repo.work.Git("rm", "-q", "prod/deep/b.yaml")
		if err := os.Remove(filepath.Join(repo.work.Dir, "prod/link")); err != nil {
			t.Fatal(err)
		}
		repo.work.Commit("two", "prod/a.yaml", "a: 2\n", "prod/link", "a file\n")
		if err := os.Chmod(filepath.Join(repo.work.Dir, "prod/run.sh"), 0o644); err != nil {
			t.Fatal(err)
		}
		three := repo.work.Commit("three", "prod/new/x", "x\n", "other/c.yaml", "c: 2\n")
		repo.push("main")
		take(t, s)
		u, err := s.Undo(t.Context(), sources.Revision{ID: three}, sources.Revision{ID: one})
		if err != nil || len(u.Left) != 0 {
			t.Fatalf("%+v, %v", u, err)
		}
		id := branched(t, s, Branch{Name: "aplomb/revert-prod", Base: three, Edits: u.Edits, Message: "back"})
		if now, then := repo.bare.Git("rev-parse", id+":prod"), repo.bare.Git("rev-parse", one+":prod"); now != then {
			t.Errorf("prod is not what it was:\n%s", repo.bare.Git("diff", one, id, "--", "prod"))
		}
		if text := repo.bare.Git("show", id+":other/c.yaml"); text != "c: 2" {
			t.Errorf("beside it %q", text)
		}
		repo.bare.Git("fsck", "--strict")
	})
}

// Where a folder has become a file it is left, and said.
func TestUndoLeft(t *testing.T) {
	repo := inPlace(t)
	s, one := fleet(t, repo)
	repo.work.Git("rm", "-q", "-r", "prod/deep")
	two := repo.work.Commit("two", "prod/deep", "a file\n", "prod/a.yaml", "a: 2\n")
	repo.push("main")
	take(t, s)
	u, err := s.Undo(t.Context(), sources.Revision{ID: two}, sources.Revision{ID: one})
	if err != nil || !slices.Equal(u.Left, []string{"deep"}) || len(u.Edits) != 1 || u.Edits[0].Path != "a.yaml" {
		t.Errorf("%+v, %v", u, err)
	}
}

// A file with a name that aplomb writes to no branch is left, and keeps nothing
// else from being undone.
func TestUndoOddNames(t *testing.T) {
	repo := inPlace(t)
	s, one := fleet(t, repo)
	two := repo.work.Commit("two", "prod/odd\nname", "x\n", "prod/a.yaml", "a: 2\n")
	repo.push("main")
	take(t, s)
	u, err := s.Undo(t.Context(), sources.Revision{ID: two}, sources.Revision{ID: one})
	if err != nil || !slices.Equal(u.Left, []string{"odd\nname"}) || len(u.Edits) != 1 {
		t.Fatalf("%+v, %v", u, err)
	}
	branched(t, s, Branch{Name: "aplomb/revert-prod", Base: two, Edits: u.Edits, Message: "back"})
}
