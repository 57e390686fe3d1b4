package gitlab_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/forge/forgetest"
	"github.com/aplomb-dev/aplomb/sources/forge/gitlab"
	"github.com/aplomb-dev/aplomb/sources/forge/gitlabtest"
)

func connect(t testing.TB, url, token string) forge.Forge {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := gitlab.New(gitlab.Config{URL: url, Project: gitlabtest.Project, TokenFile: path})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestConformance(t *testing.T) {
	t.Run("18", func(t *testing.T) {
		forgetest.Run(t, func(testing.TB) forgetest.Server { return gitlabtest.New().With(connect) })
	})
	t.Run("17", func(t *testing.T) {
		forgetest.Run(t, func(testing.TB) forgetest.Server {
			s := gitlabtest.New()
			s.Old = true
			return s.With(connect)
		})
	})
}

func FuzzAnswers(f *testing.F) {
	path := filepath.Join(f.TempDir(), "token")
	if err := os.WriteFile(path, []byte("token\n"), 0o600); err != nil {
		f.Fatal(err)
	}
	forgetest.FuzzAnswers(f, func(url string) (forge.Forge, error) {
		return gitlab.New(gitlab.Config{URL: url, Project: gitlabtest.Project, TokenFile: path})
	})
}
