package local

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/detached"
)

// watching is one call of Watch.
type watching struct {
	d       *Driver
	ctx     context.Context // of the call
	changed func(handles ...string)
	all     sync.WaitGroup

	mu     sync.Mutex
	over   bool
	groups map[string]*watcher
}

// kick tells every Watch that something was applied.
func (d *Driver) kick(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for w := range d.watches {
		w.wake(name)
	}
}

// wake makes one group be looked at, for the first time too.
func (x *watching) wake(name string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return
	}
	w := x.groups[name]
	if w == nil {
		w = &watcher{watching: x, name: name, wake: make(chan struct{}, 1), waits: map[string]context.CancelFunc{}}
		x.groups[name] = w
		x.all.Go(func() { w.watch(x.ctx) })
	}
	poke(w.wake)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Watch implements drivers.Watcher: an instance ended, its restart is due, it
// has settled, or its check turned. It sleeps on the processes themselves.
func (d *Driver) Watch(ctx context.Context, changed func(handles ...string)) error {
	ctx, cancel := context.WithCancel(ctx)
	x := &watching{d: d, ctx: ctx, changed: changed, groups: map[string]*watcher{}}
	d.mu.Lock()
	if d.watches == nil {
		d.watches = map[*watching]struct{}{}
	}
	d.watches[x] = struct{}{}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.watches, x)
		d.mu.Unlock()
		x.mu.Lock()
		x.over = true
		x.mu.Unlock()
		cancel()
		x.all.Wait()
	}()
	names, err := d.names()
	if err != nil {
		return fail("watch", d.Dir, drivers.ErrUnreachable, err)
	}
	for _, name := range names {
		x.wake(name)
	}
	<-ctx.Done()
	return nil
}

// watcher watches one group, also while there is none of its name.
type watcher struct {
	*watching
	name  string
	wake  chan struct{}
	waits map[string]context.CancelFunc // by folder of a run
	seen  string                        // what was told last
}

func (w *watcher) watch(ctx context.Context) {
	e := w.d.entry(w.name)
	e.watched.Add(1)
	defer e.watched.Add(-1)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-timer.C:
		}
		if next := w.look(ctx); next > 0 {
			timer.Reset(next)
		} else {
			timer.Stop()
		}
	}
}

// look tells what is new, and answers after which time to look again; 0 is not
// before something happens.
func (w *watcher) look(ctx context.Context) time.Duration {
	o, err := w.d.look(w.name)
	if err != nil {
		w.tell("error")
		return time.Second
	}
	w.follow(ctx, o)
	if o == nil {
		w.tell("absent")
		return 0
	}
	if o.checked() {
		w.d.refresh(ctx, w.name, o)
	}
	w.tell(o.version + string(w.d.health(w.name, o).Status))
	return w.d.next(w.name, o)
}

func (w *watcher) tell(now string) {
	if w.seen != "" && w.seen != now {
		w.changed(handlePrefix + w.name)
	}
	w.seen = now
}

// follow sleeps on every run that lives, and no longer on others.
func (w *watcher) follow(ctx context.Context, o *observed) {
	lives := map[string]*detached.Run{}
	if o != nil {
		for _, i := range o.insts {
			if i.running() {
				lives[i.run.Dir()] = i.run
			}
		}
	}
	for dir, cancel := range w.waits {
		if lives[dir] == nil {
			cancel()
			delete(w.waits, dir)
		}
	}
	for dir, run := range lives {
		if w.waits[dir] != nil {
			continue
		}
		sleep, cancel := context.WithCancel(ctx)
		w.waits[dir] = cancel
		w.all.Go(func() {
			_, _ = run.Wait(sleep) // whatever it says, it is looked at
			if sleep.Err() == nil {
				poke(w.wake)
			}
		})
	}
}

// next is after which time a group may look different although nothing
// happens; 0 is never.
func (d *Driver) next(name string, o *observed) time.Duration {
	var first time.Duration
	at := func(t time.Time, now time.Time) {
		wait := max(time.Millisecond, t.Sub(now))
		if first == 0 || wait < first {
			first = wait
		}
	}
	if o.spec.Type != service {
		return 0
	}
	for _, i := range o.insts {
		switch {
		case i.ended() && !i.over:
			at(i.due, o.at)
		case i.running() && o.spec.Check == nil && o.at.Sub(i.status.Begun) < d.settle():
			at(i.status.Begun.Add(d.settle()), o.at)
		}
	}
	if o.checked() {
		asked, _, _ := d.entry(name).probe.get(o.probeKey())
		at(asked.Add(time.Duration(o.spec.Check.Interval)), time.Now())
	}
	return first
}

// probeKey names what a check is about: the question, and the runs that live.
func (o *observed) probeKey() string {
	var b strings.Builder
	_, _ = fmt.Fprint(&b, *o.spec.Check)
	for _, i := range o.insts {
		if i.running() {
			_, _ = fmt.Fprintf(&b, " %d/%d", i.index, i.seq)
		}
	}
	return b.String()
}
