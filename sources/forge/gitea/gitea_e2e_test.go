//go:build e2e

package gitea_test

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/internal/gittest"
	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/forge/forgetest"
	"github.com/aplomb-dev/aplomb/sources/forge/gitea"
)

func TestMain(m *testing.M) { os.Exit(enginetest.Main(m)) }

func TestConformance(t *testing.T) {
	forgetest.Run(t, func(t testing.TB) forgetest.Server { return newServer(t) })
}

// server is an organisation of its own on a real Gitea, with one repository.
type server struct {
	*enginetest.GiteaServer
	http.Handler
	org  string
	work *gittest.Repo // Ana's
	fork *gittest.Repo // Cy's; nil until it is wanted
	n    int
}

var orgs atomic.Int32

func newServer(t testing.TB) *server {
	t.Helper()
	g := enginetest.Gitea(t)
	at, err := url.Parse(g.Address)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{GiteaServer: g, Handler: httputil.NewSingleHostReverseProxy(at), org: fmt.Sprintf("acme%d", orgs.Add(1))}
	for _, name := range []string{forgetest.Us, forgetest.Ana, forgetest.Bo, forgetest.Cy} {
		g.User(t, name)
	}
	var team struct {
		ID int64 `json:"id"`
	}
	g.Must(t, g.Token, http.MethodPost, "/orgs", object{"username": s.org}, nil)
	g.Must(t, g.Token, http.MethodPost, "/orgs/"+s.org+"/repos", object{"name": "fleet", "auto_init": true, "default_branch": forgetest.Main}, nil)
	g.Must(t, g.Token, http.MethodPost, "/orgs/"+s.org+"/teams", object{
		"name": forgetest.Team, "permission": "write", "includes_all_repositories": true, "units": []string{"repo.code", "repo.issues", "repo.pulls"},
	}, &team)
	for _, name := range []string{forgetest.Us, forgetest.Ana, forgetest.Bo} { // a team is told to its own members only
		g.Must(t, g.Token, http.MethodPut, fmt.Sprintf("/teams/%d/members/%s", team.ID, name), nil, nil)
	}
	for _, name := range []string{forgetest.Us, forgetest.Bo} { // access is told to those who administer the repository
		g.Must(t, g.Token, http.MethodPut, s.repo("/collaborators/"+name), object{"permission": "admin"}, nil)
	}
	s.work = g.Clone(t, forgetest.Ana, s.name())
	return s
}

func (s *server) name() string { return s.org + "/fleet" }

// number is an id as the harness takes it.
func number(t testing.TB, id string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

type object = map[string]any

func (s *server) repo(path string) string { return "/repos/" + s.name() + path }

func (s *server) Connect(t testing.TB, at string, right bool) forge.Forge {
	t.Helper()
	token := "0123456789abcdef0123456789abcdef01234567"
	if right {
		token = s.User(t, forgetest.Us)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := gitea.New(gitea.Config{URL: at, Repository: s.name(), TokenFile: file})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (s *server) Team() string      { return s.org + "/" + forgetest.Team }
func (s *server) Cheap() bool       { return false }
func (s *server) Conditional() bool { return false }

// grow makes a commit on a branch, from start, and pushes it.
func (s *server) grow(work *gittest.Repo, branch, start string) string {
	s.n++
	if start != "" {
		work.Git("checkout", "-q", "-B", branch, start)
	}
	head := work.Commit(fmt.Sprintf("change %d", s.n), fmt.Sprintf("file%d.yaml", s.n), "kind: local.file\n")
	work.Git("push", "-q", "-f", "origin", "HEAD:refs/heads/"+branch)
	return head
}

func (s *server) Commit(testing.TB) string {
	s.work.Git("fetch", "-q", "origin")
	return s.grow(s.work, forgetest.Main, "origin/"+forgetest.Main)
}

func (s *server) Branch(_ testing.TB, name string) { s.grow(s.work, name, "origin/"+forgetest.Main) }

func (s *server) Propose(t testing.TB, w forgetest.Wish) string {
	t.Helper()
	head := w.Branch
	if w.Fork {
		if s.fork == nil {
			s.Must(t, s.User(t, forgetest.Cy), http.MethodPost, s.repo("/forks"), object{"name": s.org + "-fleet", "default_branch_only": true}, nil)
			s.fork = s.Clone(t, forgetest.Cy, forgetest.Cy+"/"+s.org+"-fleet")
		}
		s.grow(s.fork, w.Branch, "origin/"+forgetest.Main)
		head = forgetest.Cy + ":" + w.Branch
	} else {
		s.grow(s.work, w.Branch, "origin/"+forgetest.Main)
	}
	if w.Into == "" {
		w.Into = forgetest.Main
	}
	if w.Draft {
		w.Title = "WIP: " + w.Title
	}
	return fmt.Sprint(s.GiteaServer.Propose(t, w.By, s.name(), head, w.Into, w.Title))
}

type pull struct {
	Head struct {
		Ref string `json:"ref"`
		SHA string `json:"sha"`
	} `json:"head"`
}

func (s *server) pull(t testing.TB, id string) pull {
	t.Helper()
	var p pull
	s.Must(t, s.Token, http.MethodGet, s.repo("/pulls/"+id), nil, &p)
	return p
}

func (s *server) Head(t testing.TB, id string) string { return s.pull(t, id).Head.SHA }

func (s *server) Push(t testing.TB, id string) string {
	t.Helper()
	branch := s.pull(t, id).Head.Ref
	head := s.grow(s.work, branch, "origin/"+branch)
	enginetest.Eventually(t, "the proposal follows its branch", func() bool {
		return strings.HasPrefix(s.work.Git("ls-remote", "origin", "refs/pull/"+id+"/head"), head)
	})
	return head
}

func (s *server) Merge(t testing.TB, id string) string {
	t.Helper()
	return s.GiteaServer.Merge(t, forgetest.Bo, s.name(), number(t, id))
}

func (s *server) Close(t testing.TB, id string) {
	t.Helper()
	s.Must(t, s.User(t, forgetest.Bo), http.MethodPatch, s.repo("/pulls/"+id), object{"state": "closed"}, nil)
}

func (s *server) Say(t testing.TB, id, by, body string) {
	t.Helper()
	s.GiteaServer.Say(t, by, s.name(), number(t, id), body)
}

type comment struct {
	ID      int64     `json:"id"`
	Body    string    `json:"body"`
	Created time.Time `json:"created_at"`
	Updated time.Time `json:"updated_at"`
	User    struct {
		Login string `json:"login"`
	} `json:"user"`
}

func (s *server) comments(t testing.TB, id string) []comment {
	t.Helper()
	var all []comment
	s.Must(t, s.Token, http.MethodGet, s.repo("/issues/"+id+"/comments"), nil, &all)
	return all
}

// Edit waits for the next second: Gitea's clock has no finer ones.
func (s *server) Edit(t testing.TB, id, by, body string) {
	t.Helper()
	for _, c := range slices.Backward(s.comments(t, id)) {
		if c.User.Login != by {
			continue
		}
		n := 0
		enginetest.Eventually(t, "the edit is later than the comment", func() bool {
			n++ // an equal text is no edit
			s.Must(t, s.User(t, forgetest.Bo), http.MethodPatch, s.repo(fmt.Sprintf("/issues/comments/%d", c.ID)), object{"body": body + strings.Repeat("!", n)}, &c)
			return c.Updated.After(c.Created)
		})
		return
	}
	t.Fatalf("%s has said nothing on %s", by, id)
}

func (s *server) Comments(t testing.TB, id string) []forge.Comment {
	t.Helper()
	var out []forge.Comment
	for _, c := range s.comments(t, id) {
		out = append(out, forge.Comment{ID: fmt.Sprint(c.ID), Body: c.Body, Author: forge.Account{Name: c.User.Login}, At: c.Created})
	}
	return out
}

func (s *server) Review(t testing.TB, id, by string, v forge.Verdict) {
	t.Helper()
	if v == forge.Dismissed {
		s.dismiss(t, id, by)
		return
	}
	event := map[forge.Verdict]string{forge.Approved: "APPROVED", forge.Changes: "REQUEST_CHANGES"}[v]
	s.GiteaServer.Review(t, by, s.name(), number(t, id), event)
}

func (s *server) dismiss(t testing.TB, id, by string) {
	t.Helper()
	var all []struct {
		ID    int64  `json:"id"`
		State string `json:"state"`
		User  struct {
			Login string `json:"login"`
		} `json:"user"`
	}
	s.Must(t, s.Token, http.MethodGet, s.repo("/pulls/"+id+"/reviews?limit=50"), nil, &all)
	for _, r := range slices.Backward(all) {
		if r.User.Login == by && r.State != "COMMENT" {
			s.Must(t, s.User(t, forgetest.Us), http.MethodPost, s.repo(fmt.Sprintf("/pulls/%s/reviews/%d/dismissals", id, r.ID)), object{"message": "no"}, nil)
			return
		}
	}
	t.Fatalf("%s has not reviewed %s", by, id)
}

func (s *server) Remark(t testing.TB, id, by string) {
	t.Helper()
	s.GiteaServer.Review(t, by, s.name(), number(t, id), "COMMENT")
}

type status struct {
	ID          int64             `json:"id"`
	State       forge.StatusState `json:"status"`
	Description string            `json:"description"`
	Context     string            `json:"context"`
	URL         string            `json:"target_url"`
}

func (s *server) Statuses(t testing.TB, commit, context string) []forge.Status {
	t.Helper()
	var all []status
	s.Must(t, s.Token, http.MethodGet, s.repo("/statuses/"+commit+"?limit=50"), nil, &all)
	slices.SortFunc(all, func(a, b status) int { return int(a.ID - b.ID) })
	var out []forge.Status
	for _, st := range all {
		if st.Context == context {
			out = append(out, forge.Status{Context: st.Context, State: st.State, Description: st.Description, URL: st.URL})
		}
	}
	return out
}
