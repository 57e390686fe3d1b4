package local

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/detached"
	"github.com/aplomb-dev/aplomb/schema"
)

const env = "7f3a"

// bench is a driver on a folder of its own, and a declaration.
type bench struct {
	*testing.T
	d  *Driver
	it *drivers.Item
}

func newBench(t *testing.T) *bench {
	base := t.TempDir()
	b := &bench{T: t, d: &Driver{Env: env, Dir: filepath.Join(base, "data"), Root: filepath.Join(base, "root")}}
	t.Cleanup(func() { stopAll(t, b.d.Dir) })
	return b
}

// restart is what a daemon's restart leaves of the driver.
func (b *bench) restart() { b.d = &Driver{Env: b.d.Env, Dir: b.d.Dir, Root: b.d.Root} }

// stopAll ends everything that runs below dir.
func stopAll(t *testing.T, dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	dirs, _ := filepath.Glob(filepath.Join(dir, "*", "instances", "*", "*"))
	for _, run := range dirs {
		r, err := detached.Open(run)
		if err != nil {
			continue
		}
		if _, err := r.Stop(ctx, detached.Stop{Signal: "KILL"}); err != nil {
			t.Errorf("cleaning up: %v", err)
		}
	}
	left, err := detached.Find(dir + "/")
	if err == nil {
		err = detached.End(ctx, left, detached.Stop{Signal: "KILL"})
	}
	if err != nil {
		t.Errorf("cleaning up: %v", err)
	}
}

// program is the argv of a helper, as JSON.
func program(args ...string) string {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	b, _ := json.Marshal(append([]string{exe, "helper"}, args...))
	return string(b)
}

// want declares "web" with argv and more fields: `"count":2`.
func (b *bench) want(argv string, more ...string) {
	b.Helper()
	spec := `{` + strings.Join(append(more, `"argv":`+argv), ",") + `}`
	handle, err := b.d.Address(Kind, "web", json.RawMessage(spec))
	if err != nil {
		b.Fatal(err)
	}
	if b.it == nil {
		b.it = &drivers.Item{ID: schema.ID{Kind: Kind, Name: "web", Target: "local"}}
	}
	b.it.Handle, b.it.Want = handle, &drivers.Desired{Spec: json.RawMessage(spec)}
}

// resource is what the driver does with the declaration as it stands.
func (b *bench) resource() *drivertest.Resource {
	return &drivertest.Resource{T: b.T, Driver: b.d, Item: *b.it}
}

func (b *bench) look() drivers.State {
	b.Helper()
	return b.resource().Observe()
}

func (b *bench) plan() drivers.Change {
	b.Helper()
	return b.resource().Plan()
}

// turn plans and applies once.
func (b *bench) turn(want schema.Action) drivers.Change {
	b.Helper()
	c := b.plan()
	if c.Action != want {
		b.Fatalf("action %s, want %s: %+v", c.Action, want, c)
	}
	s, err := b.d.Apply(b.Context(), c)
	if err != nil {
		b.Fatal(err)
	}
	if b.it.Want != nil {
		b.it.Last = &drivers.Applied{Handle: s.Handle, Version: s.Version, Spec: b.it.Want.Spec}
	}
	return c
}

// settled fails unless nothing is left to do.
func (b *bench) settled() {
	b.Helper()
	if c := b.plan(); c.Action != schema.None {
		b.Fatalf("not settled: %s %+v (%s)", c.Action, c.Diff, c.Why)
	}
}

func (b *bench) eventually(what string, ok func() bool) {
	b.Helper()
	late := time.After(15 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-late:
			b.Fatalf("never happened: %s; now %+v", what, b.look().Health)
		case <-tick.C:
		}
	}
}

func (b *bench) healthy() {
	b.Helper()
	b.eventually("healthy", func() bool { return b.look().Health.Status == drivers.Healthy })
}

// pids are those of the running instances, by index; 0 where none runs.
func (b *bench) pids() []int {
	b.Helper()
	var pids []int
	s := b.look()
	if !s.Exists {
		return nil
	}
	for _, i := range s.Raw.(*observed).insts {
		if pid := 0; i.running() {
			pid = i.status.Child.PID
			pids = append(pids, pid)
		} else {
			pids = append(pids, pid)
		}
	}
	return pids
}

// living are the pids of all processes that carry the mark of this folder,
// whatever the driver knows of them, and the instances that they say they are.
func (b *bench) living() (pids []int, instances []string) {
	b.Helper()
	found, err := detached.Find(b.d.Dir + "/")
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range found {
		pids = append(pids, p.PID)
		instances = append(instances, filepath.Base(filepath.Dir(p.Dir)))
	}
	slices.Sort(instances)
	return pids, instances
}

func TestLife(t *testing.T) {
	b := newBench(t)
	b.want(program("stay"), `"count":2`)
	b.turn(schema.Create)
	b.healthy()
	b.settled()
	before := b.pids()
	b.restart()
	b.settled()
	if after := b.pids(); !slices.Equal(before, after) || len(after) != 2 {
		t.Fatalf("pids %v became %v by a restart", before, after)
	}
	if _, is := b.living(); !slices.Equal(is, []string{"0", "1"}) {
		t.Fatalf("instances %v", is)
	}
	b.want(program("stay", "longer"), `"count":2`)
	if c := b.turn(schema.Update); len(c.Diff) != 1 || c.Diff[0].Path != "/argv" {
		t.Fatalf("diff %+v", c.Diff)
	}
	b.healthy()
	b.settled()
	b.it.Want = nil
	b.turn(schema.Delete)
	if s := b.look(); s.Exists {
		t.Fatal("it lives still")
	}
	if pids, _ := b.living(); len(pids) != 0 {
		t.Fatalf("processes %v are left", pids)
	}
	if left, _ := os.ReadDir(b.groupDirs()); len(left) != 0 {
		t.Fatalf("left: %v", left)
	}
}

func (b *bench) groupDirs() string { return filepath.Join(b.d.Dir, ".trash") }
