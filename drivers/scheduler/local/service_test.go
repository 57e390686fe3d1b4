package local

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/detached"
	"github.com/aplomb-dev/aplomb/schema"
)

func (b *bench) kill(pid int) {
	b.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		b.Fatal(err)
	}
}

// shim is the pid of the shim of an instance: its command's parent.
func (b *bench) shim(index int) int {
	b.Helper()
	var rec struct {
		Shim struct {
			PID int `json:"pid"`
		} `json:"shim"`
	}
	run := b.look().Raw.(*observed).insts[index].run
	text, err := os.ReadFile(filepath.Join(run.Dir(), "run.json"))
	if err == nil {
		err = json.Unmarshal(text, &rec)
	}
	if err != nil {
		b.Fatal(err)
	}
	return rec.Shim.PID
}

func TestKilledComesBack(t *testing.T) {
	b := newBench(t)
	b.want(program("stay"), `"count":2`)
	b.turn(schema.Create)
	b.eventually("a second of life", func() bool {
		return time.Since(b.look().Raw.(*observed).insts[1].status.Begun) > time.Second
	})
	before := b.pids()
	b.kill(before[1])
	b.eventually("drift", func() bool { return b.plan().Action == schema.Update })
	c := b.turn(schema.Update)
	if len(c.Diff) != 1 || c.Diff[0].Path != "/!instances/1" || c.Why != "instance 1 exited (killed)" ||
		string(c.Diff[0].Before) != `"exited (killed)"` || string(c.Diff[0].After) != `"running"` {
		t.Fatalf("got %+v", c)
	}
	b.healthy()
	b.settled()
	if after := b.pids(); after[0] != before[0] || after[1] == before[1] || after[1] == 0 {
		t.Fatalf("pids %v became %v", before, after)
	}
}

func TestBackoff(t *testing.T) {
	s := &spec{}
	s.Restart.Delay, s.Restart.MaxDelay = period(time.Second), period(10*time.Second)
	for _, c := range []struct {
		streak     int
		ran, waits time.Duration
	}{
		{0, 0, time.Second}, {0, time.Second, 0}, {0, time.Hour, 0},
		{1, 0, 2 * time.Second}, {1, 5 * time.Second, 2 * time.Second}, {1, 10 * time.Second, 0},
		{2, 0, 4 * time.Second}, {4, 0, 10 * time.Second}, {1000, 0, 10 * time.Second},
	} {
		if got := backoff(s, c.streak, c.ran); got != c.waits {
			t.Errorf("after %d short runs and one of %v: %v, want %v", c.streak, c.ran, got, c.waits)
		}
	}
}

// TestCrashLoop: an instance that ends at once is not a difference before its
// restart is due, and waits longer every time.
func TestCrashLoop(t *testing.T) {
	b := newBench(t)
	now := time.Now()
	b.d.Now = func() time.Time { return now }
	b.want(program("exit", "3"), `"restart":{"delay":"1h","maxDelay":"3h"}`)
	b.turn(schema.Create)
	for _, wait := range []string{"1h0m0s", "2h0m0s", "3h0m0s", "3h0m0s"} {
		now = time.Now()
		b.eventually("exit", func() bool { return strings.Contains(b.look().Health.Reason, "exited (status 3)") })
		h := b.look().Health
		if h.Status != drivers.Unhealthy || !strings.Contains(h.Reason, "restart in ") {
			t.Fatalf("got %+v", h)
		}
		due := b.look().Raw.(*observed).insts[0].due
		if got := due.Sub(now).Round(time.Minute).String(); got != wait {
			t.Errorf("restart in %s, want %s", got, wait)
		}
		before := b.look().Version
		b.settled()
		now = due
		if b.look().Version == before {
			t.Error("a restart became due, and the version stayed")
		}
		b.turn(schema.Update)
	}
}

func TestQuietFieldsDoNotRestart(t *testing.T) {
	b := newBench(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	b.want(program("stay"), `"count":1`)
	b.turn(schema.Create)
	first := b.pids()[0]
	for path, more := range map[schema.Path]string{
		"/restart/delay": `"restart":{"delay":"2s"}`, "/update/parallel": `"update":{"parallel":2}`,
		"/stop/grace": `"stop":{"grace":"1s"}`, "/logs/keep": `"logs":{"keep":1}`, "/check/tcp": `"check":{"tcp":"` + l.Addr().String() + `"}`,
	} {
		b.want(program("stay"), more)
		c := b.turn(schema.Update)
		if !slices.ContainsFunc(c.Diff, func(d drivers.Delta) bool { return d.Path == path }) {
			t.Errorf("diff %+v does not name %s", c.Diff, path)
		}
		b.settled()
	}
	for _, count := range []string{"3", "2", "1"} {
		b.want(program("stay"), `"count":`+count)
		b.turn(schema.Update)
		b.healthy()
		b.settled()
		if _, is := b.living(); len(is) != len(b.pids()) || count != string(b.look().Outputs["instances"].Value) {
			t.Errorf("count %s: instances %v live", count, is)
		}
	}
	if now := b.pids()[0]; now != first {
		t.Errorf("pid %d became %d", first, now)
	}
}

func TestCountZeroIsHealthy(t *testing.T) {
	b := newBench(t)
	b.want(program("stay"), `"count":0`)
	b.turn(schema.Create)
	if h := b.look().Health; h.Status != drivers.Healthy {
		t.Fatalf("got %+v", h)
	}
	b.settled()
}

func TestDeleteOfStubborn(t *testing.T) {
	b := newBench(t)
	b.want(program("stubborn"), `"count":3`, `"stop":{"grace":"100ms"}`)
	b.turn(schema.Create)
	b.healthy()
	b.it.Want = nil
	b.turn(schema.Delete)
	if pids, _ := b.living(); len(pids) > 0 || b.look().Exists {
		t.Fatalf("%v live", pids)
	}
	b.turn(schema.None)
}

func TestShimKilled(t *testing.T) {
	b := newBench(t)
	b.want(program("stay"), `"count":2`, `"stop":{"grace":"1s"}`)
	b.turn(schema.Create)
	b.healthy()
	old := b.pids()[0]
	b.kill(b.shim(0))
	b.eventually("drift", func() bool { return b.plan().Action == schema.Update })
	if c := b.turn(schema.Update); !strings.Contains(c.Why, "instance 0 lost") {
		t.Errorf("why: %s", c.Why)
	}
	b.healthy()
	pids, is := b.living()
	if !slices.Equal(is, []string{"0", "1"}) || slices.Contains(pids, old) {
		t.Fatalf("instances %v as %v live; the orphan was %d", is, pids, old)
	}
}

// TestFolderDeleted: nothing is known any more, and still nothing runs twice.
func TestFolderDeleted(t *testing.T) {
	for name, path := range map[string]string{"all": "web", "one instance": "web/instances/1"} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.want(program("stay"), `"count":2`, `"stop":{"grace":"1s"}`)
			b.turn(schema.Create)
			b.healthy()
			if err := os.RemoveAll(filepath.Join(b.d.Dir, path)); err != nil {
				t.Fatal(err)
			}
			c := b.plan()
			if _, err := b.d.Apply(t.Context(), c); err != nil || c.Action == schema.None {
				t.Fatal(c.Action, err)
			}
			b.healthy()
			if _, is := b.living(); !slices.Equal(is, []string{"0", "1"}) {
				t.Fatalf("instances %v live", is)
			}
		})
	}
}

func TestStale(t *testing.T) {
	b := newBench(t)
	b.want(program("stay"))
	b.turn(schema.Create)
	b.want(program("stay", "x"))
	c := b.plan()
	b.kill(b.pids()[0])
	b.eventually("the end", func() bool { return b.pids()[0] == 0 })
	if _, err := b.d.Apply(t.Context(), c); !errors.Is(err, drivers.ErrStale) {
		t.Fatalf("got %v", err)
	}
}

func TestWatch(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan string, 100)
	done := make(chan error, 1)
	go func() { done <- b.d.Watch(ctx, func(handles ...string) { told <- strings.Join(handles, " ") }) }()
	hear := func(what string, ok func() bool) {
		t.Helper()
		late := time.After(10 * time.Second)
		for !ok() {
			select {
			case handles := <-told:
				if handles != "process/web" {
					t.Fatalf("told of %q", handles)
				}
			case <-late:
				t.Fatalf("%s: not told", what)
			}
		}
	}
	status := func() drivers.HealthStatus { return b.look().Health.Status }
	b.want(program("stay"), `"restart":{"delay":"300ms"}`)
	b.turn(schema.Create)
	hear("settled", func() bool { return status() == drivers.Healthy })
	b.kill(b.pids()[0])
	hear("killed, and due", func() bool { return b.plan().Action == schema.Update })
	b.turn(schema.Update)
	hear("back", func() bool { return status() == drivers.Healthy })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestRunsAreForgotten(t *testing.T) {
	b := newBench(t)
	for i := range 6 {
		b.want(program("stay", itoa(i)))
		c := b.plan()
		if _, err := b.d.Apply(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	seqs, err := runs(instanceDir(b.d.groupDir("web"), 0))
	if err != nil || !slices.Equal(seqs, []int{4, 5, 6}) {
		t.Fatalf("runs %v, %v", seqs, err)
	}
	if st, err := detached.Open(runDir(instanceDir(b.d.groupDir("web"), 0), 5)); err != nil {
		t.Fatal(st, err)
	}
}
