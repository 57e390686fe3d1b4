package forgetest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Front stands before a forge, counts what passes and, when told to, answers in
// its stead as servers do that are busy, broken or malicious.
type Front struct {
	URL string

	next http.Handler

	mu        sync.Mutex
	faults    []Fault
	reads     int
	writes    int
	unchanged int
}

// Fault answers one request instead of the forge; it may ask it all the same.
type Fault func(w http.ResponseWriter, r *http.Request, forge http.Handler)

// NewFront serves a forge until the end of the test.
func NewFront(t testing.TB, next http.Handler) *Front {
	t.Helper()
	f := &Front{next: next}
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	f.URL = s.URL
	return f
}

// Next has the next requests answered by faults, one each.
func (f *Front) Next(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = append(f.faults, faults...)
}

// Counts are the requests so far: those that read, those that write, and those
// of the first that were answered with "not modified".
func (f *Front) Counts() (reads, writes, unchanged int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads, f.writes, f.unchanged
}

// ServeHTTP counts a request, and breaks it or lets it through.
func (f *Front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if r.Method == http.MethodGet {
		f.reads++
	} else {
		f.writes++
	}
	var fault Fault
	if len(f.faults) > 0 {
		fault, f.faults = f.faults[0], f.faults[1:]
	}
	f.mu.Unlock()
	if fault != nil {
		fault(w, r, f.next)
		return
	}
	rec := &status{ResponseWriter: w}
	f.next.ServeHTTP(rec, r)
	if rec.code == http.StatusNotModified {
		f.mu.Lock()
		f.unchanged++
		f.mu.Unlock()
	}
}

type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) { s.code = code; s.ResponseWriter.WriteHeader(code) }

// Pass lets a request through.
func Pass(w http.ResponseWriter, r *http.Request, forge http.Handler) { forge.ServeHTTP(w, r) }

// Answer is a server that answers with a status, headers by turns as name and
// value, and a body.
func Answer(code int, body string, headers ...string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// TooMany is a limit that says for how many seconds.
func TooMany(seconds int) Fault {
	return Answer(http.StatusTooManyRequests, `{"message":"Too Many Requests"}`, "Retry-After", strconv.Itoa(seconds))
}

// Secondary is GitHub's limit on bursts, which says 403 and need not say more.
func Secondary(headers ...string) Fault {
	return Answer(http.StatusForbidden, `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}`, headers...)
}

// Spent is the limit of an hour: 403, none remaining, and when there will be.
func Spent(in time.Duration) Fault {
	return Answer(http.StatusForbidden, `{"message":"API rate limit exceeded"}`,
		"X-RateLimit-Remaining", "0", "X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(in).Unix(), 10))
}

// Hang never answers, until whoever asks goes away.
func Hang(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body) // the server sees a hang-up once the body is read
	<-r.Context().Done()
}

// Lost does what is asked, and hangs up instead of saying so.
func Lost(_ http.ResponseWriter, r *http.Request, forge http.Handler) {
	forge.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// Torn hangs up in the middle of a good answer.
func Torn(w http.ResponseWriter, r *http.Request, forge http.Handler) {
	rec := httptest.NewRecorder()
	forge.ServeHTTP(rec, r)
	w.Header().Set("Content-Length", strconv.Itoa(rec.Body.Len()+10))
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
	panic(http.ErrAbortHandler)
}

// Flood answers with more than anybody should read.
func Flood(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
	chunk := bytes.Repeat([]byte(" "), 1<<20)
	for range 64 {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// Elsewhere redirects to another address.
func Elsewhere(to string) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
	}
}
