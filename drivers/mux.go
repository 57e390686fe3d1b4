package drivers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/aplomb-dev/aplomb/schema"
)

// Mux is several drivers behind one target, by kind. One driver may stand
// under many kinds. Their handles share one space, so those of different kinds
// differ, as Driver.Address demands. It is not altered after its first call.
//
// A part that is out of reach takes only its own items with it: their State.Err
// is ErrUnreachable. Optional interfaces are those of the parts together.
type Mux map[string]Driver

var (
	_ Driver   = Mux(nil)
	_ Watcher  = Mux(nil)
	_ Lister   = Mux(nil)
	_ Revealer = Mux(nil)
)

// part finds the driver of a kind.
func (m Mux) part(kind string) (Driver, error) {
	if d := m[kind]; d != nil {
		return d, nil
	}
	return nil, &Error{Op: "find kind", Subject: kind, Class: ErrPermanent, Err: errors.New("this target does not serve it")}
}

// parts are the drivers, each once, in the order of their first kinds; of says
// which one serves a kind.
func (m Mux) parts() (all []Driver, of map[string]int) {
	of = make(map[string]int, len(m))
	for _, kind := range slices.Sorted(maps.Keys(m)) {
		d := m[kind]
		if d == nil {
			continue
		}
		i := -1
		if reflect.TypeOf(d).Comparable() {
			i = slices.Index(all, d)
		}
		if i < 0 {
			i = len(all)
			all = append(all, d)
		}
		of[kind] = i
	}
	return all, of
}

// Address implements Driver.
func (m Mux) Address(kind, name string, spec json.RawMessage) (string, error) {
	d, err := m.part(kind)
	if err != nil {
		return "", err
	}
	return d.Address(kind, name, spec)
}

// Observe implements Driver. The parts are asked at the same time.
func (m Mux) Observe(ctx context.Context, items []Item) ([]State, error) {
	all, of := m.parts()
	states := make([]State, len(items))
	share := make([][]int, len(all)) // of each part: indices of items
	for i := range items {
		n, ok := of[items[i].ID.Kind]
		if !ok {
			_, err := m.part(items[i].ID.Kind)
			states[i] = State{Handle: items[i].Handle, Err: err}
			continue
		}
		share[n] = append(share[n], i)
	}
	var wg sync.WaitGroup
	for n, indices := range share {
		if len(indices) > 0 {
			wg.Go(func() { observePart(ctx, all[n], items, indices, states) })
		}
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, &Error{Op: "observe", Subject: "target", Class: ErrRetryable, Err: err}
	}
	return states, nil
}

// observePart fills in the states at indices.
func observePart(ctx context.Context, d Driver, items []Item, indices []int, states []State) {
	mine := make([]Item, len(indices))
	for j, i := range indices {
		mine[j] = items[i]
	}
	told, err := d.Observe(ctx, mine)
	if err == nil && len(told) != len(mine) {
		err = fmt.Errorf("%d states for %d items", len(told), len(mine))
	}
	for j, i := range indices {
		if err != nil {
			states[i] = State{Handle: items[i].Handle, Err: &Error{Op: "observe", Subject: items[i].ID.Kind, Class: ErrUnreachable, Err: err, Hint: HintOf(err)}}
			continue
		}
		states[i] = told[j]
	}
}

// Plan implements Driver.
func (m Mux) Plan(ctx context.Context, item Item, live State) (Change, error) {
	d, err := m.part(item.ID.Kind)
	if err != nil {
		return Change{}, err
	}
	return d.Plan(ctx, item, live)
}

// Apply implements Driver.
func (m Mux) Apply(ctx context.Context, c Change) (State, error) {
	d, err := m.part(c.ID.Kind)
	if err != nil {
		return State{}, err
	}
	return d.Apply(ctx, c)
}

// Watch implements Watcher: it watches every part that can be, and ends with
// the first that does. changed is never called twice at once.
func (m Mux) Watch(ctx context.Context, changed func(handles ...string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	one := func(handles ...string) {
		mu.Lock()
		defer mu.Unlock()
		changed(handles...)
	}
	all, _ := m.parts()
	ended := make(chan error, len(all))
	watching := 0
	for _, d := range all {
		if w, ok := As[Watcher](d); ok {
			watching++
			go func() { ended <- w.Watch(ctx, one) }()
		}
	}
	if watching == 0 {
		<-ctx.Done()
		return nil
	}
	err := <-ended
	cancel()
	for range watching - 1 {
		<-ended // they end because of the first
	}
	return err
}

// List implements Lister: what lives in the parts that can list. If one of
// them fails so does the whole, since a list with a hole looks like things that
// are gone.
func (m Mux) List(ctx context.Context) ([]State, error) {
	all, _ := m.parts()
	var states []State
	for _, d := range all {
		l, ok := As[Lister](d)
		if !ok {
			continue
		}
		told, err := l.List(ctx)
		if err != nil {
			return nil, err
		}
		states = append(states, told...)
	}
	return states, nil
}

// Reveal implements Revealer.
func (m Mux) Reveal(ctx context.Context, item Item, output, fingerprint string) (schema.Secret, error) {
	d, err := m.part(item.ID.Kind)
	if err != nil {
		return schema.Secret{}, err
	}
	r, ok := As[Revealer](d)
	if !ok {
		return schema.Secret{}, &Error{Op: "reveal", Subject: item.Handle, Class: ErrPermanent, Err: fmt.Errorf("%s has no secret outputs", item.ID.Kind)}
	}
	return r.Reveal(ctx, item, output, fingerprint)
}
