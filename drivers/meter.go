package drivers

import (
	"context"
	"maps"
	"sync"
	"time"
)

// Meter counts the calls of a driver, and how long they take.
type Meter struct {
	Driver

	mu  sync.Mutex
	ops map[string]*Op
}

// Op is what was counted of one operation: "observe", "plan" or "apply".
type Op struct {
	Calls   int            `json:"calls"`            // that ended
	Running int            `json:"running"`          // that have not
	Items   int            `json:"items"`            // that they were about
	Failed  map[string]int `json:"failed,omitempty"` // calls by the class of their error, items by that of State.Err
	Busy    time.Duration  `json:"busy"`             // sum of durations, in ns
	Slowest time.Duration  `json:"slowest"`          // in ns
}

var _ Driver = (*Meter)(nil)

// Unwrap gives As the decorated driver.
func (m *Meter) Unwrap() Driver { return m.Driver }

// Snapshot is a copy of what was counted so far, by operation.
func (m *Meter) Snapshot() map[string]Op {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]Op, len(m.ops))
	for name, o := range m.ops {
		c := *o
		c.Failed = maps.Clone(o.Failed)
		all[name] = c
	}
	return all
}

// begin counts a call as running; the function that it gives counts its end.
func (m *Meter) begin(op string) (end func(items int, errs ...error)) {
	since := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ops == nil {
		m.ops = map[string]*Op{}
	}
	o := m.ops[op]
	if o == nil {
		o = &Op{Failed: map[string]int{}}
		m.ops[op] = o
	}
	o.Running++
	return func(items int, errs ...error) {
		took := time.Since(since)
		m.mu.Lock()
		defer m.mu.Unlock()
		o.Running--
		o.Calls++
		o.Items += items
		o.Busy += took
		o.Slowest = max(o.Slowest, took)
		for _, err := range errs {
			if err != nil {
				o.Failed[Class(err).Error()]++
			}
		}
	}
}

// Observe implements Driver.
func (m *Meter) Observe(ctx context.Context, items []Item) ([]State, error) {
	end := m.begin("observe")
	states, err := m.Driver.Observe(ctx, items)
	errs := []error{err}
	for i := range states {
		if states[i].Err != nil {
			errs = append(errs, states[i].Err)
		}
	}
	end(len(items), errs...)
	return states, err
}

// Plan implements Driver.
func (m *Meter) Plan(ctx context.Context, item Item, live State) (Change, error) {
	end := m.begin("plan")
	c, err := m.Driver.Plan(ctx, item, live)
	end(1, err)
	return c, err
}

// Apply implements Driver.
func (m *Meter) Apply(ctx context.Context, c Change) (State, error) {
	end := m.begin("apply")
	s, err := m.Driver.Apply(ctx, c)
	end(1, err)
	return s, err
}
