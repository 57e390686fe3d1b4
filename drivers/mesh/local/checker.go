package local

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/records"
)

// checker runs the checks of the entries that it follows and keeps their last
// results.
type checker struct {
	now    func() time.Time
	slots  chan struct{} // one for each check that may run at once
	client *http.Client

	mu      sync.Mutex
	entries map[string]*followed
	start   func(handle string, f *followed) // nil: Watch is not running
}

// followed is one entry and the results of its checks, in their order.
type followed struct {
	token   string
	probes  []probe
	results []result
	stop    context.CancelFunc // ends its running checks; nil: none run
}

type result struct {
	at      time.Time // zero: not run yet
	failing string    // why; "" is passing
}

// probed is one check of an entry.
type probed struct {
	handle string
	index  int
	probe  probe
}

func (c *checker) init(parallel int, now func() time.Time) {
	if parallel == 0 {
		parallel = 64
	}
	c.now, c.slots, c.entries = now, make(chan struct{}, parallel), map[string]*followed{}
	c.client = newClient()
}

// follow takes an entry as it is now; checks that did not change keep their
// results.
func (c *checker) follow(handle string, rec records.Record[record]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.entries[handle]
	if old != nil && old.token == rec.Token {
		return
	}
	f := &followed{token: rec.Token, probes: rec.Value.probes, results: make([]result, len(rec.Value.probes))}
	if old != nil {
		for i, p := range f.probes {
			if j := slices.Index(old.probes, p); j >= 0 {
				f.results[i] = old.results[j]
			}
		}
		old.end()
	}
	c.entries[handle] = f
	if c.start != nil {
		c.start(handle, f)
	}
}

func (f *followed) end() {
	if f.stop != nil {
		f.stop()
	}
}

func (c *checker) forget(handle string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.entries[handle]; f != nil {
		f.end()
		delete(c.entries, handle)
	}
}

// stale are the checks without a result, or with one that is older than two
// rounds: nobody runs them.
func (c *checker) stale(handle string, probes []probe) []probed {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.entries[handle]
	if f == nil || len(f.probes) != len(probes) {
		return nil
	}
	var all []probed
	for i, r := range f.results {
		if p := f.probes[i]; r.at.IsZero() || c.now().Sub(r.at) > 2*(p.interval+p.timeout) {
			all = append(all, probed{handle, i, p})
		}
	}
	return all
}

// runAll runs checks once, side by side.
func (c *checker) runAll(ctx context.Context, all []probed) {
	var g errgroup.Group
	for _, p := range all {
		g.Go(func() error { c.once(ctx, p); return nil })
	}
	_ = g.Wait() // no check returns an error: that it fails is its result
}

// once runs a check and says whether it passes now where it failed before, or
// the other way round.
func (c *checker) once(ctx context.Context, p probed) (flipped bool) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	failing := p.probe.run(ctx, c.client)
	<-c.slots
	if ctx.Err() != nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.entries[p.handle]
	if f == nil || p.index >= len(f.probes) || f.probes[p.index] != p.probe {
		return false
	}
	old := f.results[p.index]
	f.results[p.index] = result{c.now(), failing}
	return old.at.IsZero() || (old.failing == "") != (failing == "")
}

// health is what the last results say.
func (c *checker) health(handle string, probes []probe) drivers.Health {
	if len(probes) == 0 {
		return drivers.Health{Status: drivers.Healthy}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	passing, why, waiting := 0, "", false
	f := c.entries[handle]
	for i, p := range probes {
		switch {
		case f == nil || i >= len(f.results) || f.results[i].at.IsZero():
			waiting = true
		case f.results[i].failing == "":
			passing++
		case why == "":
			why = p.label + ": " + f.results[i].failing
		}
	}
	h := drivers.Health{Status: drivers.Healthy, Reason: fmt.Sprintf("%d of %d passing", passing, len(probes))}
	switch {
	case why != "":
		h.Status, h.Reason = drivers.Unhealthy, h.Reason+": "+why
	case waiting:
		h.Status = drivers.Progressing
	}
	return h
}
