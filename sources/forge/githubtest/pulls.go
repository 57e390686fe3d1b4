package githubtest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/forge/forgetest"
)

func branch(ref, sha, repo string) forgetest.JSON {
	owner, _, _ := strings.Cut(repo, "/")
	return forgetest.JSON{"ref": ref, "sha": sha, "label": owner + ":" + ref, "repo": forgetest.JSON{"full_name": repo}}
}

// pull is a pull request as in a list: without what is being found out.
func pull(p *forgetest.Proposal) forgetest.JSON {
	from := Owner + "/" + Name
	if p.Fork {
		from = forgetest.Cy + "/" + Name
	}
	v := forgetest.JSON{
		"id": 1000 + p.Number, "number": p.Number, "state": "open", "title": p.Title, "user": account(p.Author), "draft": p.Draft,
		"html_url": "https://github.example/" + Owner + "/" + Name + "/pull/" + p.ID, "created_at": forgetest.Stamp(p.Created),
		"updated_at": forgetest.Stamp(p.Updated), "merged_at": nil, "merge_commit_sha": nil,
		"head": branch(p.HeadBranch, p.Head, from), "base": branch(p.Branch, p.Base, Owner+"/"+Name),
	}
	if p.State != forge.Open {
		v["state"], v["closed_at"] = "closed", forgetest.Stamp(p.Updated)
	}
	if p.State == forge.Merged {
		v["merged_at"], v["merge_commit_sha"] = forgetest.Stamp(p.Updated), p.MergeCommit
	}
	return v
}

func (s *Server) pulls(w http.ResponseWriter, r *http.Request) {
	if !ours(w, r) {
		return
	}
	q := r.URL.Query()
	all := []forgetest.JSON{}
	for _, p := range s.Repo.Proposals {
		state := "closed"
		if p.State == forge.Open {
			state = "open"
		}
		from := Owner
		if p.Fork {
			from = forgetest.Cy
		}
		if want := q.Get("state"); want != "all" && state != want && (want != "" || state != "open") ||
			q.Get("base") != "" && q.Get("base") != p.Branch || q.Get("head") != "" && q.Get("head") != from+":"+p.HeadBranch {
			continue
		}
		all = append(all, pull(p))
	}
	if q.Get("direction") != "asc" { // newest first is what GitHub does by itself
		slices.Reverse(all)
	}
	forgetest.Reply(w, r, http.StatusOK, forgetest.Page(w, r, all))
}

func (s *Server) open(w http.ResponseWriter, r *http.Request) {
	if !ours(w, r) {
		return
	}
	v, err := forgetest.Read(r)
	if err != nil {
		deny(w, r, http.StatusBadRequest, "Problems parsing JSON")
		return
	}
	head, base := forgetest.Text(v, "head"), forgetest.Text(v, "base")
	sha := s.Repo.Heads[head]
	there := slices.ContainsFunc(s.Repo.Proposals, func(p *forgetest.Proposal) bool {
		return p.State == forge.Open && !p.Fork && p.HeadBranch == head && p.Branch == base
	})
	if sha == "" || s.Repo.Heads[base] == "" || there {
		forgetest.Reply(w, r, http.StatusUnprocessableEntity, forgetest.JSON{
			"message": "Validation Failed", "errors": []any{forgetest.JSON{"resource": "PullRequest", "field": "head", "code": "invalid"}},
		})
		return
	}
	p := s.Repo.Add(forgetest.Wish{By: s.me().Name, Branch: head, Into: base, Title: forgetest.Text(v, "title")}, sha)
	p.Author = s.me()
	forgetest.Reply(w, r, http.StatusCreated, pull(p))
}

func (s *Server) pullsOf(w http.ResponseWriter, r *http.Request) {
	if !ours(w, r) {
		return
	}
	sha := r.PathValue("sha")
	if !s.Repo.Commits[sha] {
		deny(w, r, http.StatusUnprocessableEntity, "No commit found for SHA: "+sha)
		return
	}
	all := []forgetest.JSON{}
	for _, p := range s.Repo.Proposals {
		if p.MergeCommit == sha || slices.ContainsFunc(p.Versions, func(v forgetest.Version) bool { return v.Head == sha }) {
			all = append(all, pull(p))
		}
	}
	forgetest.Reply(w, r, http.StatusOK, forgetest.Page(w, r, all))
}

// find is the proposal of a path; nil where it has answered that there is none.
func (s *Server) find(w http.ResponseWriter, r *http.Request) *forgetest.Proposal {
	if !ours(w, r) {
		return nil
	}
	p := s.Repo.Find(r.PathValue("number"))
	if p == nil {
		notFound(w, r)
	}
	return p
}

func (s *Server) reviews(w http.ResponseWriter, r *http.Request) {
	p := s.find(w, r)
	if p == nil {
		return
	}
	all := []forgetest.JSON{}
	for _, rev := range p.Reviews {
		state := map[forge.Verdict]string{forge.Approved: "APPROVED", forge.Changes: "CHANGES_REQUESTED", forge.Dismissed: "DISMISSED"}[rev.Verdict]
		if rev.Remark {
			state = "COMMENTED"
		}
		all = append(all, forgetest.JSON{
			"id": rev.ID, "user": account(rev.Author), "state": state, "commit_id": rev.Commit, "submitted_at": forgetest.Stamp(rev.At), "body": "",
		})
	}
	forgetest.Reply(w, r, http.StatusOK, forgetest.Page(w, r, all))
}

func comment(c *forgetest.Comment) forgetest.JSON {
	return forgetest.JSON{
		"id": c.Number, "user": account(c.Author), "body": c.Body, "created_at": forgetest.Stamp(c.At), "updated_at": forgetest.Stamp(c.Updated),
	}
}

func (s *Server) comments(w http.ResponseWriter, r *http.Request) {
	p := s.find(w, r)
	if p == nil {
		return
	}
	since, err := time.Parse(time.RFC3339, r.URL.Query().Get("since"))
	if err != nil {
		since = time.Time{}
	}
	all := []forgetest.JSON{}
	for _, c := range p.Comments {
		if !c.Updated.Before(since) && !c.System {
			all = append(all, comment(c))
		}
	}
	forgetest.Reply(w, r, http.StatusOK, forgetest.Page(w, r, all))
}

// body is the text of a comment to be written, as GitHub stores it; false where
// it has answered why not.
func body(w http.ResponseWriter, r *http.Request) (string, bool) {
	v, err := forgetest.Read(r)
	text := forgetest.Text(v, "body")
	if err != nil || text == "" || len([]rune(text)) > 65536 {
		forgetest.Reply(w, r, http.StatusUnprocessableEntity, forgetest.JSON{"message": "Validation Failed", "errors": []any{
			forgetest.JSON{"message": "body is too long (maximum is 65536 characters)"},
		}})
		return "", false
	}
	return strings.ReplaceAll(text, "\n", "\r\n"), true // some clients' line ends come back
}

func (s *Server) addComment(w http.ResponseWriter, r *http.Request) {
	p := s.find(w, r)
	if p == nil {
		return
	}
	if text, ok := body(w, r); ok {
		c := s.Repo.AddComment(p, forgetest.Us, text, false)
		c.Author = s.me()
		forgetest.Reply(w, r, http.StatusCreated, comment(c))
	}
}

func (s *Server) editComment(w http.ResponseWriter, r *http.Request) {
	if !ours(w, r) {
		return
	}
	for _, p := range s.Repo.Proposals {
		for _, c := range p.Comments {
			if strconv.FormatInt(c.Number, 10) != r.PathValue("id") {
				continue
			}
			if text, ok := body(w, r); ok {
				s.Repo.EditComment(c, text)
				forgetest.Reply(w, r, http.StatusOK, comment(c))
			}
			return
		}
	}
	notFound(w, r)
}

func (s *Server) combined(w http.ResponseWriter, r *http.Request) {
	if !ours(w, r) {
		return
	}
	sha := r.PathValue("sha")
	if !s.Repo.Commits[sha] {
		deny(w, r, http.StatusUnprocessableEntity, "No commit found for SHA: "+sha)
		return
	}
	all := []forgetest.JSON{}
	for _, st := range s.Repo.Latest(sha) {
		all = append(all, status(st))
	}
	forgetest.Reply(w, r, http.StatusOK, forgetest.JSON{"sha": sha, "state": "pending", "total_count": len(all), "statuses": forgetest.Page(w, r, all)})
}

func status(st *forgetest.Status) forgetest.JSON {
	v := forgetest.JSON{"id": st.ID, "state": string(st.State), "description": st.Description, "context": st.Context, "target_url": nil, "created_at": forgetest.Stamp(st.At)}
	if st.URL != "" {
		v["target_url"] = st.URL
	}
	return v
}

func (s *Server) setStatus(w http.ResponseWriter, r *http.Request) {
	if !ours(w, r) {
		return
	}
	v, err := forgetest.Read(r)
	sha, text := r.PathValue("sha"), forgetest.Text(v, "description")
	switch {
	case err != nil || len([]rune(text)) > 140:
		deny(w, r, http.StatusUnprocessableEntity, "Validation Failed: description is too long (maximum is 140 characters)")
		return
	case !s.Repo.Commits[sha]:
		deny(w, r, http.StatusUnprocessableEntity, "No commit found for SHA: "+sha)
		return
	}
	st := s.Repo.AddStatus(sha, forge.Status{
		Context: forgetest.Text(v, "context"), State: forge.StatusState(forgetest.Text(v, "state")), Description: text, URL: forgetest.Text(v, "target_url"),
	})
	forgetest.Reply(w, r, http.StatusCreated, status(st))
}
