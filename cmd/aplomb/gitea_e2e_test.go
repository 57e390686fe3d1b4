//go:build e2e

package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/internal/gittest"
	"github.com/aplomb-dev/aplomb/sources/webhook"
)

// forum is an environment on one machine whose declarations lie on a real Gitea:
// olga owns the repository, ana proposes, ben and cara review, and aplomb has an
// account of its own.
type forum struct {
	*testing.T
	dir, bin string
	gitea    *enginetest.GiteaServer
	proxy    *enginetest.Proxy // between aplomb and gitea
	repo     string            // owner/name
	work     *gittest.Repo
	daemon   *exec.Cmd
	said     said
	listen   string
	hook     string // the webhook's secret
}

const forumConfig = `data: %[1]s/data
api: {listen: "%[2]s"}
environments:
  prod:
    id: 7f3a0000000000000000000000000001
    source: {git: %[3]s, branch: main, path: prod, tokenFile: %[1]s/token, username: aplomb, caFile: %[1]s/ca.pem, interval: 2s}
    forge: {kind: gitea, url: %[4]s, repository: %[5]s, tokenFile: %[1]s/token, caFile: %[1]s/ca.pem, webhookSecretFile: %[1]s/hook, interval: 1s}
    targets: {here: {engine: local, root: %[1]s/root}TARGETS}
    gates: {reviews: 1, owners: owners.yaml}
`

// file is a declaration of a file with this content.
func file(name, content string) string {
	return fmt.Sprintf("apiVersion: aplomb.dev/v1\nkind: local.file\nmetadata: {name: %s}\nspec: {path: %s.txt, content: %q}\n", name, name, content)
}

// newForum starts it; targets are more of them.
func newForum(t *testing.T, targets ...string) *forum {
	t.Helper()
	return newForumOf(t, strings.Replace(forumConfig, "TARGETS", strings.Join(targets, ""), 1), nil)
}

// newForumOf is one of another configuration; before is what is done to the
// repository before the daemon starts.
func newForumOf(t *testing.T, config string, before func(*forum)) *forum {
	t.Helper()
	f := &forum{T: t, dir: t.TempDir(), gitea: enginetest.Gitea(t), hook: randomHex(t)}
	f.proxy = enginetest.NewProxy(t, f.gitea.Address)
	var owner [4]byte
	_, _ = rand.Read(owner[:]) // never fails
	f.repo = f.gitea.Repository(t, "olga"+hex.EncodeToString(owner[:]), "fleet", "ana", "ben", "aplomb")
	f.gitea.User(t, "cara")
	f.gitea.Must(t, f.gitea.User(t, strings.Split(f.repo, "/")[0]), http.MethodPut, "/repos/"+f.repo+"/collaborators/aplomb", map[string]any{"permission": "admin"}, nil)
	f.work = f.gitea.Clone(t, "ana", f.repo)
	f.work.Write("prod/one.yaml", file("one", "first"))
	f.push("main")
	if before != nil {
		before(f)
	}

	self, err := os.Executable()
	f.must(err)
	f.bin = f.path("aplomb")
	f.must(os.Symlink(self, f.bin))
	ports, err := enginetest.Ports(1)
	f.must(err)
	f.listen = fmt.Sprintf("127.0.0.1:%d", ports[0])
	front := httptest.NewUnstartedServer(f.proxy) // tokens are not sent in plain text
	front.Config.ErrorLog = log.New(io.Discard, "", 0)
	front.StartTLS()
	t.Cleanup(front.Close)
	for name, text := range map[string]string{"token": f.gitea.User(t, "aplomb"), "hook": f.hook, "owners.yaml": forumOwners, "ca.pem": gittest.CertificatePEM(front.Certificate()),
		"aplomb.yaml": fmt.Sprintf(config, f.dir, f.listen, front.URL+"/"+f.repo+".git", front.URL, f.repo)} {
		f.must(os.WriteFile(f.path(name), []byte(text), 0o600))
	}
	for _, d := range []string{"run", "root"} {
		f.must(os.Mkdir(f.path(d), 0o700))
	}
	f.start()
	t.Cleanup(f.stop)
	return f
}

func randomHex(t *testing.T) string {
	t.Helper()
	var b [20]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func (f *forum) path(name string) string { return filepath.Join(f.dir, name) }

func (f *forum) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *forum) command(args ...string) *exec.Cmd {
	cmd := exec.Command(f.bin, args...)
	cmd.Dir = f.dir
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+f.path("run"), "APLOMB_DATA="+f.path("data"), "NO_COLOR=1")
	return cmd
}

func (f *forum) start() {
	f.Helper()
	f.daemon = f.command("run", "-c", "aplomb.yaml", "--log-level", "debug")
	f.daemon.Stdout, f.daemon.Stderr = &f.said, &f.said
	f.must(f.daemon.Start())
}

func (f *forum) stop() {
	if f.daemon == nil {
		return
	}
	_ = f.daemon.Process.Signal(syscall.SIGTERM) // it may have ended
	_ = f.daemon.Wait()
	f.daemon = nil
}

func (f *forum) aplomb(args ...string) (string, int) {
	f.Helper()
	cmd := f.command(args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		f.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// push commits what was written, and pushes it to a branch.
func (f *forum) push(branch string) string {
	f.Helper()
	f.work.Git("add", "-A")
	f.work.Git("commit", "-q", "-m", "to "+branch)
	f.work.Git("push", "-q", "-f", "origin", "HEAD:"+branch)
	return f.work.Head()
}

// propose makes a pull request of ana's from main as it is now.
func (f *forum) propose(branch string, files ...string) (number int64, head string) {
	f.Helper()
	f.work.Git("fetch", "-q", "origin", "main")
	f.work.Git("checkout", "-q", "-B", branch, "origin/main")
	for i := 0; i < len(files); i += 2 {
		f.work.Write(files[i], files[i+1])
	}
	head = f.push(branch)
	return f.gitea.Propose(f.T, "ana", f.repo, branch, "main", "change "+branch), head
}

// until looks until yes, and fails after patience with what was said.
func (f *forum) until(what string, yes func() bool) {
	f.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(8 * time.Minute); !yes(); <-tick.C {
		if time.Now().After(end) {
			status, _ := f.aplomb("status")
			f.Fatalf("it never came to: %s\n%s\n%s", what, status, f.said.String())
		}
	}
}

// comments are what aplomb says on a pull request.
func (f *forum) comments(number int64) []string {
	f.Helper()
	var all []struct {
		Body string
		User struct{ Login string }
	}
	f.gitea.Must(f.T, f.gitea.Token, http.MethodGet, fmt.Sprintf("/repos/%s/issues/%d/comments", f.repo, number), nil, &all)
	var ours []string
	for _, c := range all {
		if c.User.Login == "aplomb" {
			ours = append(ours, c.Body)
		}
	}
	return ours
}

// status is the newest status of a commit in one context: state and words.
func (f *forum) status(commit, context string) string {
	f.Helper()
	var all []struct {
		ID                           int64
		Context, Status, Description string
	}
	f.gitea.Must(f.T, f.gitea.Token, http.MethodGet, "/repos/"+f.repo+"/commits/"+commit+"/statuses?limit=50", nil, &all)
	newest, words := int64(0), ""
	for _, s := range all {
		if s.Context == context && s.ID > newest {
			newest, words = s.ID, s.Status+" "+s.Description
		}
	}
	return words
}

func (f *forum) planned(head, words string) {
	f.Helper()
	f.until("planned: "+words, func() bool { return f.status(head, "aplomb/plan: prod") == words })
}

func (f *forum) applied(commit, state string) {
	f.Helper()
	got := ""
	defer func() { f.Logf("%s is %q", commit, got) }()
	f.until("applied: "+state, func() bool {
		got = f.status(commit, "aplomb/apply: prod")
		return strings.HasPrefix(got, state)
	})
}

func (f *forum) lives(name, content string) bool {
	b, err := os.ReadFile(f.path("root/" + name + ".txt"))
	return err == nil && string(b) == content
}

// TestGitea is a change from the proposal to the green commit, on a real forge:
// the plan is read and reviewed on the pull request, and what was reviewed is
// what runs.
func TestGitea(t *testing.T) {
	f := newForum(t)
	first := f.work.Head()
	f.until("held", func() bool { out, _ := f.aplomb("status"); return strings.Contains(out, "wants approval: a review") })
	f.applied(first, "pending")
	out, _ := f.aplomb("plan", "-o", "json")
	digest := between(out, `"digest": "`, `"`)
	if out, code := f.aplomb("approve", digest, "--why", "the first"); code != codeGood {
		t.Fatal(out)
	}
	f.applied(first, "success")

	number, head := f.propose("two", "prod/two.yaml", file("two", "second"))
	f.planned(head, "success 1 change, 1 held")
	if c := f.comments(number); len(c) != 1 || !strings.Contains(c[0], "local.file/two") || !strings.Contains(c[0], "1 create (held)") {
		t.Fatalf("%q", c)
	}
	f.work.Write("prod/two.yaml", file("two", "second, mended"))
	f.work.Write("prod/three.yaml", file("three", "third"))
	head = f.push("two")
	f.planned(head, "success 2 changes, 2 held")
	if c := f.comments(number); len(c) != 1 || !strings.Contains(c[0], "local.file/three") {
		t.Fatalf("a push makes another comment: %q", c)
	}
	f.leads(f.comments(number)[0], "prod/two.yaml", head, "second, mended")
	f.gitea.Review(t, "ben", f.repo, number, "APPROVED")
	merge := f.gitea.Merge(t, "ben", f.repo, number)
	f.applied(merge, "success")
	if !f.lives("two", "second, mended") || !f.lives("three", "third") {
		t.Error("what is green does not live")
	}
	if out, _ := f.aplomb("audit"); !strings.Contains(out, "ben") || !strings.Contains(out, fmt.Sprintf("review of %d", number)) {
		t.Errorf("the audit says\n%s", out)
	}

	f.refused()
	f.rebase()
	f.owned()
	f.hooked()
	for _, args := range [][]string{{"status"}, {"plan"}, {"history"}, {"audit"}} {
		f.aplomb(args...)
	}
	for _, secret := range []string{f.hook, f.gitea.User(t, "aplomb")} {
		if strings.Contains(f.said.String(), secret) {
			t.Error("a token was said")
		}
	}
}

// leads follows a comment's link to a file of a commit, as somebody who reads it.
func (f *forum) leads(comment, path, commit, want string) {
	f.Helper()
	_, at, found := strings.Cut(between(comment, "src/commit/"+commit+"/"+path+"#", ")"), "L")
	page := f.gitea.Address + "/" + f.repo + "/src/commit/" + commit + "/" + path
	res, err := http.Get(page)
	f.must(err)
	body, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	f.must(errors.Join(err, res.Body.Close()))
	if !found || at != "1" || res.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
		f.Errorf("the comment leads to line %q of %s, which answers %s:\n%s", at, page, res.Status, comment)
	}
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return s
}

// refused are merges that nobody whose word counts has reviewed as they are.
func (f *forum) refused() {
	f.Helper()
	number, head := f.propose("four", "prod/four.yaml", file("four", "fourth"))
	f.planned(head, "success 1 change, 1 held")
	f.gitea.User(f.T, "cara") // may read only
	f.gitea.Review(f.T, "cara", f.repo, number, "APPROVED")
	f.work.Write("prod/four.yaml", file("four", "fourth, as nobody saw it"))
	f.gitea.Review(f.T, "ben", f.repo, number, "APPROVED")
	head = f.push("four")
	f.planned(head, "success 1 change, 1 held")
	merge := f.gitea.Merge(f.T, "ben", f.repo, number)
	f.until("held", func() bool {
		out, _ := f.aplomb("status")
		return strings.Contains(out, merge[:7]) && strings.Contains(out, "wants approval: a review")
	})
	f.applied(merge, "pending")
	if _, err := os.Stat(f.path("root/four.txt")); err == nil {
		f.Error("what nobody reviewed lives")
	}
	page := f.comments(number)[0]
	f.gitea.Say(f.T, "ana", f.repo, number, "aplomb approve "+between(page, "digest <code>", "</code>")) // the author
	f.gitea.Say(f.T, "ben", f.repo, number, "aplomb approve "+strings.Repeat("0", 12))                   // a stale digest
	f.gitea.Say(f.T, "ben", f.repo, number, "I have read it.\n\naplomb approve "+between(page, "digest <code>", "</code>"))
	f.applied(merge, "success")
	if !f.lives("four", "fourth, as nobody saw it") {
		f.Error("what was approved does not live")
	}
	if out, _ := f.aplomb("audit", "-o", "json"); strings.Contains(out, `"by": "ana"`) || strings.Count(out, fmt.Sprintf("comment on %d", number)) != 1 {
		f.Errorf("whose words counted:\n%s", out)
	}
}

// hooked: who knows the secret is a reason to look, once; who does not is nobody.
func (f *forum) hooked() {
	f.Helper()
	body := fmt.Sprintf(`{"repository":{"clone_url":"%s/%s.git"}}`, f.gitea.Address, f.repo)
	sign := func(body string) string {
		mac := hmac.New(sha256.New, []byte(f.hook))
		mac.Write([]byte(body))
		return hex.EncodeToString(mac.Sum(nil))
	}
	long := strings.Repeat(" ", webhook.MaxBody+1)
	for _, c := range []struct {
		name, body, signature, delivery string
		want                            int
		said                            string
	}{
		{"unsigned", body, "", "a", http.StatusUnauthorized, ""},
		{"forged", body, strings.Repeat("0", 64), "b", http.StatusUnauthorized, "wrong signature"},
		{"of another body", body + " ", sign(body), "c", http.StatusUnauthorized, "wrong signature"},
		{"oversized", long, sign(long), "d", http.StatusRequestEntityTooLarge, "too long"},
		{"good", body, sign(body), "e", http.StatusNoContent, ""},
		{"replayed", body, sign(body), "e", http.StatusNoContent, "came before"},
	} {
		got := f.post(strings.NewReader(c.body), map[string]string{"X-Gitea-Event": "push", "X-Gitea-Signature": c.signature, "X-Gitea-Delivery": c.delivery})
		if got != c.want {
			f.Errorf("a call that is %s: %d", c.name, got)
		}
		f.until(c.name+" is said", func() bool { return strings.Contains(f.said.String(), c.said) })
	}
	f.gitea.Must(f.T, f.gitea.User(f.T, strings.Split(f.repo, "/")[0]), http.MethodPost, "/repos/"+f.repo+"/hooks", map[string]any{
		"type": "gitea", "active": true, "events": []string{"push", "pull_request"},
		"config": map[string]string{"url": "http://" + f.listen + "/hooks/prod", "content_type": "json", "secret": f.hook},
	}, nil)
	_, head := f.propose("seven", "prod/seven.yaml", file("seven", "seventh"))
	f.planned(head, "success 1 change, 1 held")
}
