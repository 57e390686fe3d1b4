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

// kick tells every Watch that something was applied.
func (d *Driver) kick() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c := range d.kicks {
		poke(c)
	}
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
	kicked := make(chan struct{}, 1)
	d.mu.Lock()
	if d.kicks == nil {
		d.kicks = map[chan struct{}]struct{}{}
	}
	d.kicks[kicked] = struct{}{}
	d.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer func() {
		cancel()
		all.Wait()
		d.mu.Lock()
		delete(d.kicks, kicked)
		d.mu.Unlock()
	}()
	groups := map[string]chan struct{}{}
	for {
		names, err := d.names()
		if err != nil {
			return fail("watch", d.Dir, drivers.ErrUnreachable, err)
		}
		for _, name := range names {
			if groups[name] == nil {
				w := &watcher{d: d, name: name, changed: changed, wake: make(chan struct{}, 1), waits: map[string]context.CancelFunc{}}
				groups[name] = w.wake
				all.Go(func() { w.watch(ctx) })
			}
		}
		for _, wake := range groups {
			poke(wake)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-kicked:
		}
	}
}

// watcher watches one group, also while there is none of its name.
type watcher struct {
	d       *Driver
	name    string
	changed func(handles ...string)
	wake    chan struct{}
	waits   map[string]context.CancelFunc // by folder of a run
	seen    string                        // what was told last
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
	if o.spec.Check != nil && o.spec.Type == service && o.spec.Count > 0 {
		w.d.refresh(ctx, w.name, o)
	}
	w.tell(o.version + string(w.d.health(ctx, w.name, o).Status))
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
		go func() {
			_, _ = run.Wait(sleep) // whatever it says, it is looked at
			if sleep.Err() == nil {
				poke(w.wake)
			}
		}()
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
	if o.spec.Check != nil && o.spec.Count > 0 {
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
