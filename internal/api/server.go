package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/netutil"

	"github.com/aplomb-dev/aplomb/reconciler"
)

// Server serves the environments of a daemon. Its fields are set before Serve
// and not changed after. Several listeners may be served at once.
type Server struct {
	Info         func() Info
	Environments func() []*Environment // those that there are now, by name
	Tokens       *Tokens               // who may ask over TCP; nil: nobody
	Metrics      http.Handler          // nil: ErrNotServed
	Ready        func() []string       // what is in the way of being ready; nil: nothing ever is
	Wrong        func(from string)     // hears of each wrong token that is looked at, and where it came from; nil: nobody does

	// KeepAlive is how often a silent event stream says that it lives; zero
	// means 15 s.
	KeepAlive time.Duration

	wrong attempts
}

// Environment is one that a Server serves. It is not changed after it was
// handed out: how it is by now, Environments answers anew.
type Environment struct {
	Info    EnvironmentInfo
	Control reconciler.Control // nil: it is not open, and Info.Error says why
	// Logs writes what a LogsQuery asks for, until ctx ends where it follows.
	// Nil: ErrNotServed.
	Logs func(ctx context.Context, q LogsQuery, w io.Writer) error
	// Services lists the service catalog. Nil: ErrNotServed.
	Services func(ctx context.Context) ([]Service, error)
	// Hook takes the calls of its forge, which prove by themselves who they come
	// from. Nil: it has none.
	Hook http.Handler
	// Set proposes values of a declaration. Nil: ErrNotServed.
	Set func(ctx context.Context, r SetRequest) (SetResult, error)
	// Done is closed when it stops: streams and long polls end then. Nil: never.
	Done <-chan struct{}
}

// ShutdownTimeout is how long requests may take to end once a Server is told
// to stop; streams are ended at once.
const ShutdownTimeout = 5 * time.Second

// MaxConnections is how many others may be connected at once over TCP.
const MaxConnections = 256

// Serve answers on l until ctx ends, then lets requests finish. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if l.Addr().Network() != "unix" {
		l = netutil.LimitListener(l, MaxConnections)
	}
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	hs := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withPeer,
	}
	ended := make(chan error, 1)
	go func() { ended <- hs.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serve the API: %w", err)
	case <-ctx.Done():
	}
	stop() // ends streams and long polls
	last, cancel := context.WithTimeout(context.Background(), ShutdownTimeout)
	defer cancel()
	if err := hs.Shutdown(last); err != nil {
		_ = hs.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the API: %w", err)
	}
	return nil
}

// Handler is the routes.
func (s *Server) Handler() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /v1/info", s.guard(Viewer, func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, func(*http.Request) (any, error) { return s.Info(), nil })
	}))
	m.HandleFunc("GET /v1/environments", s.guard(Viewer, func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, func(*http.Request) (any, error) { return s.list(), nil })
	}))
	m.HandleFunc("POST /hooks/{name}", s.guard(Nobody, s.hook))
	s.facts(m)
	s.levers(m)
	s.health(m)
	m.HandleFunc("/", s.guard(Viewer, func(w http.ResponseWriter, r *http.Request) {
		writeError(w, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, ErrNotServed))
	}))
	return m
}

// hook hands a call of a forge to the environment that is meant. That one is not
// open, or is not there, is told to nobody who could be anybody.
func (s *Server) hook(w http.ResponseWriter, r *http.Request) {
	for _, e := range s.Environments() {
		if e.Info.Name == r.PathValue("name") && e.Hook != nil {
			e.Hook.ServeHTTP(w, r)
			return
		}
	}
	w.WriteHeader(http.StatusUnauthorized) // as to a wrong signature
}

// health are the routes for those who watch the daemon itself. Whether it is
// there, and ready, is no secret; why it is not, and what it does, is told to
// this machine and to viewers.
func (s *Server) health(m *http.ServeMux) {
	m.HandleFunc("GET /healthz", s.guard(Nobody, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n")
	}))
	m.HandleFunc("GET /readyz", s.guard(Nobody, func(w http.ResponseWriter, r *http.Request) {
		var reasons []string
		if s.Ready != nil {
			reasons = s.Ready()
		}
		if len(reasons) == 0 {
			_, _ = io.WriteString(w, "ready\n")
			return
		}
		if !near(r) && from(r.Context()).role < Viewer {
			reasons = []string{"not ready"}
		}
		http.Error(w, strings.Join(reasons, "\n"), http.StatusServiceUnavailable)
	}))
	m.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		least := Viewer
		if near(r) {
			least = Nobody
		}
		s.guard(least, func(w http.ResponseWriter, r *http.Request) {
			if s.Metrics == nil {
				writeError(w, fmt.Errorf("metrics: %w", ErrNotServed))
				return
			}
			s.Metrics.ServeHTTP(w, r)
		})(w, r)
	})
}

func answer(w http.ResponseWriter, r *http.Request, f func(*http.Request) (any, error)) {
	v, err := f(r)
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, http.StatusOK, v)
}

// list is every environment, with how it does in short.
func (s *Server) list() []EnvironmentInfo {
	all := []EnvironmentInfo{}
	for _, e := range s.Environments() {
		all = append(all, e.info())
	}
	return all
}

// info is what is said of an environment where all are listed.
func (e *Environment) info() EnvironmentInfo {
	i := e.Info
	if e.Control == nil {
		return i
	}
	st := e.Control.Status()
	i.Open, i.Converged, i.Counts, i.Revision = true, st.Converged, st.Counts, st.Revision
	return i
}
