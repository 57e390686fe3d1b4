package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// mux is several drivers behind one target, each for its own kinds. Their
// handles differ by kind, so that no two drivers ever mean the same thing.
type mux struct {
	byKind map[string]drivers.Driver
	all    []drivers.Driver // in the order of layers
}

var (
	_ drivers.Driver   = (*mux)(nil)
	_ drivers.Watcher  = (*mux)(nil)
	_ drivers.Lister   = (*mux)(nil)
	_ drivers.Revealer = (*mux)(nil)
)

func (m *mux) add(d drivers.Driver, kinds ...string) {
	m.all = append(m.all, d)
	for _, k := range kinds {
		m.byKind[k] = d
	}
}

func (m *mux) of(kind string) (drivers.Driver, error) {
	if d := m.byKind[kind]; d != nil {
		return d, nil
	}
	return nil, &drivers.Error{Op: "serve", Subject: kind, Class: drivers.ErrPermanent, Err: errors.New("this target has no such kind")}
}

// Address implements drivers.Driver.
func (m *mux) Address(kind, name string, spec json.RawMessage) (string, error) {
	d, err := m.of(kind)
	if err != nil {
		return "", err
	}
	return d.Address(kind, name, spec)
}

// Observe asks each driver for its own items, side by side. One that is out of
// reach makes its own items fail, and the rest is answered.
func (m *mux) Observe(ctx context.Context, items []drivers.Item) ([]drivers.State, error) {
	states := make([]drivers.State, len(items))
	at := map[drivers.Driver][]int{}
	for i, it := range items {
		d, err := m.of(it.ID.Kind)
		if err != nil {
			states[i] = drivers.State{Handle: it.Handle, Err: err}
			continue
		}
		at[d] = append(at[d], i)
	}
	var group sync.WaitGroup
	for d, indices := range at {
		group.Go(func() {
			part := make([]drivers.Item, len(indices))
			for n, i := range indices {
				part[n] = items[i]
			}
			got, err := d.Observe(ctx, part)
			for n, i := range indices {
				if err != nil {
					states[i] = drivers.State{Handle: items[i].Handle, Err: err}
				} else {
					states[i] = got[n]
				}
			}
		})
	}
	group.Wait()
	return states, ctx.Err()
}

// Plan implements drivers.Driver.
func (m *mux) Plan(ctx context.Context, item drivers.Item, live drivers.State) (drivers.Change, error) {
	d, err := m.of(item.ID.Kind)
	if err != nil {
		return drivers.Change{}, err
	}
	return d.Plan(ctx, item, live)
}

// Apply implements drivers.Driver.
func (m *mux) Apply(ctx context.Context, c drivers.Change) (drivers.State, error) {
	d, err := m.of(c.ID.Kind)
	if err != nil {
		return drivers.State{}, err
	}
	return d.Apply(ctx, c)
}

// Reveal implements drivers.Revealer.
func (m *mux) Reveal(ctx context.Context, item drivers.Item, output string) (schema.Secret, error) {
	d, err := m.of(item.ID.Kind)
	if err != nil {
		return schema.Secret{}, err
	}
	r, ok := drivers.As[drivers.Revealer](d)
	if !ok {
		return schema.Secret{}, &drivers.Error{Op: "reveal", Subject: item.Handle, Class: drivers.ErrPermanent, Err: fmt.Errorf("%s has no secret outputs", item.ID.Kind)}
	}
	return r.Reveal(ctx, item, output)
}

// Watch hears of every driver that can say; the first that breaks ends all, to
// be started again.
func (m *mux) Watch(ctx context.Context, changed func(handles ...string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(m.all))
	var group sync.WaitGroup
	for i, d := range m.all {
		w, ok := drivers.As[drivers.Watcher](d)
		if !ok {
			continue
		}
		group.Go(func() {
			if err := w.Watch(ctx, changed); err != nil && ctx.Err() == nil {
				errs[i] = err
				cancel()
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// List implements drivers.Lister.
func (m *mux) List(ctx context.Context) ([]drivers.State, error) {
	var all []drivers.State
	for _, d := range m.all {
		l, ok := drivers.As[drivers.Lister](d)
		if !ok {
			continue
		}
		got, err := l.List(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, got...)
	}
	return all, nil
}
