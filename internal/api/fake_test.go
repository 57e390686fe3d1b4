package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// env is a small environment in memory that behaves: levers change its status,
// what happens is remembered as events, and who waits is woken.
type env struct {
	mu     sync.Mutex
	moved  chan struct{}
	status reconciler.Status
	audit  []reconciler.AuditEntry
	events []reconciler.Event
	subs   []chan reconciler.Event
	kicks  int
}

var _ reconciler.Control = (*env)(nil)

const pending = "5e0c7a1f93b2aaaabbbbccccddddeeeeffff00001111222233334444555566667"

var web = schema.ID{Kind: "local.file", Name: "web", Target: "local"}

func newEnv() *env {
	e := &env{moved: make(chan struct{})}
	e.status = reconciler.Status{
		Environment: "test", Seq: 1, PlanDigest: pending,
		Resources: []reconciler.ResourceStatus{{ID: web, Layer: schema.Provisioning, State: reconciler.Held, Action: schema.Delete}},
		Counts:    map[reconciler.State]int{reconciler.Held: 1},
	}
	return e
}

// change alters the status, records who did it, and tells everybody.
func (e *env) change(by, what, subject, why string, f func(*reconciler.Status)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.status)
	e.status.Seq++
	if by != "" {
		e.audit = slices.Insert(e.audit, 0, reconciler.AuditEntry{Seq: uint64(len(e.audit) + 1), By: by, What: what, Subject: subject, Why: why, Hash: "h"})
	}
	ev := reconciler.Event{Seq: uint64(len(e.events) + 1), At: time.Unix(1, 0).UTC(), Type: what, Message: why}
	e.events = append(e.events, ev)
	for _, s := range e.subs {
		s <- ev
	}
	close(e.moved)
	e.moved = make(chan struct{})
}

func (e *env) Status() reconciler.Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.status
}

func (e *env) Plan() reconciler.PlanView {
	return reconciler.PlanView{Environment: "test", Digest: pending, Counts: map[schema.Action]int{schema.Delete: 1}}
}

func (e *env) Show(id schema.ID) (reconciler.Detail, error) {
	if !web.Matches(id) {
		return reconciler.Detail{}, fmt.Errorf("%w: %s", reconciler.ErrUnknown, id)
	}
	return reconciler.Detail{Status: e.Status().Resources[0], Handle: "file/web"}, nil
}

func (e *env) Graph() reconciler.GraphView {
	return reconciler.GraphView{Nodes: []reconciler.GraphNode{{ID: web, Layer: schema.Provisioning}}}
}

func (e *env) History(context.Context, int) ([]reconciler.Record, error) { return nil, nil }

func (e *env) Audit(_ context.Context, limit int) ([]reconciler.AuditEntry, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.audit[:min(limit, len(e.audit))], nil
}

func (e *env) AuditLog(_ context.Context, after uint64, limit int) (lines []json.RawMessage, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, a := range slices.Backward(e.audit) {
		if a.Seq <= after || len(lines) == limit {
			continue
		}
		raw, err := json.Marshal(a)
		if err != nil {
			return nil, err
		}
		lines = append(lines, raw)
	}
	return lines, nil
}

func (e *env) Kick() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kicks++
}

func (e *env) Approve(_ context.Context, by string, yes reconciler.Yes) ([]reconciler.PlannedChange, error) {
	if yes.Digest != pending {
		return nil, fmt.Errorf("%w: %s", reconciler.ErrDigest, yes.Digest)
	}
	why := yes.Why
	if yes.Outside {
		why += ", outside"
	}
	e.change(by, "approve", yes.Digest, why, func(s *reconciler.Status) { s.Converged = true })
	c := reconciler.PlannedChange{Digest: pending}
	c.ID, c.Action = web, schema.Delete
	return []reconciler.PlannedChange{c}, nil
}

func (e *env) Suspend(_ context.Context, by string, id *schema.ID, why string) error {
	subject := ""
	if id != nil {
		subject = id.String()
	}
	e.change(by, "suspend", subject, why, func(s *reconciler.Status) { s.Suspended = &reconciler.Lever{By: by, Why: why} })
	return nil
}

func (e *env) Resume(_ context.Context, by string, _ *schema.ID, why string) error {
	e.change(by, "resume", "", why, func(s *reconciler.Status) { s.Suspended = nil })
	return nil
}

func (e *env) Rollback(_ context.Context, _, revision, _ string) (reconciler.Rollback, error) {
	return reconciler.Rollback{}, fmt.Errorf("%w: %q", reconciler.ErrNoRevision, revision)
}

func (e *env) Down(_ context.Context, _ string, also []schema.ID, _ string) (reconciler.Status, error) {
	if !slices.Contains(also, web) {
		return reconciler.Status{}, fmt.Errorf("%w: %s is held", reconciler.ErrRefused, web)
	}
	return reconciler.Status{Environment: "test", Settled: true}, nil
}

func (e *env) Events(ctx context.Context, seq uint64) ([]reconciler.Event, <-chan reconciler.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	ch := make(chan reconciler.Event, 100)
	e.subs = append(e.subs, ch)
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		if i := slices.Index(e.subs, ch); i >= 0 {
			e.subs = slices.Delete(e.subs, i, i+1)
			close(ch)
		}
	})
	past := slices.DeleteFunc(slices.Clone(e.events), func(ev reconciler.Event) bool { return ev.Seq <= seq })
	return past, ch
}

// cut ends every subscription, as for a receiver that is too slow.
func (e *env) cut() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.subs {
		close(s)
	}
	e.subs = nil
}

func (e *env) Wait(ctx context.Context, ok func(reconciler.Status) bool) (reconciler.Status, error) {
	for {
		e.mu.Lock()
		st, moved := e.status, e.moved
		e.mu.Unlock()
		if ok(st) {
			return st, nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return st, ctx.Err()
		}
	}
}

// server serves one environment named test.
func server(e *Environment) *Server {
	e.Info.Name = "test"
	return &Server{
		Info: func() Info { return Info{Version: "1"} }, Environments: func() []*Environment { return []*Environment{e} },
		KeepAlive: time.Millisecond,
	}
}

// dial is a client of the environment named test.
func dial(t *testing.T, path string) *Client {
	t.Helper()
	d, _, err := Dial(t.Context(), Address{Socket: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d.Environment("test")
}

// serve puts an environment on a socket, and answers a client of it.
func serve(t *testing.T, e *Environment) (*Client, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run(t, server(e), l))
	return dial(t, path), path
}

// run serves until the function that it answers is called.
func run(t *testing.T, s *Server, l net.Listener) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

// say writes lines, as a process's log.
func say(_ context.Context, q LogsQuery, w io.Writer) error {
	if q.ID.Name != "web" {
		return fmt.Errorf("%w: %s", reconciler.ErrUnknown, q.ID)
	}
	for i := range q.Lines {
		if _, err := fmt.Fprintf(w, "line %d\n", i); err != nil {
			return err
		}
	}
	if q.Instance != nil {
		return hint{fmt.Errorf("%w: the log of instance %d", ErrNotServed, *q.Instance), "there is one"}
	}
	return nil
}

type hint struct {
	error
	text string
}

func (h hint) Unwrap() error { return h.error }
func (h hint) Hint() string  { return h.text }
