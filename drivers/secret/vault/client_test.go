package vault

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestScrub(t *testing.T) {
	plain := `c4n4ry "k&y" <a/b+c>=é%`
	for _, form := range driverkit.Forms(plain) {
		if got := scrub("before "+form+" after", []schema.Secret{schema.NewSecret(plain)}); strings.Contains(got, form) || !strings.Contains(got, "before") {
			t.Errorf("%q", got)
		}
	}
	for _, part := range []string{"c4n4ry", `"k&y"`, "<a/b+c>"} {
		if got := scrub("it said ..."+part+"...", []schema.Secret{schema.NewSecret("..." + part + "...")}); strings.Contains(got, part) {
			t.Errorf("%q", got)
		}
	}
	if got := scrub("invalid value c4n4ry \"k", []schema.Secret{schema.NewSecret(plain)}); strings.Contains(got, "c4n4ry") {
		t.Errorf("a part is left: %q", got)
	}
	if got := scrub(strings.Repeat("é", 1000), nil); len(got) > longestText+4 {
		t.Errorf("%d bytes are left", len(got))
	}
}

// TestClasses: what an answer means to a reconciler.
func TestClasses(t *testing.T) {
	for _, c := range []struct {
		status int
		text   string
		class  error
	}{
		{400, "unknown key type x", drivers.ErrPermanent},
		{400, "path is already in use at pki/", drivers.ErrStale},
		{400, "check-and-set parameter did not match the current version", drivers.ErrStale},
		{400, "Upgrading from non-versioned to versioned data", drivers.ErrWaiting},
		{400, "error verifying connection: dial tcp 127.0.0.1:5432: connection refused", drivers.ErrRetryable},
		{400, "failed to revoke \"database/creds/x\"", drivers.ErrRetryable},
		{403, "permission denied", drivers.ErrDenied},
		{404, "no handler for route \"x\"", drivers.ErrRetryable},
		{404, "unsupported path", drivers.ErrPermanent},
		{412, "required index state not present", drivers.ErrRetryable},
		{429, "", drivers.ErrRetryable},
		{473, "", drivers.ErrUnreachable},
		{500, "internal error", drivers.ErrRetryable},
		{503, "Vault is sealed", drivers.ErrUnreachable},
		{307, "", drivers.ErrUnreachable},
	} {
		err := call{op: "write", path: "x"}.fail(&refusal{c.status, c.text})
		if drivers.Class(err) != c.class || !drivers.Answered(err) {
			t.Errorf("%d %q is of class %v", c.status, c.text, drivers.Class(err))
		}
	}
}

// TestAnswers: what is no answer of Vault is told as that, a token goes nowhere
// else, and namespaces are named.
func TestAnswers(t *testing.T) {
	var namespace, body atomic.Value
	body.Store("")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		namespace.Store(r.Header.Get("X-Vault-Namespace"))
		if r.URL.Path == "/base/v1/away" {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
			return
		}
		_, _ = io.WriteString(w, body.Load().(string))
	}))
	defer s.Close()
	d := &Driver{URL: s.URL + "/base/", Namespace: "shop"}
	for text, bad := range map[string]bool{"": false, "{}": false, `{"data":{"a":1}}`: false, "<html>": true, `{"data":`: true, `{"data":[]}`: true} {
		body.Store(text)
		if _, err := d.get(t.Context(), "x"); (err != nil) != bad || err != nil && !errors.Is(err, drivers.ErrUnreachable) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := d.get(t.Context(), "away"); !errors.Is(err, drivers.ErrUnreachable) || drivers.HintOf(err) == "" {
		t.Errorf("a redirect: %v", err)
	}
	if namespace.Load() != "shop" {
		t.Errorf("the namespace is %q", namespace.Load())
	}
}

// TestTokenFile: a token that cannot be read denies, without its text.
func TestTokenFile(t *testing.T) {
	d := &Driver{URL: "http://127.0.0.1:1", Token: func() (schema.Secret, error) { return schema.Secret{}, errors.New("no such file") }}
	if _, err := d.get(t.Context(), "x"); !errors.Is(err, drivers.ErrDenied) {
		t.Error(err)
	}
	d = &Driver{URL: "http://127.0.0.1:1", Login: &Login{Method: "guess"}}
	if _, err := d.get(t.Context(), "x"); !errors.Is(err, drivers.ErrPermanent) {
		t.Error(err)
	}
}

// TestNamesAreShared by those who ask at the same time, and read again later.
func TestNamesAreShared(t *testing.T) {
	var n names
	var lists, ahead atomic.Int64
	began := time.Now()
	now := func() time.Time { return began.Add(time.Duration(ahead.Load())) }
	list := func(context.Context) ([]string, error) {
		lists.Add(1)
		return []string{"taken"}, nil
	}
	ask := func(name string, want bool) {
		t.Helper()
		if free, err := n.free(t.Context(), now, "p", name, list); err != nil || free != want {
			t.Errorf("%s is free: %t, %v", name, free, err)
		}
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { ask("taken", false); ask("other", true) })
	}
	wg.Wait()
	n.made("p", "other")
	ask("other", false)
	if l := lists.Load(); l != 1 {
		t.Errorf("%d readings at one time", l)
	}
	ahead.Store(int64(fresh))
	ask("other", true)
	if l := lists.Load(); l != 2 {
		t.Errorf("%d readings after a while", l)
	}
	ahead.Store(int64(2 * fresh))
	list = func(context.Context) ([]string, error) { return nil, errors.New("broken") }
	if _, err := n.free(t.Context(), now, "p", "x", list); err == nil {
		t.Error("a list that cannot be read has an answer")
	}
}

func FuzzKVState(f *testing.F) {
	f.Add(`{"current_version":2,"custom_metadata":{"aplomb":"e","aplomb-version":"2","aplomb-from":"1/1"},"versions":{"1":{"deletion_time":"2026-01-01T00:00:00Z","destroyed":false}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var data map[string]any
		if decode([]byte(text), &data) != nil {
			return
		}
		d := &Driver{}
		d.setup()
		s := kvStateOf(data, d.Now())
		if version, _ := s.base(false); version != 0 && !s.readable[version] && !s.deleted[version] {
			t.Errorf("version %d is built on, and is no more", version)
		}
	})
}
