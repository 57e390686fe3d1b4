//go:build e2e

package nomad

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/schema"
)

const (
	benchJobs = 1000
	benchRuns = 5
)

// race is what one side takes for each of the three things.
type race struct{ create, nothing, one []time.Duration }

// BenchmarkAgainstTheClient makes a thousand jobs of count 0, looks at them with
// nothing to do, and alters one: by the driver, and by Nomad's bare client with
// as many connections, which reads back what it wrote and verifies it by a plan.
// It tells the medians of alternating runs and their ratio.
func BenchmarkAgainstTheClient(b *testing.B) {
	n := enginetest.NomadWith(b, fmt.Sprintf(agent, "127.0.0.1:1"))
	own, bare := &race{}, &race{}
	clear := func() {
		c, err := api.NewClient(&api.Config{Address: n.Address})
		drivertest.Must(b, err)
		(&bench{api: c}).clear(b)
		drivertest.Must(b, c.System().GarbageCollect())
	}
	clear()
	b.Cleanup(clear)
	for b.Loop() {
		for range benchRuns {
			byDriver(b, own, &Driver{Env: env, URL: n.Address, Fingerprint: drivertest.Fingerprint})
			clear()
			byClient(b, bare, n.Address)
			clear()
		}
	}
	for name, of := range map[string]func(*race) []time.Duration{
		"create": func(r *race) []time.Duration { return r.create }, "nothing": func(r *race) []time.Duration { return r.nothing }, "one": func(r *race) []time.Duration { return r.one },
	} {
		mine, theirs := median(of(own)), median(of(bare))
		b.Logf("%s: driver %s, client %s, ratio %.2f", name, mine, theirs, float64(mine)/float64(theirs))
		b.ReportMetric(float64(mine)/float64(theirs), name+"-ratio")
	}
}

func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

func timed(into *[]time.Duration, f func()) {
	start := time.Now()
	f()
	*into = append(*into, time.Since(start))
}

func benchSpec(i, priority int) json.RawMessage {
	return json.RawMessage(sleeper("0", fmt.Sprintf(`,"Priority":%d,"ID":"bench-%d"`, priority, i)))
}

// byDriver goes the reconciler's way: one look, plans and applies beside each
// other, and a plan of what was applied.
func byDriver(b *testing.B, r *race, d *Driver) {
	b.Helper()
	items := make([]drivers.Item, benchJobs)
	for i := range items {
		items[i] = drivers.Item{ID: schema.ID{Kind: KindJob, Name: fmt.Sprint("bench-", i), Target: "t"}, Handle: fmt.Sprint("job/default/bench-", i), Want: &drivers.Desired{Spec: benchSpec(i, 50)}}
	}
	ctx := context.Background()
	turn := func() {
		states, err := d.Observe(ctx, items)
		drivertest.Must(b, err)
		d.each(len(items), func(i int) {
			if items[i].Last != nil && items[i].Last.Version == states[i].Version && string(items[i].Last.Spec) == string(items[i].Want.Spec) {
				return // as the reconciler, which keeps its plans
			}
			c, err := d.Plan(ctx, items[i], states[i])
			drivertest.Must(b, err)
			s, err := d.Apply(ctx, c)
			drivertest.Must(b, err)
			items[i].Last = &drivers.Applied{Handle: s.Handle, Version: s.Version, Spec: items[i].Want.Spec}
			if again, err := d.Plan(ctx, items[i], s); err != nil || again.Action != schema.None {
				b.Errorf("%s %v", again.Action, err)
			}
		})
	}
	timed(&r.create, turn)
	turn() // they are seen to be healthy
	timed(&r.nothing, turn)
	items[7].Want = &drivers.Desired{Spec: benchSpec(7, 51)}
	timed(&r.one, turn)
}

// byClient makes the same calls by hand.
func byClient(b *testing.B, r *race, address string) {
	b.Helper()
	c, err := api.NewClient(&api.Config{Address: address, HttpClient: &http.Client{Transport: driverkit.Transport(0, nil)}})
	drivertest.Must(b, err)
	jobs := make([]*api.Job, benchJobs)
	for i := range jobs {
		jobs[i] = benchJob(b, i, 50)
	}
	known := map[string]uint64{}
	list := func() {
		all, _, err := c.Jobs().ListOptions(&api.JobListOptions{Fields: &api.JobListFields{Meta: true}}, &api.QueryOptions{Namespace: api.AllNamespacesNamespace})
		drivertest.Must(b, err)
		for _, j := range all {
			if known[j.ID] != 0 && known[j.ID] != j.JobModifyIndex {
				b.Errorf("%s moved", j.ID)
			}
		}
	}
	indices := make([]uint64, benchJobs)
	put := func(i int, index uint64) {
		_, _, err := c.Jobs().EnforceRegister(jobs[i], index, nil)
		drivertest.Must(b, err)
		live, _, err := c.Jobs().Info(*jobs[i].ID, nil)
		drivertest.Must(b, err)
		indices[i] = *live.JobModifyIndex
		p, _, err := c.Jobs().Plan(jobs[i], true, nil)
		drivertest.Must(b, err)
		if p.Diff.Type != "None" {
			b.Errorf("%+v", p.Diff)
		}
	}
	timed(&r.create, func() {
		list()
		(&Driver{}).each(len(jobs), func(i int) { put(i, 0) })
	})
	for i := range jobs {
		known[*jobs[i].ID] = indices[i]
	}
	list()
	timed(&r.nothing, list)
	jobs[7] = benchJob(b, 7, 51)
	timed(&r.one, func() {
		list()
		put(7, indices[7])
	})
}

func benchJob(b *testing.B, i, priority int) *api.Job {
	b.Helper()
	var s jobSpec
	drivertest.Must(b, json.Unmarshal(benchSpec(i, priority), &s))
	j, err := decodeJob(s.Job)
	drivertest.Must(b, err)
	marked(&j.Meta, env)
	return j
}
