package drivers_test

import (
	"encoding/json"
	"testing"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/schema"
)

const env = "7f3a"

// item declares one resource of the memory driver.
func item(kind, name, spec string) drivers.Item {
	return drivers.Item{
		ID: schema.ID{Kind: kind, Name: name, Target: "mem"}, Handle: kind + "/" + name,
		Want: &drivers.Desired{Spec: json.RawMessage(spec)},
	}
}

// harness is the conformance suite over memory engines, whose drivers are
// decorated by wrap.
func harness(name string, wrap func(*memory.Driver) drivers.Driver) drivertest.Harness {
	open := func(*testing.T) *drivertest.Engine {
		e := &memory.Engine{Quirks: memory.Quirks{FaultRead: .1}}
		return &drivertest.Engine{
			New: func(*testing.T) drivers.Driver { return wrap(&memory.Driver{Engine: e, Env: env}) },
			Edit: func(t *testing.T, handle, spec string) {
				if err := e.ForeignEdit(handle, json.RawMessage(spec)); err != nil {
					t.Fatal(err)
				}
			},
			Deny: e.SetDenied,
			Tick: func() { e.Tick(1) },
		}
	}
	h := drivertest.Harness{Driver: name, Env: env, Open: open}
	for _, kind := range memory.Kinds() {
		s := drivertest.Sample{
			Kind: kind, A: `{"class":"a","value":1}`, B: `{"class":"a","value":2}`, C: `{"class":"b","value":1}`, D: `{"class":"a","value":3}`,
			X: `{"fail":"no"}`, Unknown: "/value", Secret: "/password", Outputs: []string{"id", "value", "size", "generation"}, Marks: true,
		}
		if kind == memory.KindSecret {
			s.Secrets = []string{"value"}
		}
		h.Samples = append(h.Samples, s)
	}
	return h
}

// TestDecoratedConformance: a decorated driver is a driver, with all the
// optional interfaces of what it decorates.
func TestDecoratedConformance(t *testing.T) {
	log, _ := logtest.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	all := map[string]func(drivers.Driver) drivers.Driver{
		"Retry": func(d drivers.Driver) drivers.Driver { return &drivers.Retry{Driver: d, Wait: 1} },
		"Limit": func(d drivers.Driver) drivers.Driver { return &drivers.Limit{Driver: d, Calls: 2} },
		"Log":   func(d drivers.Driver) drivers.Driver { return &drivers.Log{Driver: d, Logger: log} },
		"Meter": func(d drivers.Driver) drivers.Driver { return &drivers.Meter{Driver: d} },
		"Mux": func(d drivers.Driver) drivers.Driver {
			return drivers.Mux{memory.KindThing: d, memory.KindGiven: d, memory.KindSecret: d}
		},
	}
	for name, decorate := range all {
		t.Run(name, func(t *testing.T) {
			drivertest.Run(t, harness(name, func(d *memory.Driver) drivers.Driver { return decorate(d) }))
		})
	}
	t.Run("all", func(t *testing.T) {
		drivertest.Run(t, harness("all", func(m *memory.Driver) drivers.Driver {
			d := drivers.Driver(m)
			for _, decorate := range all {
				d = decorate(d)
			}
			return d
		}))
	})
}

func TestLogTellsNoError(t *testing.T) {
	log, hook := logtest.NewNullLogger()
	log.SetLevel(logrus.DebugLevel)
	e := &memory.Engine{}
	d := &drivers.Log{Driver: &memory.Driver{Engine: e, Env: env}, Logger: log}
	it := item(memory.KindThing, "web", `{"fail":"a cause that is for the caller"}`)
	live, err := d.Observe(t.Context(), []drivers.Item{it})
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Plan(t.Context(), it, live[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Apply(t.Context(), c); err == nil {
		t.Fatal("the engine refuses this spec, and Apply did not fail")
	}
	want := []struct {
		message string
		level   logrus.Level
		key     string
		value   any
	}{
		{"observed", logrus.DebugLevel, "items", 1},
		{"planned", logrus.DebugLevel, "action", "create"},
		{"applied", logrus.InfoLevel, "class", "refused"},
	}
	entries := hook.AllEntries()
	if len(entries) != len(want) {
		t.Fatalf("%d entries, want %d", len(entries), len(want))
	}
	for i, w := range want {
		got := entries[i]
		if got.Message != w.message || got.Level != w.level || got.Data[w.key] != w.value {
			t.Errorf("entry %d is %s %q %v, want %s %q with %s=%v", i, got.Level, got.Message, got.Data, w.level, w.message, w.key, w.value)
		}
		if _, has := got.Data["error"]; has {
			t.Errorf("entry %d tells the error, which is the caller's", i)
		}
	}
}

func TestMeterCounts(t *testing.T) {
	e := &memory.Engine{}
	d := &drivers.Meter{Driver: &memory.Driver{Engine: e, Env: env}}
	if n := len(d.Snapshot()); n != 0 {
		t.Fatalf("%d operations before the first call", n)
	}
	it := item(memory.KindThing, "web", `{"value":1}`)
	live, err := d.Observe(t.Context(), []drivers.Item{it, it})
	if err != nil {
		t.Fatal(err)
	}
	e.SetUnreachable(true)
	if _, err := d.Observe(t.Context(), []drivers.Item{it}); err == nil {
		t.Fatal("out of reach, and no error")
	}
	if _, err := d.Plan(t.Context(), it, live[0]); err != nil {
		t.Fatal(err)
	}
	got := d.Snapshot()
	if o := got["observe"]; o.Calls != 2 || o.Items != 3 || o.Running != 0 || o.Failed["out of reach"] != 1 || o.Busy < o.Slowest {
		t.Errorf("observe: %+v", o)
	}
	if o := got["plan"]; o.Calls != 1 || o.Items != 1 || len(o.Failed) != 0 {
		t.Errorf("plan: %+v", o)
	}
	got["observe"].Failed["out of reach"] = 7
	if d.Snapshot()["observe"].Failed["out of reach"] != 1 {
		t.Error("a snapshot is not a copy")
	}
}
