package gitlabtest

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/forge/forgetest"
)

func status(st *forgetest.Status) forgetest.JSON {
	return forgetest.JSON{
		"id": st.ID, "sha": st.Commit, "name": st.Context, "status": string(st.State), "description": st.Description, "target_url": st.URL,
		"created_at": forgetest.Stamp(st.At),
	}
}

func (s *Server) statuses(w http.ResponseWriter, r *http.Request) {
	if !ours(w, r) {
		return
	}
	sha := r.PathValue("sha")
	if !s.Repo.Commits[sha] {
		forgetest.Deny(w, r, http.StatusNotFound, "404 Commit Not Found")
		return
	}
	all := []forgetest.JSON{}
	for _, st := range s.Repo.Latest(sha) {
		if name := r.URL.Query().Get("name"); name == "" || name == st.Context {
			all = append(all, status(st))
		}
	}
	forgetest.Reply(w, r, http.StatusOK, forgetest.Page(w, r, all))
}

// setStatus writes a status. GitLab moves the job behind it from state to
// state, and refuses to move one to where it is while it is not done.
func (s *Server) setStatus(w http.ResponseWriter, r *http.Request) {
	if !ours(w, r) {
		return
	}
	v, err := forgetest.Read(r)
	sha, name, state := r.PathValue("sha"), forgetest.Text(v, "name"), forgetest.Text(v, "state")
	known := map[string]bool{"pending": true, "running": true, "success": true, "failed": true, "canceled": true}
	switch {
	case !s.Repo.Commits[sha]:
		forgetest.Deny(w, r, http.StatusNotFound, "404 Commit Not Found")
		return
	case err != nil || !known[state] || len([]rune(forgetest.Text(v, "description"))) > 255:
		forgetest.Deny(w, r, http.StatusBadRequest, "400 Bad request - state does not have a valid value")
		return
	}
	for _, st := range s.Repo.Latest(sha) {
		if st.Context == name && string(st.State) == state && (state == "pending" || state == "running") {
			forgetest.Deny(w, r, http.StatusBadRequest, fmt.Sprintf("Cannot transition status via :enqueue from :%s (Reason(s): Status cannot transition via \"enqueue\")", state))
			return
		}
	}
	st := s.Repo.AddStatus(sha, forge.Status{
		Context: name, State: forge.StatusState(state), Description: forgetest.Text(v, "description"), URL: forgetest.Text(v, "target_url"),
	})
	forgetest.Reply(w, r, http.StatusCreated, status(st))
}

// Statuses are those that were written, in aplomb's words.
func (s *Server) Statuses(t testing.TB, commit, context string) []forge.Status {
	all := s.People.Statuses(t, commit, context)
	for i := range all {
		if all[i].State == "failed" {
			all[i].State = forge.Failure
		}
	}
	return all
}
