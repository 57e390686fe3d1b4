package git

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/internal/gittest"
	"github.com/aplomb-dev/aplomb/sources"
)

// started is a server with one commit, and a source that has not looked yet.
func started(t *testing.T, start func(testing.TB) *served) (*served, *Source) {
	t.Helper()
	repo := start(t)
	repo.work.Commit("one", "a", "1")
	repo.push("main")
	return repo, open(t, repo.cfg)
}

func TestRedirectElsewhere(t *testing.T) {
	var asked, withSecret atomic.Int32
	thief := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		for _, values := range r.Header {
			for _, v := range values {
				if strings.Contains(v, token) || strings.HasPrefix(v, "Basic ") {
					withSecret.Add(1)
				}
			}
		}
	}))
	t.Cleanup(thief.Close)
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		repo, _ := started(t, overHTTPS)
		repo.cfg.Auth.CAFile = withCA(t, repo, thief)
		s := open(t, repo.cfg)
		repo.web.Before(func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, thief.URL+r.URL.RequestURI(), status)
			return true
		})
		_, err := s.Head(t.Context())
		if !errors.Is(err, errElsewhere) || HintOf(err) == "" {
			t.Errorf("%d: %v", status, err)
		}
		// And in the middle of a conversation.
		repo.web.Before(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				http.Redirect(w, r, thief.URL+r.URL.RequestURI(), status)
			}
			return r.Method == http.MethodPost
		})
		if _, err := s.Head(t.Context()); err == nil {
			t.Errorf("%d: a POST was redirected", status)
		}
		if err := reporter(t, repo).Report(t.Context(), report("prod", "x")); err == nil {
			t.Errorf("%d: a push was redirected", status)
		}
	}
	if asked.Load() != 0 || withSecret.Load() != 0 {
		t.Fatalf("the other host was asked %d times, %d with the credentials", asked.Load(), withSecret.Load())
	}
}

// withCA is a file that trusts both servers, so that only the redirect can be
// what is refused.
func withCA(t *testing.T, repo *served, other *httptest.Server) string {
	t.Helper()
	ours, err := os.ReadFile(repo.web.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	theirs := gittest.CertificatePEM(other.Certificate())
	return write(t, filepath.Join(t.TempDir(), "both.pem"), string(ours)+theirs)
}

func TestRedirectWithinTheHost(t *testing.T) {
	repo, _ := started(t, overHTTPS)
	repo.web.Before(func(w http.ResponseWriter, r *http.Request) bool {
		if rest, ok := strings.CutPrefix(r.URL.RequestURI(), "/old/fleet.git/"); ok {
			http.Redirect(w, r, "/fleet.git/"+rest, http.StatusFound)
			return true
		}
		return false
	})
	repo.cfg.URL = repo.web.URL + "/old/fleet.git"
	wantFile(t, take(t, open(t, repo.cfg)), "a", "1")
}

func TestWrongToken(t *testing.T) {
	repo, s := started(t, overHTTPS)
	repo.web.SetToken("changed")
	_, err := s.Head(t.Context())
	if err == nil || HintOf(err) == "" || strings.Contains(err.Error(), token) {
		t.Fatalf("wrong token: %v", err)
	}
	write(t, repo.cfg.Auth.TokenFile, "changed\n") // read when it is used
	wantFile(t, take(t, s), "a", "1")
	if err := os.Remove(repo.cfg.Auth.TokenFile); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Head(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("no token file: %v", err)
	}
}

func TestUnknownAuthority(t *testing.T) {
	repo, _ := started(t, overHTTPS)
	repo.cfg.Auth.CAFile = ""
	if _, err := open(t, repo.cfg).Head(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Fatalf("a stranger's certificate: %v", err)
	}
}

func TestHostKeys(t *testing.T) {
	repo, _ := started(t, throughSSH)
	at, err := parseURL(repo.cfg.URL)
	if err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimPrefix(strings.TrimSuffix(at.String(), "/fleet.git"), "ssh://git@")
	dir := t.TempDir()
	for name, file := range map[string]string{
		"another key":  gittest.WriteKnownHosts(t, filepath.Join(dir, "other"), addr, gittest.OtherKey(t)),
		"another host": gittest.WriteKnownHosts(t, filepath.Join(dir, "host"), "example.org:22", gittest.OtherKey(t)),
		"nothing":      write(t, filepath.Join(dir, "empty"), ""),
	} {
		cfg := repo.cfg
		cfg.Auth.KnownHostsFile = file
		if _, err := open(t, cfg).Head(t.Context()); err == nil || HintOf(err) == "" {
			t.Errorf("%s: %v, hint %q", name, err, HintOf(err))
		}
	}
	cfg := repo.cfg
	cfg.Auth.KnownHostsFile = filepath.Join(dir, "missing")
	if _, err := open(t, cfg).Head(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestWrongKey(t *testing.T) {
	repo, _ := started(t, throughSSH)
	repo.cfg.Auth.KeyFile = gittest.WriteKey(t, filepath.Join(t.TempDir(), "id"), gittest.OtherKey(t))
	if _, err := open(t, repo.cfg).Head(t.Context()); err == nil || HintOf(err) == "" {
		t.Fatalf("wrong key: %v", err)
	}
}

func TestAgent(t *testing.T) {
	repo, _ := started(t, throughSSH)
	t.Setenv("SSH_AUTH_SOCK", gittest.ServeAgent(t, repo.cfg.Auth.KeyFile))
	repo.cfg.Auth.KeyFile, repo.cfg.Auth.Agent = "", true
	wantFile(t, take(t, open(t, repo.cfg)), "a", "1")
	t.Setenv("SSH_AUTH_SOCK", "")
	if _, err := open(t, repo.cfg).Head(t.Context()); err == nil || HintOf(err) == "" {
		t.Fatalf("no agent: %v", err)
	}
}

func TestAwayAndBack(t *testing.T) {
	everywhere(t, func(t *testing.T, repo *served) {
		repo.work.Commit("one", "a", "1")
		repo.push("main")
		s := open(t, repo.cfg)
		snap := take(t, s)
		away := repo.bare.Dir + ".away"
		if err := os.Rename(repo.bare.Dir, away); err != nil {
			t.Fatal(err)
		}
		if _, err := try(t, s); err == nil {
			t.Fatal("a repository that is away was read")
		}
		if repo.cfg.URL != repo.bare.Dir { // a mirror still has what it had
			old, err := s.Fetch(t.Context(), snap.Revision)
			if err != nil {
				t.Fatal(err)
			}
			wantFile(t, old, "a", "1")
		}
		if err := os.Rename(away, repo.bare.Dir); err != nil {
			t.Fatal(err)
		}
		repo.work.Commit("two", "a", "2")
		repo.push("main")
		wantFile(t, take(t, s), "a", "2")
		wantFile(t, snap, "a", "1")
	})
}

func TestServerDown(t *testing.T) {
	repo, s := started(t, overHTTPS)
	take(t, s)
	repo.web.SetDown(true)
	if _, err := s.Head(t.Context()); err == nil {
		t.Fatal("a server that is down answered")
	}
	repo.web.SetDown(false)
	wantFile(t, take(t, s), "a", "1")
}

func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	key := gittest.OtherKey(t)
	for _, cfg := range []Config{
		{URL: "https://" + l.Addr().String() + "/x"},
		{URL: "ssh://git@" + l.Addr().String() + "/x", Auth: Auth{
			KeyFile:        gittest.WriteKey(t, filepath.Join(dir, "id"), key),
			KnownHostsFile: gittest.WriteKnownHosts(t, filepath.Join(dir, "known"), l.Addr().String(), key)}},
	} {
		cfg.Dir, cfg.Timeout = filepath.Join(dir, "src"), 100*time.Millisecond
		if _, err := open(t, cfg).Head(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", cfg.URL, err)
		}
	}
}

func TestPackTooLarge(t *testing.T) {
	for _, start := range []func(testing.TB) *served{overHTTPS, throughSSH} {
		repo := start(t)
		repo.work.Commit("one", "a", "1")
		repo.push("main")
		repo.cfg.MaxPack = 64 << 10
		s := open(t, repo.cfg)
		snap := take(t, s)
		repo.work.Write("noise", gittest.Noise(1<<20))
		repo.work.Commit("noise")
		repo.push("main")
		if _, err := s.Head(t.Context()); !errors.Is(err, sources.ErrTooLarge) {
			t.Fatalf("%v", err)
		}
		wantFile(t, snap, "a", "1")
		for _, pattern := range []string{"incoming-*", "objects/pack/tmp_*"} {
			if left, _ := filepath.Glob(filepath.Join(s.store.path, pattern)); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		}
		repo.cfg.MaxPack = 0
		if _, err := open(t, repo.cfg).Head(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
