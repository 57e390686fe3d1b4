// Package gitlabtest is a GitLab in memory for tests: it answers what GitLab's
// REST documentation says of the calls that aplomb makes, with its pages, ETags
// and refusals. It must not know the client that it is used to test.
package gitlabtest

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/forge/forgetest"
)

// The project that a Server has, and the token of aplomb's account.
const (
	Project = "acme/infra/fleet"
	Token   = "glpat-exampleexampleexample"
)

// Server is GitLab with one project.
type Server struct {
	forgetest.People
	Old bool // as before version 18: approvals do not say when they were given

	mux *http.ServeMux
}

// New is a GitLab with an empty project.
func New() *Server {
	s := &Server{People: forgetest.People{Repo: forgetest.NewRepository()}, mux: http.NewServeMux()}
	const project = "/api/v4/projects/{project}"
	const request = project + "/merge_requests/{iid}"
	for pattern, h := range map[string]http.HandlerFunc{
		"GET /api/v4/user":                   s.user,
		"GET /api/v4/users":                  s.users,
		"GET /api/v4/groups/{group}/members": s.members,

		"GET " + project + "/members/all/{id}":                        s.member,
		"GET " + project + "/merge_requests":                          s.requests,
		"POST " + project + "/merge_requests":                         s.open,
		"GET " + project + "/repository/commits/{sha}/merge_requests": s.requestsOf,
		"GET " + project + "/repository/commits/{sha}/statuses":       s.statuses,
		"POST " + project + "/statuses/{sha}":                         s.setStatus,
		"GET " + request:                                              s.request,
		"GET " + request + "/approvals":                               s.approvals,
		"GET " + request + "/reviewers":                               s.reviewers,
		"GET " + request + "/versions":                                s.versions,
		"GET " + request + "/notes":                                   s.notes,
		"POST " + request + "/notes":                                  s.addNote,
		"PUT " + request + "/notes/{note}":                            s.editNote,
	} {
		s.mux.HandleFunc(pattern, h)
	}
	s.mux.HandleFunc("/", notFound)
	return s
}

// Team is the group by GitLab's word.
func (s *Server) Team() string { return "acme/" + forgetest.Team }

// ServeHTTP answers a call of the API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if forgetest.Bearer(r) != Token {
		forgetest.Deny(w, r, http.StatusUnauthorized, "401 Unauthorized")
		return
	}
	s.Repo.Lock()
	defer s.Repo.Unlock()
	s.mux.ServeHTTP(w, r)
}

// Review notes what GitLab notes, and takes an approval back where changes are
// wanted.
func (s *Server) Review(t testing.TB, id, by string, v forge.Verdict) {
	s.People.Review(t, id, by, v)
	s.Repo.Lock()
	defer s.Repo.Unlock()
	p := s.Repo.Find(id)
	text := map[forge.Verdict]string{forge.Approved: "approved this merge request", forge.Dismissed: "unapproved this merge request", forge.Changes: "requested changes"}[v]
	c := s.Repo.AddComment(p, by, text, true)
	if v == forge.Approved { // both at the same moment
		c.At, c.Updated = p.Reviews[len(p.Reviews)-1].At, p.Reviews[len(p.Reviews)-1].At
	}
}

func notFound(w http.ResponseWriter, r *http.Request) {
	forgetest.Deny(w, r, http.StatusNotFound, "404 Not Found")
}

// ours says whether a path names the project; else it has answered.
func ours(w http.ResponseWriter, r *http.Request) bool {
	if strings.EqualFold(r.PathValue("project"), Project) {
		return true
	}
	forgetest.Deny(w, r, http.StatusNotFound, "404 Project Not Found")
	return false
}

func account(a forge.Account) any {
	if a.Name == "" {
		return nil
	}
	id, _ := strconv.Atoi(a.ID)
	return forgetest.JSON{"id": id, "username": a.Name, "name": a.Name, "state": "active", "web_url": "https://gitlab.example/" + a.Name}
}

func (s *Server) user(w http.ResponseWriter, r *http.Request) {
	forgetest.Reply(w, r, http.StatusOK, account(forgetest.Person(forgetest.Us)))
}

func (s *Server) users(w http.ResponseWriter, r *http.Request) {
	all := []any{}
	if p := forgetest.Person(strings.ToLower(r.URL.Query().Get("username"))); p.Name != "" {
		all = append(all, account(p))
	}
	forgetest.Reply(w, r, http.StatusOK, forgetest.Page(w, r, all))
}

func member(name string, level int) forgetest.JSON {
	v := account(forgetest.Person(name)).(forgetest.JSON)
	v["access_level"] = level
	return v
}

func (s *Server) members(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("group") != s.Team() {
		forgetest.Deny(w, r, http.StatusNotFound, "404 Group Not Found")
		return
	}
	blocked := member(forgetest.Cy, 30) // a member still, who may not log in
	blocked["state"] = "blocked"
	forgetest.Reply(w, r, http.StatusOK, forgetest.Page(w, r, []any{member(forgetest.Ana, 30), member(forgetest.Bo, 40), blocked}))
}

func (s *Server) member(w http.ResponseWriter, r *http.Request) {
	if !ours(w, r) {
		return
	}
	for name, level := range map[string]int{forgetest.Us: 30, forgetest.Ana: 30, forgetest.Bo: 40, forgetest.Cy: 20} {
		if forgetest.Person(name).ID == r.PathValue("id") {
			forgetest.Reply(w, r, http.StatusOK, member(name, level))
			return
		}
	}
	notFound(w, r)
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
