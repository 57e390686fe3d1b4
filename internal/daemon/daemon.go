// Package daemon runs environments side by side, so that none disturbs
// another: each is opened, driven and closed by itself, one that cannot be
// opened is tried again with backoff, and a new configuration touches only
// those whose section has changed.
//
// It must not know how an environment is opened, what drives it, nor where its
// data lies.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/internal/metrics"
	"github.com/aplomb-dev/aplomb/reconciler"
)

// Opened is an environment that was opened.
type Opened struct {
	api.Environment                           // Done is the Daemon's to set
	Stats           func() reconciler.Stats   // nil: nothing is counted
	Meters          map[string]*drivers.Meter // by target

	Run   func(ctx context.Context) error // drives it until ctx ends; an error is one that no retry inside mends
	Close func() error                    // after Run, whatever it answered
}

// Daemon runs environments. Its fields are set before Update and not changed
// after; methods are safe for concurrent use.
type Daemon struct {
	Open   func(ctx context.Context, e config.Environment) (*Opened, error)
	Failed func(name string, err error, next time.Duration) // hears of each failure to open or run; nil: nobody does
	Log    logrus.FieldLogger

	// First is the wait after a first failure, doubled with each further one up
	// to Most. Zero: DefaultFirst, DefaultMost.
	First, Most time.Duration

	mu    sync.Mutex
	units map[string]*unit
	gone  map[string]<-chan struct{} // of what was stopped: closed once it has ended
}

// The waits where Daemon says nothing.
const (
	DefaultFirst = time.Second
	DefaultMost  = time.Minute
)

// Update starts, stops and starts again what it takes for envs to run; an
// environment whose section is as it was goes on undisturbed. It does not wait.
// What runs ends with ctx; see Wait.
func (d *Daemon) Update(ctx context.Context, envs []config.Environment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.units == nil {
		d.units, d.gone = map[string]*unit{}, map[string]<-chan struct{}{}
	}
	want := map[string]config.Environment{}
	for _, e := range envs {
		want[e.Name] = e
	}
	for name, u := range d.units {
		if e, ok := want[name]; ok && e.Same(u.env) {
			delete(want, name)
			continue
		}
		u.stop()
		d.gone[name] = u.done
		delete(d.units, name)
	}
	for name, e := range want {
		ctx, cancel := context.WithCancel(ctx)
		u := &unit{d: d, env: e, stop: cancel, done: make(chan struct{}), retry: make(chan struct{}, 1), after: d.gone[name], since: time.Now()}
		delete(d.gone, name)
		d.units[name] = u
		go u.run(ctx)
	}
}

// Retry tries at once what waits to be opened again.
func (d *Daemon) Retry() {
	for _, u := range d.all() {
		select {
		case u.retry <- struct{}{}:
		default:
		}
	}
}

// Wait blocks until everything that ran has ended, after the ctx of Update.
func (d *Daemon) Wait() {
	d.mu.Lock()
	waits := slices.Collect(maps.Values(d.gone))
	for _, u := range d.units {
		waits = append(waits, u.done)
	}
	d.mu.Unlock()
	for _, done := range waits {
		<-done
	}
}

// all is every environment, by name.
func (d *Daemon) all() []*unit {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.SortedFunc(maps.Values(d.units), func(a, b *unit) int { return strings.Compare(a.env.Name, b.env.Name) })
}

// Environments is every environment as it is now, by name.
func (d *Daemon) Environments() []*api.Environment {
	var all []*api.Environment
	for _, u := range d.all() {
		all = append(all, u.environment())
	}
	return all
}

// Metrics is every environment as it is measured.
func (d *Daemon) Metrics() []metrics.Environment {
	var all []metrics.Environment
	for _, u := range d.all() {
		m := metrics.Environment{Name: u.env.Name}
		if o := u.opened(); o != nil {
			m.Control, m.Stats, m.Meters = o.Control, o.Stats, o.Meters
		}
		all = append(all, m)
	}
	return all
}

// Ready is what is in the way: environments that are not open, or whose source
// was not looked at yet.
func (d *Daemon) Ready() []string {
	var reasons []string
	for _, e := range d.Environments() {
		switch {
		case e.Control == nil:
			reasons = append(reasons, fmt.Sprintf("environment %s: %s", e.Info.Name, e.Info.Error))
		case e.Control.Status().Source.At.IsZero():
			reasons = append(reasons, fmt.Sprintf("environment %s: its source was not looked at yet", e.Info.Name))
		}
	}
	return reasons
}

// unit is one environment, from one section of the configuration.
type unit struct {
	d     *Daemon
	env   config.Environment
	stop  context.CancelFunc
	done  chan struct{}   // closed once it has ended
	after <-chan struct{} // what had its name before has to end first; nil: nothing had
	retry chan struct{}

	mu    sync.Mutex
	now   *Opened // nil: not open
	err   error   // why it is not; nil: it is about to be
	since time.Time
	next  time.Time
}

var errOpening = errors.New("it is being opened")

// run opens and drives the environment, again and again, until ctx ends.
func (u *unit) run(ctx context.Context) {
	defer close(u.done)
	defer u.stop()
	if u.after != nil {
		<-u.after
	}
	for tries := 1; ctx.Err() == nil; tries++ {
		began := time.Now()
		err := u.once(ctx)
		log := u.d.Log.WithField("env", u.env.Name).WithError(err)
		if ctx.Err() != nil {
			if err != nil && !errors.Is(err, context.Canceled) {
				log.Warn("the environment did not end well")
			}
			return
		}
		if time.Since(began) > orElse(u.d.Most, DefaultMost) {
			tries = 1
		}
		wait := u.backoff(tries)
		u.failed(err, wait)
		log.WithField("next", wait.Round(time.Millisecond).String()).Warn("the environment is not open; it is opened again")
		u.rest(ctx, wait)
	}
}

// once opens the environment and drives it until it ends.
func (u *unit) once(ctx context.Context) error {
	o, err := u.d.Open(ctx, u.env)
	if err != nil {
		return err
	}
	done := make(chan struct{})
	o.Done = done
	u.set(o)
	err = o.Run(ctx)
	u.set(nil)
	close(done)
	if err == nil && ctx.Err() == nil {
		err = errors.New("it ended by itself")
	}
	return errors.Join(err, o.Close())
}

func (u *unit) set(o *Opened) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.now, u.err = o, nil; o == nil {
		u.since, u.next = time.Now(), time.Time{}
	}
}

func (u *unit) failed(err error, wait time.Duration) {
	u.mu.Lock()
	u.err, u.next = err, time.Now().Add(wait)
	u.mu.Unlock()
	if u.d.Failed != nil {
		u.d.Failed(u.env.Name, err, wait)
	}
}

func (u *unit) backoff(tries int) time.Duration {
	first, most := orElse(u.d.First, DefaultFirst), orElse(u.d.Most, DefaultMost)
	wait := most
	if tries < 16 {
		wait = min(first<<(tries-1), most)
	}
	return wait/2 + rand.N(wait/2+1)
}

func orElse(d, def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return d
}

// rest waits for d, for a Retry, or until ctx ends.
func (u *unit) rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-u.retry:
	case <-timer.C:
	}
}

func (u *unit) opened() *Opened {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.now
}

// environment is how it is served now.
func (u *unit) environment() *api.Environment {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.now != nil {
		return &u.now.Environment
	}
	err := u.err
	if err == nil {
		err = errOpening
	}
	return &api.Environment{Info: api.EnvironmentInfo{
		Name: u.env.Name, ID: u.env.ID, Source: u.env.Source.Git, Error: err.Error(), Hint: api.HintOf(err), Since: u.since, Next: u.next,
	}}
}
