package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	return fmt.Sprint(ln.Addr().(*net.TCPAddr).Port)
}

// told is a writer that says when something was written.
type told chan struct{}

func (c told) Write(p []byte) (int, error) {
	select {
	case c <- struct{}{}:
	default:
	}
	return len(p), nil
}

// A job without its database fails, and ends well once that is there.
func TestJob(t *testing.T) {
	port := freePort(t)
	env := environment("PGHOST", "127.0.0.1", "PGPORT", port, "PGUSER", "u", "PGPASSWORD", "p")
	var out bytes.Buffer
	if err := run(t.Context(), []string{"job", "report"}, env, &out); err == nil {
		t.Error("it is done without its database")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready, ended := make(told, 1), make(chan error, 1)
	go func() { ended <- run(ctx, []string{"database"}, env, ready) }()
	<-ready
	if err := run(t.Context(), []string{"job", "report"}, env, &out); err != nil || out.String() != "report: done\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := run(t.Context(), []string{"job", "report"}, environment("PGHOST", "127.0.0.1"), io.Discard); err == nil {
		t.Error("a user is not asked for")
	}
}

func TestWeb(t *testing.T) {
	port := freePort(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ready, ended := make(told, 1), make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"web"}, environment("HOST", "127.0.0.1", "PORT", port, "GREETING", "hello", "SESSION_KEY", "12345"), ready)
	}()
	<-ready
	var body string
	for body == "" {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+port+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			continue // it begins to listen after it said so
		}
		data, err := io.ReadAll(resp.Body)
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		body = string(data)
	}
	if body != "hello, with a key of 5 characters\n" {
		t.Error(body)
	}
	if got := page(environment("UPSTREAM", "http://127.0.0.1:7461")); got != "Hello, in front of http://127.0.0.1:7461" {
		t.Error(got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := run(t.Context(), nil, environment(), io.Discard); err == nil {
		t.Error("nothing is something to do")
	}
}
