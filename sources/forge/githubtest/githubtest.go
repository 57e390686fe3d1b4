// Package githubtest is a GitHub in memory for tests: it answers what GitHub's
// REST documentation says of the calls that aplomb makes, with its pages, ETags
// and rate limits. It must not know the client that it is used to test.
package githubtest

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/forge/forgetest"
)

// The repository that a Server has, and the token of aplomb's account.
const (
	Owner = "acme"
	Name  = "fleet"
	Token = "github_pat_11AAAAAAA0example"
)

// Server is GitHub with one repository.
type Server struct {
	forgetest.People
	App *App // nil: no app is installed

	mux *http.ServeMux

	mu   sync.Mutex
	left int // requests until the limit; below zero: no limit
}

// New is a GitHub with an empty repository.
func New() *Server {
	s := &Server{People: forgetest.People{Repo: forgetest.NewRepository()}, mux: http.NewServeMux(), left: -1}
	const repo = "/repos/{owner}/{repo}"
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /user":                            s.user,
		"GET /users/{name}":                    s.userNamed,
		"GET /orgs/{org}/teams/{slug}/members": s.members,

		"GET " + repo + "/pulls":                               s.pulls,
		"POST " + repo + "/pulls":                              s.open,
		"GET " + repo + "/pulls/{number}/reviews":              s.reviews,
		"GET " + repo + "/commits/{sha}/pulls":                 s.pullsOf,
		"GET " + repo + "/commits/{sha}/status":                s.combined,
		"POST " + repo + "/statuses/{sha}":                     s.setStatus,
		"GET " + repo + "/issues/{number}/comments":            s.comments,
		"POST " + repo + "/issues/{number}/comments":           s.addComment,
		"PATCH " + repo + "/issues/comments/{id}":              s.editComment,
		"GET " + repo + "/collaborators/{name}/permission":     s.permission,
		"GET " + repo + "/installation":                        s.installation,
		"GET /app":                                             s.app,
		"POST /app/installations/{installation}/access_tokens": s.accessToken,
	} {
		s.mux.HandleFunc(pattern, h)
	}
	s.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { notFound(w, r) })
	return s
}

// Team is the team by GitHub's word.
func (s *Server) Team() string { return Owner + "/" + forgetest.Team }

// LimitTo grants so many more requests, "not modified" not counted.
func (s *Server) LimitTo(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = n
}

// ServeHTTP answers a call of the API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-GitHub-Request-Id", "0000:0000")
	if !s.known(r) {
		deny(w, r, http.StatusUnauthorized, "Bad credentials")
		return
	}
	if s.spend(w) {
		deny(w, r, http.StatusForbidden, "API rate limit exceeded for user ID 100.")
		return
	}
	s.Repo.Lock()
	defer s.Repo.Unlock()
	s.mux.ServeHTTP(w, r)
}

// known says whether the token is one for what is asked.
func (s *Server) known(r *http.Request) bool {
	token := forgetest.Bearer(r)
	if strings.HasPrefix(r.URL.Path, "/app") || strings.HasSuffix(r.URL.Path, "/installation") {
		return s.App != nil && s.App.verify(token) == nil
	}
	return token == Token && s.App == nil || s.App != nil && s.App.valid(token)
}

// spend counts a request, and says whether it was one too many.
func (s *Server) spend(w http.ResponseWriter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left < 0 {
		return false
	}
	over := s.left == 0
	s.left = max(s.left-1, 0)
	w.Header().Set("X-RateLimit-Limit", "5000")
	w.Header().Set("X-RateLimit-Remaining", strconv.Itoa(s.left))
	w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(30*time.Minute).Unix(), 10))
	w.Header().Set("X-RateLimit-Resource", "core")
	return over
}

func deny(w http.ResponseWriter, r *http.Request, code int, message string) {
	forgetest.Reply(w, r, code, forgetest.JSON{"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(code)})
}

func notFound(w http.ResponseWriter, r *http.Request) { deny(w, r, http.StatusNotFound, "Not Found") }

// ours says whether a path names the repository; else it has answered.
func ours(w http.ResponseWriter, r *http.Request) bool {
	if strings.EqualFold(r.PathValue("owner"), Owner) && strings.EqualFold(r.PathValue("repo"), Name) {
		return true
	}
	notFound(w, r)
	return false
}

func account(a forge.Account) any {
	if a.Name == "" {
		return nil
	}
	id, _ := strconv.Atoi(a.ID)
	kind := "User"
	if a.Bot {
		kind = "Bot"
	}
	return forgetest.JSON{"login": a.Name, "id": id, "type": kind, "html_url": "https://github.example/" + a.Name}
}

func (s *Server) me() forge.Account {
	if s.App != nil {
		return s.App.Account()
	}
	return forgetest.Person(forgetest.Us)
}

func (s *Server) user(w http.ResponseWriter, r *http.Request) {
	if s.App != nil {
		deny(w, r, http.StatusForbidden, "Resource not accessible by integration")
		return
	}
	forgetest.Reply(w, r, http.StatusOK, account(s.me()))
}

func (s *Server) userNamed(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	if s.App != nil && name == s.App.Account().Name {
		forgetest.Reply(w, r, http.StatusOK, account(s.App.Account()))
		return
	}
	if p := forgetest.Person(name); p.Name != "" {
		forgetest.Reply(w, r, http.StatusOK, account(p))
		return
	}
	notFound(w, r)
}

func (s *Server) members(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("org") != Owner || r.PathValue("slug") != forgetest.Team {
		notFound(w, r)
		return
	}
	forgetest.Reply(w, r, http.StatusOK, forgetest.Page(w, r, []any{account(forgetest.Person(forgetest.Ana)), account(forgetest.Person(forgetest.Bo))}))
}

func (s *Server) permission(w http.ResponseWriter, r *http.Request) {
	if !ours(w, r) {
		return
	}
	level := map[string]string{forgetest.Us: "write", forgetest.Ana: "write", forgetest.Bo: "admin", forgetest.Cy: "read"}[r.PathValue("name")]
	if level == "" {
		notFound(w, r)
		return
	}
	forgetest.Reply(w, r, http.StatusOK, forgetest.JSON{"permission": level, "role_name": level, "user": account(forgetest.Person(r.PathValue("name")))})
}

// Connector makes the client to be tested.
type Connector func(t testing.TB, url, token string) forge.Forge

// With is the server as the suite wants it, with a client.
func (s *Server) With(c Connector) forgetest.Server { return connected{s, c} }

type connected struct {
	*Server
	connect Connector
}

func (c connected) Connect(t testing.TB, url string, right bool) forge.Forge {
	if right {
		return c.connect(t, url, Token)
	}
	return c.connect(t, url, "wrong")
}
