//go:build e2e

package reconciler_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/drivers/mesh/consul"
	"github.com/aplomb-dev/aplomb/drivers/scheduler/nomad"
	"github.com/aplomb-dev/aplomb/drivers/secret/vault"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/internal/reconcilertest"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestMain(m *testing.M) { os.Exit(enginetest.Main(m)) }

const (
	engineEnv = "7f3a0000000000000000000000000000"
	things    = 1000
	atOnce    = 16
	rounds    = 5
)

// subject is an engine with many things of one kind, made by aplomb and by the
// engine's own client.
type subject struct {
	address string // of the engine
	kind    string
	spec    func(i int, word string) any
	driver  func(address string) drivers.Driver
	bare    func(tb testing.TB, address string) bare
}

func subjects(tb testing.TB) map[string]subject {
	token := func() (schema.Secret, error) { return schema.NewSecret(enginetest.Vault(tb).Token), nil }
	return map[string]subject{
		"VaultPolicies": {
			address: enginetest.Vault(tb).Address, kind: "vault.policy",
			spec: func(i int, word string) any { return map[string]any{"policy": policyText(i, word)} },
			driver: func(address string) drivers.Driver {
				return &vault.Driver{Env: engineEnv, URL: address, Token: token, Fingerprint: drivertest.Fingerprint, Concurrency: atOnce}
			},
			bare: bareVault,
		},
		"ConsulKeys": {
			address: enginetest.Consul(tb).Address, kind: "consul.kv",
			spec: func(i int, word string) any { return map[string]any{"Key": keyOf(i), "Value": word} },
			driver: func(address string) drivers.Driver {
				return &consul.Driver{Env: engineEnv, URL: address, Concurrency: atOnce}
			},
			bare: bareConsul,
		},
		"NomadJobs": {
			address: enginetest.Nomad(tb).Address, kind: "nomad.job",
			spec: func(i int, word string) any { return map[string]any{"job": jobOf(i, word)} },
			driver: func(address string) drivers.Driver {
				return &nomad.Driver{Env: engineEnv, URL: address, Fingerprint: drivertest.Fingerprint, Concurrency: atOnce}
			},
			bare: bareNomad,
		},
	}
}

// each calls f for every thing, so many at once.
func each(f func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, atOnce)
	for w := range atOnce {
		wg.Go(func() {
			for i := w; i < things && errs[w] == nil; i += atOnce {
				errs[w] = f(i)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// environment is a reconciler over one engine, which looks at its source when
// it is asked to alone.
type environment struct {
	*reconcilertest.Running
	source *reconcilertest.Source
}

func newEnvironment(tb testing.TB, s subject, address string) *environment {
	tb.Helper()
	e := &environment{source: &reconcilertest.Source{}}
	e.Running = reconcilertest.Start(tb, reconcilertest.Config{
		ID: engineEnv, Source: e.source, Interval: time.Hour, Resync: time.Hour,
		Target: drivers.Target{
			Name: "engine", Engine: "engine", Kinds: []string{s.kind}, Driver: s.driver(address), Identity: s.address, Concurrency: atOnce, Linger: 10 * time.Second,
		},
	})
	return e
}

// converge declares, and waits until that is converged. It goes by the event,
// which is there at once and costs nothing, not by the status, as
// Running.Converges does: time is measured by it.
func (e *environment) converge(tb testing.TB, res []schema.Resource) {
	tb.Helper()
	e.source.Declare(res...)
	ctx, cancel := context.WithTimeout(tb.Context(), 2*time.Minute)
	defer cancel()
	_, events := e.Events(ctx, 1<<62)
	e.Kick()
	want := e.source.Tip().ID
	for ev := range events {
		if ev.Type == "converged" && ev.Revision == want {
			return
		}
		if ev.Type == "failed" || ev.Type == "refused" {
			tb.Logf("%s %s: %s", ev.Type, ev.ID, ev.Message)
		}
	}
	st := e.Status()
	for _, r := range st.Resources[:min(3, len(st.Resources))] {
		tb.Logf("%s %s: %s", r.ID, r.State, r.Reason)
	}
	tb.Fatalf("not converged: %+v, %+v", st.Counts, st.Refused)
}

// all declares every thing of a subject; the first has a word of its own.
func (s subject) all(tb testing.TB, first, word string) []schema.Resource {
	tb.Helper()
	res := make([]schema.Resource, things)
	for i := range res {
		w := word
		if i == 0 {
			w = first
		}
		spec, err := json.Marshal(s.spec(i, w))
		must(tb, err)
		res[i] = schema.Resource{ID: schema.ID{Kind: s.kind, Name: nameOf(i)}, Spec: canonical(tb, spec), Pos: schema.Pos{File: "all.yaml", Line: i + 1}}
	}
	return res
}

func canonical(tb testing.TB, spec []byte) json.RawMessage {
	tb.Helper()
	var v any
	must(tb, json.Unmarshal(spec, &v))
	b, err := json.Marshal(v)
	must(tb, err)
	return b
}

// BenchmarkEngines compares aplomb with the engine's own client in turn: 1,000
// things from nothing, and one of them changed. The ratio is that of the
// medians. Of aplomb the time is from a commit until its revision is converged;
// what compiles declarations is not in it. Beside the times it tells how much
// of the processors each side's own process took, which a machine that is busy
// with other work disturbs less.
func BenchmarkEngines(b *testing.B) {
	for name, s := range subjects(b) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				compare(b, s)
			}
		})
	}
}

// race is what one side took, in each round.
type race struct{ create, one, used []time.Duration }

func timed(to *[]time.Duration, f func()) {
	since := time.Now()
	f()
	*to = append(*to, time.Since(since))
}

func compare(b *testing.B, s subject) {
	var ours, theirs race
	c := s.bare(b, s.address)
	clear := func() {
		must(b, each(c.remove))
		if c.rest != nil {
			must(b, c.rest())
		}
	}
	for n := range rounds {
		word := fmt.Sprintf("word%d", n)
		us := func() {
			all, other := s.all(b, word, word), s.all(b, "other", word)
			e := newEnvironment(b, s, s.address)
			before := processor(b)
			timed(&ours.create, func() { e.converge(b, all) })
			ours.used = append(ours.used, processor(b)-before)
			timed(&ours.one, func() { e.converge(b, other) })
			e.Stop()
			clear()
		}
		them := func() {
			before := processor(b)
			timed(&theirs.create, func() {
				c.put(b, func(write func(i int, word string) error) error {
					return each(func(i int) error { return write(i, word) })
				})
			})
			theirs.used = append(theirs.used, processor(b)-before)
			timed(&theirs.one, func() {
				c.put(b, func(write func(i int, word string) error) error { return write(0, "other") })
			})
			clear()
		}
		if n%2 == 1 {
			us, them = them, us
		}
		us()
		them()
	}
	median := func(d []time.Duration) float64 { slices.Sort(d); return d[len(d)/2].Seconds() }
	for _, m := range []struct {
		name         string
		ours, theirs []time.Duration
	}{{"create", ours.create, theirs.create}, {"one", ours.one, theirs.one}, {"cpu", ours.used, theirs.used}} {
		b.ReportMetric(median(m.ours), m.name+"-s")
		b.ReportMetric(median(m.theirs), m.name+"-bare-s")
		if m.name != "one" { // of a few milliseconds, most of which are two durable writes
			b.ReportMetric(median(m.ours)/median(m.theirs), m.name+"-ratio")
		}
	}
	b.ReportMetric(0, "ns/op")
}

// put looks, writes by f and waits until that is well.
func (c bare) put(tb testing.TB, f func(write func(i int, word string) error) error) {
	tb.Helper()
	at, err := c.look()
	must(tb, err)
	must(tb, f(func(i int, word string) error { return c.write(i, word, at[nameOf(i)]) }))
	if c.well != nil {
		must(tb, c.well())
	}
}

// processor is the time that this process has spent on processors.
func processor(tb testing.TB) time.Duration {
	tb.Helper()
	var used syscall.Rusage
	must(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// TestNothingIsAsked: between resyncs an engine is asked nothing about what
// did not change, not even when a newer commit changes something else.
func TestNothingIsAsked(t *testing.T) {
	for name, s := range subjects(t) {
		t.Run(name, func(t *testing.T) {
			p := enginetest.NewProxy(t, s.address)
			e := newEnvironment(t, s, p.Address)
			all := s.all(t, "one", "one")[:20]
			e.converge(t, all)
			p.Requests()
			e.converge(t, all) // another revision that declares the same
			if asked := mention(p.Requests(), ""); len(asked) > 0 {
				t.Errorf("nothing changed, and asked was %q", asked)
			}
			changed := s.all(t, "two", "one")[:20]
			e.converge(t, changed)
			requests := p.Requests()
			for i := 1; i < len(all); i++ {
				if asked := mention(requests, nameOf(i)); len(asked) > 0 {
					t.Errorf("%s did not change, and asked was %q", nameOf(i), asked)
				}
			}
			e.Stop()
			c := s.bare(t, s.address)
			for i := range all {
				must(t, c.remove(i))
			}
		})
	}
}

// mention are the requests, blocking ones apart, whose path ends in name.
func mention(asked map[string]int, name string) []string {
	var all []string
	for request := range asked {
		if strings.Contains(request, "/event/stream") {
			continue
		}
		if strings.HasSuffix(request, name) {
			all = append(all, request)
		}
	}
	return all
}
