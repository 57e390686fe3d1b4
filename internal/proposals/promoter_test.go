package proposals

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/internal/gittest"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/git"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// climb is a promotion from staging to prod on a real repository.
type climb struct {
	*testing.T
	repo     *gittest.Repo
	board    *board
	dir      string
	promoter *Promoter
	upstream *git.Source
	now      reconciler.Status
}

func newClimb(t *testing.T, branch, staging, prod string, files ...string) *climb {
	c := &climb{T: t, repo: gittest.New(t), board: newBoard(), dir: t.TempDir()}
	c.repo.Commit("base", "staging/a.yaml", "1", "staging/own.yaml", "staging", "staging/old.yaml", "1", "prod/old.yaml", "1", "prod/own.yaml", "prod")
	if branch != "main" {
		c.repo.Git("checkout", "-q", "-b", branch)
	}
	c.upstream = following(t, c.repo, branch, staging)
	c.promoter = &Promoter{Environment: "prod", Branch: "main", After: "staging", Healthy: 30 * time.Minute, Forge: c.board, Book: bookIn(t, c.dir), Log: quiet(),
		Source: following(t, c.repo, "main", prod), Upstream: func() (Upstream, bool) {
			return Upstream{Source: c.upstream, Status: func() reconciler.Status { return c.now }}, true
		}}
	for _, f := range files {
		g, err := schema.ParseGlob(f)
		if err != nil {
			t.Fatal(err)
		}
		c.promoter.Files = append(c.promoter.Files, g)
	}
	return c
}

// well has staging converged at its tip since noon.
func (c *climb) well() sources.Revision {
	c.Helper()
	rev, err := c.upstream.Head(c.Context())
	if err != nil {
		c.Fatal(err)
	}
	c.now = reconciler.Status{Revision: rev, Converged: true, WellSince: noon}
	return rev
}

func (c *climb) look(after time.Duration) {
	c.Helper()
	if err := c.promoter.look(c.Context(), noon.Add(after)); err != nil {
		c.Fatal(err)
	}
}

func (c *climb) drafts(n int) {
	c.Helper()
	if len(c.board.drafts) != n {
		c.Fatalf("%d were opened, want %d: %+v", len(c.board.drafts), n, c.board.drafts)
	}
}

// A commit that has been well for long enough is proposed to the other branch;
// a newer one takes its place on the same proposal; what was closed stays so.
func TestPromote(t *testing.T) {
	c := newClimb(t, "next", "", "")
	c.repo.Commit("faster <b> @all", "staging/a.yaml", "2")
	one := c.well()
	c.look(29 * time.Minute)
	for name, alter := range map[string]func(*reconciler.Status){
		"not converged": func(s *reconciler.Status) { s.Converged = false },
		"not well":      func(s *reconciler.Status) { s.WellSince = time.Time{} },
		"rolled back":   func(s *reconciler.Status) { s.Rollback = &reconciler.Rollback{} },
	} {
		c.well()
		alter(&c.now)
		c.look(time.Hour)
		if len(c.board.drafts) > 0 {
			t.Fatalf("%s, and it is proposed", name)
		}
	}
	c.well()
	c.look(30 * time.Minute)
	c.drafts(1)
	if d := c.board.drafts[0]; d.Branch != "aplomb/promote-prod" || d.Base != "main" || c.repo.Git("rev-parse", d.Branch) != one.ID || !strings.Contains(d.Title, one.Short()) {
		t.Errorf("%+v", d)
	}
	page := c.board.comments["1 promote/prod"]
	if !strings.Contains(page, "2026-11-28 12:00") || !strings.Contains(page, "faster &#60;b&#62; &#64;all") || strings.Contains(page, "Conflicts") {
		t.Errorf("%s", page)
	}
	c.repo.Commit("slower", "staging/a.yaml", "3")
	two := c.well()
	c.look(time.Hour)
	c.drafts(1)
	if page := c.board.comments["1 promote/prod"]; c.repo.Git("rev-parse", "aplomb/promote-prod") != two.ID || !strings.Contains(page, "slower") || !strings.Contains(page, "faster") {
		t.Errorf("%s", page)
	}
	c.board.open = nil // a person closed it
	c.promoter.Book = bookIn(t, c.dir)
	c.look(2 * time.Hour)
	c.drafts(1)
	c.repo.Git("checkout", "-q", "main")
	c.repo.Git("merge", "-q", "--no-ff", "-m", "merge", "next")
	c.promoter.Book = bookIn(t, t.TempDir())
	c.look(3 * time.Hour) // it is there
	c.drafts(1)
}

// A forge that is down is asked again; a merge that a person has to make is
// proposed as such.
func TestPromoteConflict(t *testing.T) {
	c := newClimb(t, "next", "", "")
	c.repo.Commit("ours", "staging/a.yaml", "2")
	c.well()
	c.repo.Git("checkout", "-q", "main")
	c.repo.Commit("theirs", "staging/a.yaml", "3")
	c.board.down = &forge.Error{Op: "open", Class: forge.ErrUnreachable}
	if err := c.promoter.look(t.Context(), noon.Add(time.Hour)); err == nil {
		t.Fatal("it was said to be proposed")
	}
	c.board.down = nil
	c.look(time.Hour)
	c.drafts(1)
	if page := c.board.comments["1 promote/prod"]; !strings.Contains(page, "Conflicts") || !strings.Contains(page, "<code>staging/a.yaml</code>") {
		t.Errorf("%s", page)
	}
}

// On one branch the named files are copied, what is gone is deleted, and all
// else of the folder stays.
func TestPromoteFiles(t *testing.T) {
	c := newClimb(t, "main", "staging", "prod", "a.yaml", "old.yaml", "deep/**")
	c.repo.Git("rm", "-q", "staging/old.yaml")
	c.repo.Commit("faster", "staging/a.yaml", "2", "staging/deep/er/x.yaml", "1")
	c.well()
	c.look(time.Hour)
	c.drafts(1)
	at := "aplomb/promote-prod"
	if got := c.repo.Git("diff", "--no-renames", "--name-status", "main", at); got != "A\tprod/a.yaml\nA\tprod/deep/er/x.yaml\nD\tprod/old.yaml" {
		t.Errorf("%s", got)
	}
	if page := c.board.comments["1 promote/prod"]; !strings.Contains(page, "deleted&#58; old.yaml") || !strings.Contains(page, "copied&#58; a.yaml") {
		t.Errorf("%s", page)
	}
	c.repo.Commit("beside", "other", "1") // the same folder: nothing new
	c.well()
	c.look(time.Hour)
	if c.board.written != 1 {
		t.Errorf("%d comments were written", c.board.written)
	}
	c.repo.Git("merge", "-q", "--no-ff", "-m", "merge", at)
	c.promoter.Book = bookIn(t, t.TempDir())
	c.well()
	c.look(time.Hour) // all is there
	c.drafts(1)
}

// Links are not followed and not copied; a file that may be executed still may.
func TestPromoteModes(t *testing.T) {
	c := newClimb(t, "main", "staging", "prod", "**")
	for _, dir := range []string{"staging", "prod"} {
		if err := os.Symlink("/etc/passwd", filepath.Join(c.repo.Dir, dir, "link")); err != nil {
			t.Fatal(err)
		}
	}
	c.repo.Write("staging/run.sh", "true\n")
	if err := os.Chmod(filepath.Join(c.repo.Dir, "staging/run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	c.repo.Commit("links", "prod/own.yaml", "prod's own\n")
	c.well()
	c.look(time.Hour)
	c.drafts(1)
	if got := c.repo.Git("ls-tree", "-r", "--format=%(objectmode) %(path)", "aplomb/promote-prod", "prod/"); got !=
		"100644 prod/a.yaml\n120000 prod/link\n100644 prod/old.yaml\n100644 prod/own.yaml\n100755 prod/run.sh" {
		t.Errorf("%s", got)
	}
	if page := c.board.comments["1 promote/prod"]; !strings.Contains(page, "**not copied**:\n\n- <code>link</code>\n") {
		t.Errorf("%s", page)
	}
}

// An environment that does not run is waited for.
func TestPromoteAfterNobody(t *testing.T) {
	c := newClimb(t, "next", "", "")
	c.repo.Commit("faster", "staging/a.yaml", "2")
	c.well()
	there := c.promoter.Upstream
	c.promoter.Upstream = func() (Upstream, bool) { return Upstream{}, false }
	c.look(time.Hour)
	c.drafts(0)
	c.promoter.Upstream = there
	c.look(time.Hour)
	c.drafts(1)
}
