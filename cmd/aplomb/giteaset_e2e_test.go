//go:build e2e

package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/api"
)

// set asks for a value, and answers what came of it.
func (f *forum) set(args ...string) (r api.SetResult) {
	f.Helper()
	out, code := f.aplomb(append([]string{"set", "--pr", "-o", "json"}, args...)...)
	if code != codeGood || json.Unmarshal([]byte(out), &r) != nil {
		f.Fatalf("%d: %s", code, out)
	}
	return r
}

// at is a file of a branch, as Gitea has it.
func (f *forum) at(branch, name string) string {
	f.Helper()
	f.work.Git("fetch", "-q", "origin", branch)
	return f.work.Git("show", "FETCH_HEAD:"+name)
}

// TestGiteaSet is a new value from a pipeline to the green commit, on a real
// forge: one proposal, whose bytes differ in nothing else.
func TestGiteaSet(t *testing.T) {
	f := newForum(t)
	first := f.work.Head()
	f.until("held", func() bool { out, _ := f.aplomb("status"); return strings.Contains(out, "wants approval: a review") })
	out, _ := f.aplomb("plan", "-o", "json")
	f.aplomb("approve", between(out, `"digest": "`, `"`))
	f.applied(first, "success")

	if r := f.set("local.file/one", "content=first"); r.Changed || r.Proposal != nil {
		t.Fatalf("it is so already: %+v", r)
	}
	r := f.set("local.file/one", "content=second", "--why", "a build")
	if r.Proposal == nil || !strings.HasPrefix(r.Proposal.Branch, "aplomb/set-prod-") || r.Proposal.URL == "" || r.Changes[0].Before != "first" {
		t.Fatalf("%+v", r)
	}
	if got, want := f.at(r.Proposal.Branch, "prod/one.yaml"), strings.TrimSpace(file("one", "second")); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	head := f.work.Git("rev-parse", "FETCH_HEAD")
	f.planned(head, "success 1 change, 1 held")
	if again := f.set("local.file/one", "content=second"); again.Proposal.ID != r.Proposal.ID || f.at(r.Proposal.Branch, "prod/one.yaml") == "" || f.work.Git("rev-parse", "FETCH_HEAD") != head {
		t.Errorf("the same again: %+v", again)
	}
	if other := f.set("local.file/one", "content=third"); other.Proposal.ID != r.Proposal.ID || !strings.Contains(f.at(r.Proposal.Branch, "prod/one.yaml"), `"third"`) {
		t.Errorf("another value: %+v", other)
	}
	head = f.work.Git("rev-parse", "FETCH_HEAD")
	f.planned(head, "success 1 change, 1 held")

	var pull struct{ Number int64 }
	f.gitea.Must(t, f.gitea.Token, http.MethodGet, "/repos/"+f.repo+"/pulls/"+r.Proposal.ID, nil, &pull)
	said := strings.Join(f.comments(pull.Number), "\n")
	if !strings.Contains(said, "first → third</code>") || strings.Contains(said, "second") {
		t.Errorf("%s", said)
	}
	f.gitea.Review(t, "ben", f.repo, pull.Number, "APPROVED")
	f.applied(f.gitea.Merge(t, "ben", f.repo, pull.Number), "success")
	if !f.lives("one", "third") {
		t.Error("what is green does not live")
	}

	if out, code := f.aplomb("set", "--pr", "local.file/none", "content=x"); code != codeFailed || !strings.Contains(out, "no YAML or JSON file declares local.file/none") {
		t.Errorf("%d: %s", code, out)
	}
	if out, _ := f.aplomb("audit"); !strings.Contains(out, "propose") || !strings.Contains(out, "a build") {
		t.Errorf("the audit says\n%s", out)
	}
	if token, err := os.ReadFile(f.path("token")); err != nil || strings.Contains(f.said.String(), strings.TrimSpace(string(token))) {
		t.Error("a token was said", err)
	}
}
