package git

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/gittest"
	"github.com/aplomb-dev/aplomb/sources"
)

// Branches and tags are told by their names, and what they name can be read; what
// the server does not have any more leaves no mark.
func TestRefs(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		s := open(t, repo.cfg)
		refs := func(names ...string) (out []string) {
			t.Helper()
			all, err := s.Refs(t.Context(), names...)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range all {
				out = append(out, r.Name)
			}
			return out
		}
		if got := refs("refs/heads/main"); len(got) > 0 {
			t.Errorf("of an empty repository: %q", got)
		}
		repo.work.Commit("first", "a", "1")
		repo.push("main")
		repo.work.Git("checkout", "-q", "-b", "topic")
		head := repo.work.Commit("second\n\nand more", "a", "2")
		repo.work.Git("tag", "-a", "-m", "x", "v1")
		repo.push("topic:p/one", "topic:p/two", "topic:pp", "v1")
		if got := refs("refs/heads/p/", "refs/heads/main"); !slices.Equal(got, []string{"refs/heads/main", "refs/heads/p/one", "refs/heads/p/two"}) {
			t.Errorf("%q", got)
		}
		c, err := s.Commit(head, nil)
		if err != nil || c.Title != "second" || c.Message != "second\n\nand more\n" || c.Email != "ana@example.org" || len(c.Parents) != 1 || c.Signer != "" {
			t.Errorf("%+v, %v", c, err)
		}
		tag := repo.bare.Git("rev-parse", "v1")
		if _, err := s.Tag(tag, nil); err == nil || repo.web != nil && !errors.Is(err, sources.ErrGone) {
			t.Errorf("a tag that was not asked for: %v", err)
		}
		if got := refs("refs/tags/"); !slices.Equal(got, []string{"refs/tags/v1"}) {
			t.Errorf("%q", got)
		}
		if _, err := s.Tag(tag, nil); !errors.Is(err, sources.ErrUnsigned) {
			t.Errorf("a tag that nobody signed: %v", err)
		}
		repo.push(":p/one", ":p/two", ":refs/tags/v1")
		if got := refs("refs/heads/p/", "refs/tags/"); len(got) > 0 {
			t.Errorf("gone: %q", got)
		}
		if s.wire != nil {
			left, err := os.ReadDir(filepath.Join(repo.cfg.Dir, "mirror.git", filepath.FromSlash(proposalMarks)))
			if err != nil || len(left) != 1 { // of main
				t.Errorf("%v, %v", left, err)
			}
		}
	})
}

// One branch that is too large hides none of the others, and is asked for once.
func TestRefsTooLarge(t *testing.T) {
	for name, over := range map[string]func(testing.TB) *served{"https": overHTTPS, "ssh": throughSSH} {
		t.Run(name, func(t *testing.T) {
			repo := over(t)
			repo.work.Commit("first", "a", "1")
			repo.push("main")
			small := repo.work.Commit("small", "a", "2")
			repo.push("main:p/small")
			repo.work.Git("checkout", "-q", "-b", "noise", "HEAD^")
			repo.work.Write("noise", gittest.Noise(1<<20))
			noise := repo.work.Commit("noise")
			repo.push("noise:p/noise")
			repo.cfg.MaxPack = 64 << 10
			s := open(t, repo.cfg)
			for range 2 {
				if all, err := s.Refs(t.Context(), "refs/heads/p/"); err != nil || len(all) != 2 || len(s.large) != 1 {
					t.Fatalf("%v, %v, %d too large", all, err, len(s.large))
				}
			}
			if _, err := s.Commit(small, nil); err != nil {
				t.Error(err)
			}
			if _, err := s.Commit(noise, nil); !errors.Is(err, sources.ErrGone) {
				t.Errorf("what is too large: %v", err)
			}
			repo.cfg.MaxPack = 0
			again := open(t, repo.cfg)
			if _, err := again.Refs(t.Context(), "refs/heads/p/"); err != nil {
				t.Fatal(err)
			}
			if _, err := again.Commit(noise, nil); err != nil {
				t.Errorf("where it may be: %v", err)
			}
		})
	}
}
