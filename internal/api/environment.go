package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// environments is the path below which each environment has its routes.
const environments = "/v1/environments"

// ErrEnvironment is an environment that the daemon does not have; ErrNotOpen
// one that it has, and cannot open now.
var (
	ErrEnvironment = errors.New("no such environment")
	ErrNotOpen     = errors.New("the environment is not open")
)

// find is the environment that a route names.
func (s *Server) find(name string) (*Environment, error) {
	var names []string
	for _, e := range s.Environments() {
		if e.Info.Name == name {
			return e, nil
		}
		names = append(names, e.Info.Name)
	}
	return nil, denied{fmt.Errorf("%w: %s", ErrEnvironment, name), "there are " + strings.Join(names, ", ")}
}

// open is find for what only an open one answers.
func (s *Server) open(name string) (*Environment, error) {
	e, err := s.find(name)
	if err == nil && e.Control == nil {
		err = denied{fmt.Errorf("environment %s: %w: %s", name, ErrNotOpen, e.Info.Error), e.Info.Hint}
	}
	return e, err
}

// within serves a route of one environment to those who may use it. The request
// ends when the environment does.
func (s *Server) within(m *http.ServeMux, method, path string, least Role, h func(*Environment, http.ResponseWriter, *http.Request)) {
	m.HandleFunc(method+" "+environments+"/{env}"+path, s.guard(least, func(w http.ResponseWriter, r *http.Request) {
		e, err := s.open(r.PathValue("env"))
		if err != nil {
			writeError(w, err)
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		if e.Done != nil {
			go func() {
				select {
				case <-e.Done:
					cancel()
				case <-ctx.Done():
				}
			}()
		}
		h(e, w, r.WithContext(ctx))
	}))
}

// facts are the routes that read.
func (s *Server) facts(m *http.ServeMux) {
	get := func(path string, f func(*Environment, *http.Request) (any, error)) {
		s.within(m, http.MethodGet, path, Viewer, func(e *Environment, w http.ResponseWriter, r *http.Request) {
			answer(w, r, func(r *http.Request) (any, error) { return f(e, r) })
		})
	}
	get("/status", (*Environment).status)
	get("/plan", func(e *Environment, _ *http.Request) (any, error) { return e.Control.Plan(), nil })
	get("/graph", func(e *Environment, _ *http.Request) (any, error) { return e.Control.Graph(), nil })
	get("/resources/{kind}/{name}", (*Environment).show)
	get("/history", func(e *Environment, r *http.Request) (any, error) { return list(r, e.Control.History) })
	get("/audit", func(e *Environment, r *http.Request) (any, error) { return list(r, e.Control.Audit) })
	get("/audit/log", func(e *Environment, r *http.Request) (any, error) {
		after, err := strconv.ParseUint(cmp.Or(r.URL.Query().Get("after"), "0"), 10, 63)
		if err != nil {
			return nil, fmt.Errorf("%w: after is not a number", ErrRequest)
		}
		return list(r, func(ctx context.Context, limit int) ([]json.RawMessage, error) {
			return e.Control.AuditLog(ctx, after, limit)
		})
	})
	get("/services", (*Environment).services)
	s.within(m, http.MethodGet, "/events", Viewer, s.events)
	s.within(m, http.MethodGet, "/resources/{kind}/{name}/logs", Viewer, (*Environment).logs)
	m.HandleFunc("GET "+environments+"/{env}", s.guard(Viewer, func(w http.ResponseWriter, r *http.Request) {
		answer(w, r, func(r *http.Request) (any, error) {
			e, err := s.find(r.PathValue("env"))
			if err != nil {
				return nil, err
			}
			return e.info(), nil
		})
	}))
}

// status answers now, or with ?after=SEQ once the status is newer than that,
// at the latest after ?wait=.
func (e *Environment) status(r *http.Request) (any, error) {
	q := r.URL.Query()
	if !q.Has("after") {
		return e.Control.Status(), nil
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
	st, err := e.Control.Wait(ctx, func(st reconciler.Status) bool { return st.Seq != after })
	switch {
	case err == nil:
		return st, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return e.Control.Status(), nil
	case e.ended():
		return nil, fmt.Errorf("environment %s: %w: it is stopped", e.Info.Name, ErrNotOpen)
	}
	return nil, err
}

// ended says whether the environment has stopped since the request came.
func (e *Environment) ended() bool {
	select {
	case <-e.Done: // never, where it is nil
		return true
	default:
		return false
	}
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

func (e *Environment) show(r *http.Request) (any, error) {
	v, err := id(r)
	if err != nil {
		return nil, err
	}
	return e.Control.Show(v)
}

func (e *Environment) services(r *http.Request) (any, error) {
	if e.Services == nil {
		return nil, fmt.Errorf("services: %w", ErrNotServed)
	}
	all, err := e.Services(r.Context())
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
