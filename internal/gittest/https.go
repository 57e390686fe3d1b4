package gittest

import (
	"crypto/subtle"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// HTTPS serves the bare repositories in Root with git-http-backend.
type HTTPS struct {
	URL    string // of the server; a repository is URL + "/" + its name
	CAFile string // its certificate
	Root   string

	token atomic.Pointer[string]
	down  atomic.Bool

	mu     sync.Mutex
	before func(http.ResponseWriter, *http.Request) bool
}

// ServeHTTPS starts a server that wants token as password, of any user. It
// stops at the end of the test.
func ServeHTTPS(t testing.TB, root, token string) *HTTPS {
	t.Helper()
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Skipf("no git: %v", err)
	}
	h := &HTTPS{Root: root}
	h.SetToken(token)
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"),
		Env:  append(environ(), "GIT_PROJECT_ROOT="+root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=ana"),
	}
	server := httptest.NewTLSServer(h.gate(backend))
	t.Cleanup(server.Close)
	h.URL = server.URL
	h.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(h.CAFile, []byte(CertificatePEM(server.Certificate())), 0o600); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *HTTPS) gate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		before := h.before
		h.mu.Unlock()
		if before != nil && before(w, r) {
			return
		}
		_, password, _ := r.BasicAuth()
		switch {
		case h.down.Load():
			http.Error(w, "down for maintenance", http.StatusServiceUnavailable)
		case subtle.ConstantTimeCompare([]byte(password), []byte(*h.token.Load())) != 1:
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// SetToken changes the password.
func (h *HTTPS) SetToken(token string) { h.token.Store(&token) }

// SetDown lets the server answer nothing but that it is down.
func (h *HTTPS) SetDown(down bool) { h.down.Store(down) }

// Before is asked first about each request; true: it has answered. It may be
// called at once from several goroutines.
func (h *HTTPS) Before(f func(http.ResponseWriter, *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before = f
}

// CertificatePEM is a certificate as files hold it.
func CertificatePEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}
