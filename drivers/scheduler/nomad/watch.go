package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
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
	h := &hearing{heard: map[string]uint64{}, known: d.jobs.has, wake: make(chan struct{}, 1)}
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
	known func(handle string, index uint64) bool // a job has been read as it was registered at an index

	mu    sync.Mutex
	all   bool              // everything is worth a look
	heard map[string]uint64 // since which index, where nothing but a registration was heard; else anyway
	wake  chan struct{}
}

// anyway is worth a look whatever is known.
const anyway = math.MaxUint64

func (h *hearing) note(handles ...string) {
	h.mu.Lock()
	h.all = h.all || len(handles) == 0
	for _, handle := range handles {
		h.heard[handle] = anyway
	}
	h.mu.Unlock()
	h.rouse()
}

// registered notes that a job was registered, which most often this driver did.
func (h *hearing) registered(handle string, index uint64) {
	h.mu.Lock()
	h.heard[handle] = max(h.heard[handle], index)
	h.mu.Unlock()
	h.rouse()
}

func (h *hearing) rouse() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// take hands over what was heard. What was read meanwhile as it was registered
// is no news: a job that was just written would be looked at once more before
// its plan is made.
func (h *hearing) take() (handles []string, all bool) {
	h.mu.Lock()
	heard := h.heard
	all, h.all, h.heard = h.all, false, map[string]uint64{}
	h.mu.Unlock()
	if all {
		return nil, true
	}
	for _, handle := range slices.Sorted(maps.Keys(heard)) {
		if index := heard[handle]; index == anyway || !h.known(handle, index) {
			handles = append(handles, handle)
		}
	}
	return handles, false
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
		if handles, all := h.take(); all || len(handles) > 0 {
			changed(handles...)
		}
	}
}

// eventsPath asks for the events that can move the state of a job.
const eventsPath = "/v1/event/stream?index=0&topic=Job:*&topic=Deployment:*&topic=Allocation:*&topic=Evaluation:*"

// hearEvents follows the event stream. What happened before it was open nobody
// has told, so everything is looked at then.
func (d *Driver) hearEvents(ctx context.Context, h *hearing) error {
	q, err := d.query(ctx, api.AllNamespacesNamespace)
	if err != nil {
		return err
	}
	stream, err := d.stream.Raw().Response(eventsPath, q)
	if err != nil {
		return fail("follow", "events", err)
	}
	defer func() { _ = stream.Close() }()
	h.note()
	err = readEvents(stream, h.event)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return &drivers.Error{Op: "follow", Subject: "events", Class: drivers.ErrUnreachable, Err: fmt.Errorf("the stream has ended: %w", err)}
}

// event is what is read of one: whose job it is about. Most events hold a whole
// job, which is passed over: a job that is written makes several of them.
type event struct {
	Topic   api.Topic
	Type    string
	Payload struct{ Job, Deployment, Allocation, Evaluation *about }
}

type about struct {
	ID, JobID, Namespace string
	Status               string
	JobModifyIndex       uint64
}

// event notes what an event says. That an evaluation is about to begin says
// nothing: its end will be told.
func (h *hearing) event(e *event) {
	switch handle := e.handle(); {
	case handle == "", e.Topic == api.TopicEvaluation && e.Payload.Evaluation.Status == api.EvalStatusPending:
	case e.Topic == api.TopicJob && e.Type == "JobRegistered":
		h.registered(handle, e.Payload.Job.JobModifyIndex)
	default:
		h.note(handle)
	}
}

// readEvents calls heard with each event, until the stream ends or breaks; a
// heartbeat has none.
func readEvents(stream io.Reader, heard func(*event)) error {
	for dec := json.NewDecoder(stream); ; {
		var batch struct{ Events []event }
		if err := dec.Decode(&batch); err != nil {
			return err
		}
		for i := range batch.Events {
			heard(&batch.Events[i])
		}
	}
}

// handle is the address of the job that an event is about, or "".
func (e *event) handle() string {
	var on *about
	id := func(a *about) string { return a.JobID }
	switch e.Topic {
	case api.TopicJob:
		on, id = e.Payload.Job, func(a *about) string { return a.ID }
	case api.TopicDeployment:
		on = e.Payload.Deployment
	case api.TopicAllocation:
		on = e.Payload.Allocation
	case api.TopicEvaluation:
		on = e.Payload.Evaluation
	}
	if on == nil || id(on) == "" {
		return ""
	}
	return place{KindJob, orElse(on.Namespace, api.DefaultNamespace), id(on)}.handle()
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
