package api

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestReads(t *testing.T) {
	e := newEnv()
	c, _ := serve(t, &Environment{Control: e})
	if st := c.Status(); c.Err() != nil || st.Environment != "test" || st.Resources[0].ID != web {
		t.Errorf("status: %+v, %v", st, c.Err())
	}
	if p := c.Plan(); c.Err() != nil || p.Digest != pending {
		t.Errorf("plan: %+v, %v", p, c.Err())
	}
	if g := c.Graph(); c.Err() != nil || len(g.Nodes) != 1 || g.Nodes[0].ID != web {
		t.Errorf("graph: %+v, %v", g, c.Err())
	}
	if d, err := c.Show(schema.ID{Kind: "local.file", Name: "web"}); err != nil || d.Handle != "file/web" {
		t.Errorf("show: %+v, %v", d, err)
	}
	if h, err := c.History(t.Context(), 10); err != nil || len(h) != 0 {
		t.Errorf("history: %v, %v", h, err)
	}
	if c.Kick(); c.Err() != nil || e.kicks != 1 {
		t.Errorf("kick: %d, %v", e.kicks, c.Err())
	}
}

func TestLevers(t *testing.T) {
	e := newEnv()
	c, _ := serve(t, &Environment{Control: e})
	self := peer{uid: uint32(os.Getuid())}.name() // what is said is only added to what the kernel says
	if err := c.Suspend(t.Context(), "ana", &web, "moving"); err != nil {
		t.Fatal(err)
	}
	if l := c.Status().Suspended; l == nil || l.By != self+" (as ana)" || l.Why != "moving" {
		t.Errorf("suspended by %+v", l)
	}
	if err := c.Resume(t.Context(), self, nil, ""); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Approve(t.Context(), "ben", reconciler.Yes{Digest: pending, Why: "read it"}); err != nil || len(got) != 1 || got[0].Action != schema.Delete {
		t.Errorf("approve: %+v, %v", got, err)
	}
	a, err := c.Audit(t.Context(), 2)
	if err != nil || len(a) != 2 || a[0].What != "approve" || a[0].By != self+" (as ben)" || a[1].What != "resume" || a[1].By != self {
		t.Errorf("audit: %+v, %v", a, err)
	}
	if _, err := c.Approve(t.Context(), "ben", reconciler.Yes{Digest: pending, Why: "an incident", Outside: true}); err != nil {
		t.Error(err)
	}
	if a, err := c.Audit(t.Context(), 1); err != nil || len(a) != 1 || a[0].Why != "an incident, outside" {
		t.Errorf("audit: %+v, %v", a, err)
	}
	if st, err := c.Down(t.Context(), "ana", []schema.ID{web}, ""); err != nil || !st.Settled {
		t.Errorf("down: %+v, %v", st, err)
	}
}

// TestErrors: what fails behind the socket is found by errors.Is before it,
// with its message.
func TestErrors(t *testing.T) {
	c, _ := serve(t, &Environment{Control: newEnv(), Logs: say})
	_, unknown := c.Show(schema.ID{Kind: "local.file", Name: "other"})
	_, digest := c.Approve(t.Context(), "ana", reconciler.Yes{Digest: "0123456789ab"})
	_, revision := c.Rollback(t.Context(), "ana", "", "")
	_, refused := c.Down(t.Context(), "ana", nil, "")
	_, services := c.Services(t.Context())
	nobody := c.Suspend(t.Context(), "", nil, "")
	for _, tc := range []struct{ err, want error }{
		{unknown, reconciler.ErrUnknown}, {digest, reconciler.ErrDigest}, {revision, reconciler.ErrNoRevision},
		{refused, reconciler.ErrRefused}, {services, ErrNotServed}, {nobody, ErrRequest},
	} {
		if !errors.Is(tc.err, tc.want) {
			t.Errorf("%v is not %v", tc.err, tc.want)
		}
	}
	if got, want := unknown.Error(), "no such resource: local.file/other"; got != want {
		t.Errorf("message %q, want %q", got, want)
	}
}

func TestNobodyAnswers(t *testing.T) {
	path := t.TempDir() + "/s"
	if _, _, err := Dial(t.Context(), Address{Socket: path}); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no socket: %v", err)
	}
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, server(&Environment{Control: newEnv()}), l)
	c := dial(t, path)
	stop()
	if st := c.Status(); st.Environment != "" || !errors.Is(c.Err(), ErrNotRunning) {
		t.Errorf("after the end: %+v, %v", st, c.Err())
	}
}

func TestWait(t *testing.T) {
	e := newEnv()
	c, _ := serve(t, &Environment{Control: e})
	asked := make(chan struct{})
	var once sync.Once
	done := make(chan error, 1)
	go func() {
		st, err := c.Wait(t.Context(), func(st reconciler.Status) bool {
			once.Do(func() { close(asked) })
			return st.Converged
		})
		if err == nil && !st.Converged {
			err = errors.New("not what was waited for")
		}
		done <- err
	}()
	<-asked
	e.change("", "state", "", "", func(s *reconciler.Status) { s.Settled = true })
	e.change("", "state", "", "", func(s *reconciler.Status) { s.Converged = true })
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Wait(ctx, func(reconciler.Status) bool { return false }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a wait that ends: %v", err)
	}
}

// TestEventsResume: a stream that breaks off is taken up again where it ended;
// nothing is lost and nothing is doubled.
func TestEventsResume(t *testing.T) {
	e := newEnv()
	c, _ := serve(t, &Environment{Control: e})
	happen := func(what string) { e.change("", what, "", "", func(*reconciler.Status) {}) }
	happen("one")
	happen("two")
	past, live := c.Events(t.Context(), 1)
	if len(past) != 1 || past[0].Type != "two" || c.Err() != nil {
		t.Fatalf("past: %+v, %v", past, c.Err())
	}
	happen("three")
	if got := <-live; got.Type != "three" || got.Seq != 3 {
		t.Fatalf("got %+v", got)
	}
	e.cut()
	happen("four")
	happen("five")
	for i, want := range []string{"four", "five"} {
		if got := <-live; got.Type != want || got.Seq != uint64(i+4) {
			t.Fatalf("got %+v, want %s", got, want)
		}
	}
}

// TestEventsRestart: a daemon that is started anew counts from one again; who
// goes on with its events misses none of them.
func TestEventsRestart(t *testing.T) {
	path := t.TempDir() + "/s"
	start := func(at int64, what ...string) (stop func()) {
		e := newEnv()
		for _, w := range what {
			e.change("", w, "", "", func(*reconciler.Status) {})
		}
		l, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		return run(t, server(&Environment{Control: e, Info: EnvironmentInfo{Started: time.Unix(at, 0)}}), l)
	}
	stop := start(1, "one", "two", "three")
	c := dial(t, path)
	past, live := c.Events(t.Context(), 1)
	if len(past) != 2 {
		t.Fatalf("past: %+v, %v", past, c.Err())
	}
	stop()
	stop = start(2, "uno", "due")
	defer stop()
	for i, want := range []string{"uno", "due"} {
		if got := <-live; got.Type != want || got.Seq != uint64(i+1) {
			t.Fatalf("got %+v, want %s", got, want)
		}
	}
}

func TestEventsEnd(t *testing.T) {
	c, _ := serve(t, &Environment{Control: newEnv()})
	ctx, cancel := context.WithCancel(t.Context())
	_, live := c.Events(ctx, 0)
	cancel()
	if e, ok := <-live; ok {
		t.Errorf("got %+v after the end", e)
	}
}

// TestShutdown: streams and long polls do not hold up the end.
func TestShutdown(t *testing.T) {
	path := t.TempDir() + "/s"
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, server(&Environment{Control: newEnv()}), l)
	c := dial(t, path)
	_, live := c.Events(t.Context(), 0)
	began := time.Now()
	stop()
	for range live {
	}
	if took := time.Since(began); took > ShutdownTimeout {
		t.Errorf("the end took %v", took)
	}
}

func TestLogs(t *testing.T) {
	c, _ := serve(t, &Environment{Control: newEnv(), Logs: say})
	var b bytes.Buffer
	if err := c.Logs(t.Context(), LogsQuery{ID: web, Lines: 2}, &b); err != nil || b.String() != "line 0\nline 1\n" {
		t.Errorf("%q, %v", b.String(), err)
	}
	one := 1
	err := c.Logs(t.Context(), LogsQuery{ID: web, Lines: 1, Instance: &one}, &b)
	if !errors.Is(err, ErrNotServed) || HintOf(err) != "there is one" {
		t.Errorf("in the middle: %v, hint %q", err, HintOf(err))
	}
	if err := c.Logs(t.Context(), LogsQuery{ID: schema.ID{Kind: "local.file", Name: "x"}}, &b); !errors.Is(err, reconciler.ErrUnknown) {
		t.Errorf("at the beginning: %v", err)
	}
}

// TestRefused: what is malformed is refused, and changes nothing.
func TestRefused(t *testing.T) {
	e := newEnv()
	c, _ := serve(t, &Environment{Control: e, Logs: say})
	for _, tc := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", "/v1/environments/test/suspend", `{"by":"ana","idd":"local.file/web"}`, 400},
		{"POST", "/v1/environments/test/suspend", `{"by":"ana","id":""}`, 400},
		{"POST", "/v1/environments/test/suspend", `{"by":"ana"} {"by":"ana"}`, 400},
		{"POST", "/v1/environments/test/suspend", `{"by":""}`, 400},
		{"POST", "/v1/environments/test/suspend", ``, 400},
		{"POST", "/v1/environments/test/suspend", `{"by":"ana","why":"` + strings.Repeat("y", MaxWhy+1) + `"}`, 400},
		{"POST", "/v1/environments/test/suspend", `{"by":"ana","why":"` + strings.Repeat("y", MaxRequest) + `"}`, 400},
		{"GET", "/v1/environments/test/suspend", ``, 501},
		{"GET", "/v1/environments/other/status", ``, 404},
		{"GET", "/v1/nothing", ``, 501},
		{"GET", "/v1/environments/test/status?after=x", ``, 400},
		{"GET", "/v1/environments/test/status?after=1&wait=soon", ``, 400},
		{"GET", "/v1/environments/test/history?limit=0", ``, 400},
		{"GET", "/v1/environments/test/events?after=-1", ``, 400},
		{"GET", "/v1/environments/test/events?after=1.x", ``, 400},
		{"GET", "/v1/environments/test/resources/local.file/NOT_A_NAME", ``, 400},
		{"GET", "/v1/environments/test/resources/local.file/web/logs?lines=-1", ``, 400},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, "http://aplomb"+tc.path, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		err = readError(res)
		_ = res.Body.Close()
		var e *Error
		if res.StatusCode != tc.status || !errors.As(err, &e) {
			t.Errorf("%s %s %.40s: %d %v, want %d", tc.method, tc.path, tc.body, res.StatusCode, err, tc.status)
		}
	}
	if e.Status().Seq != 1 {
		t.Error("something was changed")
	}
}
