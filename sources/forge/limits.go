package forge

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How long a forge may ask for patience. What is longer is a mistake of a
// server or of somebody in between.
const (
	leastPatience = time.Second
	mostPatience  = time.Hour + 5*time.Minute
)

// limits is what a server said about being asked too often. It holds for all
// requests of one client: forges count by account.
type limits struct {
	mu      sync.Mutex
	until   time.Time
	strikes int // limited answers in a row that did not say for how long
}

// at is when to ask again, where that is after now.
func (l *limits) at(now time.Time) (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until, now.Before(l.until)
}

// see reads an answer, and says whether it was no answer but a limit.
func (l *limits) see(a answer, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	limited := isLimited(a)
	wait, said := patience(a, now)
	switch {
	case limited && !said:
		// GitHub asks for a minute at least, and for more each time.
		wait = time.Minute << min(l.strikes, 5)
		l.strikes++
	case !limited && a.status < 400:
		l.strikes = 0
	}
	if limited || said && spent(a.header) {
		if until := now.Add(min(max(wait, leastPatience), mostPatience)); until.After(l.until) {
			l.until = until
		}
	}
	return limited
}

// isLimited tells a limit from a refusal. GitHub says 403 for both.
func isLimited(a answer) bool {
	if a.status == http.StatusTooManyRequests {
		return true
	}
	return a.status == http.StatusForbidden &&
		(spent(a.header) || a.header.Get("Retry-After") != "" || bytes.Contains(a.body, []byte("secondary rate limit")))
}

// spent says whether this answer was the last one for a while.
func spent(h http.Header) bool { return either(h, "Remaining") == "0" }

// either is a header of the rate limit: GitHub's name for it, or GitLab's.
func either(h http.Header, name string) string {
	if v := h.Get("X-RateLimit-" + name); v != "" {
		return strings.TrimSpace(v)
	}
	return strings.TrimSpace(h.Get("RateLimit-" + name))
}

// patience is how long a server asks to wait. Times are compared with the
// server's own clock where it tells it.
func patience(a answer, now time.Time) (time.Duration, bool) {
	if date, err := http.ParseTime(a.header.Get("Date")); err == nil {
		now = date
	}
	if after := strings.TrimSpace(a.header.Get("Retry-After")); after != "" {
		if seconds, err := strconv.ParseUint(after, 10, 31); err == nil {
			return time.Duration(seconds) * time.Second, true
		}
		if at, err := http.ParseTime(after); err == nil {
			return at.Sub(now), true
		}
	}
	if !spent(a.header) {
		return 0, false
	}
	reset, err := strconv.ParseUint(either(a.header, "Reset"), 10, 40)
	if err != nil {
		return 0, false
	}
	return time.Unix(int64(reset), 0).Sub(now), true
}
