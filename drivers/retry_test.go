package drivers_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
)

// failing lets the first calls of a driver fail.
type failing struct {
	drivers.Driver
	times int   // that Observe and Plan, each, fail as a whole
	one   int   // that the first item of an Observe fails
	class error // with this
	asked [][]drivers.Item
	plans int
	apply int
}

func (f *failing) Observe(ctx context.Context, items []drivers.Item) ([]drivers.State, error) {
	f.asked = append(f.asked, items)
	if len(f.asked) <= f.times {
		return nil, &drivers.Error{Op: "observe", Subject: "it", Class: f.class}
	}
	states, err := f.Driver.Observe(ctx, items)
	if len(f.asked) <= f.one {
		states[0].Err = &drivers.Error{Op: "observe", Subject: "it", Class: f.class}
	}
	return states, err
}

func (f *failing) Plan(ctx context.Context, it drivers.Item, live drivers.State) (drivers.Change, error) {
	if f.plans++; f.plans <= f.times {
		return drivers.Change{}, &drivers.Error{Op: "plan", Subject: "it", Class: f.class}
	}
	return f.Driver.Plan(ctx, it, live)
}

func (f *failing) Apply(context.Context, drivers.Change) (drivers.State, error) {
	f.apply++
	return drivers.State{}, &drivers.Error{Op: "apply", Subject: "it", Class: f.class}
}

func over(e *memory.Engine, f *failing) *drivers.Retry {
	f.Driver = &memory.Driver{Engine: e, Env: env}
	return &drivers.Retry{Driver: f}
}

func TestRetry(t *testing.T) {
	it := item(memory.KindThing, "web", `{"value":1}`)
	for _, c := range []struct {
		name  string
		f     failing
		calls int
		least time.Duration
		most  time.Duration
		fails bool
	}{
		{"none", failing{class: drivers.ErrRetryable}, 1, 0, 0, false},
		{"twice", failing{times: 2, class: drivers.ErrRetryable}, 3, 150 * time.Millisecond, 301 * time.Millisecond, false},
		{"always", failing{times: 9, class: drivers.ErrRetryable}, 3, 150 * time.Millisecond, 301 * time.Millisecond, true},
		{"waiting", failing{times: 1, class: drivers.ErrWaiting}, 1, 0, 0, true},
		{"denied", failing{times: 1, class: drivers.ErrDenied}, 1, 0, 0, true},
		{"unreachable", failing{times: 1, class: drivers.ErrUnreachable}, 1, 0, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := c.f
				d := over(&memory.Engine{}, &f)
				took := func(what string, calls *int, call func() error) {
					t.Helper()
					since := time.Now()
					if err := call(); (err != nil) != c.fails {
						t.Errorf("%s: %v", what, err)
					}
					if n := time.Since(since); n < c.least || n > c.most || *calls != c.calls {
						t.Errorf("%s: %d calls in %s, want %d in %s to %s", what, *calls, n, c.calls, c.least, c.most)
					}
				}
				observed := 0
				took("Observe", &observed, func() error {
					_, err := d.Observe(t.Context(), []drivers.Item{it})
					observed = len(f.asked)
					return err
				})
				took("Plan", &f.plans, func() error {
					_, err := d.Plan(t.Context(), it, drivers.State{Handle: it.Handle})
					return err
				})
			})
		})
	}
}

func TestRetryAsksOnlyForWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &memory.Engine{}
		if _, err := e.ForeignCreate(memory.KindThing, "b", "", []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		f := failing{one: 2, class: drivers.ErrRetryable}
		d := over(e, &f)
		a, b := item(memory.KindThing, "a", `{}`), item(memory.KindThing, "b", `{}`)
		states, err := d.Observe(t.Context(), []drivers.Item{a, b})
		if err != nil {
			t.Fatal(err)
		}
		if len(f.asked) != 3 || len(f.asked[1]) != 1 || f.asked[1][0].Handle != a.Handle {
			t.Errorf("asked %d times, second for %v", len(f.asked), f.asked[1])
		}
		if states[0].Err != nil || states[0].Exists || !states[1].Exists || states[1].Handle != b.Handle {
			t.Errorf("states %+v", states)
		}
	})
}

func TestRetryNeverApplies(t *testing.T) {
	f := failing{class: drivers.ErrRetryable}
	d := over(&memory.Engine{}, &f)
	if _, err := d.Apply(t.Context(), drivers.Change{}); !errors.Is(err, drivers.ErrRetryable) || f.apply != 1 {
		t.Errorf("%d applies, %v", f.apply, err)
	}
}

func TestRetryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := failing{times: 9, class: drivers.ErrRetryable}
		d := over(&memory.Engine{}, &f)
		d.Wait, d.Most = time.Hour, time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		since := time.Now()
		if _, err := d.Observe(ctx, nil); !errors.Is(err, drivers.ErrRetryable) {
			t.Errorf("error %v", err)
		}
		if n := time.Since(since); n != time.Second || len(f.asked) != 1 {
			t.Errorf("%d calls in %s", len(f.asked), n)
		}
	})
}

func TestRetryOfAnotherClassWithThatCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := failing{times: 1, class: &drivers.Error{Op: "read", Subject: "it", Class: drivers.ErrDenied, Err: drivers.ErrRetryable}}
		d := over(&memory.Engine{}, &f)
		if _, err := d.Observe(t.Context(), nil); !errors.Is(err, drivers.ErrDenied) || len(f.asked) != 1 {
			t.Errorf("%d calls, %v", len(f.asked), err)
		}
	})
}
