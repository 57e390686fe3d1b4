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
	"github.com/aplomb-dev/aplomb/schema"
)

type words = map[string]any

func service(t testing.TB, port int, checks ...words) drivers.Desired {
	if checks == nil {
		checks = []words{}
	}
	return drivers.Desired{Spec: spec(t, words{"address": "127.0.0.1", "port": port, "tags": []string{"a"}, "checks": checks})}
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
	must(t, err)
	defer func() { must(t, l.Close()) }()
	return portOf(t, l.Addr())
}

func TestServiceLives(t *testing.T) {
	d := newDriver(t)
	w := newWorld(t, d, Kind, "web", service(t, 8421))
	s := w.settle(schema.Create)
	if got := string(s.Outputs["endpoint"].Value); got != `"127.0.0.1:8421"` {
		t.Fatalf("endpoint %s", got)
	}
	moved := service(t, 8422)
	w.item.Want = &moved
	c := w.plan()
	if len(c.Diff) != 1 || c.Diff[0].Path != "/port" {
		t.Fatalf("diff %+v", c.Diff)
	}
	w.settle(schema.Update)
	w.item.Want = nil
	w.settle(schema.Delete)
	if left, _ := filepath.Glob(filepath.Join(d.Dir, "services/*")); len(left) > 0 {
		t.Fatalf("left behind: %q", left)
	}
}

// A rename that says the old name in the spec differs in nothing.
func TestRenameWritesNothing(t *testing.T) {
	d := newDriver(t)
	w := newWorld(t, d, Kind, "web", service(t, 8421))
	before := w.settle(schema.Create)
	renamed := drivers.Desired{Spec: spec(t, words{"service": "web", "address": "127.0.0.1", "port": 8421, "tags": []string{"a"}, "checks": []words{}})}
	two := newWorld(t, d, Kind, "shop", renamed)
	two.item.Last = w.item.Last
	if c := two.plan(); c.Action != schema.None || two.observe().Version != before.Version {
		t.Fatalf("planned %s %+v", c.Action, c.Diff)
	}
}

func TestAddresses(t *testing.T) {
	d := newDriver(t)
	for name, want := range map[string]string{"": "service/web", "shop": "service/shop", "../x": "", "@{a/b.c}": "", "A": "", "a/b": ""} {
		got, err := d.Address(Kind, "web", spec(t, words{"service": name}))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("service %q: handle %q, %v", name, got, err)
		}
	}
}

func TestUnknownsKeepWhatIsKnown(t *testing.T) {
	const ref = "@{local.port/web.port}"
	d := newDriver(t)
	want := drivers.Desired{
		Spec:    spec(t, words{"address": "127.0.0.1", "port": ref, "tags": []string{"a", ref}, "checks": []words{{"http": "/", "interval": "1s"}}}),
		Unknown: map[schema.Path]string{"/port": ref, "/tags/1": ref},
	}
	w := newWorld(t, d, Kind, "web", want)
	c := w.plan()
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
			w := newWorld(t, newDriver(t), Kind, "web", service(t, c.port, c.checks...))
			if _, err := w.apply(w.plan()); err != nil {
				t.Fatal(err)
			}
			if got := w.observe().Health; got.Status != c.status || got.Reason != c.reason {
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
		w := newWorld(t, d, Kind, "web", service(t, 8421, check))
		if _, err := d.Plan(t.Context(), w.item, w.observe()); drivers.Class(err) != drivers.ErrPermanent {
			t.Errorf("%v: %v", check, err)
		}
	}
	for _, s := range []words{{"address": "127.0.0.1"}, {"address": "a/b", "port": 1}, {"address": "a", "port": 70000}} {
		w := newWorld(t, d, Kind, "web", drivers.Desired{Spec: spec(t, s)})
		if _, err := d.Plan(t.Context(), w.item, w.observe()); drivers.Class(err) != drivers.ErrPermanent {
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
	w := newWorld(t, d, Kind, "web", service(t, portOf(t, srv.Listener.Addr()), words{"http": "/", "interval": "100ms"}))
	version := w.settle(schema.Create).Version
	is := func(want drivers.HealthStatus) func() bool {
		return func() bool { return w.observe().Health.Status == want }
	}
	until(t, heard, "service/web", is(drivers.Healthy))
	down.Store(true)
	until(t, heard, "service/web", is(drivers.Unhealthy))
	down.Store(false)
	until(t, heard, "service/web", is(drivers.Healthy))
	if got := w.observe().Version; got != version {
		t.Fatalf("health moved the version from %s to %s", version, got)
	}
	must(t, os.Remove(filepath.Join(d.Dir, "services/web.json")))
	until(t, heard, "service/web", func() bool { return !w.observe().Exists })
}

// A service whose record is gone is not checked any more.
func TestForgottenIsNotChecked(t *testing.T) {
	hits := make(chan struct{}, 10_000)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits <- struct{}{} }))
	defer srv.Close()
	d := newDriver(t)
	watching(t, d)
	w := newWorld(t, d, Kind, "web", service(t, portOf(t, srv.Listener.Addr()), words{"http": "/", "interval": "100ms"}))
	w.settle(schema.Create)
	<-hits
	<-hits
	w.item.Want = nil
	w.settle(schema.Delete)
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
	newWorld(t, d, Kind, "web", service(t, shut, words{"tcp": true})).settle(schema.Create)
	newWorld(t, d, Kind, "api", service(t, 8421)).settle(schema.Create)
	must(t, os.WriteFile(filepath.Join(d.Dir, "services/bad.json"), []byte("{"), 0o600))
	entries, err := d.Catalog(t.Context())
	must(t, err)
	if len(entries) != 2 || entries[0].Name != "api" || entries[1].Name != "web" || entries[1].Port != shut {
		t.Fatalf("catalog %+v", entries)
	}
	check := entries[1].Checks
	if len(check) != 1 || check[0].Passing || check[0].Reason != "connection refused" || check[0].At.IsZero() {
		t.Fatalf("checks %+v", check)
	}
	js, err := json.Marshal(entries[0])
	must(t, err)
	want := `{"name":"api","environment":"env-1","address":"127.0.0.1","port":8421,"tags":["a"],"checks":[]}`
	if string(js) != want {
		t.Fatalf("%s, want %s", js, want)
	}
}

func TestDamagedRecord(t *testing.T) {
	d := newDriver(t)
	w := newWorld(t, d, Kind, "web", service(t, 8421))
	w.settle(schema.Create)
	other := newWorld(t, d, Kind, "other", service(t, 8421))
	other.settle(schema.Create)
	must(t, os.WriteFile(filepath.Join(d.Dir, "services/web.json"), []byte(strings.Repeat("[", 100)), 0o600))
	states, err := d.Observe(t.Context(), []drivers.Item{w.item, other.item})
	must(t, err)
	if drivers.Class(states[0].Err) != drivers.ErrPermanent || drivers.HintOf(states[0].Err) == "" || states[1].Err != nil {
		t.Fatalf("%v and %v", states[0].Err, states[1].Err)
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"format":1,"environment":"e","spec":{"service":"x","address":"127.0.0.1","port":1,"tags":[],"checks":[{"http":"/a?b#c"},{"tcp":true}]}}`))
	f.Add([]byte(`{"format":1,"spec":{"port":1,"checks":[{"http":"http://[::1]:80/%zz"}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r record
		if json.Unmarshal(data, &r) != nil || checkRecord("x", &r) != nil {
			return
		}
		if len(r.probes) != len(r.service.Checks) || r.service.Service != "x" || !json.Valid(r.Spec) {
			t.Fatalf("%+v", r)
		}
		again := record{Format: 1, Spec: r.Spec}
		if err := checkRecord("x", &again); err != nil || string(again.Spec) != string(r.Spec) {
			t.Fatalf("%s is not normal: %s, %v", r.Spec, again.Spec, err)
		}
		for _, p := range r.probes {
			if p.timeout < 0 || p.interval < minInterval || p.url != "" && !strings.HasPrefix(p.url, "http") {
				t.Fatalf("%+v", p)
			}
		}
	})
}

// BenchmarkObserve is one Observe of 10,000 services of which none changed,
// with checks that have fresh results.
func BenchmarkObserve(b *testing.B) {
	d := newDriver(b)
	dir := filepath.Join(d.Dir, "services")
	must(b, os.MkdirAll(dir, 0o700))
	var items []drivers.Item
	for i := range 10_000 {
		want := service(b, 1+i%60_000)
		name := fmt.Sprintf("s%d", i)
		record := fmt.Sprintf(`{"format":1,"environment":"env-1","spec":%s}`, want.Spec)
		must(b, os.WriteFile(filepath.Join(dir, name+".json"), []byte(record), 0o600))
		items = append(items, drivers.Item{ID: schema.ID{Kind: Kind, Name: name}, Handle: prefix + name, Want: &want, Last: &drivers.Applied{}})
	}
	for b.Loop() {
		if _, err := d.Observe(b.Context(), items); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/service")
}
