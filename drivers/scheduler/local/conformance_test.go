package local_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/drivers/scheduler/local"
	"github.com/aplomb-dev/aplomb/internal/detached"
	"github.com/aplomb-dev/aplomb/schema"
)

const suiteEnv = "11ce"

// spec is a declaration of the test binary's helper "stay".
func spec(t *testing.T, fields map[string]any, args ...string) string {
	t.Helper()
	exe, err := os.Executable()
	drivertest.Must(t, err)
	all := map[string]any{"argv": append([]string{exe, "helper", "stay"}, args...)}
	for k, v := range fields {
		all[k] = v
	}
	return string(drivertest.JSON(t, all))
}

func TestConformance(t *testing.T) {
	grace := map[string]any{"signal": "TERM", "grace": "2s"}
	drivertest.Run(t, drivertest.Harness{
		Driver: "scheduler/local", Env: suiteEnv, Fingerprint: drivertest.Fingerprint, Open: openSuite,
		Samples: []drivertest.Sample{{
			Kind:    local.Kind,
			A:       spec(t, map[string]any{"env": map[string]any{"COLOUR": "red", "SIZE": 3}, "count": 2, "stop": grace}),
			B:       spec(t, map[string]any{"env": map[string]any{"COLOUR": "blue"}, "count": 1, "stop": grace}, "longer"),
			C:       spec(t, map[string]any{"type": "batch", "count": 2, "stop": grace}),
			P:       spec(t, map[string]any{"id": "pinned-$NAME", "stop": grace}),
			X:       `{"argv":[]}`,
			Unknown: "/env/COLOUR", Secret: "/env/PASSWORD",
			Outputs: []string{"instances", "dir"},
			Marks:   true,
		}},
	})
}

// openSuite is an engine for the conformance suite: a folder.
func openSuite(t *testing.T) *drivertest.Engine {
	base := t.TempDir()
	dir := filepath.Join(base, "data")
	t.Cleanup(func() { endAll(t, dir) })
	made := func(owner string) *local.Driver {
		return &local.Driver{Env: owner, Dir: dir, Root: filepath.Join(base, "root")}
	}
	apply := func(t *testing.T, owner, handle string, s string) {
		it := drivers.Item{ID: schema.ID{Kind: local.Kind, Name: "behind"}, Handle: handle}
		if s != "" {
			it.Want = &drivers.Desired{Spec: json.RawMessage(s)}
		}
		r := drivertest.Resource{T: t, Driver: made(owner), Item: it}
		_, err := r.Apply(r.Plan())
		drivertest.Must(t, err)
	}
	return &drivertest.Engine{
		New: func(*testing.T) drivers.Driver { return made(suiteEnv) },
		Create: func(t *testing.T, _ drivertest.Sample, handle, s, owner string) string {
			apply(t, owner, handle, s)
			return handle
		},
		Edit:    func(t *testing.T, handle, s string) { apply(t, suiteEnv, handle, s) },
		Delete:  func(t *testing.T, handle string) { apply(t, suiteEnv, handle, "") },
		Mark:    func(t *testing.T, handle, owner string) { mark(t, dir, handle, owner) },
		Private: []string{dir},
	}
}

// mark puts another owner into the group's file.
func mark(t *testing.T, dir, handle, owner string) {
	t.Helper()
	path := filepath.Join(dir, filepath.Base(handle), "group.json")
	drivertest.EditJSON(t, path, func(group map[string]any) { group["owner"] = owner })
}

func endAll(t *testing.T, dir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	left, err := detached.Find(dir + "/")
	if err == nil {
		err = detached.End(ctx, left, detached.Stop{Signal: "KILL"})
	}
	if err != nil {
		t.Errorf("cleaning up: %v", err)
	}
	// The shims write their last word into the folder that is to be deleted.
	dirs, _ := filepath.Glob(filepath.Join(dir, "*", "instances", "*", "*"))
	for _, d := range dirs {
		if run, err := detached.Open(d); err == nil {
			_, _ = run.Wait(ctx)
		}
	}
}
