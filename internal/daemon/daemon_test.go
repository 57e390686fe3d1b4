package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/reconciler"
)

// world is where environments can be opened: one at a time each, as a lock
// would have it, and some not at all.
type world struct {
	mu     sync.Mutex
	open   map[string]config.Environment
	starts map[string]int
	broken map[string]error // what opening, or driving, fails with
	linger time.Duration    // how long one takes to end
}

func newWorld() *world {
	return &world{open: map[string]config.Environment{}, starts: map[string]int{}, broken: map[string]error{}}
}

func (w *world) Open(_ context.Context, e config.Environment) (*Opened, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.starts[e.Name]++
	if _, twice := w.open[e.Name]; twice {
		return nil, errors.New("it is open already")
	}
	if err := w.broken[e.Name]; err != nil {
		return nil, err
	}
	w.open[e.Name] = e
	return &Opened{
		Environment: api.Environment{Info: api.EnvironmentInfo{Name: e.Name}, Control: looked{}},
		Run: func(ctx context.Context) error {
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return nil
				case <-tick.C:
				}
				w.mu.Lock()
				err := w.broken[e.Name]
				w.mu.Unlock()
				if err != nil {
					return err
				}
			}
		},
		Close: func() error {
			time.Sleep(w.linger)
			w.mu.Lock()
			defer w.mu.Unlock()
			delete(w.open, e.Name)
			return nil
		},
	}, nil
}

// breaks says what an environment fails with from now on; nil mends it.
func (w *world) breaks(name string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken[name] = err
}

// state is what is open, from which section, and how often it was begun.
func (w *world) state() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for name, n := range w.starts {
		text := fmt.Sprintf("%s:%d", name, n)
		if e, ok := w.open[name]; ok {
			text += "=" + e.Drift
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// looked is an environment whose source was looked at.
type looked struct{ reconciler.Control }

func (looked) Status() reconciler.Status {
	return reconciler.Status{Source: reconciler.SourceStatus{At: time.Now()}}
}

func env(name, drift string) config.Environment {
	return config.Environment{Name: name, Drift: drift, JSON: []byte(drift)}
}

func start(w *world) (d *Daemon, update func(...config.Environment), stop func()) {
	log := logrus.New()
	log.SetOutput(io.Discard)
	d = &Daemon{Open: w.Open, Log: log}
	ctx, cancel := context.WithCancel(context.Background())
	return d, func(es ...config.Environment) { d.Update(ctx, es) }, func() { cancel(); d.Wait() }
}

// settle lets everything happen that happens within d.
func settle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// TestUpdate: only what has changed is touched; what takes a name waits until
// what had it has ended.
func TestUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.linger = 3 * time.Second
		_, update, stop := start(w)
		for _, step := range []struct {
			envs []config.Environment
			want string
		}{
			{[]config.Environment{env("a", "x"), env("b", "x")}, "a:1=x b:1=x"},
			{[]config.Environment{env("a", "x"), env("b", "y")}, "a:1=x b:2=y"},
			{[]config.Environment{env("a", "x"), env("b", "y")}, "a:1=x b:2=y"},
			{[]config.Environment{env("b", "y"), env("c", "x")}, "a:1 b:2=y c:1=x"},
			{[]config.Environment{env("a", "x"), env("b", "y")}, "a:2=x b:2=y c:1"},
		} {
			update(step.envs...)
			settle(time.Minute)
			if got := w.state(); got != step.want {
				t.Fatalf("%s, want %s", got, step.want)
			}
		}
		for _, drift := range []string{"1", "2", "3"} { // faster than the old one ends
			update(env("a", drift))
			settle(time.Millisecond)
		}
		settle(time.Minute)
		if got, want := w.state(), "a:3=3 b:2 c:1"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		stop()
		if got, want := w.state(), "a:3 b:2 c:1"; got != want {
			t.Errorf("after the end: %s, want %s", got, want)
		}
	})
}

// TestBroken: one that cannot be opened, or that ends, is tried again, less and
// less often, and says why; the others are not disturbed.
func TestBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.breaks("bad", errors.New("its store is broken"))
		d, update, stop := start(w)
		defer stop()
		var heard []time.Duration
		d.Failed = func(name string, err error, next time.Duration) {
			if name != "bad" || err.Error() != "its store is broken" {
				t.Errorf("heard of %s: %v", name, err)
			}
			heard = append(heard, next)
		}
		update(env("bad", "x"), env("good", "x"))
		settle(10 * time.Minute)
		if n := len(heard); n < 11 || n > 30 || heard[0] > time.Second || heard[n-1] < 30*time.Second || heard[n-1] > time.Minute {
			t.Errorf("it was tried again after %v", heard)
		}
		all := d.Environments()
		if len(all) != 2 || all[0].Control != nil || all[0].Info.Error != "its store is broken" || all[0].Info.Next.IsZero() || all[1].Control == nil {
			t.Errorf("%+v", all)
		}
		if got := d.Ready(); len(got) != 1 || got[0] != "environment bad: its store is broken" {
			t.Errorf("not ready: %v", got)
		}
		w.breaks("bad", nil)
		d.Retry()
		settle(time.Millisecond)
		if all := d.Environments(); all[0].Control == nil || len(d.Ready()) != 0 {
			t.Errorf("after it was mended: %+v, %v", all[0].Info, d.Ready())
		}
		was := d.Environments()[0].Done
		w.breaks("bad", errors.New("its store is broken"))
		settle(2 * time.Second)
		select {
		case <-was:
		default:
			t.Error("who listens to what has ended is not told")
		}
		w.breaks("bad", nil)
		settle(2 * time.Minute)
		if e := d.Environments()[0]; e.Control == nil {
			t.Errorf("after it ended and was mended: %+v", e.Info)
		}
		if m := d.Metrics(); len(m) != 2 || m[0].Control == nil || w.starts["good"] != 1 {
			t.Errorf("the other one was begun %d times", w.starts["good"])
		}
	})
}
