package gitlabtest

import (
	"net/http"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/forge/forgetest"
)

// project and fork are ids of projects.
const (
	project = 7
	fork    = 8
)

// request is a merge request as in a list: without what it is compared with.
func request(p *forgetest.Proposal) forgetest.JSON {
	v := forgetest.JSON{
		"id": 1000 + p.Number, "iid": p.Number, "project_id": project, "title": p.Title, "state": "opened", "draft": p.Draft, "author": account(p.Author),
		"source_branch": p.HeadBranch, "target_branch": p.Branch, "source_project_id": project, "target_project_id": project, "sha": p.Head,
		"merge_commit_sha": nil, "squash_commit_sha": nil, "web_url": "https://gitlab.example/" + Project + "/-/merge_requests/" + p.ID,
		"created_at": forgetest.Stamp(p.Created), "updated_at": forgetest.Stamp(p.Updated), "has_conflicts": false, "detailed_merge_status": "unchecked",
	}
	if p.Fork {
		v["source_project_id"] = fork
	}
	switch p.State {
	case forge.Merged:
		v["state"], v["merge_commit_sha"] = "merged", p.MergeCommit
	case forge.Closed:
		v["state"] = "closed"
	}
	return v
}

func (s *Server) requests(w http.ResponseWriter, r *http.Request) {
	if !ours(w, r) {
		return
	}
	q := r.URL.Query()
	all := []forgetest.JSON{}
	for _, p := range s.Repo.Proposals {
		v := request(p)
		if q.Get("state") != "" && q.Get("state") != v["state"] || q.Get("target_branch") != "" && q.Get("target_branch") != p.Branch ||
			q.Get("source_branch") != "" && q.Get("source_branch") != p.HeadBranch {
			continue
		}
		all = append(all, v)
	}
	if q.Get("sort") != "asc" {
		slices.Reverse(all)
	}
	forgetest.Reply(w, r, http.StatusOK, forgetest.Page(w, r, all))
}

// whole is a merge request as asked for alone.
func whole(p *forgetest.Proposal) forgetest.JSON {
	v := request(p)
	v["diff_refs"] = forgetest.JSON{"base_sha": p.Base, "start_sha": p.Base, "head_sha": p.Head}
	return v
}

// find is the proposal of a path; nil where it has answered that there is none.
func (s *Server) find(w http.ResponseWriter, r *http.Request) *forgetest.Proposal {
	if !ours(w, r) {
		return nil
	}
	p := s.Repo.Find(r.PathValue("iid"))
	if p == nil {
		notFound(w, r)
	}
	return p
}

func (s *Server) request(w http.ResponseWriter, r *http.Request) {
	if p := s.find(w, r); p != nil {
		forgetest.Reply(w, r, http.StatusOK, whole(p))
	}
}

func (s *Server) requestsOf(w http.ResponseWriter, r *http.Request) {
	if !ours(w, r) {
		return
	}
	sha := r.PathValue("sha")
	if !s.Repo.Commits[sha] {
		forgetest.Deny(w, r, http.StatusNotFound, "404 Commit Not Found")
		return
	}
	all := []forgetest.JSON{}
	for _, p := range s.Repo.Proposals {
		if p.MergeCommit == sha || slices.ContainsFunc(p.Versions, func(v forgetest.Version) bool { return v.Head == sha }) {
			all = append(all, request(p))
		}
	}
	forgetest.Reply(w, r, http.StatusOK, forgetest.Page(w, r, all))
}

func (s *Server) open(w http.ResponseWriter, r *http.Request) {
	if !ours(w, r) {
		return
	}
	v, err := forgetest.Read(r)
	head, base := forgetest.Text(v, "source_branch"), forgetest.Text(v, "target_branch")
	there := slices.ContainsFunc(s.Repo.Proposals, func(p *forgetest.Proposal) bool {
		return p.State == forge.Open && !p.Fork && p.HeadBranch == head && p.Branch == base
	})
	switch {
	case err != nil || s.Repo.Heads[head] == "" || s.Repo.Heads[base] == "":
		forgetest.Reply(w, r, http.StatusBadRequest, forgetest.JSON{"message": forgetest.JSON{"base": []string{"branch does not exist"}}})
	case there:
		forgetest.Reply(w, r, http.StatusConflict, forgetest.JSON{"message": []string{"Another open merge request already exists for this source branch: !1"}})
	default:
		p := s.Repo.Add(forgetest.Wish{By: forgetest.Us, Branch: head, Into: base, Title: forgetest.Text(v, "title")}, s.Repo.Heads[head])
		forgetest.Reply(w, r, http.StatusCreated, whole(p))
	}
}

// words are the last of everybody.
func words(p *forgetest.Proposal) []*forgetest.Review {
	last := map[string]*forgetest.Review{}
	for _, r := range p.Reviews {
		if !r.Remark {
			last[r.Author.ID] = r
		}
	}
	var out []*forgetest.Review
	for _, r := range p.Reviews {
		if last[r.Author.ID] == r {
			out = append(out, r)
		}
	}
	return out
}

func (s *Server) approvals(w http.ResponseWriter, r *http.Request) {
	p := s.find(w, r)
	if p == nil {
		return
	}
	by := []forgetest.JSON{}
	for _, rev := range words(p) {
		if rev.Verdict != forge.Approved {
			continue
		}
		v := forgetest.JSON{"user": account(rev.Author)}
		if !s.Old {
			v["approved_at"] = forgetest.Stamp(rev.At)
		}
		by = append(by, v)
	}
	forgetest.Reply(w, r, http.StatusOK, forgetest.JSON{"iid": p.Number, "approved": len(by) > 0, "approved_by": by})
}

func (s *Server) reviewers(w http.ResponseWriter, r *http.Request) {
	p := s.find(w, r)
	if p == nil {
		return
	}
	all := []forgetest.JSON{}
	for _, rev := range words(p) {
		state := map[forge.Verdict]string{forge.Approved: "approved", forge.Changes: "requested_changes", forge.Dismissed: "unapproved"}[rev.Verdict]
		all = append(all, forgetest.JSON{"user": account(rev.Author), "state": state, "created_at": forgetest.Stamp(p.Created)})
	}
	forgetest.Reply(w, r, http.StatusOK, all)
}

func (s *Server) versions(w http.ResponseWriter, r *http.Request) {
	p := s.find(w, r)
	if p == nil {
		return
	}
	all := []forgetest.JSON{}
	for i, v := range slices.Backward(p.Versions) {
		all = append(all, forgetest.JSON{"id": i + 1, "head_commit_sha": v.Head, "base_commit_sha": p.Base, "created_at": forgetest.Stamp(v.At)})
	}
	forgetest.Reply(w, r, http.StatusOK, forgetest.Page(w, r, all))
}

func note(c *forgetest.Comment) forgetest.JSON {
	return forgetest.JSON{
		"id": c.Number, "body": c.Body, "author": account(c.Author), "system": c.System, "noteable_type": "MergeRequest",
		"created_at": forgetest.Stamp(c.At), "updated_at": forgetest.Stamp(c.Updated),
	}
}

func (s *Server) notes(w http.ResponseWriter, r *http.Request) {
	p := s.find(w, r)
	if p == nil {
		return
	}
	list := slices.Clone(p.Comments)
	slices.SortStableFunc(list, func(a, b *forgetest.Comment) int {
		if r.URL.Query().Get("order_by") == "updated_at" {
			return a.Updated.Compare(b.Updated)
		}
		return a.At.Compare(b.At)
	})
	if r.URL.Query().Get("sort") != "asc" {
		slices.Reverse(list)
	}
	all := []forgetest.JSON{}
	for _, c := range list {
		all = append(all, note(c))
	}
	forgetest.Reply(w, r, http.StatusOK, forgetest.Page(w, r, all))
}

// body is the text of a note to be written, as GitLab stores it.
func body(w http.ResponseWriter, r *http.Request) (string, bool) {
	v, err := forgetest.Read(r)
	text := strings.TrimSpace(forgetest.Text(v, "body"))
	if err != nil || text == "" || len(text) > 1_000_000 {
		forgetest.Deny(w, r, http.StatusBadRequest, "400 Bad request - Note {:note=>[\"is too long (maximum is 1000000 characters)\"]}")
		return "", false
	}
	return text, true
}

func (s *Server) addNote(w http.ResponseWriter, r *http.Request) {
	p := s.find(w, r)
	if p == nil {
		return
	}
	if text, ok := body(w, r); ok {
		forgetest.Reply(w, r, http.StatusCreated, note(s.Repo.AddComment(p, forgetest.Us, text, false)))
	}
}

func (s *Server) editNote(w http.ResponseWriter, r *http.Request) {
	p := s.find(w, r)
	if p == nil {
		return
	}
	i := slices.IndexFunc(p.Comments, func(c *forgetest.Comment) bool { return c.ID == r.PathValue("note") })
	if i < 0 {
		notFound(w, r)
		return
	}
	if text, ok := body(w, r); ok {
		s.Repo.EditComment(p.Comments[i], text)
		forgetest.Reply(w, r, http.StatusOK, note(p.Comments[i]))
	}
}
