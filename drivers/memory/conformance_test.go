package memory_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/drivers/memory"
)

const env = "7f3a"

var seeds = flag.Int("memory.seeds", 20, "how many combinations of quirks the conformance suite runs over")

// harness is the suite's view of an engine with some quirks.
func harness(seed uint64, q memory.Quirks) drivertest.Harness {
	h := drivertest.Harness{Driver: "memory", Env: env, Fingerprint: drivertest.Fingerprint, Open: func(t *testing.T) *drivertest.Engine { return open(t, seed, q) }}
	for _, kind := range memory.Kinds() {
		s := drivertest.Sample{
			Kind:    kind,
			A:       `{"class":"a","count":2,"labels":{"team":"shop"},"size":8,"value":{"list":[1,2],"x":1}}`,
			B:       `{"class":"a","count":3,"labels":{"tier":"web"},"value":{"list":[1],"x":1}}`,
			C:       `{"class":"b","count":2,"labels":{"team":"shop"},"size":8,"value":{"list":[1,2],"x":1}}`,
			X:       `{"fail":"the engine does not like it"}`,
			Unknown: "/value/x", Secret: "/password",
			Outputs: []string{"id", "value", "size", "generation"},
			Marks:   !q.NoMarks, Opaque: q.OpaquePlans, WriteOnly: q.WriteOnly,
		}
		if kind == memory.KindGiven || kind == memory.KindThing && q.EngineIDs {
			s.AtLeastOnce = q.NonceUnsupported
		} else {
			s.P = `{"class":"a","id":"pinned-$NAME","value":1}`
		}
		if kind == memory.KindSecret {
			s.Secrets = []string{"value"}
		}
		h.Samples = append(h.Samples, s)
		if q.Deferred {
			s.Unknown, s.Deferred = "/count", true
			h.Samples = append(h.Samples, s)
		}
	}
	return h
}

func open(t *testing.T, seed uint64, q memory.Quirks) *drivertest.Engine {
	e := &memory.Engine{Seed: seed, Quirks: q}
	t.Cleanup(func() {
		for _, sin := range e.Sins() {
			t.Errorf("the engine saw: %s", sin)
		}
	})
	n := 0
	return &drivertest.Engine{
		New: func(*testing.T) drivers.Driver {
			return &memory.Driver{Engine: e, Env: env, Fingerprint: drivertest.Fingerprint}
		},
		Create: func(t *testing.T, s drivertest.Sample, handle, spec, owner string) string {
			id := ""
			if handle != "" {
				id = handle[len(s.Kind)+1:]
			} else {
				n++
				id = fmt.Sprintf("foreign-%d", n)
			}
			h, err := e.ForeignCreate(s.Kind, id, owner, json.RawMessage(spec))
			drivertest.Must(t, err)
			return h
		},
		Edit: func(t *testing.T, handle, spec string) {
			drivertest.Must(t, e.ForeignEdit(handle, json.RawMessage(spec)))
		},
		Delete: func(t *testing.T, handle string) { drivertest.Must(t, e.ForeignDelete(handle)) },
		Mark:   func(t *testing.T, handle, owner string) { drivertest.Must(t, e.ForeignMark(handle, owner)) },
		Reach:  func(on bool) { e.SetUnreachable(!on) },
		Deny:   e.SetDenied,
		Tick:   func() { e.Tick(1) },
	}
}

func TestConformance(t *testing.T) { drivertest.Run(t, harness(1, memory.Quirks{})) }

// TestConformanceOfQuirks runs the suite over each quirk alone, and over
// combinations drawn from seeds.
func TestConformanceOfQuirks(t *testing.T) {
	for name, q := range alone() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			drivertest.Run(t, harness(1, q))
		})
	}
	for seed := range uint64(*seeds) {
		q := draw(seed)
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			t.Logf("%+v", q)
			drivertest.Run(t, harness(seed, q))
		})
	}
}

func alone() map[string]memory.Quirks {
	return map[string]memory.Quirks{
		"NoCAS": {NoCAS: true}, "EngineIDs": {EngineIDs: true}, "NonceUnsupported": {EngineIDs: true, NonceUnsupported: true},
		"NoMarks": {NoMarks: true}, "WriteOnly": {WriteOnly: true}, "OpaquePlans": {OpaquePlans: true},
		"TwoCallCreates": {TwoCallCreates: true}, "NoisyDefaults": {NoisyDefaults: true}, "Deferred": {Deferred: true},
		"SlowPlans": {SlowPlans: 3}, "SlowHealth": {SlowHealth: 5}, "SlowDeletes": {SlowDeletes: 5},
		"TornReads": {TornReads: 3}, "LateLanding": {LateLanding: 4},
		"FaultBefore": {FaultBefore: .3}, "FaultAfter": {FaultAfter: .3}, "FaultRead": {FaultRead: .2},
	}
}

func draw(seed uint64) memory.Quirks {
	r := rand.New(rand.NewPCG(seed, 7))
	on := func() bool { return r.IntN(2) == 0 }
	some := func(n int) int { return r.IntN(2) * (1 + r.IntN(n)) }
	often := func() float64 { return float64(r.IntN(2)) * r.Float64() * .3 }
	return memory.Quirks{
		NoCAS: on(), EngineIDs: on(), NonceUnsupported: on(), NoMarks: on(), WriteOnly: on(), OpaquePlans: on(),
		TwoCallCreates: on(), NoisyDefaults: on(), Deferred: on(),
		SlowPlans: some(3), SlowHealth: some(5), SlowDeletes: some(5), TornReads: some(3), LateLanding: some(5),
		FaultBefore: often(), FaultAfter: often(), FaultRead: often(),
	}
}
