package gitea_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/forge/forgetest"
	"github.com/aplomb-dev/aplomb/sources/forge/gitea"
)

func FuzzAnswers(f *testing.F) {
	path := filepath.Join(f.TempDir(), "token")
	if err := os.WriteFile(path, []byte("token\n"), 0o600); err != nil {
		f.Fatal(err)
	}
	forgetest.FuzzAnswers(f, func(url string) (forge.Forge, error) {
		return gitea.New(gitea.Config{URL: url, Repository: "ops/fleet", TokenFile: path})
	})
}
