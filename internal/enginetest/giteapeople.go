package enginetest

import (
	"fmt"
	"net/http"
	"testing"
	"time"
)

type object = map[string]any

// Repository makes a repository of owner, an ordinary user, with a first commit
// on main, and lets the writers push to it.
func (g *GiteaServer) Repository(t testing.TB, owner, name string, writers ...string) string {
	t.Helper()
	g.Must(t, g.User(t, owner), http.MethodPost, "/user/repos", object{"name": name, "auto_init": true, "default_branch": "main"}, nil)
	full := owner + "/" + name
	for _, w := range writers {
		g.User(t, w)
		g.Must(t, g.User(t, owner), http.MethodPut, "/repos/"+full+"/collaborators/"+w, object{"permission": "write"}, nil)
	}
	return full
}

// Propose opens a pull request, from a branch or "owner:branch", and gives its
// number.
func (g *GiteaServer) Propose(t testing.TB, as, repository, head, base, title string) int64 {
	t.Helper()
	var made struct {
		Number int64 `json:"number"`
	}
	g.Must(t, g.User(t, as), http.MethodPost, "/repos/"+repository+"/pulls", object{"head": head, "base": base, "title": title}, &made)
	return made.Number
}

// Review submits a review: APPROVED, REQUEST_CHANGES or COMMENT.
func (g *GiteaServer) Review(t testing.TB, as, repository string, number int64, event string) {
	t.Helper()
	g.Must(t, g.User(t, as), http.MethodPost, fmt.Sprintf("/repos/%s/pulls/%d/reviews", repository, number), object{"event": event, "body": "so I say"}, nil)
}

// Say comments on a pull request.
func (g *GiteaServer) Say(t testing.TB, as, repository string, number int64, body string) {
	t.Helper()
	g.Must(t, g.User(t, as), http.MethodPost, fmt.Sprintf("/repos/%s/issues/%d/comments", repository, number), object{"body": body}, nil)
}

// Merge merges a pull request, once Gitea has found out that it can, and gives
// the commit.
func (g *GiteaServer) Merge(t testing.TB, as, repository string, number int64) string {
	t.Helper()
	return g.merge(t, as, repository, number, "merge")
}

// FastForward is Merge without a commit of its own: the head becomes the tip.
func (g *GiteaServer) FastForward(t testing.TB, as, repository string, number int64) string {
	t.Helper()
	return g.merge(t, as, repository, number, "fast-forward-only")
}

func (g *GiteaServer) merge(t testing.TB, as, repository string, number int64, how string) string {
	t.Helper()
	at := fmt.Sprintf("/repos/%s/pulls/%d", repository, number)
	var got struct {
		Merged bool   `json:"merged"`
		Commit string `json:"merge_commit_sha"`
	}
	Eventually(t, "merged", func() bool {
		g.Call(t, g.User(t, as), http.MethodPost, at+"/merge", object{"Do": how, "delete_branch_after_merge": true}, nil) // refused while it is being checked
		g.Must(t, g.Token, http.MethodGet, at, nil, &got)
		return got.Merged
	})
	return got.Commit
}

// Eventually asks until an engine, which does much behind its answers, is done.
func Eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * time.Minute); !done(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("it never came to: %s", what)
		}
	}
}
