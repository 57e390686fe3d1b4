package local_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
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

func fingerprint(plaintext []byte) string {
	m := hmac.New(sha256.New, []byte("a key of the environment"))
	_, _ = m.Write(plaintext)
	return hex.EncodeToString(m.Sum(nil))
}

// spec is a declaration of the test binary's helper "stay".
func spec(t *testing.T, fields map[string]any, args ...string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{"argv": append([]string{exe, "helper", "stay"}, args...)}
	for k, v := range fields {
		all[k] = v
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestConformance(t *testing.T) {
	grace := map[string]any{"signal": "TERM", "grace": "2s"}
	drivertest.Run(t, drivertest.Harness{
		Driver: "scheduler/local", Env: suiteEnv, Fingerprint: fingerprint, Open: openSuite,
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
		d := made(owner)
		it := drivers.Item{ID: schema.ID{Kind: local.Kind, Name: "behind"}, Handle: handle}
		if s != "" {
			it.Want = &drivers.Desired{Spec: json.RawMessage(s)}
		}
		turn(t, d, it)
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

func turn(t *testing.T, d *local.Driver, it drivers.Item) {
	t.Helper()
	states, err := d.Observe(t.Context(), []drivers.Item{it})
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Plan(t.Context(), it, states[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Apply(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

// mark puts another owner into the group's file.
func mark(t *testing.T, dir, handle, owner string) {
	t.Helper()
	path := filepath.Join(dir, filepath.Base(handle), "group.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var g map[string]any
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	g["owner"] = owner
	text, err = json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
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
