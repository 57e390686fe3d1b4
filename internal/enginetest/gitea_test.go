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
	repository := g.Repository(t, "ana", "fleet", "bo")
	work := g.Clone(t, "bo", repository)
	work.Commit("a change", "web.yaml", "kind: local.file\n")
	work.Git("push", "-q", "origin", "HEAD:topic")
	n := g.Propose(t, "bo", repository, "topic", "main", "A change")
	g.Review(t, "ana", repository, n, "APPROVED")
	g.Say(t, "ana", repository, n, "thank you")
	head := g.Merge(t, "ana", repository, n)
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
