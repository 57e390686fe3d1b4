package forgetest

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// mostAsked bounds how often a fuzzed forge answers one call: pages can have no
// end.
const mostAsked = 12

// FuzzAnswers asks a forge behind its Guard that answers everything alike, whatever that is: each
// call ends with things that are whole, or with an error that has a class.
func FuzzAnswers(f *testing.F, connect func(url string) (forge.Forge, error)) {
	f.Add(uint16(0), `[{}]`, "", "")
	f.Add(uint16(0), `[{"id":1,"iid":1,"number":1,"user":null,"author":{"id":1},"head":{"sha":"x"},"base":null,"body":"x","created_at":"2026-11-28T12:00:00Z"}]`, "", "")
	f.Add(uint16(0), `{"id":1,"login":"a","permission":"write","message":"x"}`, `<http://127.0.0.1/x?page=2>; rel="next"`, "")
	f.Add(uint16(0), `[null,{"state":"APPROVED","user":{"login":"a"},"commit_id":"x","submitted_at":null}]`, "", "2")
	f.Add(uint16(229), `{"message":"slow down"}`, "", "x")
	f.Add(uint16(203), `<html>`, "<>;", "-1")
	f.Add(uint16(0), ``, "", "")
	f.Add(uint16(0), `null`, "", "")
	var mu sync.Mutex
	var status int
	var body, link, next string
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if asked++; asked > mostAsked {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Link", oneLine(link))
		w.Header().Set("X-Next-Page", oneLine(next))
		w.Header().Set("Retry-After", oneLine(next))
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) // who has gone away heard enough
	}))
	f.Cleanup(s.Close)
	f.Fuzz(func(t *testing.T, code uint16, text, links, page string) {
		mu.Lock()
		status, body, link, next = 200+int(code)%400, text, links, page // what is below is no last answer
		mu.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		for name, call := range calls(ctx) {
			mu.Lock()
			asked = 0
			mu.Unlock()
			c, err := connect(s.URL) // a new one: it remembers neither limits nor answers
			if err != nil {
				t.Fatal(err)
			}
			n, err := call(forge.Guard(c))
			switch {
			case err == nil && n > forge.MaxItems:
				t.Fatalf("%s: %d things", name, n)
			case err != nil && n > 0:
				t.Fatalf("%s: %d things, and %v", name, n, err)
			case err != nil && forge.Class(err) == nil:
				t.Fatalf("%s: an error without a class: %v", name, err)
			case errors.Is(err, context.DeadlineExceeded):
				t.Fatalf("%s does not end: %v", name, err)
			}
		}
	})
}

// oneLine keeps a header from being refused by the server that sends it.
func oneLine(s string) string { return strings.Map(func(r rune) rune { return max(r, ' ') }, s) }

// calls are those that read an answer; each says how many things it got.
func calls(ctx context.Context) map[string]func(forge.Forge) (int, error) {
	return map[string]func(forge.Forge) (int, error){
		"proposals": func(c forge.Forge) (int, error) { all, err := c.Proposals(ctx, Main); return len(all), err },
		"origin": func(c forge.Forge) (int, error) {
			all, err := c.Origin(ctx, Main, strings.Repeat("1", 40))
			return len(all), err
		},
		"reviews": func(c forge.Forge) (int, error) {
			all, err := c.Reviews(ctx, forge.Proposal{ID: "1"})
			return len(all), err
		},
		"comments": func(c forge.Forge) (int, error) {
			all, err := c.Comments(ctx, forge.Proposal{ID: "1"}, time.Time{})
			return len(all), err
		},
		"members":    func(c forge.Forge) (int, error) { all, err := c.Members(ctx, "org/team"); return len(all), err },
		"permission": func(c forge.Forge) (int, error) { p, err := c.Permission(ctx, Ana); return min(int(p), 1), err },
		"comment":    func(c forge.Forge) (int, error) { return 0, c.Comment(ctx, forge.Proposal{ID: "1"}, "a", "b") },
		"status": func(c forge.Forge) (int, error) {
			return 0, c.Status(ctx, strings.Repeat("1", 40), forge.Status{Context: "a", State: forge.Success})
		},
	}
}
