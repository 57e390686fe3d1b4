package github_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/forge/forgetest"
	"github.com/aplomb-dev/aplomb/sources/forge/github"
	"github.com/aplomb-dev/aplomb/sources/forge/githubtest"
)

// file writes what is secret to a file of its own.
func file(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func connect(t testing.TB, url, token string) forge.Forge {
	t.Helper()
	f, err := github.New(github.Config{URL: url, Repository: githubtest.Owner + "/" + githubtest.Name, TokenFile: file(t, "token", token+"\n")})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestConformance(t *testing.T) {
	forgetest.Run(t, func(testing.TB) forgetest.Server { return githubtest.New().With(connect) })
}

func FuzzAnswers(f *testing.F) {
	path := file(f, "token", "token\n")
	forgetest.FuzzAnswers(f, func(url string) (forge.Forge, error) {
		return github.New(github.Config{URL: url, Repository: githubtest.Owner + "/" + githubtest.Name, TokenFile: path})
	})
}
