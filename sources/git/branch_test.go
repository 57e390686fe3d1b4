package git

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fleet is a repository with a file of each kind below prod, and something
// beside it.
func fleet(t testing.TB, repo *served) (*Source, string) {
	t.Helper()
	repo.work.Write("prod/run.sh", "#!/bin/true\n")
	if err := os.Chmod(filepath.Join(repo.work.Dir, "prod/run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("run.sh", filepath.Join(repo.work.Dir, "prod/link")); err != nil {
		t.Fatal(err)
	}
	id := repo.work.Commit("one", "prod/a.yaml", "a: 1\n", "prod/deep/b.yaml", "b: 1\n", "other/c.yaml", "c: 1\n")
	repo.push("main")
	repo.cfg.Path = "prod"
	repo.cfg.Reserved = []string{"aplomb/status"}
	s := open(t, repo.cfg)
	take(t, s)
	return s, id
}

func branched(t testing.TB, s *Source, b Branch) string {
	t.Helper()
	id, err := s.Branch(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestBranch(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		s, base := fleet(t, repo)
		b := Branch{Name: "aplomb/set-web", Base: base, Message: "set web\n\nbecause\x1b[31m", Edits: []Edit{
			{Path: "run.sh", Data: []byte("#!/bin/false\n")},
			{Path: "deep/b.yaml", Delete: true},
			{Path: "new/er/d.yaml", Data: []byte("d: 1\n")},
			{Path: "link", Data: []byte("a.yaml"), Mode: fs.ModeSymlink},
		}}
		id := branched(t, s, b)
		if now := repo.bare.Git("rev-parse", "aplomb/set-web"); now != id {
			t.Fatalf("the branch is at %s, want %s", now, id)
		}
		if list := repo.bare.Git("ls-tree", "-r", "--format=%(objectmode) %(path)", id); list != strings.Join([]string{
			"100644 other/c.yaml", "100644 prod/a.yaml", "120000 prod/link", "100644 prod/new/er/d.yaml", "100755 prod/run.sh"}, "\n") {
			t.Errorf("files:\n%s", list)
		}
		for name, want := range map[string]string{"run.sh": "#!/bin/false", "link": "a.yaml", "new/er/d.yaml": "d: 1"} {
			if got := repo.bare.Git("show", id+":prod/"+name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		text := repo.bare.Git("log", "-1", "--format=%an <%ae>|%cn|%P|%B", id)
		if text != "aplomb <aplomb@localhost>|aplomb|"+base+"|set web\n\nbecause[31m\n\nAplomb-Branch: aplomb/set-web" {
			t.Errorf("commit %q", text)
		}
		// Again, also by another who knows nothing: nothing changes.
		again := repo.cfg
		again.Dir = filepath.Join(t.TempDir(), "again")
		for _, s := range []*Source{s, open(t, again)} {
			if got := branched(t, s, b); got != id {
				t.Errorf("again: %s, want %s", got, id)
			}
		}
		// What aplomb made is replaced, whatever it was made of.
		b.Edits = b.Edits[:1]
		if now := repo.bare.Git("rev-parse", "main"); now != base || branched(t, s, b) == id || repo.bare.Git("rev-parse", "aplomb/set-web~") != base {
			t.Errorf("main is at %s", now)
		}
		repo.bare.Git("fsck", "--strict")
	})
}

// A branch without edits is at its base, and goes on with it.
func TestBranchAtBase(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		s, one := fleet(t, repo)
		b := Branch{Name: "aplomb/promote-prod", Base: one}
		if id := branched(t, s, b); id != one || repo.bare.Git("rev-parse", b.Name) != one {
			t.Fatalf("at %s, want %s", id, one)
		}
		b.Base = repo.work.Commit("two", "prod/a.yaml", "a: 2\n")
		repo.push("main")
		take(t, s)
		if id := branched(t, s, b); id != b.Base || repo.bare.Git("rev-parse", b.Name) != b.Base {
			t.Fatalf("at %s, want %s", id, b.Base)
		}
		same := Branch{Name: b.Name, Base: b.Base, Edits: []Edit{{Path: "a.yaml", Data: []byte("a: 2\n")}}}
		if id := branched(t, s, same); id != b.Base {
			t.Errorf("edits that alter nothing made %s", id)
		}
		if _, err := s.Branch(t.Context(), Branch{Name: b.Name, Base: one}); !errors.Is(err, ErrTaken) {
			t.Errorf("it was taken back: %v", err)
		}
	})
}

// What somebody else wrote to the branch is theirs, amended or on top.
func TestBranchTaken(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		s, base := fleet(t, repo)
		b := Branch{Name: "aplomb/set-web", Base: base, Edits: []Edit{{Path: "a.yaml", Data: []byte("a: 2\n")}}}
		ours := branched(t, s, b)
		b.Edits[0].Data = []byte("a: 3\n")
		repo.work.Git("fetch", "-q", repo.bare.Dir, b.Name)
		for name, theirs := range map[string]func(){
			"on top": func() { repo.work.Commit("mine", "prod/a.yaml", "a: 9\n") },
			"amended": func() {
				repo.work.Git("commit", "-q", "--amend", "--no-edit")
			},
		} {
			repo.work.Git("checkout", "-q", "-B", "theirs", ours)
			theirs()
			at := repo.work.Head()
			repo.push("-f", "theirs:"+b.Name)
			if _, err := s.Branch(t.Context(), b); !errors.Is(err, ErrTaken) || HintOf(err) == "" {
				t.Errorf("%s: %v", name, err)
			}
			if now := repo.bare.Git("rev-parse", b.Name); now != at {
				t.Errorf("%s: the branch moved to %s", name, now)
			}
		}
		repo.push("-f", ours+":"+b.Name)
		branched(t, s, b)
	})
}

func TestBranchRefused(t *testing.T) {
	repo := inPlace(t)
	s, base := fleet(t, repo)
	repo.bare.Git("symbolic-ref", "HEAD", "refs/heads/aplomb/head")
	unnamed := repo.cfg
	unnamed.Branch, unnamed.Dir = "", ""
	edit := func(e ...Edit) Branch { return Branch{Name: "aplomb/x", Base: base, Edits: e} }
	for name, b := range map[string]Branch{
		"tracked":          {Name: "main", Base: base},
		"another prefix":   {Name: "feature", Base: base},
		"reports":          {Name: "aplomb/status", Base: base},
		"traversal":        {Name: "aplomb/../main", Base: base},
		"a short hash":     {Name: "aplomb/x", Base: base[:10]},
		"an unknown base":  {Name: "aplomb/x", Base: strings.Repeat("1", 40)},
		"out of the path":  edit(Edit{Path: "../other/c.yaml", Data: []byte("x")}),
		"absolute":         edit(Edit{Path: "/a.yaml"}),
		"the folder":       edit(Edit{Path: "."}),
		"git's own":        edit(Edit{Path: "deep/.Git/config"}),
		"through a link":   edit(Edit{Path: "link/x"}),
		"a link's content": edit(Edit{Path: "link", Data: []byte("x")}),
		"a folder":         edit(Edit{Path: "deep", Data: []byte("x")}),
		"below a file":     edit(Edit{Path: "a.yaml/x"}),
		"twice":            edit(Edit{Path: "a.yaml"}, Edit{Path: "a.yaml"}),
		"both":             edit(Edit{Path: "n"}, Edit{Path: "n/x"}),
		"nothing there":    edit(Edit{Path: "zz/y", Delete: true}),
	} {
		if id, err := s.Branch(t.Context(), b); err == nil {
			t.Errorf("%s: taken, at %s", name, id)
		}
	}
	if _, err := open(t, unnamed).Branch(t.Context(), Branch{Name: "aplomb/head", Base: base}); err == nil {
		t.Error("the branch that HEAD names was written")
	}
	if refs := repo.bare.Git("for-each-ref", "--format=%(refname)"); refs != "refs/heads/main" {
		t.Errorf("refs:\n%s", refs)
	}
}

// A server that refuses says so, with what to do about it.
func TestBranchPushRefused(t *testing.T) {
	repo := overHTTPS(t)
	s, base := fleet(t, repo)
	hook := write(t, filepath.Join(repo.bare.Dir, "hooks/pre-receive"), "#!/bin/sh\nexit 1\n")
	if err := os.Chmod(hook, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Branch(t.Context(), Branch{Name: "aplomb/x", Base: base}); err == nil || HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	repo.web.SetDown(true)
	if _, err := s.Branch(t.Context(), Branch{Name: "aplomb/x", Base: base}); err == nil || strings.Contains(err.Error(), "refused the push") {
		t.Errorf("down: %v", err)
	}
}

// Whatever edits ask for, they stay in their folder, and what they do not name
// stays as it was.
func FuzzBranchEdits(f *testing.F) {
	f.Add("a.yaml", "x", false, "deep/b.yaml", "", true)
	f.Add("../other/c.yaml", "x", false, "link/..", "", true)
	f.Fuzz(func(t *testing.T, one, text string, del bool, two, more string, del2 bool) {
		repo := inPlace(t)
		s, base := fleet(t, repo)
		id, err := s.Branch(t.Context(), Branch{Name: "aplomb/x", Base: base, Edits: []Edit{
			{Path: one, Data: []byte(text), Delete: del}, {Path: two, Data: []byte(more), Delete: del2}}})
		if err != nil {
			return
		}
		repo.bare.Git("fsck", "--strict")
		if out := repo.bare.Git("diff", "--name-only", base, id, "--", "other"); out != "" {
			t.Errorf("outside: %s", out)
		}
	})
}
