package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/detached"
)

// observers is how many items are looked at at once.
const observers = 8

// instance is one place of a group as it was seen.
type instance struct {
	index  int
	run    *detached.Run // nil: there never was one
	seq    int
	meta   meta
	status detached.Status // zero State: no run
	due    time.Time       // of one that ended: when it shall be started again
	over   bool            // due has come
}

func (i *instance) running() bool { return i.status.State == detached.Running }

// none: nothing was ever started there that counts.
func (i *instance) none() bool {
	return i.run == nil || i.status.State == detached.Prepared || i.status.State == ""
}

// ended: it ran, and nobody looks after it any more.
func (i *instance) ended() bool { return !i.none() && !i.running() }

// String is how an ended one ended: "exited (killed)".
func (i *instance) String() string {
	switch {
	case i.none():
		return "absent"
	case i.running():
		return "running"
	case i.status.State == detached.Exited && !i.status.Exit.Lost:
		return fmt.Sprintf("exited (%s)", i.status.Exit)
	default:
		return "lost (its supervisor or the machine was stopped)"
	}
}

// observed is all that was seen of one group; State.Raw.
type observed struct {
	version string
	serial  uint64
	written time.Time // group.json
	owner   string
	applied tree   // as last told
	live    tree   // as it is: with the run fields of an instance that still has others
	parts   []tree // run fields of instances that have others than applied
	spec    *spec
	hash    string     // of applied
	insts   []instance // by index; those below the count are all there
	at      time.Time
}

// Observe implements drivers.Driver. A group whose files did not change costs
// one stat, and one lock query for each instance.
func (d *Driver) Observe(ctx context.Context, items []drivers.Item) ([]drivers.State, error) {
	states := make([]drivers.State, len(items))
	var g errgroup.Group
	g.SetLimit(observers)
	for i := range items {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			states[i] = d.state(ctx, items[i].Handle, true)
			return nil
		})
	}
	_ = g.Wait() // no worker fails: what goes wrong is the item's
	if err := ctx.Err(); err != nil {
		return nil, fail("observe", d.Dir, drivers.ErrRetryable, err)
	}
	return states, nil
}

// state is the State of one handle. Without ask, its check is not waited for.
func (d *Driver) state(ctx context.Context, handle string, ask bool) drivers.State {
	name, err := nameOf(handle)
	if err != nil {
		return drivers.State{Handle: handle, Err: err}
	}
	o, err := d.look(name)
	if err != nil {
		return drivers.State{Handle: handle, Err: fail("observe", handle, drivers.ErrRetryable, err)}
	}
	if o == nil {
		return drivers.State{Handle: handle}
	}
	if ask && o.checked() {
		d.probe(ctx, name, o)
	}
	return drivers.State{
		Handle: handle, Owner: o.owner, Version: o.version, Exists: true,
		Spec: o.live.json(), Outputs: d.outputs(name, o.spec),
		Health: d.health(name, o), Raw: o,
	}
}

// outputs of a group whose spec is known.
func (d *Driver) outputs(name string, s *spec) map[string]drivers.Output {
	value := func(v any) drivers.Output {
		b, _ := json.Marshal(v) // a number or a string
		return drivers.Output{Value: b}
	}
	return map[string]drivers.Output{"instances": value(s.Count), "dir": value(d.workDir(name, s.Dir))}
}

// workDir is the working folder, absolute. Whether it leaves the root is seen
// when it is made.
func (d *Driver) workDir(name, dir string) string {
	if dir == "" {
		return filepath.Join(d.groupDir(name), "work")
	}
	return filepath.Join(d.Root, dir)
}

// look reads what is there of a group; nil where there is none.
func (d *Driver) look(name string) (*observed, error) {
	e := d.entry(name)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.load(d.groupDir(name)); err != nil || e.group == nil {
		return nil, err
	}
	g := e.group
	o := &observed{
		serial: g.Serial, written: g.At, owner: g.Owner, applied: g.tree, live: g.tree,
		spec: g.spec, hash: g.tree.hash(), at: d.now(),
	}
	for _, index := range indices(e.insts, g.spec.Count) {
		i, err := d.lookAt(index, e.insts[index], g.spec)
		if err != nil {
			return nil, fmt.Errorf("instance %d: %w", index, err)
		}
		o.insts = append(o.insts, i)
	}
	for _, i := range o.insts {
		if i.index >= g.spec.Count || i.none() || i.meta.hash == o.hash {
			continue
		}
		part, err := decodeTree(i.meta.Part)
		if err != nil {
			return nil, err
		}
		o.parts = append(o.parts, part)
	}
	if len(o.parts) > 0 {
		o.live = g.tree.with(o.parts[0])
	}
	o.version = o.sum()
	return o, nil
}

// indices are those of a count, and of all that have a slot.
func indices(insts map[int]*slot, count int) []int {
	list := slices.Collect(maps.Keys(insts))
	for i := range count {
		if insts[i] == nil {
			list = append(list, i)
		}
	}
	slices.Sort(list)
	return list
}

func (d *Driver) lookAt(index int, s *slot, spec *spec) (instance, error) {
	i := instance{index: index}
	if s == nil || s.run == nil {
		return i, nil
	}
	st, err := s.run.Status()
	if errors.Is(err, detached.ErrNoRun) {
		return i, nil // somebody deleted it
	}
	if err != nil {
		return i, err
	}
	i.run, i.seq, i.meta, i.status = s.run, s.seq, s.meta, st
	if i.ended() && spec.Type == service {
		i.due = d.due(s, st, spec)
		i.over = !d.now().Before(i.due)
	}
	return i, nil
}

// due is when an instance that ended shall run again. One that had run for a
// while comes back at once; one that ends soon, again and again, waits longer
// every time.
func (d *Driver) due(s *slot, st detached.Status, spec *spec) time.Time {
	end := st.Exit.At
	if st.State != detached.Exited || st.Exit.Lost {
		if s.lost.IsZero() {
			s.lost = d.now()
		}
		end = s.lost
	}
	return end.Add(backoff(spec, s.meta.Streak, end.Sub(st.Begun)))
}

// backoff is how long to wait after a run that lasted ran, when streak runs
// before it had ended soon.
func backoff(s *spec, streak int, ran time.Duration) time.Duration {
	delay, most := time.Duration(s.Restart.Delay), time.Duration(s.Restart.MaxDelay)
	if lasting(s, ran) || streak == 0 && ran >= delay {
		return 0
	}
	for range streak {
		if delay >= most {
			break
		}
		delay *= 2
	}
	return min(delay, most)
}

// lasting: it ran for so long that what was before does not count.
func lasting(s *spec, ran time.Duration) bool {
	return ran >= min(10*time.Duration(s.Restart.Delay), time.Minute)
}

// sum is the Version: it changes with everything that Plan looks at.
func (o *observed) sum() string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%d %d %s\n", o.serial, o.written.UnixNano(), o.owner)
	for _, i := range o.insts {
		_, _ = fmt.Fprintf(h, "%d %d %s %s %t\n", i.index, i.seq, i.status.State, i.status.Exit, i.over)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
