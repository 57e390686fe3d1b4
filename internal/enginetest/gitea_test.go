//go:build e2e

package enginetest_test

import (
	"net/http"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/enginetest"
)

func TestGitea(t *testing.T) {
	g := enginetest.Gitea(t)
	if first, second := g.User(t, "ana"), g.User(t, "ana"); first != second {
		t.Error("a user was made twice")
	}
	g.Must(t, g.User(t, "ana"), http.MethodPost, "/user/repos", map[string]any{"name": "fleet", "auto_init": true, "default_branch": "main"}, nil)
	work := g.Clone(t, "ana", "ana/fleet")
	head := work.Commit("a change", "web.yaml", "kind: local.file\n")
	work.Git("push", "-q", "origin", "HEAD:main")
	var branch struct {
		Commit struct {
			ID string `json:"id"`
		} `json:"commit"`
	}
	g.Must(t, g.User(t, "bo"), http.MethodGet, "/repos/ana/fleet/branches/main", nil, &branch)
	if branch.Commit.ID != head {
		t.Errorf("main is %s, want %s", branch.Commit.ID, head)
	}
	if got := g.Call(t, "", http.MethodPost, "/user/repos", map[string]any{"name": "x"}, nil); got != http.StatusUnauthorized {
		t.Errorf("nobody may make a repository: %d", got)
	}
}
