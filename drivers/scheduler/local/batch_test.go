package local

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// lines are those of a file, sorted; the instances that ran.
func lines(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	l := strings.Fields(string(text))
	slices.Sort(l)
	return l
}

func TestBatchRunsOnceForEachSpec(t *testing.T) {
	b := newBench(t)
	file := filepath.Join(t.TempDir(), "ran")
	run := func(action schema.Action, status, count string, ran ...string) {
		t.Helper()
		b.want(program("once", file, status), `"type":"batch"`, `"count":`+count)
		b.turn(action)
		b.eventually("the end", func() bool { return !slices.ContainsFunc(b.pids(), func(pid int) bool { return pid != 0 }) })
		b.restart()
		b.settled()
		if got := lines(t, file); !slices.Equal(got, ran) {
			t.Fatalf("ran: %v, want %v", got, ran)
		}
	}
	health := func(status drivers.HealthStatus, reason string) {
		t.Helper()
		if h := b.look().Health; h.Status != status || !strings.Contains(h.Reason, reason) {
			t.Fatalf("health %+v", h)
		}
	}
	run(schema.Create, "0", "2", "0", "1")
	health(drivers.Healthy, "completed")
	run(schema.None, "0", "2", "0", "1")
	run(schema.Update, "0", "3", "0", "1", "2")
	run(schema.Update, "4", "3", "0", "0", "1", "1", "2", "2")
	health(drivers.Failed, "instance 0 exited (status 4)")
	run(schema.None, "4", "3", "0", "0", "1", "1", "2", "2")
}

func TestBatchLostIsNotRunAgain(t *testing.T) {
	b := newBench(t)
	b.want(program("stay"), `"type":"batch"`)
	b.turn(schema.Create)
	pid := b.pids()[0]
	if h := b.look().Health; h.Status != drivers.Progressing {
		t.Fatalf("health %+v", h)
	}
	b.kill(b.shim(0))
	b.kill(pid)
	b.eventually("failed", func() bool { return b.look().Health.Status == drivers.Failed })
	b.settled()
}

func TestTypeIsImmutable(t *testing.T) {
	b := newBench(t)
	b.want(program("stay"))
	b.turn(schema.Create)
	b.want(program("exit", "0"), `"type":"batch"`)
	if c := b.turn(schema.Replace); c.Before == nil {
		t.Error("a replacement without what was before")
	}
	b.eventually("completed", func() bool { return b.look().Health.Reason == "completed" })
	b.settled()
}

func TestChecks(t *testing.T) {
	var status atomic.Int32
	var elsewhere atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Store(true) }))
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", other.URL)
		w.WriteHeader(int(status.Load()))
	}))
	defer server.Close()
	b := newBench(t)
	status.Store(503)
	b.want(program("stay"), `"check":{"http":"`+server.URL+`","interval":"10ms"}`)
	b.turn(schema.Create)
	is := func(want drivers.HealthStatus, reason string) {
		t.Helper()
		b.eventually(string(want)+" "+reason, func() bool {
			h := b.look().Health
			return h.Status == want && strings.Contains(h.Reason, reason)
		})
	}
	is(drivers.Progressing, "http status 503")
	status.Store(200)
	is(drivers.Healthy, "1 of 1")
	status.Store(500)
	is(drivers.Unhealthy, "http status 500")
	status.Store(302)
	is(drivers.Unhealthy, "http status 302")
	if elsewhere.Load() {
		t.Error("it followed a redirect")
	}
	b.settled() // a check that fails restarts nothing
}

func TestCheckIsAskedOnceAnInterval(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer server.Close()
	b := newBench(t)
	b.want(program("stay"), `"check":{"http":"`+server.URL+`","interval":"1h"}`)
	b.turn(schema.Create)
	for range 20 {
		b.look()
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestCheckThatHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	b := newBench(t)
	b.want(program("stay"), `"check":{"http":"http://`+l.Addr().String()+`","timeout":"50ms"}`)
	b.turn(schema.Create)
	at := time.Now()
	if h := b.look().Health; h.Status != drivers.Progressing || !strings.Contains(h.Reason, "no answer within 50ms") {
		t.Errorf("health %+v", h)
	}
	if took := time.Since(at); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	b.want(program("stay"), `"check":{"tcp":"`+l.Addr().String()+`"}`)
	b.turn(schema.Update)
	b.healthy()
}
