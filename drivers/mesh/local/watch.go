package local

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/aplomb-dev/aplomb/internal/driverkit"
)

// Watch runs the checks of every entry that was observed or applied, tells
// when one of them passes or ceases to, and hears of records that change.
func (d *Driver) Watch(ctx context.Context, changed func(handles ...string)) error {
	d.setup()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.watched.Run(ctx, changed) })
	g.Go(func() error { return d.checker.run(ctx, changed) })
	return g.Wait()
}

// run keeps every followed entry's checks going until ctx ends.
func (c *checker) run(ctx context.Context, changed func(handles ...string)) error {
	var running sync.WaitGroup
	begin := func(handle string, f *followed) {
		ctx, stop := context.WithCancel(ctx)
		f.stop = stop
		for i, p := range f.probes {
			running.Go(func() { c.loop(ctx, probed{handle, i, p}, changed) })
		}
	}
	c.mu.Lock()
	if c.start != nil {
		c.mu.Unlock()
		return errors.New("run checks: already running")
	}
	c.start = begin
	for handle, f := range c.entries {
		begin(handle, f)
	}
	c.mu.Unlock()
	<-ctx.Done()
	c.mu.Lock()
	c.start = nil
	for _, f := range c.entries {
		f.end()
		f.stop = nil
	}
	c.mu.Unlock()
	running.Wait()
	return nil
}

// loop runs one check again and again. The first pause is drawn at random, so
// that many checks do not run in step.
func (c *checker) loop(ctx context.Context, p probed, changed func(handles ...string)) {
	next := time.NewTimer(0)
	defer next.Stop()
	for first := true; ; first = false {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		if c.once(ctx, p) {
			changed(p.handle)
		}
		pause := p.probe.interval
		if first {
			pause = pause/2 + rand.N(pause/2+1) //nolint:gosec // nothing depends on it being hard to guess
		}
		next.Reset(pause)
	}
}

// Entry is one service of the catalog.
type Entry struct {
	Name        string       `json:"name"`
	Environment string       `json:"environment"`
	Address     string       `json:"address"`
	Port        int          `json:"port"`
	Tags        []string     `json:"tags"`
	Checks      []CheckState `json:"checks"`
}

// CheckState is one check of an entry and its last result.
type CheckState struct {
	Check   string    `json:"check"` // "http :8421/health"
	Passing bool      `json:"passing"`
	Reason  string    `json:"reason,omitempty"` // why it does not pass
	At      time.Time `json:"at,omitzero"`      // when it was run last; zero: not yet
}

// Catalog is every service in the registry, by name. It runs no check; a
// damaged record is left out and told in the log.
func (d *Driver) Catalog(ctx context.Context) ([]Entry, error) {
	d.setup()
	names, err := d.folder.Names()
	if err != nil {
		return nil, driverkit.Fail("list", d.folder.Dir, err)
	}
	entries := []Entry{}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, driverkit.Fail("list", d.folder.Dir, err)
		}
		rec, err := d.folder.Get(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			d.Log.WithError(err).WithField("resource", prefix+name).Warn("a record of the catalog cannot be read")
			continue
		}
		s := rec.Value.service
		entries = append(entries, Entry{
			Name: name, Environment: rec.Value.Environment, Address: s.Address, Port: s.Port,
			Tags: append([]string{}, s.Tags...), Checks: d.checker.states(prefix+name, rec.Value.probes),
		})
	}
	return entries, nil
}

func (c *checker) states(handle string, probes []probe) []CheckState {
	c.mu.Lock()
	defer c.mu.Unlock()
	states := []CheckState{}
	f := c.entries[handle]
	for i, p := range probes {
		s := CheckState{Check: p.label, Reason: "not run yet"}
		if f != nil && i < len(f.results) && !f.results[i].at.IsZero() {
			s = CheckState{Check: p.label, Passing: f.results[i].failing == "", Reason: f.results[i].failing, At: f.results[i].at}
		}
		states = append(states, s)
	}
	return states
}
