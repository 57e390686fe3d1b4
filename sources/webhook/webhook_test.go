package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/schema"
)

const secret = "correct horse battery staple"

// kicks are what a hook kicked.
type kicks struct {
	mu  sync.Mutex
	all []string
}

func (k *kicks) kick(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append(k.all, name)
}

func (k *kicks) got() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.all, " ")
}

func hook(t testing.TB, f Forge, k *kicks, repositories ...string) *Hook {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	return &Hook{Forge: f, SecretFile: file, Repositories: repositories, Kick: k.kick, Log: log}
}

func mac(key, body string) string {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(body))
	return hex.EncodeToString(h.Sum(nil))
}

// call sends a body with headers by turns as name and value.
func call(h http.Handler, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// The bodies are of the documented form, much shortened.
const (
	hubPush    = `{"ref":"refs/heads/main","after":"0d1a26e","repository":{"id":1,"full_name":"Acme/Fleet","html_url":"https://github.com/Acme/Fleet","clone_url":"https://github.com/Acme/Fleet.git","ssh_url":"git@github.com:Acme/Fleet.git"},"commits":[]}`
	gitlabPush = `{"object_kind":"push","ref":"refs/heads/main","project":{"id":7,"git_ssh_url":"git@gitlab.example:acme/infra/fleet.git","git_http_url":"https://gitlab.example/acme/infra/fleet.git","web_url":"https://gitlab.example/acme/infra/fleet"},"repository":{"name":"fleet","url":"git@gitlab.example:acme/infra/fleet.git"}}`
	giteaPush  = `{"ref":"refs/heads/main","repository":{"id":1,"full_name":"acme/fleet","html_url":"https://git.example:3000/acme/fleet","clone_url":"https://git.example:3000/acme/fleet.git","ssh_url":"ssh://git@git.example:2222/acme/fleet.git"}}`
)

func TestEvents(t *testing.T) {
	for name, c := range map[string]struct {
		forge   Forge
		repo    string
		body    string
		headers []string
	}{
		"github":                {GitHub, "https://github.com/acme/fleet.git", hubPush, []string{"X-GitHub-Event", "push", hubSignature, "sha256=" + mac(secret, hubPush)}},
		"github, ssh":           {GitHub, "git@github.com:acme/fleet.git", hubPush, []string{"X-GitHub-Event", "pull_request_review", hubSignature, "sha256=" + mac(secret, hubPush)}},
		"gitlab":                {GitLab, "https://gitlab.example/acme/infra/fleet", gitlabPush, []string{"X-Gitlab-Event", "Push Hook", gitlabToken, secret}},
		"gitlab, merge request": {GitLab, "ssh://git@gitlab.example:2222/acme/infra/fleet.git", gitlabPush, []string{"X-Gitlab-Event", "Merge Request Hook", gitlabToken, secret}},
		"gitea":                 {Gitea, "https://git.example:3000/acme/fleet", giteaPush, []string{"X-Gitea-Event", "push", giteaSignature, mac(secret, giteaPush)}},
		"gitea, as github":      {Gitea, "ssh://git@git.example:2222/acme/fleet", giteaPush, []string{"X-Gitea-Event", "issue_comment", hubSignature, "sha256=" + mac(secret, giteaPush)}},
	} {
		t.Run(name, func(t *testing.T) {
			var k kicks
			h := hook(t, c.forge, &k, c.repo, "https://elsewhere.example/a/b")
			if w := call(h, c.body, c.headers...); w.Code != http.StatusNoContent || k.got() != c.repo {
				t.Errorf("%d, kicked %q", w.Code, k.got())
			}
		})
	}
}

func TestRefused(t *testing.T) {
	sum := mac(secret, hubPush)
	for name, c := range map[string]struct {
		forge   Forge
		headers []string
	}{
		"unsigned":             {GitHub, nil},
		"another secret":       {GitHub, []string{hubSignature, "sha256=" + mac("another", hubPush)}},
		"another body":         {GitHub, []string{hubSignature, "sha256=" + mac(secret, hubPush+" ")}},
		"half a signature":     {GitHub, []string{hubSignature, "sha256=" + sum[:32]}},
		"no hex":               {GitHub, []string{hubSignature, "sha256=" + strings.Repeat("x", 64)}},
		"an older hash":        {GitHub, []string{"X-Hub-Signature", "sha1=" + sum[:40]}},
		"without its prefix":   {GitHub, []string{hubSignature, sum}},
		"github as gitea":      {GitHub, []string{giteaSignature, sum}},
		"gitlab, wrong":        {GitLab, []string{gitlabToken, secret + "x"}},
		"gitlab, empty":        {GitLab, []string{gitlabToken, ""}},
		"gitlab by signature":  {GitLab, []string{hubSignature, "sha256=" + sum}},
		"gitea, wrong":         {Gitea, []string{giteaSignature, mac("another", hubPush)}},
		"gitea, one of two":    {Gitea, []string{giteaSignature, mac("another", hubPush), hubSignature, "sha256=" + sum}},
		"a forge of no name":   {"", []string{hubSignature, "sha256=" + sum}},
		"a secret as a header": {GitHub, []string{gitlabToken, secret}},
	} {
		t.Run(name, func(t *testing.T) {
			var k kicks
			h := hook(t, c.forge, &k, "https://github.com/acme/fleet")
			w := call(h, hubPush, append(c.headers, "X-GitHub-Event", "push", "X-Gitlab-Event", "Push Hook", "X-Gitea-Event", "push")...)
			if w.Code != http.StatusUnauthorized || w.Body.Len() > 0 || k.got() != "" {
				t.Errorf("%d %q, kicked %q", w.Code, w.Body, k.got())
			}
		})
	}
}

func TestSecretFile(t *testing.T) {
	var k kicks
	h := hook(t, GitLab, &k, "https://gitlab.example/acme/infra/fleet")
	send := func(token string) int {
		return call(h, gitlabPush, "X-Gitlab-Event", "Push Hook", gitlabToken, token).Code
	}
	if got := send(secret); got != http.StatusNoContent {
		t.Errorf("got %d", got)
	}
	for _, content := range []string{"", "\n", strings.Repeat("x", 5000)} {
		if err := os.WriteFile(h.SecretFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, token := range []string{secret, "", strings.TrimSpace(content)} {
			if got := send(token); got != http.StatusUnauthorized {
				t.Errorf("a secret of %d bytes lets in: %d", len(content), got)
			}
		}
	}
	if err := os.WriteFile(h.SecretFile, []byte("rotated"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := send("rotated"); got != http.StatusNoContent {
		t.Errorf("the new secret: %d", got)
	}
	if err := os.Remove(h.SecretFile); err != nil {
		t.Fatal(err)
	}
	if got := send("rotated"); got != http.StatusUnauthorized {
		t.Errorf("no secret: %d", got)
	}
}

func TestIgnored(t *testing.T) {
	for name, c := range map[string]struct{ event, body string }{
		"ping":              {"ping", hubPush},
		"no event":          {"", hubPush},
		"of somebody else":  {"push", strings.ReplaceAll(hubPush, "Fleet", "fleet2")},
		"another host":      {"push", strings.ReplaceAll(hubPush, "github.com", "github.example")},
		"no repository":     {"push", `{}`},
		"no JSON":           {"push", `payload=%7B%7D`},
		"nothing":           {"push", ""},
		"of another form":   {"push", `{"repository":"https://github.com/acme/fleet"}`},
		"deep":              {"push", strings.Repeat("[", 20000)},
		"not only a prefix": {"push", strings.ReplaceAll(hubPush, "Acme/Fleet", "x/acme/fleet")},
	} {
		t.Run(name, func(t *testing.T) {
			var k kicks
			h := hook(t, GitHub, &k, "https://github.com/acme/fleet")
			w := call(h, c.body, "X-GitHub-Event", c.event, hubSignature, "sha256="+mac(secret, c.body))
			if w.Code != http.StatusNoContent || k.got() != "" {
				t.Errorf("%d, kicked %q", w.Code, k.got())
			}
		})
	}
}

func TestBounds(t *testing.T) {
	var k kicks
	h := hook(t, GitHub, &k, "https://github.com/acme/fleet")
	long := strings.Repeat(" ", MaxBody+1)
	if w := call(h, long, "X-GitHub-Event", "push", hubSignature, "sha256="+mac(secret, long)); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a long body: %d", w.Code)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("a read: %d", w.Code)
	}
	w = httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader("{"), torn{}))
	r.Header.Set(hubSignature, "sha256="+mac(secret, "{"))
	h.ServeHTTP(w, r)
	if w.Code != http.StatusBadRequest {
		t.Errorf("a torn body: %d", w.Code)
	}

	// As many as are read at once hang in their bodies; one more is sent away.
	var wg sync.WaitGroup
	started, release := make(chan struct{}), make(chan struct{})
	for range maxAtOnce {
		wg.Go(func() {
			r := httptest.NewRequest(http.MethodPost, "/", &slow{started: started, release: release})
			r.Header.Set(hubSignature, "sha256="+mac(secret, ""))
			h.ServeHTTP(httptest.NewRecorder(), r)
		})
		<-started
	}
	if w := call(h, hubPush); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("one too many: %d", w.Code)
	}
	close(release)
	wg.Wait()
	if w := call(h, hubPush); w.Code != http.StatusUnauthorized {
		t.Errorf("afterwards: %d", w.Code)
	}
}

type torn struct{}

func (torn) Read([]byte) (int, error) { return 0, errors.New("hung up") }

type slow struct {
	once             sync.Once
	started, release chan struct{}
}

func (s *slow) Read([]byte) (int, error) {
	s.once.Do(func() { s.started <- struct{}{} })
	<-s.release
	return 0, io.EOF
}

func TestReplays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k kicks
		h := hook(t, GitHub, &k, "https://github.com/acme/fleet")
		send := func(id string) {
			if w := call(h, hubPush, "X-GitHub-Event", "push", "X-GitHub-Delivery", id, hubSignature, "sha256="+mac(secret, hubPush)); w.Code != http.StatusNoContent {
				t.Errorf("got %d", w.Code)
			}
		}
		count := func() int { return len(strings.Fields(k.got())) }
		send("one")
		if count() != 1 {
			t.Fatal("the first call did not kick at once")
		}
		time.Sleep(time.Minute)
		send("one")
		time.Sleep(time.Minute)
		if count() != 1 {
			t.Error("a delivery that came again was looked at again")
		}
		// Ids are not signed: a flood of new ones costs one look a while.
		for i := range 1000 {
			send(strings.Repeat("x", i%100) + string(rune('a'+i/100)))
		}
		if count() != 2 {
			t.Errorf("a flood kicked %d times at once", count()-1)
		}
		time.Sleep(time.Minute)
		if count() != 3 {
			t.Errorf("what came meanwhile was made good %d times", count()-2)
		}
	})
}

func TestSeenIsBounded(t *testing.T) {
	var s seen
	for i := range 3 * maxSeen {
		if s.before(strings.Repeat("a", i%100+1) + string(rune(i+1000))) {
			t.Fatal("a new one was there before")
		}
	}
	if len(s.ids) > maxSeen {
		t.Errorf("%d are remembered", len(s.ids))
	}
	for range 2 {
		if s.before("") || s.before(strings.Repeat("x", 1000)) {
			t.Error("one without an id was there before")
		}
	}
}

func TestNothingIsTold(t *testing.T) {
	var out bytes.Buffer
	var k kicks
	h := hook(t, GitLab, &k)
	log := logrus.New()
	log.SetOutput(&out)
	h.Log = log
	call(h, gitlabPush, gitlabToken, secret+"1")
	if out.Len() == 0 || strings.Contains(out.String(), secret) {
		t.Errorf("logged: %s", out.String())
	}
}

func FuzzRepository(f *testing.F) {
	for _, s := range []string{hubPush, gitlabPush, giteaPush, `{"repository":{"clone_url":"::"}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, at := range repository(body) {
			if key := address(at); key != "" && address("https://"+key) == "" && !strings.ContainsAny(key, "%?# []") {
				t.Errorf("%q gives %q, which is no address", at, key)
			}
		}
	})
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"git@github.com:a/b.git", "ssh://git@h:22/a/b", "https://u:p@h/a/b.git/", "h:", ":a", "https://h", "file:///a", "0:0/.git"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if key := address(s); key != strings.ToLower(key) || strings.HasSuffix(key, "/") {
			t.Errorf("%q gives %q", s, key)
		}
	})
}

func FuzzSignature(f *testing.F) {
	f.Add("sha256="+mac(secret, hubPush), hubPush)
	f.Add("sha256=", "")
	f.Fuzz(func(t *testing.T, header, body string) {
		right := strings.EqualFold(header, "sha256="+mac(secret, body)) && strings.HasPrefix(header, "sha256=")
		if got := signs(header, "sha256=", schema.NewSecret(secret), []byte(body)); got != right {
			t.Errorf("%q for %q: %v", header, body, got)
		}
	})
}
