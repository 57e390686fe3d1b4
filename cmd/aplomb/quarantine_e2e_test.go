//go:build e2e

package main

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

const ladderConfig = `data: %[1]s/data
api: {listen: "%[2]s"}
environments:
  prod:
    id: 7f3a0000000000000000000000000001
    source: {git: %[3]s, branch: main, path: prod, tokenFile: %[1]s/token, username: aplomb, caFile: %[1]s/ca.pem, interval: 2s}
    forge: {kind: gitea, url: %[4]s, repository: %[5]s, tokenFile: %[1]s/token, caFile: %[1]s/ca.pem, interval: 1s}
    targets: {here: {engine: local, root: %[1]s/root}}
    quarantine: {after: 5s, revert: true}
  live:
    id: 7f3a0000000000000000000000000002
    source: {git: %[3]s, branch: release, path: prod, tokenFile: %[1]s/token, username: aplomb, caFile: %[1]s/ca.pem, interval: 2s}
    forge: {kind: gitea, url: %[4]s, repository: %[5]s, tokenFile: %[1]s/token, caFile: %[1]s/ca.pem, interval: 1s}
    targets: {here: {engine: local, root: %[1]s/live}}
    after: {environment: prod, healthy: 2s}
`

// pull is an open pull request.
type pull struct {
	Number      int64
	Title, Body string
	Head, Base  struct{ Ref, Sha string }
	User        struct{ Login string }
}

// opened waits for the pull request of a branch, and wants it to be the only
// one of it.
func (f *forum) opened(branch string) pull {
	f.Helper()
	var found []pull
	f.until("a pull request of "+branch, func() bool {
		var all []pull
		f.gitea.Must(f.T, f.gitea.Token, http.MethodGet, "/repos/"+f.repo+"/pulls?state=open", nil, &all)
		found = nil
		for _, p := range all {
			if strings.HasPrefix(p.Head.Ref, branch) {
				found = append(found, p)
			}
		}
		return len(found) > 0
	})
	if len(found) != 1 || found[0].User.Login != "aplomb" {
		f.Fatalf("%+v", found)
	}
	return found[0]
}

// TestQuarantine is a revision that never gets well, on a real forge: the
// environment goes back, its revert is proposed, merged and green; and what is
// well then is proposed to the environment that follows.
func TestQuarantine(t *testing.T) {
	f := newForumOf(t, ladderConfig, func(f *forum) {
		f.work.Git("push", "-q", "origin", "HEAD:release")
		f.must(os.Mkdir(f.path("live"), 0o700))
	})
	first := f.work.Head()
	f.applied(first, "success")

	f.work.Write("prod/one.yaml", file("one", "second"))
	f.work.Write("prod/move.yaml", "apiVersion: aplomb.dev/v1\nkind: local.process\nmetadata: {name: move}\nspec: {type: batch, argv: [\"false\"]}\n")
	f.work.Write("beside.txt", "stays")
	bad := f.push("main")
	f.applied(bad, "failure quarantined, back at "+first[:7])
	f.until("back", func() bool { return f.lives("one", "first") })
	if out, _ := f.aplomb("audit", "--env", "prod"); !strings.Contains(out, "quarantine") || !strings.Contains(out, "local.process/move") {
		t.Errorf("the audit says\n%s", out)
	}
	p := f.opened("aplomb/revert-prod-" + bad[:7])
	if p.Base.Ref != "main" || !strings.Contains(p.Body, "local.process/move") || !strings.Contains(p.Body, "exit") {
		t.Errorf("%+v", p)
	}
	f.stop()
	f.start()
	merge := f.gitea.Merge(t, "ben", f.repo, p.Number)
	f.applied(merge, "success")
	f.work.Git("fetch", "-q", "origin", "main")
	if got := f.work.Git("diff", "--name-only", first, "origin/main"); got != "beside.txt" {
		t.Errorf("reverted is all but\n%s", got)
	}
	f.lifted(merge)
	if strings.Contains(f.said.String(), f.gitea.User(t, "aplomb")) {
		t.Error("a token was said")
	}
}

// lifted is what is well in prod on its way to live, once it has changed.
func (f *forum) lifted(merge string) {
	f.Helper()
	f.work.Git("checkout", "-q", "-B", "main", merge)
	f.work.Write("prod/one.yaml", file("one", "third"))
	good := f.push("main")
	f.applied(good, "success")
	p := f.opened("aplomb/promote-live")
	f.until("moved on", func() bool {
		p = f.opened("aplomb/promote-live")
		c := f.comments(p.Number)
		return p.Head.Sha == good && strings.Contains(strings.Join(c, "\n"), good[:7])
	})
	lifted := f.gitea.Merge(f.T, "ben", f.repo, p.Number)
	f.until("live", func() bool { return strings.HasPrefix(f.status(lifted, "aplomb/apply: live"), "success") })
	if b, err := os.ReadFile(f.path("live/one.txt")); err != nil || string(b) != "third" {
		f.Errorf("%q, %v", b, err)
	}
}
