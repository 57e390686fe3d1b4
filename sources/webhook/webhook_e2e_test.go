//go:build e2e

package webhook_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/sources/webhook"
)

func TestMain(m *testing.M) { os.Exit(enginetest.Main(m)) }

// TestGitea: a real Gitea calls, signs and is heard, for each thing that people
// do; with another secret it is not.
func TestGitea(t *testing.T) {
	g := enginetest.Gitea(t)
	const secret = "a secret of the hook"
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	kicks := make(chan string, 100)
	answers := make(chan answer, 100)
	repository := g.Address + "/ana/hooked.git"
	hook := &webhook.Hook{
		Forge: webhook.Gitea, SecretFile: file, Repositories: []string{repository}, Every: time.Nanosecond,
		Kick: func(name string) { kicks <- name }, Log: logrus.New(),
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		hook.ServeHTTP(rec, r)
		a := answer{event: r.Header.Get("X-Gitea-Event"), code: rec.Code}
		select {
		case a.kicked = <-kicks:
		default:
		}
		answers <- a
		w.WriteHeader(rec.Code)
	}))
	defer s.Close()

	g.Repository(t, "ana", "hooked")
	var made struct {
		ID int64 `json:"id"`
	}
	g.Must(t, g.User(t, "ana"), http.MethodPost, "/repos/ana/hooked/hooks", object{
		"type": "gitea", "active": true, "config": object{"url": s.URL, "content_type": "json", "secret": secret},
		"events": []string{"push", "pull_request", "pull_request_sync", "pull_request_review_approved", "pull_request_comment", "issue_comment"},
	}, &made)

	// heard waits for an event; one thing that people do may be several.
	heard := func(event string, want answer) {
		t.Helper()
		want.event = event
		late := time.After(30 * time.Second)
		for {
			select {
			case got := <-answers:
				if got.event != event {
					continue
				}
				if got != want {
					t.Errorf("got %+v, want %+v", got, want)
				}
				return
			case <-late:
				t.Fatalf("%s was not called out", event)
			}
		}
	}
	good := answer{code: http.StatusNoContent, kicked: repository}
	work := g.Clone(t, "ana", "ana/hooked")
	work.Git("checkout", "-q", "-b", "topic")
	work.Commit("a change", "web.yaml", "kind: local.file\n")
	work.Git("push", "-q", "origin", "topic")
	heard("push", good)
	n := g.Propose(t, "ana", "ana/hooked", "topic", "main", "A change")
	heard("pull_request", good)
	g.Review(t, "bo", "ana/hooked", n, "APPROVED")
	heard("pull_request_approved", good)
	g.Say(t, "bo", "ana/hooked", n, "aplomb approve 5e0c7a1f93b2")
	heard("issue_comment", good)

	if err := os.WriteFile(file, []byte("another secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.Say(t, "bo", "ana/hooked", n, "again")
	heard("issue_comment", answer{code: http.StatusUnauthorized})
}

// answer is what became of one call.
type answer struct {
	event  string
	code   int
	kicked string
}

type object = map[string]any
