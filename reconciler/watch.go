package reconciler

import (
	"context"
	"sync"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/store"
)

// watchTargets lets drivers that hear of changes ask for a look, each again
// when its watch breaks.
func (r *Reconciler) watchTargets(ctx context.Context) {
	if r.cfg.Unwatched {
		return
	}
	var group sync.WaitGroup
	for _, t := range r.cfg.Registry.All() {
		w, ok := drivers.As[drivers.Watcher](t.Driver)
		if !ok {
			continue
		}
		group.Go(func() {
			for tries := 1; ctx.Err() == nil; tries++ {
				began := time.Now()
				err := w.Watch(ctx, func(handles ...string) { r.heard(t.Name, handles) })
				if err != nil && ctx.Err() == nil {
					r.log.WithField("target", t.Name).WithError(err).Warn("watch ended; it is started again")
				}
				if time.Since(began) > backoffMost {
					tries = 1
				}
				pause(ctx, backoff(tries, nil))
			}
		})
	}
	group.Wait()
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// heard marks what a driver said has moved.
func (r *Reconciler) heard(target string, handles []string) {
	r.mu.Lock()
	w := r.core.w
	for _, h := range handles {
		if n := w.byKey[store.Key{Target: target, Handle: h}]; n != nil {
			n.Dirty = true
		}
	}
	if len(handles) == 0 {
		for _, n := range w.Nodes {
			n.Dirty = n.Dirty || n.ID.Target == target
		}
	}
	r.mu.Unlock()
	nudge(r.wake)
}
