package notify

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/internal/reconcilertest"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// at is a status at a revision, of resources "name state" and "name held digest".
func at(rev string, settled bool, resources ...string) reconciler.Status {
	s := reconciler.Status{Revision: sources.Revision{ID: rev, Title: "the " + rev}, Settled: settled, Converged: true, Counts: map[reconciler.State]int{}}
	for _, text := range resources {
		f := append(strings.Fields(text), "")
		r := reconciler.ResourceStatus{ID: schema.ID{Kind: "nomad.job", Name: f[0], Target: "eu"}, State: reconciler.State(f[1]), Digest: f[2], Reason: "because"}
		s.Converged = s.Converged && r.State == reconciler.Converged
		s.Counts[r.State]++
		s.Resources = append(s.Resources, r)
	}
	return s
}

// post is a server that takes messages; while down it does what down says.
type post struct {
	*httptest.Server
	mu   sync.Mutex
	down http.HandlerFunc
	got  chan string // headline of each message that was taken
	ids  []string    // of every call
	last *http.Request
	body []byte
}

func newPost(t *testing.T) *post {
	p := &post{got: make(chan string, 100)}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		p.mu.Lock()
		down := p.down
		p.ids, p.last, p.body = append(p.ids, r.Header.Get(DeliveryHeader)), r, body
		p.mu.Unlock()
		if down != nil {
			down(w, r)
			return
		}
		var m struct{ Text string }
		if err := json.Unmarshal(body, &m); err != nil {
			t.Error(err)
		}
		p.got <- m.Text
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *post) fails(h http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = h
}

func (p *post) calls() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.ids)
}

// next is the first line of the next message.
func (p *post) next(t *testing.T) string {
	t.Helper()
	select {
	case text := <-p.got:
		line, _, _ := strings.Cut(text, "\n")
		return line
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is told")
		return ""
	}
}

func (p *post) wants(t *testing.T, all ...string) {
	t.Helper()
	for _, want := range all {
		if got := p.next(t); got != want {
			t.Fatalf("told %q, want %q", got, want)
		}
	}
}

func fixed(text string) func() (schema.Secret, error) {
	return func() (schema.Secret, error) { return schema.NewSecret(text), nil }
}

// telling starts a notifier with the book at path. stop ends it, once what was
// taken is written down.
func telling(t *testing.T, h *reconcilertest.Status, url, path string, on ...string) (stop func()) {
	t.Helper()
	book, kill := started(t, h, url, path, on...)
	return func() {
		for book.of("ops").Pending != nil {
			<-h.Idle
		}
		kill()
	}
}

// started starts a notifier; kill ends it at once.
func started(t *testing.T, h *reconcilertest.Status, url, path string, on ...string) (_ *Book, kill func()) {
	t.Helper()
	book, err := OpenBook(path, []string{"ops"})
	if err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	if len(on) == 0 {
		on = Whats
	}
	to := &Receiver{URL: fixed(url), Secret: fixed("key")}
	n := &Notifier{Environment: "prod", Name: "ops", On: on, Send: to.Send, Book: book, Status: h.Status, Wait: h.Wait, Log: log,
		Gather: time.Nanosecond, First: time.Millisecond, Most: time.Millisecond}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); n.Run(ctx) }()
	kill = func() { cancel(); <-done }
	t.Cleanup(kill)
	return book, kill
}
