//go:build e2e

package consul

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

const (
	benchThings = 1000
	benchRounds = 5
	benchAtOnce = drivers.DefaultConcurrency
	benchMost   = 1.2 // times as long as the bare client
)

// atOnce calls f for each of n, some at once.
func atOnce(n int, f func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int)
	for range benchAtOnce {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// transport has as many connections as the driver, and keeps them.
func transport() *http.Transport {
	return &http.Transport{MaxConnsPerHost: benchAtOnce, MaxIdleConnsPerHost: benchAtOnce, MaxIdleConns: benchAtOnce}
}

// contender does the same work by the driver or by the bare API client: create
// everything, look at everything and change nothing, change one. Each write is
// a compare-and-set, is read back and compared.
type contender interface {
	create()
	nothing()
	one(n int)
}

// byDriver is the driver, called as the reconciler calls it.
type byDriver struct {
	b     *testing.B
	d     *Driver
	items []drivers.Item
	spec  func(i, n int) string
}

func newByDriver(b *testing.B, d *Driver, kind string, spec func(i, n int) string) *byDriver {
	c := &byDriver{b: b, d: d, spec: spec}
	for i := range benchThings {
		name := fmt.Sprintf("n%d", i)
		text := json.RawMessage(spec(i, 0))
		handle, err := d.Address(kind, name, text)
		drivertest.Must(b, err)
		c.items = append(c.items, drivers.Item{ID: schema.ID{Kind: kind, Name: name, Target: "local"}, Handle: handle, Want: &drivers.Desired{Spec: text}})
	}
	return c
}

func (c *byDriver) turn(items []drivers.Item, want int) {
	states, err := c.d.Observe(c.b.Context(), items)
	drivertest.Must(c.b, err)
	made := make([]bool, len(states))
	atOnce(len(states), func(i int) {
		change, err := c.d.Plan(c.b.Context(), items[i], states[i])
		drivertest.Must(c.b, err)
		if change.Action == schema.None {
			return
		}
		s, err := c.d.Apply(c.b.Context(), change)
		drivertest.Must(c.b, err)
		again, err := c.d.Plan(c.b.Context(), items[i], s)
		drivertest.Must(c.b, err)
		if made[i] = true; again.Action != schema.None {
			c.b.Errorf("%s does not settle", items[i].Handle)
		}
	})
	if n := len(slices.DeleteFunc(made, func(m bool) bool { return !m })); n != want {
		c.b.Errorf("%d were written, want %d", n, want)
	}
}

func (c *byDriver) create()  { c.turn(c.items, benchThings) }
func (c *byDriver) nothing() { c.turn(c.items, 0) }

func (c *byDriver) one(n int) {
	c.items[7].Want = &drivers.Desired{Spec: json.RawMessage(c.spec(7, n))}
	c.turn(c.items[7:8], 1)
}

// bareKeys does keys by the API client.
type bareKeys struct {
	b  *testing.B
	kv *api.KV
}

func (c *bareKeys) write(i, n int, index uint64) {
	pair := &api.KVPair{Key: fmt.Sprintf("bench/n%d", i), Value: fmt.Appendf(nil, "value %d of %d", n, i), Flags: 1, ModifyIndex: index}
	ok, _, err := c.kv.CAS(pair, nil)
	drivertest.Must(c.b, err)
	got, _, err := c.kv.Get(pair.Key, nil)
	drivertest.Must(c.b, err)
	if !ok || got == nil || !bytes.Equal(got.Value, pair.Value) || got.Flags != pair.Flags {
		c.b.Errorf("%s was not written", pair.Key)
	}
}

func (c *bareKeys) all() map[string]*api.KVPair {
	pairs, _, err := c.kv.List("bench/", nil)
	drivertest.Must(c.b, err)
	found := map[string]*api.KVPair{}
	for _, p := range pairs {
		found[p.Key] = p
	}
	return found
}

func (c *bareKeys) create() { c.all(); atOnce(benchThings, func(i int) { c.write(i, 0, 0) }) }

func (c *bareKeys) nothing() {
	found := c.all()
	atOnce(benchThings, func(i int) {
		if p := found[fmt.Sprintf("bench/n%d", i)]; p == nil || !bytes.HasPrefix(p.Value, []byte("value ")) {
			c.b.Errorf("n%d differs", i)
		}
	})
}

func (c *bareKeys) one(n int) {
	now, _, err := c.kv.Get("bench/n7", nil)
	drivertest.Must(c.b, err)
	c.write(7, n, now.ModifyIndex)
}

// bareEntries does config entries by the API client.
type bareEntries struct {
	b *testing.B
	c *api.ConfigEntries
}

func (c *bareEntries) entry(i, n int) *api.ServiceConfigEntry {
	return &api.ServiceConfigEntry{Kind: api.ServiceDefaults, Name: fmt.Sprintf("n%d", i), Protocol: "http", MaxInboundConnections: n + 1, Meta: map[string]string{"mark": "bench"}}
}

func (c *bareEntries) same(got api.ConfigEntry, i, n int) bool {
	e, ok := got.(*api.ServiceConfigEntry)
	want := c.entry(i, n)
	return ok && e.Protocol == want.Protocol && e.MaxInboundConnections == want.MaxInboundConnections && e.Meta["mark"] == "bench"
}

func (c *bareEntries) write(i, n int, index uint64) {
	e := c.entry(i, n)
	ok, _, err := c.c.CAS(e, index, nil)
	drivertest.Must(c.b, err)
	got, _, err := c.c.Get(e.Kind, e.Name, nil)
	drivertest.Must(c.b, err)
	if !ok || !c.same(got, i, n) {
		c.b.Errorf("%s was not written", e.Name)
	}
}

func (c *bareEntries) all() map[string]api.ConfigEntry {
	list, _, err := c.c.List(api.ServiceDefaults, nil)
	drivertest.Must(c.b, err)
	found := map[string]api.ConfigEntry{}
	for _, e := range list {
		found[e.GetName()] = e
	}
	return found
}

func (c *bareEntries) create() { c.all(); atOnce(benchThings, func(i int) { c.write(i, 0, 0) }) }

func (c *bareEntries) nothing() {
	found := c.all()
	atOnce(benchThings, func(i int) {
		if i != 7 && !c.same(found[fmt.Sprintf("n%d", i)], i, 0) {
			c.b.Errorf("n%d differs", i)
		}
	})
}

func (c *bareEntries) one(n int) {
	now, _, err := c.c.Get(api.ServiceDefaults, "n7", nil)
	drivertest.Must(c.b, err)
	c.write(7, n, now.GetModifyIndex())
}

// BenchmarkAgainstTheBareClient holds the driver against Consul's own client
// that does the same work with as many connections, in turns; what counts is
// the median. Run it with -benchtime 1x.
func BenchmarkAgainstTheBareClient(b *testing.B) {
	hand := newBare(b)
	bareClient, err := api.NewClient(&api.Config{Address: hand.address, Token: hand.token, Transport: transport()})
	drivertest.Must(b, err)
	for _, c := range []struct {
		kind string
		spec func(i, n int) string
		bare contender
	}{
		{KindKV, func(i, n int) string { return fmt.Sprintf(`{"Key":"bench/n%d","Value":"value %d of %d"}`, i, n, i) }, &bareKeys{b, bareClient.KV()}},
		{KindDefaults, func(i, n int) string { return fmt.Sprintf(`{"Protocol":"http","MaxInboundConnections":%d}`, n+1) }, &bareEntries{b, bareClient.ConfigEntries()}},
	} {
		b.Run(strings.TrimPrefix(c.kind, "consul."), func(b *testing.B) {
			for b.Loop() {
				against(b, hand, c.bare, func() contender { return newByDriver(b, hand.driver(), c.kind, c.spec) })
			}
		})
	}
}

// against takes turns, and reports the ratio of the medians for each work.
func against(b *testing.B, hand *bare, bareOne contender, fresh func() contender) {
	took := map[string]map[string][]time.Duration{"driver": {}, "bare": {}}
	for round := range benchRounds {
		for _, who := range []string{"bare", "driver"} {
			hand.empty()
			c := bareOne
			if who == "driver" {
				c = fresh()
			}
			for _, work := range []struct {
				name string
				do   func()
			}{{"create", c.create}, {"nothing", c.nothing}, {"one", func() {
				for n := range 20 { // one alone takes no time to speak of
					c.one(round*20 + n + 1)
				}
			}}} {
				began := time.Now()
				work.do()
				took[who][work.name] = append(took[who][work.name], time.Since(began))
			}
		}
	}
	for _, work := range []string{"create", "nothing", "one"} {
		driver, bare := median(took["driver"][work]), median(took["bare"][work])
		ratio := float64(driver) / float64(bare)
		b.ReportMetric(ratio, work+"-ratio")
		b.Logf("%s: driver %s, bare client %s, ratio %.2f", work, driver.Round(time.Microsecond), bare.Round(time.Microsecond), ratio)
		if work != "nothing" && ratio > benchMost { // between resyncs nobody looks at what is not told of
			b.Errorf("%s takes %.2f times as long as the bare client, more than %.1f", work, ratio, benchMost)
		}
	}
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}
