package proposals

import (
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/internal/gittest"
	"github.com/aplomb-dev/aplomb/internal/reconcilertest"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/git"
)

func bookIn(t *testing.T, dir string) *Book {
	t.Helper()
	b, err := OpenBook(filepath.Join(dir, "proposals.json"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func quiet() logrus.FieldLogger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

// following opens a branch of a repository, and takes its tip.
func following(t *testing.T, repo *gittest.Repo, branch, path string) *git.Source {
	t.Helper()
	src, err := git.Open(git.Config{URL: repo.Dir, Branch: branch, Path: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close() })
	return src
}

func quarantined(bad, good string, faults ...string) reconciler.Status {
	s := at(good, true, reconciler.Converged)
	s.Rollback = &reconciler.Rollback{To: sources.Revision{ID: good}, Quarantined: sources.Revision{ID: bad}, Faults: faults,
		Lever: reconciler.Lever{By: reconciler.Itself, At: time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)}}
	return s
}

// What was quarantined is proposed to be undone, once, however often the forge
// is down and the process starts again.
func TestReverter(t *testing.T) {
	repo := gittest.New(t)
	good := repo.Commit("good", "prod/a.yaml", "1", "prod/b.yaml", "1", "else/c", "1")
	repo.Commit("worse <img> @everyone", "prod/a.yaml", "2", "else/c", "2")
	bad := repo.Commit("worst", "prod/new.yaml", "1")
	dir := t.TempDir()
	h, b := reconcilertest.NewStatus(), newBoard()
	b.down = &forge.Error{Op: "open", Class: forge.ErrUnreachable}
	tried := make(chan struct{}, 100)
	start := func() func() {
		r := &Reverter{Environment: "prod", Branch: "main", Forge: opening{b, tried}, Source: following(t, repo, "main", "prod"), Book: bookIn(t, dir),
			Status: h.Status, Wait: h.Wait, Log: quiet(), First: time.Millisecond, Most: time.Millisecond}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); r.Run(ctx) }()
		return func() { cancel(); <-done }
	}
	h.Set(quarantined(bad, good)) // a person's rollback
	stop := start()
	h.Set(quarantined(bad, good, "local.process/web@here is degraded: exit 1 `x` @team"))
	<-tried
	<-tried
	stop()
	b.set(func() { b.down = nil })
	stop = start()
	if !b.until(t.Context(), func() bool { return len(b.drafts) == 1 }) {
		t.Fatal("nothing was proposed")
	}
	stop()
	name := "aplomb/revert-prod-" + bad[:7]
	d := b.drafts[0]
	if d.Branch != name || d.Base != "main" || !strings.Contains(d.Title, bad[:7]) {
		t.Errorf("%+v", d)
	}
	for _, want := range []string{"local.process/web", "<code>prod</code>", "worst", bad[:7], good[:7]} {
		if !strings.Contains(d.Body, want) {
			t.Errorf("%q is missing in\n%s", want, d.Body)
		}
	}
	if strings.ContainsAny(strings.NewReplacer("**aplomb · prod**", "", "<code>", "", "</code>", "").Replace(d.Body), "`<@*") {
		t.Errorf("markup of somebody's:\n%s", d.Body)
	}
	if got := repo.Git("diff", "--stat", good, name, "--", "prod"); got != "" {
		t.Errorf("prod is not as it was: %s", got)
	}
	if got := repo.Git("show", name+":else/c"); got != "2" || repo.Git("rev-parse", name+"~") != bad {
		t.Errorf("beside it: %q", got)
	}
	// Closed by a person, it is not proposed again, by this process or another.
	b.set(func() { b.open = nil })
	defer start()()
	again := quarantined(bad, good, "x")
	again.Settled = false
	h.Set(again)
	worst := repo.Commit("another", "prod/a.yaml", "9")
	h.Set(quarantined(worst, good, "y"))
	if !b.until(t.Context(), func() bool { return len(b.drafts) == 2 }) || b.drafts[1].Branch != "aplomb/revert-prod-"+worst[:7] {
		t.Errorf("%+v", b.drafts)
	}
}

// opening tells of each attempt to open.
type opening struct {
	*board
	tried chan struct{}
}

func (o opening) Open(ctx context.Context, d forge.Draft) (forge.Proposal, error) {
	select {
	case o.tried <- struct{}{}:
	default:
	}
	return o.board.Open(ctx, d)
}
