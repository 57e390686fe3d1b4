package forge

import (
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/aplomb-dev/aplomb/schema"
)

func said429(headers ...string) answer {
	a := answer{status: http.StatusTooManyRequests, header: http.Header{}}
	for i := 0; i+1 < len(headers); i += 2 {
		a.header.Set(headers[i], headers[i+1])
	}
	return a
}

func TestPatience(t *testing.T) {
	now := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	behind := now.Add(-10 * time.Minute) // the server's clock
	for name, c := range map[string]struct {
		a    answer
		want time.Duration
	}{
		"seconds":               {said429("Retry-After", "120"), 2 * time.Minute},
		"a date":                {said429("Retry-After", now.Add(3*time.Minute).Format(http.TimeFormat)), 3 * time.Minute},
		"a date by its clock":   {said429("Date", behind.Format(http.TimeFormat), "Retry-After", behind.Add(3*time.Minute).Format(http.TimeFormat)), 3 * time.Minute},
		"github's reset":        {said429("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1767604200"), 10 * time.Minute},
		"gitlab's reset":        {said429("RateLimit-Remaining", "0", "RateLimit-Reset", "1767604200"), 10 * time.Minute},
		"a reset by its clock":  {said429("Date", behind.Format(http.TimeFormat), "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1767604200"), 20 * time.Minute},
		"nothing":               {said429(), time.Minute},
		"zero":                  {said429("Retry-After", "0"), time.Second},
		"in the past":           {said429("Retry-After", behind.Format(http.TimeFormat)), time.Second},
		"a year":                {said429("Retry-After", "31536000"), mostPatience},
		"more than fits":        {said429("Retry-After", strings.Repeat("9", 30)), time.Minute},
		"nonsense":              {said429("Retry-After", "-5"), time.Minute},
		"a reset of the future": {said429("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "999999999999"), mostPatience},
	} {
		var l limits
		if !l.see(c.a, now) {
			t.Errorf("%s: no limit", name)
		}
		at, wait := l.at(now)
		if got := at.Sub(now); !wait || got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if _, wait := l.at(now.Add(c.want)); wait {
			t.Errorf("%s: still waiting at its end", name)
		}
	}
}

func TestPatienceGrows(t *testing.T) {
	var l limits
	now := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	var got []time.Duration
	for range 8 {
		l.see(said429(), now)
		at, _ := l.at(now)
		got = append(got, at.Sub(now))
		now = at
	}
	if got[0] != time.Minute || got[1] != 2*time.Minute || got[7] != 32*time.Minute {
		t.Errorf("got %v", got)
	}
	l.see(answer{status: http.StatusOK, header: http.Header{}}, now)
	l.see(said429(), now)
	if at, _ := l.at(now); at.Sub(now) != time.Minute {
		t.Errorf("after a good answer: %s", at.Sub(now))
	}
}

func TestNoLimit(t *testing.T) {
	now := time.Now()
	for name, a := range map[string]answer{
		"refused": {status: http.StatusForbidden, header: http.Header{}, body: []byte(`{"message":"no"}`)},
		"good":    {status: http.StatusOK, header: http.Header{"X-Ratelimit-Remaining": {"12"}, "X-Ratelimit-Reset": {"99999999999"}}},
		"broken":  {status: http.StatusInternalServerError, header: http.Header{}},
	} {
		var l limits
		if l.see(a, now) {
			t.Errorf("%s is a limit", name)
		}
		if _, wait := l.at(now); wait {
			t.Errorf("%s: waiting", name)
		}
	}
}

// FuzzAnswer: whatever a server answers is judged, in few words, and keeps us
// for a while at most.
func FuzzAnswer(f *testing.F) {
	f.Add(403, "0", "1767604200", "60", "Mon, 05 Jan 2026 09:00:00 GMT", []byte(`{"message":{"base":["x"]},"errors":[{"code":"y"}]}`))
	f.Add(422, "", "", "", "", []byte(`{"error":"z","message":null}`))
	f.Add(500, "-1", "x", "99999999999999999999", "now", []byte("<html>"))
	f.Fuzz(func(t *testing.T, status int, remaining, reset, after, date string, body []byte) {
		const token = "token-that-is-secret"
		now := time.Now()
		a := answer{status: status, body: body, header: http.Header{
			"X-Ratelimit-Remaining": {remaining}, "X-Ratelimit-Reset": {reset}, "Retry-After": {after}, "Date": {date},
		}}
		var l limits
		l.see(a, now)
		if at, wait := l.at(now); wait && at.Sub(now) > mostPatience {
			t.Errorf("wait for %s", at.Sub(now))
		}
		text := said(a, schema.NewSecret(token))
		if utf8.RuneCountInString(text) > maxSaid || strings.ContainsAny(text, "\n\r\x1b") || strings.Contains(text, token) {
			t.Errorf("said %q", text)
		}
		if err := judge(a, schema.NewSecret(token)); Class(err) == nil {
			t.Errorf("no class: %v", err)
		}
	})
}
