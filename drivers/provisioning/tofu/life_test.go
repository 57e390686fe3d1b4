//go:build e2e

package tofu

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver(t.TempDir())
	r := drivertest.NewResource(t, d, Kind, "life", w.things(t, thingsVars{Names: names(3), Content: "one"}, ""))

	created := r.Settle(schema.Create)
	if string(created.Outputs["ids"].Value) != `["id-t00","id-t01","id-t02"]` || created.Health.Status != drivers.Healthy {
		t.Fatalf("created: %+v", created)
	}

	want := w.things(t, thingsVars{Names: names(3), Content: "two"}, "")
	r.Item.Want = &want
	if c := r.Plan(); paths(c.Diff) != "update /!resources/aplombtest_thing.t[\"t00\"]\nupdate /!resources/aplombtest_thing.t[\"t01\"]\nupdate /!resources/aplombtest_thing.t[\"t02\"]\nupdate /vars/content" ||
		string(c.Diff[0].Before) != `{"content":"one"}` || string(c.Diff[0].After) != `{"content":"two"}` || string(c.Outputs["ids"].Value) != `["id-t00","id-t01","id-t02"]` {
		t.Fatalf("%s\n%s", paths(c.Diff), drivertest.JSON(t, c))
	}
	r.Settle(schema.Update)

	w.edit(t, "t01", func(m map[string]any) { m["content"] = "by hand" })
	drivertest.Must(t, os.Remove(w.file("t02")))
	c := r.Plan()
	if c.Action != schema.Update || paths(c.Diff) != "update /!outputs/ids\nupdate /!resources/aplombtest_thing.t[\"t01\"]\ncreate /!resources/aplombtest_thing.t[\"t02\"]" || !strings.Contains(c.Why, "something else changed") {
		t.Fatalf("drift: %s %s\n%s", c.Action, c.Why, paths(c.Diff))
	}
	r.Settle(schema.Update)

	want = w.things(t, thingsVars{Names: names(2), Content: "two"}, "")
	r.Item.Want = &want
	if c := r.Plan(); c.Action != schema.Replace || c.Before == nil {
		t.Fatalf("a thing is destroyed within, and the action is %s", c.Action)
	}
	r.Settle(schema.Replace)
	want = w.things(t, thingsVars{Names: names(2), Content: "two", Zone: "b"}, "")
	r.Item.Want = &want
	if c := r.Plan(); c.Action != schema.Replace || c.Diff[1].Op != schema.Replace || !strings.Contains(string(c.Diff[1].After), `"zone":"b"`) {
		t.Fatalf("a thing is made anew within: %s", drivertest.JSON(t, c))
	}
	r.Settle(schema.Replace)

	// A check that fails is told, and heals.
	want = w.things(t, thingsVars{Names: names(2), Content: "bad", Zone: "b"}, "")
	r.Item.Want = &want
	if s := r.Settle(schema.Update); s.Health.Status != drivers.Unhealthy || !strings.Contains(s.Health.Reason, "the content is bad") {
		t.Fatalf("a check fails, and the health is %+v", s.Health)
	}
	want = w.things(t, thingsVars{Names: names(2), Content: "two", Zone: "b"}, "")
	r.Item.Want = &want
	if s := r.Settle(schema.Update); s.Health.Status != drivers.Healthy {
		t.Fatalf("the check holds again: %+v", s.Health)
	}

	// Only a comment of the module: written down, nothing runs.
	want = w.things(t, thingsVars{Names: names(2), Content: "two", Zone: "b"}, "# a comment\n")
	r.Item.Want = &want
	before := len(w.written(t))
	if c := r.Plan(); paths(c.Diff) != "update /!module" {
		t.Fatalf("a comment: %s", paths(c.Diff))
	}
	r.Settle(schema.Update)
	if len(w.written(t)) != before {
		t.Error("a comment wrote something")
	}

	// Git has nothing of it any more.
	r.Driver, r.Item.Want = w.driver(d.Dir), nil
	gone := r.Plan()
	if gone.Action != schema.Delete || paths(gone.Diff) != "delete /!outputs/ids\ndelete /!resources/aplombtest_thing.t[\"t00\"]\ndelete /!resources/aplombtest_thing.t[\"t01\"]" {
		t.Fatalf("%s: %s", gone.Action, paths(gone.Diff))
	}
	if s := r.Settle(schema.Delete); s.Exists || len(w.made(t)) > 0 {
		t.Fatalf("destroyed: %+v, %v", s, w.made(t))
	}
	if left, err := os.ReadDir(filepath.Join(d.Dir, "env-1")); err != nil || len(left) != 1 {
		t.Errorf("%v are left, %v", left, err)
	}
}

func TestFailsAndIsFixed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver(t.TempDir())
	r := drivertest.NewResource(t, d, Kind, "fails", w.things(t, thingsVars{Names: names(4), Content: "one", Failing: "t02"}, ""))
	_, err := r.Apply(r.Plan())
	if drivers.Class(err) != drivers.ErrRetryable || !strings.Contains(err.Error(), `aplombtest_thing.t["t02"]: Told to fail`) {
		t.Fatalf("%v of class %v", err, drivers.Class(err))
	}
	s := r.Observe()
	if !s.Exists || s.Health.Status != drivers.Unhealthy || !strings.Contains(s.Health.Reason, "Told to fail") {
		t.Fatalf("%+v", s)
	}
	if made := w.made(t); len(made) != 3 {
		t.Fatalf("made: %v", made)
	}
	want := w.things(t, thingsVars{Names: names(4), Content: "one"}, "")
	r.Item.Want = &want
	if s := r.Settle(schema.Update); s.Health.Status != drivers.Healthy || len(w.made(t)) != 4 {
		t.Fatalf("fixed: %+v, %v", s, w.made(t))
	}
	creates := 0
	for _, l := range w.written(t) {
		if strings.HasPrefix(l, "create:") {
			creates++
		}
	}
	if creates != 4 {
		t.Errorf("%d creates for 4 things: %v", creates, w.written(t))
	}
	// A destroy that fails in the middle, and goes on.
	r.Item.Want = nil
	r.Settle(schema.Delete)
}

func TestStalePlan(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver(t.TempDir())
	r := drivertest.NewResource(t, d, Kind, "stale", w.things(t, thingsVars{Names: names(2), Content: "one"}, ""))
	r.Settle(schema.Create)
	want := w.things(t, thingsVars{Names: names(2), Content: "two"}, "")
	r.Item.Want = &want
	old := r.Plan()
	saved, err := filepath.Glob(filepath.Join(d.Dir, "env-1", "stale", planPrefix+"*"))
	drivertest.Must(t, err)
	if info, err := os.Stat(saved[0]); err != nil || len(saved) != 1 || info.Mode().Perm() != 0o600 {
		t.Errorf("saved plans: %v, %v", saved, err)
	}
	// Another plan takes its place.
	newer := r.Plan()
	if _, err := r.Apply(old); !errors.Is(err, drivers.ErrStale) {
		t.Fatalf("a plan that was replaced: %v", err)
	}
	// Somebody uses the tool by hand: the tool itself would refuse.
	s, err := d.stackOf(r.Item.Handle)
	drivertest.Must(t, err)
	tool, err := d.tool(t.Context())
	drivertest.Must(t, err)
	end, err := d.run(t.Context(), tool, s, nil, "state", "rm", `aplombtest_thing.t["t01"]`)
	if err != nil || end.code != 0 {
		t.Fatalf("%v %s", err, end.errs)
	}
	if _, err := r.Apply(newer); !errors.Is(err, drivers.ErrStale) {
		t.Fatalf("a plan of another state: %v", err)
	}
	p := newer.Opaque.(plan)
	if p.base, err = s.base(); err != nil {
		t.Fatal(err)
	}
	newer.Opaque = p
	if _, err := r.Apply(newer); !errors.Is(err, drivers.ErrStale) || r.Observe().Health.Status != drivers.Healthy {
		t.Fatalf("the tool refuses a plan of another state: %v", err)
	}
	r.Settle(schema.Update)
	if left, err := filepath.Glob(filepath.Join(d.Dir, "env-1", "stale", planPrefix+"*")); err != nil || len(left) > 0 {
		t.Errorf("saved plans are left: %v, %v", left, err)
	}
}

func TestRecordIsNoSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver(t.TempDir())
	log := &drivertest.Log{}
	d.Log = log.Logger()
	const canary = `c4n4ry-of-tofu "k&y" <a/b+c>=é%`
	want := w.things(t, thingsVars{Names: names(2), Content: "one", Failing: "t01"}, "")
	want.Spec = json.RawMessage(strings.Replace(string(want.Spec), `"secretVars":{}`, `"secretVars":{"secret":"`+schema.Token(drivertest.Fingerprint([]byte(canary)))+`"}`, 1))
	r := drivertest.NewResource(t, d, Kind, "secret", want)
	r.Secrets = map[schema.Path]schema.Secret{"/secretVars/secret": schema.NewSecret(canary)}
	c := r.Plan()
	_, err := r.Apply(c) // fails, and the provider repeats the secret
	if err == nil || !strings.Contains(err.Error(), "Told to fail") || !strings.Contains(err.Error(), schema.Redacted) {
		t.Fatalf("%v", err)
	}
	said := filepath.Join(t.TempDir(), "said")
	s := r.Observe()
	s.Raw, c.Opaque, c.Secrets = nil, nil, nil
	drivertest.Must(t, os.WriteFile(said, fmt.Appendf(nil, "%v %+v %s %s %s %s", err, err, drivers.HintOf(err), drivertest.JSON(t, c), drivertest.JSON(t, s), log.String()), 0o600))
	r.Item.Want.Spec = json.RawMessage(strings.Replace(string(want.Spec), `,"failing":"t01"`, ``, 1))
	r.Settle(schema.Update)
	drivertest.Nowhere(t, filepath.Dir(said), canary)
	if n := drivertest.Nowhere(t, d.Dir, canary); n < 8 {
		t.Errorf("only %d files were searched", n)
	}
	if n := len(w.made(t)); n != 2 {
		t.Errorf("%d things", n)
	}
}
