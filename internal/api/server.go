package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// Server serves one environment. Its fields are set before Serve and not
// changed after.
type Server struct {
	Control reconciler.Control
	Info    Info
	// Logs writes what a LogsQuery asks for, until ctx ends where it follows.
	// Nil: ErrNotServed.
	Logs func(ctx context.Context, q LogsQuery, w io.Writer) error
	// Services lists the service catalog. Nil: ErrNotServed.
	Services func(ctx context.Context) ([]Service, error)
	// KeepAlive is how often a silent event stream says that it lives; zero
	// means 15 s.
	KeepAlive time.Duration
}

// ShutdownTimeout is how long requests may take to end once a Server is told
// to stop; streams are ended at once.
const ShutdownTimeout = 5 * time.Second

// Serve answers on l until ctx ends, then lets requests finish. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	hs := &http.Server{
		Handler:           admitted(s.Handler()),
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
	get := func(path string, f func(*http.Request) (any, error)) {
		m.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) { answer(w, r, f) })
	}
	get("/v1/info", func(*http.Request) (any, error) { return s.Info, nil })
	get("/v1/status", s.status)
	get("/v1/plan", func(*http.Request) (any, error) { return s.Control.Plan(), nil })
	get("/v1/graph", func(*http.Request) (any, error) { return s.Control.Graph(), nil })
	get("/v1/resources/{kind}/{name}", s.show)
	get("/v1/history", func(r *http.Request) (any, error) { return list(r, s.Control.History) })
	get("/v1/audit", func(r *http.Request) (any, error) { return list(r, s.Control.Audit) })
	get("/v1/services", s.services)
	m.HandleFunc("GET /v1/events", s.events)
	m.HandleFunc("GET /v1/resources/{kind}/{name}/logs", s.logs)
	m.HandleFunc("POST /v1/kick", func(w http.ResponseWriter, _ *http.Request) {
		s.Control.Kick()
		writeJSON(w, http.StatusOK, struct{}{})
	})
	s.levers(m)
	m.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, fmt.Errorf("%s %s: %w", r.Method, r.URL.Path, ErrNotServed))
	})
	return m
}

// levers are the routes that change something for a person.
func (s *Server) levers(m *http.ServeMux) {
	post := func(path string, f func(context.Context, lever) (any, error)) {
		m.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			answer(w, r, func(r *http.Request) (any, error) {
				l, err := decodeLever(http.MaxBytesReader(w, r.Body, MaxRequest+1))
				if err != nil {
					return nil, err
				}
				l.By = person(r.Context(), l.By)
				return f(r.Context(), l)
			})
		})
	}
	post("/v1/approve", func(ctx context.Context, l lever) (any, error) {
		return s.Control.Approve(ctx, l.By, l.Digest, l.Why)
	})
	post("/v1/suspend", func(ctx context.Context, l lever) (any, error) {
		return struct{}{}, s.Control.Suspend(ctx, l.By, l.ID, l.Why)
	})
	post("/v1/resume", func(ctx context.Context, l lever) (any, error) {
		return struct{}{}, s.Control.Resume(ctx, l.By, l.ID, l.Why)
	})
	post("/v1/rollback", func(ctx context.Context, l lever) (any, error) {
		return s.Control.Rollback(ctx, l.By, l.Revision, l.Why)
	})
	post("/v1/down", func(ctx context.Context, l lever) (any, error) {
		return s.Control.Down(ctx, l.By, l.Also, l.Why)
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

// status answers now, or with ?after=SEQ once the status is newer than that,
// at the latest after ?wait=.
func (s *Server) status(r *http.Request) (any, error) {
	q := r.URL.Query()
	if !q.Has("after") {
		return s.Control.Status(), nil
	}
	after, err := strconv.ParseUint(q.Get("after"), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%w: after is not a number", ErrRequest)
	}
	wait := MaxWait
	if q.Has("wait") {
		if wait, err = time.ParseDuration(q.Get("wait")); err != nil || wait < 0 {
			return nil, fmt.Errorf("%w: wait is not a duration", ErrRequest)
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), min(wait, MaxWait))
	defer cancel()
	st, err := s.Control.Wait(ctx, func(st reconciler.Status) bool { return st.Seq != after })
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return s.Control.Status(), nil
	}
	return st, err
}

// id is the resource that a route names; ?target= may be left out.
func id(r *http.Request) (schema.ID, error) {
	text := r.PathValue("kind") + "/" + r.PathValue("name")
	if t := r.URL.Query().Get("target"); t != "" {
		text += "@" + t
	}
	v, err := schema.ParseID(text)
	if err != nil {
		return v, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	return v, nil
}

func (s *Server) show(r *http.Request) (any, error) {
	v, err := id(r)
	if err != nil {
		return nil, err
	}
	return s.Control.Show(v)
}

func (s *Server) services(r *http.Request) (any, error) {
	if s.Services == nil {
		return nil, fmt.Errorf("services: %w", ErrNotServed)
	}
	all, err := s.Services(r.Context())
	if all == nil {
		all = []Service{}
	}
	return all, err
}

func list[T any](r *http.Request, f func(context.Context, int) ([]T, error)) (any, error) {
	limit := 100
	if t := r.URL.Query().Get("limit"); t != "" {
		n, err := strconv.Atoi(t)
		if err != nil || n < 1 || n > MaxLimit {
			return nil, fmt.Errorf("%w: limit is not a number from 1 to %d", ErrRequest, MaxLimit)
		}
		limit = n
	}
	all, err := f(r.Context(), limit)
	if all == nil {
		all = []T{}
	}
	return all, err
}
