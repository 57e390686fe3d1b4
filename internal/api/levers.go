package api

import (
	"context"
	"net/http"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
)

// bodyTimeout is how long the body of a request may take to arrive.
const bodyTimeout = 10 * time.Second

// levers are the routes that change something.
func (s *Server) levers(m *http.ServeMux) {
	post := func(path string, least Role, f func(*Environment, context.Context, lever) (any, error)) {
		s.within(m, http.MethodPost, path, least, func(e *Environment, w http.ResponseWriter, r *http.Request) {
			answer(w, r, func(r *http.Request) (any, error) {
				l, err := readLever(w, r)
				if err != nil {
					return nil, err
				}
				return f(e, reconciler.WithMeans(r.Context(), from(r.Context()).means()), l)
			})
		})
	}
	post("/approve", Approver, func(e *Environment, ctx context.Context, l lever) (any, error) {
		return e.Control.Approve(ctx, l.By, reconciler.Yes{
			Digest: l.Digest, Why: l.Why, Overrides: l.Override, Outside: l.Outside, Speaks: from(ctx).speaks(),
		})
	})
	post("/suspend", Approver, func(e *Environment, ctx context.Context, l lever) (any, error) {
		return struct{}{}, e.Control.Suspend(ctx, l.By, l.ID, l.Why)
	})
	post("/resume", Approver, func(e *Environment, ctx context.Context, l lever) (any, error) {
		return struct{}{}, e.Control.Resume(ctx, l.By, l.ID, l.Why)
	})
	post("/set", Proposer, (*Environment).set)
	post("/rollback", Operator, func(e *Environment, ctx context.Context, l lever) (any, error) {
		return e.Control.Rollback(ctx, l.By, l.Revision, l.Why)
	})
	post("/down", Operator, func(e *Environment, ctx context.Context, l lever) (any, error) {
		return e.Control.Down(ctx, l.By, l.Also, l.Why)
	})
	s.within(m, http.MethodPost, "/kick", Operator, func(e *Environment, w http.ResponseWriter, _ *http.Request) {
		e.Control.Kick()
		writeJSON(w, http.StatusOK, struct{}{})
	})
}

// readLever reads the body of a request; who pulls the lever is who asks.
func readLever(w http.ResponseWriter, r *http.Request) (lever, error) {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout)) // not every connection has one
	l, err := decodeLever(http.MaxBytesReader(w, r.Body, MaxRequest+1))
	if err != nil {
		return l, err
	}
	_ = rc.SetReadDeadline(time.Time{})
	l.By = from(r.Context()).by(l.By)
	return l, nil
}
