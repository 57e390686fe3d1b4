package local

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

type words = map[string]any

func service(t testing.TB, port int, checks ...words) drivers.Desired {
	if checks == nil {
		checks = []words{}
	}
	return drivers.Desired{Spec: drivertest.JSON(t, words{"address": "127.0.0.1", "port": port, "tags": []string{"a"}, "checks": checks})}
}

func portOf(t testing.TB, l net.Addr) int {
	t.Helper()
	tcp, ok := l.(*net.TCPAddr)
	if !ok {
		t.Fatalf("%v is no TCP address", l)
	}
	return tcp.Port
}

// closed is a port on which nobody listens.
func closed(t testing.TB) int {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	drivertest.Must(t, err)
	defer func() { drivertest.Must(t, l.Close()) }()
	return portOf(t, l.Addr())
}

func TestServiceLives(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, Kind, "web", service(t, 8421))
	s := r.Settle(schema.Create)
	if got := string(s.Outputs["endpoint"].Value); got != `"127.0.0.1:8421"` {
		t.Fatalf("endpoint %s", got)
	}
	moved := service(t, 8422)
	r.Item.Want = &moved
	c := r.Plan()
	if len(c.Diff) != 1 || c.Diff[0].Path != "/port" {
		t.Fatalf("diff %+v", c.Diff)
	}
	r.Settle(schema.Update)
	r.Item.Want = nil
	r.Settle(schema.Delete)
	if left, _ := filepath.Glob(filepath.Join(d.Dir, "services/*")); len(left) > 0 {
		t.Fatalf("left behind: %q", left)
	}
}

// A rename that says the old name in the spec differs in nothing.
func TestRenameWritesNothing(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, Kind, "web", service(t, 8421))
	before := r.Settle(schema.Create)
	renamed := drivers.Desired{Spec: drivertest.JSON(t, words{"service": "web", "address": "127.0.0.1", "port": 8421, "tags": []string{"a"}, "checks": []words{}})}
	two := drivertest.NewResource(t, d, Kind, "shop", renamed)
	two.Item.Last = r.Item.Last
	if c := two.Plan(); c.Action != schema.None || two.Observe().Version != before.Version {
		t.Fatalf("planned %s %+v", c.Action, c.Diff)
	}
}

func TestAddresses(t *testing.T) {
	d := newDriver(t)
	for name, want := range map[string]string{"": "service/web", "shop": "service/shop", "../x": "", "@{a/b.c}": "", "A": "", "a/b": ""} {
		got, err := d.Address(Kind, "web", drivertest.JSON(t, words{"service": name}))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("service %q: handle %q, %v", name, got, err)
		}
	}
}

func TestUnknownsKeepWhatIsKnown(t *testing.T) {
	const ref = "@{local.port/web.port}"
	d := newDriver(t)
	want := drivers.Desired{
		Spec:    drivertest.JSON(t, words{"address": "127.0.0.1", "port": ref, "tags": []string{"a", ref}, "checks": []words{{"http": "/", "interval": "1s"}}}),
		Unknown: map[schema.Path]string{"/port": ref, "/tags/1": ref},
	}
	r := drivertest.NewResource(t, d, Kind, "web", want)
	c := r.Plan()
	unknown := map[schema.Path]bool{}
	for _, delta := range c.Diff {
		unknown[delta.Path] = delta.Unknown
	}
	if !unknown["/port"] || !unknown["/tags/1"] || unknown["/tags/0"] || unknown["/address"] {
		t.Fatalf("unknown are %v", unknown)
	}
	if _, known := c.Outputs["address"]; !known || len(c.Outputs) != 1 {
		t.Fatalf("outputs %v", c.Outputs)
	}
}

// Without Watch, as in a command that plans and ends, Observe checks.
func TestHealthOfOneLook(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/health":
			w.WriteHeader(http.StatusOK)
		case "/away":
			http.Redirect(w, r, "/health", http.StatusFound)
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		case "/slow":
			<-r.Context().Done()
		default:
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer srv.Close()
	port, shut := portOf(t, srv.Listener.Addr()), closed(t)
	for name, c := range map[string]struct {
		port   int
		checks []words
		status drivers.HealthStatus
		reason string
	}{
		"none":     {port, nil, drivers.Healthy, ""},
		"all":      {port, []words{{"http": "/health"}, {"tcp": true}}, drivers.Healthy, "2 of 2 passing"},
		"refused":  {shut, []words{{"http": "/health"}}, drivers.Unhealthy, fmt.Sprintf("0 of 1 passing: http :%d/health: connection refused", shut)},
		"tcp":      {shut, []words{{"tcp": true}}, drivers.Unhealthy, fmt.Sprintf("0 of 1 passing: tcp :%d: connection refused", shut)},
		"status":   {port, []words{{"tcp": true}, {"http": "/x"}}, drivers.Unhealthy, fmt.Sprintf("1 of 2 passing: http :%d/x: status 503, want 200", port)},
		"wanted":   {port, []words{{"http": "/x", "status": 503}}, drivers.Healthy, "1 of 1 passing"},
		"redirect": {port, []words{{"http": "/away", "status": 302}}, drivers.Healthy, "1 of 1 passing"},
		"endless":  {port, []words{{"http": "/endless"}}, drivers.Healthy, "1 of 1 passing"},
		"timeout":  {port, []words{{"http": "/slow", "timeout": "50ms"}}, drivers.Unhealthy, fmt.Sprintf("0 of 1 passing: http :%d/slow: timeout", port)},
		"url":      {shut, []words{{"http": srv.URL + "/health"}}, drivers.Healthy, "1 of 1 passing"},
	} {
		t.Run(name, func(t *testing.T) {
			r := drivertest.NewResource(t, newDriver(t), Kind, "web", service(t, c.port, c.checks...))
			if _, err := r.Apply(r.Plan()); err != nil {
				t.Fatal(err)
			}
			if got := r.Observe().Health; got.Status != c.status || got.Reason != c.reason {
				t.Fatalf("health %+v, want %s %q", got, c.status, c.reason)
			}
		})
	}
}

func TestChecksRefused(t *testing.T) {
	d := newDriver(t)
	for _, check := range []words{
		{}, {"http": "/", "tcp": true}, {"http": "ftp://x/"}, {"http": "http://user:pass@x/"}, {"http": "x"}, {"tcp": true, "interval": "5"}, {"tcp": true, "timeout": "-1s"},
	} {
		r := drivertest.NewResource(t, d, Kind, "web", service(t, 8421, check))
		if _, err := d.Plan(t.Context(), r.Item, r.Observe()); drivers.Class(err) != drivers.ErrPermanent {
			t.Errorf("%v: %v", check, err)
		}
	}
	for _, s := range []words{{"address": "127.0.0.1"}, {"address": "a/b", "port": 1}, {"address": "a", "port": 70000}} {
		r := drivertest.NewResource(t, d, Kind, "web", drivers.Desired{Spec: drivertest.JSON(t, s)})
		if _, err := d.Plan(t.Context(), r.Item, r.Observe()); drivers.Class(err) != drivers.ErrPermanent {
			t.Errorf("%v: %v", s, err)
		}
	}
}

func watching(t *testing.T, d *Driver) <-chan string {
	t.Helper()
	heard, ended := make(chan string, 10_000), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		ended <- d.Watch(ctx, func(handles ...string) {
			for _, h := range handles {
				heard <- h
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return heard
}

// until waits for a hint after which f says true.
func until(t *testing.T, heard <-chan string, handle string, f func() bool) {
	t.Helper()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for {
		select {
		case h := <-heard:
			if h == handle && f() {
				return
			}
		case <-limit.C:
			t.Fatalf("nothing that counts was heard of %s", handle)
		}
	}
}

func TestWatchHearsFlips(t *testing.T) {
	var down atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer srv.Close()
	d := newDriver(t)
	heard := watching(t, d)
	r := drivertest.NewResource(t, d, Kind, "web", service(t, portOf(t, srv.Listener.Addr()), words{"http": "/", "interval": "100ms"}))
	version := r.Settle(schema.Create).Version
	is := func(want drivers.HealthStatus) func() bool {
		return func() bool { return r.Observe().Health.Status == want }
	}
	until(t, heard, "service/web", is(drivers.Healthy))
	down.Store(true)
	until(t, heard, "service/web", is(drivers.Unhealthy))
	down.Store(false)
	until(t, heard, "service/web", is(drivers.Healthy))
	if got := r.Observe().Version; got != version {
		t.Fatalf("health moved the version from %s to %s", version, got)
	}
	drivertest.Must(t, os.Remove(filepath.Join(d.Dir, "services/web.json")))
	until(t, heard, "service/web", func() bool { return !r.Observe().Exists })
}

// A service whose record is gone is not checked any more.
func TestForgottenIsNotChecked(t *testing.T) {
	hits := make(chan struct{}, 10_000)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits <- struct{}{} }))
	defer srv.Close()
	d := newDriver(t)
	watching(t, d)
	r := drivertest.NewResource(t, d, Kind, "web", service(t, portOf(t, srv.Listener.Addr()), words{"http": "/", "interval": "100ms"}))
	r.Settle(schema.Create)
	<-hits
	<-hits
	r.Item.Want = nil
	r.Settle(schema.Delete)
	quiet := time.NewTimer(time.Second)
	defer quiet.Stop()
	for n := 0; ; {
		select {
		case <-hits:
			if n++; n > 3 { // in flight, or counted before
				t.Fatal("it is checked on and on")
			}
		case <-quiet.C:
			return
		}
	}
}

func TestCatalog(t *testing.T) {
	d := newDriver(t)
	shut := closed(t)
	drivertest.NewResource(t, d, Kind, "web", service(t, shut, words{"tcp": true})).Settle(schema.Create)
	drivertest.NewResource(t, d, Kind, "api", service(t, 8421)).Settle(schema.Create)
	drivertest.Must(t, os.WriteFile(filepath.Join(d.Dir, "services/bad.json"), []byte("{"), 0o600))
	entries, err := d.Catalog(t.Context())
	drivertest.Must(t, err)
	if len(entries) != 2 || entries[0].Name != "api" || entries[1].Name != "web" || entries[1].Port != shut {
		t.Fatalf("catalog %+v", entries)
	}
	check := entries[1].Checks
	if len(check) != 1 || check[0].Passing || check[0].Reason != "connection refused" || check[0].At.IsZero() {
		t.Fatalf("checks %+v", check)
	}
	js, err := json.Marshal(entries[0])
	drivertest.Must(t, err)
	want := `{"name":"api","environment":"env-1","address":"127.0.0.1","port":8421,"tags":["a"],"checks":[]}`
	if string(js) != want {
		t.Fatalf("%s, want %s", js, want)
	}
}

func TestDamagedRecord(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, Kind, "web", service(t, 8421))
	r.Settle(schema.Create)
	other := drivertest.NewResource(t, d, Kind, "other", service(t, 8421))
	other.Settle(schema.Create)
	drivertest.Must(t, os.WriteFile(filepath.Join(d.Dir, "services/web.json"), []byte(strings.Repeat("[", 100)), 0o600))
	states, err := d.Observe(t.Context(), []drivers.Item{r.Item, other.Item})
	drivertest.Must(t, err)
	if drivers.Class(states[0].Err) != drivers.ErrPermanent || drivers.HintOf(states[0].Err) == "" || states[1].Err != nil {
		t.Fatalf("%v and %v", states[0].Err, states[1].Err)
	}
}
