package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// program is a shop that runs in this process; lines is what it prints.
type program struct {
	lines *bufio.Scanner
	stop  func()
	ended <-chan error
}

func start(t *testing.T, password string, args ...string) *program {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, args, func(string) string { return password }, w)
		_ = w.Close()
	}()
	t.Cleanup(func() { stop(); _, _ = io.Copy(io.Discard, r) })
	return &program{lines: bufio.NewScanner(r), stop: stop, ended: ended}
}

// next is the next line that the program prints.
func (p *program) next(t *testing.T) string {
	t.Helper()
	if !p.lines.Scan() {
		t.Fatalf("the program ended: %v", <-p.ended)
	}
	return p.lines.Text()
}

func writeConfig(t *testing.T, listen, greeting string) string {
	t.Helper()
	data, err := json.Marshal(config{Listen: listen, Greeting: greeting})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "web.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var listening = regexp.MustCompile(`^web: listening on (\S+) with a password of (\d+) characters$`)

// Two instances share one address, and the second goes on when the first has
// been told to stop: that is what a rolling update needs.
func TestTwoWebsShareAnAddress(t *testing.T) {
	first := start(t, "hunter2-hunter2", "web", "-config", writeConfig(t, "127.0.0.1:0", "hello"))
	m := listening.FindStringSubmatch(first.next(t))
	if m == nil || m[2] != "15" {
		t.Fatalf("the first line is %q", first.lines.Text())
	}
	second := start(t, "x", "web", "-config", writeConfig(t, m[1], "hello again"))
	second.next(t)

	first.stop()
	if line := first.next(t); line != "web: stopping" {
		t.Fatalf("got %q", line)
	}
	if err := <-first.ended; err != nil {
		t.Fatalf("the first ended with %v", err)
	}
	shopper := start(t, "", "worker", "-url", "http://"+m[1]+"/")
	if line := shopper.next(t); !strings.HasPrefix(line, "worker: order 1: hello again (process ") {
		t.Fatalf("got %q", line)
	}
}

func TestHealth(t *testing.T) {
	p := start(t, "x", "web", "-config", writeConfig(t, "127.0.0.1:0", "hello"))
	m := listening.FindStringSubmatch(p.next(t))
	for path, want := range map[string]int{"/health": http.StatusOK, "/": http.StatusOK, "/else": http.StatusNotFound} {
		resp, err := http.Get("http://" + m[1] + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
}

func TestRefusals(t *testing.T) {
	good := writeConfig(t, "127.0.0.1:0", "hello")
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args     []string
		password string
		want     string
	}{
		"no arguments":     {nil, "x", "usage"},
		"unknown word":     {[]string{"sell", "-config", good}, "x", "usage"},
		"no password":      {[]string{"web", "-config", good}, "", "DB_PASSWORD is not set"},
		"no config":        {[]string{"web", "-config", good + "x"}, "x", "read config"},
		"a broken config":  {[]string{"web", "-config", bad}, "x", "read config"},
		"no such address":  {[]string{"web", "-config", writeConfig(t, "127.0.0.1:x", "")}, "x", "listen"},
		"a flag is missed": {[]string{"worker", "-config", good}, "", "usage"},
	} {
		t.Run(name, func(t *testing.T) {
			err := run(t.Context(), c.args, func(string) string { return c.password }, io.Discard)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// A shop that does not answer is tried again, not given up.
func TestWorkerOutlivesTheShop(t *testing.T) {
	p := start(t, "", "worker", "-url", "http://127.0.0.1:1/")
	if line := p.next(t); !strings.Contains(line, "worker: order 1: ") || !strings.Contains(line, "refused") {
		t.Fatalf("got %q", line)
	}
	p.stop()
	if err := <-p.ended; err != nil {
		t.Fatalf("ended with %v", err)
	}
}
