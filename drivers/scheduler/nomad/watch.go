package nomad

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
)

const (
	gather   = 50 * time.Millisecond // what is heard within it is told together
	blocking = 5 * time.Minute       // how long a blocking query waits
)

// Watch implements drivers.Watcher: Nomad's event stream for jobs, blocking
// queries for what it has no events of.
func (d *Driver) Watch(ctx context.Context, changed func(handles ...string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	h := &hearing{heard: map[string]bool{}, wake: make(chan struct{}, 1)}
	errs := make(chan error, 3)
	var wg sync.WaitGroup
	for _, listen := range []func(context.Context, *hearing) error{d.hearEvents, d.hearNamespaces, d.hearVariables} {
		wg.Go(func() {
			err := listen(ctx, h)
			if errors.Is(err, drivers.ErrDenied) {
				d.deaf(ctx, err)
			}
			errs <- err
			cancel()
		})
	}
	h.tell(ctx, changed)
	wg.Wait()
	close(errs)
	var all []error
	for err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			all = append(all, err)
		}
	}
	return errors.Join(all...)
}

// deaf lets the others listen while the token does not allow one of them to;
// after a while all begin anew.
func (d *Driver) deaf(ctx context.Context, err error) {
	if d.Log != nil {
		d.Log.WithError(err).Warn("changes are not heard of, and seen at the next resync only")
	}
	again := time.NewTimer(blocking)
	defer again.Stop()
	select {
	case <-ctx.Done():
	case <-again.C:
	}
}

// hearing gathers what was heard.
type hearing struct {
	mu    sync.Mutex
	all   bool // everything is worth a look
	heard map[string]bool
	wake  chan struct{}
}

func (h *hearing) note(handles ...string) {
	h.mu.Lock()
	h.all = h.all || len(handles) == 0
	for _, handle := range handles {
		h.heard[handle] = true
	}
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// tell calls changed with what was heard, until ctx ends.
func (h *hearing) tell(ctx context.Context, changed func(handles ...string)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		}
		pause := time.NewTimer(gather)
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
		h.mu.Lock()
		all, handles := h.all, slices.Sorted(maps.Keys(h.heard))
		h.all, h.heard = false, map[string]bool{}
		h.mu.Unlock()
		if all {
			handles = nil
		}
		if all || len(handles) > 0 {
			changed(handles...)
		}
	}
}

// topics are the events that can move the state of a job.
func topics() map[api.Topic][]string {
	return map[api.Topic][]string{api.TopicJob: {"*"}, api.TopicDeployment: {"*"}, api.TopicAllocation: {"*"}, api.TopicEvaluation: {"*"}}
}

// hearEvents follows the event stream. What happened before it was open nobody
// has told, so everything is looked at then.
func (d *Driver) hearEvents(ctx context.Context, h *hearing) error {
	q, err := d.query(ctx, api.AllNamespacesNamespace)
	if err != nil {
		return err
	}
	events, err := d.stream.EventStream().Stream(ctx, topics(), 0, q)
	if err != nil {
		return fail("follow", "events", err)
	}
	h.note()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case batch, open := <-events:
			if !open || batch.Err != nil {
				return &drivers.Error{Op: "follow", Subject: "events", Class: drivers.ErrUnreachable, Err: errors.New("the stream has ended")}
			}
			for _, e := range batch.Events {
				if handle := handleOf(e); handle != "" {
					h.note(handle)
				}
			}
		}
	}
}

// handleOf is the address of the job that an event is about, or "".
func handleOf(e api.Event) string {
	thing, _ := e.Payload[string(e.Topic)].(map[string]any)
	field := "JobID"
	if e.Topic == api.TopicJob {
		field = "ID"
	}
	id, _ := thing[field].(string)
	namespace, _ := thing["Namespace"].(string)
	if id == "" {
		return ""
	}
	return place{KindJob, orElse(namespace, api.DefaultNamespace), id}.handle()
}

func (d *Driver) hearNamespaces(ctx context.Context, h *hearing) error {
	return d.follow(ctx, h, "namespaces", "", func(q *api.QueryOptions) (map[string]uint64, uint64, error) {
		list, meta, err := d.stream.Namespaces().List(q)
		if err != nil {
			return nil, 0, err
		}
		seen := map[string]uint64{}
		for _, n := range list {
			seen[place{kind: KindNamespace, name: n.Name}.handle()] = n.ModifyIndex
		}
		return seen, meta.LastIndex, nil
	})
}

func (d *Driver) hearVariables(ctx context.Context, h *hearing) error {
	return d.follow(ctx, h, "variables", api.AllNamespacesNamespace, func(q *api.QueryOptions) (map[string]uint64, uint64, error) {
		list, meta, err := d.stream.Variables().List(q)
		if err != nil {
			return nil, 0, err
		}
		seen := map[string]uint64{}
		for _, v := range list {
			seen[place{KindVariable, v.Namespace, v.Path}.handle()] = v.ModifyIndex
		}
		return seen, meta.LastIndex, nil
	})
}

// follow lists again and again, each time waiting until something moves, and
// notes what moved between two lists.
func (d *Driver) follow(ctx context.Context, h *hearing, what, namespace string, list func(*api.QueryOptions) (map[string]uint64, uint64, error)) error {
	var before map[string]uint64
	var index uint64
	for ctx.Err() == nil {
		q, err := d.query(ctx, namespace)
		if err != nil {
			return err
		}
		q.WaitIndex, q.WaitTime = index, blocking
		now, at, err := list(q)
		if err != nil {
			return fail("follow", what, err)
		}
		if at < index || at == 0 { // the servers were restored
			at = 1
		}
		index = at
		for handle, modified := range now {
			if before != nil && before[handle] != modified {
				h.note(handle)
			}
		}
		for handle := range before {
			if _, lives := now[handle]; !lives {
				h.note(handle)
			}
		}
		if before == nil {
			h.note()
		}
		before = now
		pause := time.NewTimer(gather) // many writes in a row are not as many lists
		select {
		case <-ctx.Done():
			pause.Stop()
		case <-pause.C:
		}
	}
	return ctx.Err()
}
