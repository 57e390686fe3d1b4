// Package webhook takes what forges call out: that somebody pushed, proposed,
// reviewed or commented. Nothing of it is believed. A call that is signed is a
// reason to look at a repository now instead of at the next interval, and has no
// other effect: Kick, and no more.
//
// It must not know what a look does, nor speak to a forge.
//
// In reading order: Hook, then signature.go (who calls), event.go (about which
// repository), seen.go (calls that come again), gentle.go (how often to kick).
package webhook

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/schema"
)

// Forge is who calls.
type Forge string

// The forges.
const (
	GitHub Forge = "github"
	GitLab Forge = "gitlab"
	Gitea  Forge = "gitea"
)

const (
	// MaxBody is how long a call may be. GitHub's may be 25 MiB; what is longer
	// than this is a push of thousands of commits, and the interval finds it.
	MaxBody = 4 << 20

	maxAtOnce  = 8                // calls whose bodies are held at the same time
	readWithin = 10 * time.Second // for a whole call
)

// Hook is the handler of one webhook: of one forge, with one secret. Its fields
// are not changed once it serves. It answers before anything is looked at, and
// never says why it refuses: 401 to whoever does not know the secret, 413 to a
// body that is too long, 503 to more calls at once than it reads. Everything
// else is 204, also an event that means nothing here.
type Hook struct {
	Forge        Forge
	SecretFile   string   // read at each call, so that it can be replaced; an empty file lets nobody in
	Repositories []string // as configured: others are not kicked
	// Kick is told one of Repositories. It must return at once; it may be called
	// concurrently, and in a goroutine of its own after the call was answered.
	Kick func(repository string)
	Log  logrus.FieldLogger
	// Every is the least time between two kicks of one repository; a call
	// meanwhile is made good at its end. Zero: 2 s.
	Every time.Duration

	once   sync.Once
	slots  chan struct{}
	seen   seen
	gentle gentle
	names  map[string][]string // of Repositories, by what they are compared by
}

var _ http.Handler = (*Hook)(nil)

func (h *Hook) begin() {
	h.slots = make(chan struct{}, maxAtOnce)
	h.gentle.every = h.Every
	if h.Every == 0 {
		h.gentle.every = 2 * time.Second
	}
	h.gentle.kick = h.Kick
	h.names = map[string][]string{}
	for _, r := range h.Repositories {
		if key := address(r); key != "" {
			h.names[key] = append(h.names[key], r)
		}
	}
}

// ServeHTTP takes one call.
func (h *Hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.once.Do(h.begin)
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		w.Header().Set("Retry-After", "5")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(h.take(w, r))
}

// take reads a call and gives the status of its answer.
func (h *Hook) take(w http.ResponseWriter, r *http.Request) int {
	secret, err := h.secret()
	if err != nil {
		h.Log.WithError(err).WithField("forge", h.Forge).Error("webhook has no secret, so nobody is let in")
		return http.StatusUnauthorized
	}
	if !signed(h.Forge, r.Header) {
		return http.StatusUnauthorized // no need to read its body
	}
	// Where the server cannot set a deadline its own holds.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(readWithin))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		h.Log.WithFields(logrus.Fields{"forge": h.Forge, "remote": r.RemoteAddr}).Warn("webhook call that is too long")
		return http.StatusRequestEntityTooLarge
	case err != nil:
		return http.StatusBadRequest
	case !genuine(h.Forge, secret, r.Header, body):
		h.Log.WithFields(logrus.Fields{"forge": h.Forge, "remote": r.RemoteAddr}).Warn("webhook call with a wrong signature")
		return http.StatusUnauthorized
	}
	if !relevant(h.Forge, r.Header) {
		return http.StatusNoContent
	}
	if h.seen.before(delivery(h.Forge, r.Header)) {
		h.Log.WithFields(logrus.Fields{"forge": h.Forge, "remote": r.RemoteAddr}).Debug("webhook call that came before: nothing is looked at for it")
		return http.StatusNoContent
	}
	for _, at := range repository(body) {
		if names := h.names[address(at)]; len(names) > 0 {
			for _, name := range names {
				h.gentle.kicked(name)
			}
			break
		}
	}
	return http.StatusNoContent
}

// secret reads the file.
func (h *Hook) secret() (schema.Secret, error) {
	f, err := os.Open(h.SecretFile)
	if err != nil {
		return schema.Secret{}, fmt.Errorf("read the webhook's secret: %w", err)
	}
	defer func() { _ = f.Close() }()
	const most = 4 << 10
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	text := strings.TrimSpace(string(b))
	switch {
	case err != nil:
		return schema.Secret{}, fmt.Errorf("read the webhook's secret: %w", err)
	case text == "" || len(b) > most:
		return schema.Secret{}, fmt.Errorf("read the webhook's secret: %s holds none, or more than one", h.SecretFile)
	}
	return schema.NewSecret(text), nil
}
