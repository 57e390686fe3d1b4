package api

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/schema"
)

// FuzzLever: what is accepted means the same when it is written and read again,
// and names somebody.
func FuzzLever(f *testing.F) {
	for _, s := range []string{
		`{"by":"ana","why":"x","id":"local.file/a@local"}`, `{"by":"ana","also":["a.b/c","A/d"]}`, `{"by":"ana","id":"/"}`,
		`{"by":"ana","id":null}`, `[]`, `{`, `{"by":"a"}x`, `{"BY":"a"}`, "{\"by\":\"\\u0000\"}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := decodeLever(bytes.NewReader(b))
		if err != nil {
			return
		}
		if l.By == "" || l.ID != nil && *l.ID == (schema.ID{}) {
			t.Fatalf("accepted %+v", l)
		}
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeLever(bytes.NewReader(text))
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if other, _ := json.Marshal(again); !bytes.Equal(text, other) {
			t.Fatalf("%s became %s", text, other)
		}
	})
}

// FuzzEvents: whatever a daemon sends, the reader ends, and never grows past
// its limits.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("id: 1\nevent: state\ndata: {\"seq\":1}\n\nevent: caught-up\ndata: {}\n\n: alive\n\n"))
	f.Add([]byte("data: {\ndata: }\n\n"))
	f.Add([]byte("data\n\nevent:\n\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newEventReader(bytes.NewReader(b))
		for range len(b) + 2 {
			if _, _, err := r.next(); err != nil {
				return
			}
		}
		t.Fatal("it does not end")
	})
}

// FuzzRequest: whatever is asked, no answer is the daemon's own fault, who shows
// no token learns nothing, and a viewer alters nothing.
func FuzzRequest(f *testing.F) {
	for _, path := range []string{
		"/v1/info", "/v1/environments", "/v1/environments/test/status", "/v1/environments/test/resources/local.file/web?target=local",
		"/v1/environments/test/events?after=x-9", "/v1/environments/test/audit?limit=-1", "/v1/environments/test/logs/local.file/web?tail=1e9&follow=true",
		"/v1/environments/test/wait?seq=18446744073709551616", "/v1/environments//status", "/v1/environments/test/../test/status", "/metrics", "/hooks/test", "//",
	} {
		f.Add("GET", path, "", "")
		f.Add("POST", path, "Bearer token-of-vera", `{"by":"otto"}`)
	}
	f.Add("POST", "/v1/environments/test/approve", "Bearer token-of-vera", `{"by":"otto","digest":"5e0c7a1f93b2"}`)
	f.Add("POST", "/v1/environments/test/kick", "bearer token-of-vera", "")
	f.Fuzz(func(t *testing.T, method, path, authorization, body string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || u.Host != "" {
			return
		}
		done := make(chan struct{})
		close(done) // streams end at once
		e := newEnv()
		s := server(&Environment{Control: e, Logs: say, Done: done})
		s.Tokens = &Tokens{}
		s.Tokens.Set([]Token{{Name: "vera", Role: Viewer, Value: schema.NewSecret("token-of-vera")}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := (&http.Request{Method: method, URL: u, Header: http.Header{}, Host: "aplomb", RemoteAddr: "192.0.2.1:1", Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}).WithContext(ctx)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != http.StatusNotImplemented && w.Code != http.StatusServiceUnavailable {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		token, _ := strings.CutPrefix(authorization, "Bearer ")
		open := u.Path == "/healthz" || u.Path == "/readyz"
		if strings.TrimSpace(token) != "token-of-vera" && w.Code < 300 && !open {
			t.Fatalf("%s %s says %q to anybody", method, path, w.Body)
		}
		if e.kicks > 0 || len(e.audit) > 0 {
			t.Fatalf("%s %s: a viewer altered something", method, path)
		}
	})
}
