package forge

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/schema"
)

func write(t testing.TB, path, content string) string {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "file")
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func client(t testing.TB, s Server) *http.Client {
	t.Helper()
	c, err := s.Client()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// get asks, and gives the error as callers of the clients get it.
func get(c *http.Client, url string) (string, error) {
	res, err := c.Get(url)
	if err != nil {
		return "", Fail("ask", "it", err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

func TestAddresses(t *testing.T) {
	for url, fine := range map[string]bool{
		"https://api.github.com": true, "https://h:8443/gitea": true, "http://127.0.0.1:3000": true, "http://localhost": true, "http://[::1]:1": true,
		"http://git.example.org": false, "https://": false, "": false, "ftp://127.0.0.1": false, "https://user:secret@h": false, "https://h?x=secret": false,
		"://": false, "http://127.0.0.1.example.org": false,
	} {
		_, err := Server{URL: url}.Client()
		if fine != (err == nil) || err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("%q: %v", url, err)
		}
		if err != nil && strings.Contains(err.Error(), "user:secret") {
			t.Errorf("the address's password is told: %v", err)
		}
	}
}

func TestTokenIsReadAtEachUse(t *testing.T) {
	var got atomic.Value
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got.Store(r.Header.Get("Authorization")) }))
	defer s.Close()
	file := write(t, "", "first\n")
	c := client(t, Server{URL: s.URL, Credential: TokenFile(file)})
	for _, token := range []string{"first", "second"} {
		write(t, file, token+"\n")
		if _, err := get(c, s.URL); err != nil || got.Load() != "Bearer "+token {
			t.Errorf("sent %v, %v", got.Load(), err)
		}
	}
	for _, bad := range []string{"", "two\nlines", "a b", "\x00", strings.Repeat("x", 100<<10)} {
		write(t, file, bad)
		got.Store("nothing")
		if _, err := get(c, s.URL); !errors.Is(err, ErrDenied) || got.Load() != "nothing" {
			t.Errorf("%.10q: sent %v, %v", bad, got.Load(), err)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := get(c, s.URL); !errors.Is(err, ErrDenied) {
		t.Errorf("no file: %v", err)
	}
}

func TestAuthorities(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	defer s.Close()
	good := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	if _, err := get(client(t, Server{URL: s.URL}), s.URL); !errors.Is(err, ErrUnreachable) {
		t.Errorf("without its authority: %v", err)
	}
	file := write(t, "", good)
	c := client(t, Server{URL: s.URL, CAFile: file})
	if got, err := get(c, s.URL); err != nil || got != "hello" {
		t.Errorf("got %q, %v", got, err)
	}
	write(t, file, "none")
	if _, err := get(c, s.URL); !errors.Is(err, ErrUnreachable) {
		t.Errorf("the file that changed was not read again: %v", err)
	}
	write(t, file, good)
	if _, err := get(c, s.URL); err != nil {
		t.Error(err)
	}
	if _, err := (Server{URL: s.URL, CAFile: file + "x"}).Client(); err == nil {
		t.Error("a file that is not there")
	}
}

func TestErrorsTellNoToken(t *testing.T) {
	const token = "glpat-very-secret"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, `{"message":"bad header %s\u001b[31m\n%s"}`, r.Header.Get("Authorization"), strings.Repeat("x", 5000))
	}))
	defer s.Close()
	_, err := get(client(t, Server{URL: s.URL, Credential: TokenFile(write(t, "", token))}), s.URL)
	text := err.Error()
	if !errors.Is(err, ErrDenied) || strings.Contains(text, token) || !strings.Contains(text, schema.Redacted) || len(text) > 600 || strings.ContainsAny(text, "\x1b\n") {
		t.Errorf("got %q", text)
	}
}

func TestSlow(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
		}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(release)
	c := client(t, Server{URL: s.URL, Timeout: 50 * time.Millisecond, Concurrency: 1})
	for _, path := range []string{"/head", "/body"} {
		if _, err := get(c, s.URL+path); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "50ms") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	var c cache
	header := http.Header{"Etag": {`"x"`}}
	for i := range 3 * maxKept {
		c.put(fmt.Sprint(i), answer{status: http.StatusOK, header: header, body: make([]byte, 20<<10)})
	}
	c.put("large", answer{status: http.StatusOK, header: header, body: make([]byte, maxKeptBytes)})
	c.put("mute", answer{status: http.StatusOK, header: http.Header{}})
	c.put("bad", answer{status: http.StatusNotFound, header: header})
	if c.bytes > maxKeptBytes || len(c.by) > maxKept || c.order.Len() != len(c.by) {
		t.Errorf("%d bytes, %d answers", c.bytes, len(c.by))
	}
	for key, want := range map[string]bool{fmt.Sprint(3*maxKept - 1): true, "0": false, "large": false, "mute": false, "bad": false, "": false} {
		if _, ok := c.get(key); ok != want {
			t.Errorf("%q is kept: %v", key, ok)
		}
	}
	c.put("twice", answer{status: http.StatusOK, header: header, body: []byte("1")})
	c.put("twice", answer{status: http.StatusOK, header: header, body: []byte("2")})
	if a, _ := c.get("twice"); string(a.body) != "2" {
		t.Errorf("got %s", a.body)
	}
}
