package git

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/sources"
)

func reporter(t testing.TB, repo *served) *Reporter {
	t.Helper()
	cfg := ReporterConfig{URL: repo.cfg.URL, Auth: repo.cfg.Auth, Tracked: "main", Dir: filepath.Join(t.TempDir(), "status"),
		Now: func() time.Time { return time.Unix(1_700_000_000, 0) }}
	if repo.cfg.URL == repo.bare.Dir {
		cfg.Dir = ""
	}
	r, err := NewReporter(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.store.close)
	return r
}

func report(env, text string) sources.Report {
	return sources.Report{Environment: env, Title: env + ": " + text,
		Files: map[string][]byte{"README.md": []byte(text + "\n"), "status.json": []byte("{}\n"), "sub/x": []byte("x")}}
}

func TestReport(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		repo.work.Commit("one", "a", "1")
		repo.push("main")
		main := repo.bare.Git("rev-parse", "main")
		r := reporter(t, repo)
		send := func(rep sources.Report) {
			t.Helper()
			if err := r.Report(t.Context(), rep); err != nil {
				t.Fatal(err)
			}
		}
		send(report("prod", "first"))
		send(report("prod", "first"))
		send(report("test", "other"))
		send(report("prod", "second"))
		if log := repo.bare.Git("log", "--format=%s|%an <%ae>|%ct", "aplomb-status"); log != strings.Join([]string{
			"prod: second|aplomb <aplomb@localhost>|1700000000",
			"test: other|aplomb <aplomb@localhost>|1700000000",
			"prod: first|aplomb <aplomb@localhost>|1700000000"}, "\n") {
			t.Fatalf("log:\n%s", log)
		}
		if files := repo.bare.Git("ls-tree", "-r", "--name-only", "aplomb-status"); files !=
			"prod/README.md\nprod/status.json\nprod/sub/x\ntest/README.md\ntest/status.json\ntest/sub/x" {
			t.Fatalf("files:\n%s", files)
		}
		if text := repo.bare.Git("show", "aplomb-status:prod/README.md"); text != "second" {
			t.Fatalf("README is %q", text)
		}
		if now := repo.bare.Git("rev-parse", "main"); now != main {
			t.Fatalf("the tracked branch moved to %s", now)
		}
		repo.bare.Git("fsck", "--strict")
	})
}

func TestReportRaced(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		repo.work.Commit("one", "a", "1")
		repo.push("main")
		var wg sync.WaitGroup
		errs := make(chan error, 12)
		for d := range 3 {
			r := reporter(t, repo)
			wg.Go(func() {
				for i := range 4 {
					errs <- r.Report(t.Context(), report("env"+strconv.Itoa(d), strconv.Itoa(i)))
				}
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			if err != nil {
				t.Error(err)
			}
		}
		if n := repo.bare.Git("rev-list", "--count", "aplomb-status"); n != "12" {
			t.Errorf("%s commits, want 12", n)
		}
		for d := range 3 {
			if text := repo.bare.Git("show", "aplomb-status:env"+strconv.Itoa(d)+"/README.md"); text != "3" {
				t.Errorf("env%d holds %q", d, text)
			}
		}
		repo.bare.Git("fsck", "--strict")
	})
}

func TestReportRefused(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		repo.work.Commit("one", "a", "1")
		repo.push("main")
		if repo.cfg.URL == repo.bare.Dir {
			write(t, filepath.Join(repo.bare.Dir, "refs/heads/aplomb-status.lock"), "")
		} else {
			hook := write(t, filepath.Join(repo.bare.Dir, "hooks/pre-receive"), "#!/bin/sh\nexit 1\n")
			if err := os.Chmod(hook, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		err := reporter(t, repo).Report(t.Context(), report("prod", "x"))
		if err == nil || HintOf(err) == "" {
			t.Fatalf("refused: %v, hint %q", err, HintOf(err))
		}
		if out, err := repo.bare.Try("rev-parse", "--verify", "-q", "aplomb-status"); err == nil {
			t.Fatalf("written all the same: %s", out)
		}
	})
}

func TestReportNeverTracked(t *testing.T) {
	if _, err := NewReporter(ReporterConfig{URL: t.TempDir(), Branch: "main", Tracked: "main"}); !errors.Is(err, errTracked) {
		t.Fatalf("named: %v", err)
	}
	everywhere(t, func(t *testing.T, repo *served) {
		repo.work.Commit("one", "a", "1")
		repo.push("main")
		repo.bare.Git("branch", "aplomb-status", "main")
		repo.bare.Git("symbolic-ref", "HEAD", "refs/heads/aplomb-status")
		r := reporter(t, repo)
		r.cfg.Tracked = ""
		if err := r.Report(t.Context(), report("prod", "x")); !errors.Is(err, errTracked) {
			t.Fatalf("HEAD: %v", err)
		}
	})
}

func TestReportCheckedOut(t *testing.T) {
	repo := inPlace(t)
	repo.work.Commit("one", "a", "1")
	repo.work.Git("switch", "-q", "-c", "aplomb-status")
	r, err := NewReporter(ReporterConfig{URL: repo.work.Dir, Tracked: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Report(t.Context(), report("prod", "x")); err == nil || HintOf(err) == "" {
		t.Fatalf("moved under a work tree: %v", err)
	}
}

func TestReportNames(t *testing.T) {
	r := reporter(t, inPlace(t))
	for _, rep := range []sources.Report{
		{Environment: "", Files: map[string][]byte{"a": nil}},
		{Environment: "..", Files: map[string][]byte{"a": nil}},
		{Environment: ".git", Files: map[string][]byte{"a": nil}},
		{Environment: "a/b", Files: map[string][]byte{"a": nil}},
		{Environment: "a", Files: map[string][]byte{"../a": nil}},
		{Environment: "a", Files: map[string][]byte{"/a": nil}},
		{Environment: "a", Files: map[string][]byte{"a/": nil}},
		{Environment: "a", Files: map[string][]byte{"x/.GIT/config": nil}},
		{Environment: "a", Files: map[string][]byte{"x": nil, "x/y": nil}},
		{Environment: "a"},
	} {
		if err := r.Report(t.Context(), rep); err == nil {
			t.Errorf("%+v was taken", rep)
		}
	}
}
