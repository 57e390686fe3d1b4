package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/reconcilertest"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// TestTold: what comes into a state is told once, and that all is well again
// once, in order.
func TestTold(t *testing.T) {
	h, p := reconcilertest.NewStatus(), newPost(t)
	telling(t, h, p.URL, filepath.Join(t.TempDir(), "notify.json"))
	h.Set(at("one", true, "a converged", "b held x"))
	p.wants(t, "aplomb prod: 1 held at one")
	h.Set(at("one", true, "a converged", "b held x")) // nothing is new
	h.Set(at("one", true, "a degraded", "b degraded"))
	p.wants(t, "aplomb prod: 2 degraded at one")
	h.Set(at("one", false, "a converged", "b progressing")) // not yet at rest
	h.Set(at("one", true, "a converged", "b converged"))
	p.wants(t, "aplomb prod: converged at one")
	h.Set(at("one", false, "a converged", "b progressing")) // what is repaired at once is not told
	h.Set(at("one", true, "a converged", "b converged"))
	h.Set(at("two", true, "a converged", "b converged"))
	p.wants(t, "aplomb prod: converged at two")
	bad := at("two", true, "a converged", "b converged")
	bad.Converged, bad.Refused = false, &reconciler.Refusal{Revision: sources.Revision{ID: "three"}, Error: "rewound"}
	h.Set(bad)
	p.wants(t, "aplomb prod: refused at two")
	back := at("two", true, "a converged", "b converged")
	back.Converged, back.Rollback = false, &reconciler.Rollback{Quarantined: sources.Revision{ID: "three"}}
	h.Set(back) // a person's
	back.Rollback = &reconciler.Rollback{Quarantined: sources.Revision{ID: "three"}, To: sources.Revision{ID: "two"}, Faults: []string{"a: down"}}
	h.Set(back)
	p.wants(t, "aplomb prod: quarantined at two")
	h.Set(at("four", true, "a conflict", "b drifted"))
	p.wants(t, "aplomb prod: 1 drifted, 1 conflict at four")
}

// TestOn: a receiver hears of what it wants to.
func TestOn(t *testing.T) {
	h, p := reconcilertest.NewStatus(), newPost(t)
	telling(t, h, p.URL, filepath.Join(t.TempDir(), "notify.json"), "degraded", "converged")
	h.Set(at("one", true, "a held x"))
	h.Set(at("one", true, "a degraded"))
	p.wants(t, "aplomb prod: 1 degraded at one")
	h.Set(at("one", true, "a held y"))
	h.Set(at("one", true, "a converged"))
	p.wants(t, "aplomb prod: converged at one")
}

// TestAgain: a message is sent until it is taken, as the same one, with
// whatever the server does; what happened meanwhile comes after it, as one.
func TestAgain(t *testing.T) {
	elsewhere := newPost(t)
	for name, down := range map[string]http.HandlerFunc{
		"500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"404": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) },
		"429": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Retry-After", "0"); w.WriteHeader(429) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"torn": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			h, p := reconcilertest.NewStatus(), newPost(t)
			failed := make(chan struct{}, 1000)
			p.fails(func(w http.ResponseWriter, r *http.Request) { failed <- struct{}{}; down(w, r) })
			telling(t, h, p.URL, filepath.Join(t.TempDir(), "notify.json"))
			h.Set(at("one", true, "a held x"))
			<-failed
			h.Set(at("one", true, "a degraded"))
			h.Set(at("two", true, "a converged"))
			<-failed
			before := p.calls()
			p.fails(nil)
			p.wants(t, "aplomb prod: 1 held at one", "aplomb prod: converged at two")
			if len(before) < 2 || before[0] == "" || before[0] != before[1] {
				t.Errorf("one message was sent as %v", before)
			}
		})
	}
	if len(elsewhere.calls()) > 0 {
		t.Error("a redirect was followed")
	}
}

// TestRefused: a message that is never taken does not hold up the next one.
func TestRefused(t *testing.T) {
	h, p := reconcilertest.NewStatus(), newPost(t)
	failed := make(chan struct{}, 100)
	p.fails(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400); failed <- struct{}{} })
	telling(t, h, p.URL, filepath.Join(t.TempDir(), "notify.json"))
	h.Set(at("one", true, "a held x"))
	<-failed
	p.fails(nil)
	h.Set(at("one", true, "a degraded"))
	p.wants(t, "aplomb prod: 1 degraded at one")
}

// TestRestart: what was told is not told again after a start, and what was not
// taken is; what is not looked at yet does not count as well.
func TestRestart(t *testing.T) {
	h, p, path := reconcilertest.NewStatus(), newPost(t), filepath.Join(t.TempDir(), "notify.json")
	_, kill := started(t, h, p.URL, path)
	h.Set(at("one", true, "a held x", "b converged"))
	p.wants(t, "aplomb prod: 1 held at one")
	failed := make(chan struct{}, 1000)
	p.fails(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503); failed <- struct{}{} })
	h.Set(at("one", true, "a held x", "b degraded"))
	<-failed
	kill()
	h = reconcilertest.NewStatus()
	h.Set(reconciler.Status{}) // nothing is known yet
	p.fails(nil)
	telling(t, h, p.URL, path)
	p.wants(t, "aplomb prod: 1 degraded at one")
	h.Set(at("one", false, "a waiting", "b waiting"))
	h.Set(at("one", true, "a held x", "b degraded"))
	h.Set(at("one", true, "a converged", "b converged"))
	p.wants(t, "aplomb prod: converged at one")
}

// TestRestartWell: that all is well is no news after a start.
func TestRestartWell(t *testing.T) {
	h, p, path := reconcilertest.NewStatus(), newPost(t), filepath.Join(t.TempDir(), "notify.json")
	stop := telling(t, h, p.URL, path)
	h.Set(at("one", true, "a converged"))
	p.wants(t, "aplomb prod: converged at one")
	stop()
	h = reconcilertest.NewStatus()
	telling(t, h, p.URL, path)
	h.Set(at("one", false, "a waiting"))
	h.Set(at("one", true, "a converged"))
	h.Set(at("one", true, "a held x"))
	p.wants(t, "aplomb prod: 1 held at one")
}

// TestSend: a call is signed, plain http goes nowhere else than here, and an
// error holds nothing of a URL but its host.
func TestSend(t *testing.T) {
	p := newPost(t)
	r := &Receiver{URL: fixed(p.URL + "/token-in-path?k=token-in-query"), Secret: fixed("key")}
	m := (&Notifier{Environment: "prod"}).message(at("one", true, "a held x"), nil)
	if err := r.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got, want := p.last.Header.Get(SignatureHeader), Sign([]byte("key"), p.body); got != want || p.last.URL.Path != "/token-in-path" {
		t.Errorf("signed %q, want %q", got, want)
	}
	p.fails(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	errs := []error{r.Send(t.Context(), m)}
	p.Close()
	errs = append(errs, r.Send(t.Context(), m))
	for _, url := range []string{"http://example.org/token-in-path", "https://a:token@example.org/", "ftp://x/token", "token", "https:///token", "https://[token/"} {
		errs = append(errs, (&Receiver{URL: fixed(url)}).Send(t.Context(), m))
	}
	errs = append(errs, (&Receiver{URL: func() (schema.Secret, error) { return schema.Secret{}, errors.New("no such file") }}).Send(t.Context(), m))
	for i, err := range errs {
		if err == nil || strings.Contains(err.Error(), "token") {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// TestMessage: what others wrote is text, on one line, of bounded length, and
// there is a bound of how much is told.
func TestMessage(t *testing.T) {
	s := at("0123456789", true)
	s.Converged = false
	s.Revision.Title = "<!channel> `x` @all\n[a](http://x)"
	for i := range 2 * mostItems {
		r := reconciler.ResourceStatus{ID: schema.ID{Kind: "nomad.job", Name: fmt.Sprint("j", i)}, State: reconciler.Held, Reason: strings.Repeat("<b>&", 200) + "\x1b[0m```", Hint: "aplomb approve 5e0c7a1f93b2"}
		s.Resources = append(s.Resources, r)
	}
	_, all := since(told{}, s)
	m := (&Notifier{Environment: "prod"}).message(s, all)
	if len(m.Items) != mostItems || m.More != mostItems || m.What["held"] != 2*mostItems {
		t.Errorf("%d items, %d more, %v", len(m.Items), m.More, m.What)
	}
	raw, err := m.slack()
	if err != nil {
		t.Fatal(err)
	}
	var chat map[string]string
	if err := json.Unmarshal(raw, &chat); err != nil || len(chat) != 1 {
		t.Fatal(err, chat)
	}
	head, rest, _ := strings.Cut(chat["text"], "\n```\n")
	body, ended := strings.CutSuffix(rest, "\n```")
	if head != "aplomb prod: 40 held at 0123456" || !ended || strings.ContainsAny(body, "<>`\x1b") || len(chat["text"]) > 40_000 {
		t.Errorf("%d bytes: %.2000s", len(raw), chat["text"])
	}
	if !strings.Contains(m.Text, "and 20 more") || !strings.Contains(m.Text, "revision: <!channel> `x` @all [a](http://x)") {
		t.Errorf("%s", m.Text)
	}
}

// TestBook: one that is damaged is for a person; receivers that are gone are
// forgotten.
func TestBook(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify.json")
	b, err := OpenBook(path, []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if err := b.write(name, record{Told: told{Revision: name}}); err != nil {
			t.Fatal(err)
		}
	}
	if b, err = OpenBook(path, []string{"a"}); err != nil || b.of("a").Told.Revision != "a" || b.of("b").Told.Revision != "" {
		t.Errorf("%+v, %v", b, err)
	}
	damage(t, path)
	if _, err := OpenBook(path, []string{"a"}); err == nil {
		t.Error("a damaged book was opened")
	}
}

func damage(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(`{"a":`), 0o600); err != nil {
		t.Fatal(err)
	}
}

// FuzzBook: no file makes it fall.
func FuzzBook(f *testing.F) {
	f.Add([]byte(`{"a":{"told":{"well":true,"resources":{"x":{"state":"held"}}},"pending":{"id":"x","items":null}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "notify.json")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := OpenBook(path, []string{"a"}); err == nil {
			r := b.of("a")
			since(r.Told, at("one", true, "a held x"))
			if r.Pending != nil {
				_, _ = r.Pending.slack()
			}
		}
	})
}
