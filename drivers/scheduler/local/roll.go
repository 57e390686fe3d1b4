package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/detached"
)

// keptRuns is how many runs of an instance that are over are kept beside the
// newest.
const keptRuns = 2

// How a batch is waited for.
const (
	upTick = 20 * time.Millisecond  // from one look at the processes to the next
	upAsk  = 250 * time.Millisecond // from one question to the next, where the check's interval is longer
)

// roll starts, stops and starts anew until every instance is as wanted: first
// what is too many ends, then what does not run starts, then what runs
// something else is started anew, some at a time.
func (j *job) roll(ctx context.Context) error {
	o, err := j.d.look(j.name)
	if err != nil {
		return err
	}
	if o == nil {
		return fail("apply", handlePrefix+j.name, drivers.ErrStale, errors.New("somebody deleted it"))
	}
	var extra, dead, old, fresh []instance
	var resting error
	for _, i := range o.insts {
		switch {
		case i.index >= j.spec.Count:
			extra = append(extra, i)
		case i.running() && i.meta.hash != j.hash:
			old = append(old, i)
		case i.running():
			fresh = append(fresh, i)
		case i.none() || i.meta.hash != j.hash || o.restarts(&i):
			dead = append(dead, i)
		case j.spec.Type == service && resting == nil:
			resting = fmt.Errorf("instance %d %s, and its restart is not due yet", i.index, i.String())
		}
	}
	if err := each(ctx, extra, workers, j.clear); err != nil {
		return err
	}
	if err := each(ctx, dead, workers, j.start); err != nil {
		return err
	}
	if len(old) == 0 {
		return nil
	}
	if resting != nil {
		return j.halted(len(old), resting)
	}
	return j.replace(ctx, old, append(fresh, dead...))
}

// halted is why a rolling update went no further.
func (j *job) halted(old int, why error) error {
	return fmt.Errorf("%d of %d instances still run the former version: %w", old, j.spec.Count, why)
}

// replace starts the old instances anew, a batch at a time, once those that
// are new are up.
func (j *job) replace(ctx context.Context, old, young []instance) error {
	for at := 0; at < len(old); at += j.spec.Update.Parallel {
		if j.spec.Type == service {
			if err := j.up(ctx, young); err != nil {
				return j.halted(len(old)-at, err)
			}
		}
		young = old[at:min(at+j.spec.Update.Parallel, len(old))]
		if err := each(ctx, young, workers, j.start); err != nil {
			return err
		}
	}
	return nil
}

// each does f to all, some at once, and stops at the first error.
func each(ctx context.Context, list []instance, limit int, f func(context.Context, instance) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(limit)
	for _, i := range list {
		g.Go(func() error {
			if err := gctx.Err(); err != nil {
				return err
			}
			if err := f(gctx, i); err != nil {
				return fmt.Errorf("instance %d: %w", i.index, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// clear ends an instance for good.
func (j *job) clear(ctx context.Context, i instance) error {
	if err := clearDir(ctx, instanceDir(j.dir, i.index), j.spec.stop()); err != nil {
		return err
	}
	j.remember(i.index, nil)
	return nil
}

// remember keeps what the folder now holds of an instance; nil is nothing.
func (j *job) remember(index int, s *slot) {
	e := j.d.entry(j.name)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.insts == nil: // it will be read
	case s == nil:
		delete(e.insts, index)
	default:
		e.insts[index] = s
	}
}

// start makes sure that nothing of an instance runs, and starts it.
func (j *job) start(ctx context.Context, was instance) error {
	dir := instanceDir(j.dir, was.index)
	seqs, err := runs(dir)
	if err != nil {
		return err
	}
	next, err := j.settlePast(ctx, dir, seqs)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	m := meta{Part: j.want.part().json(), Streak: j.streak(&was), Owner: j.d.Env, hash: j.hash}
	run, err := j.d.Shim.Start(ctx, runDir(dir, next), j.run(was.index, m))
	if err != nil {
		return err
	}
	j.remember(was.index, &slot{run: run, seq: next, meta: m})
	return nil
}

// settlePast ends every run of an instance, keeps a few of them, and answers
// the number of the next.
func (j *job) settlePast(ctx context.Context, dir string, seqs []int) (next int, err error) {
	next = 1
	for n, seq := range seqs {
		next = seq + 1
		run, err := detached.Open(runDir(dir, seq))
		if errors.Is(err, detached.ErrNoRun) { // a folder and no more
			if err := os.RemoveAll(runDir(dir, seq)); err != nil {
				return 0, err
			}
			continue
		}
		if err != nil {
			return 0, err
		}
		st, err := run.Stop(ctx, j.spec.stop())
		if err != nil {
			return 0, err
		}
		if n == len(seqs)-1 && st.Exit.Lost {
			j.d.warn(j.name, "starting an instance anew that had lost its supervisor", logrus.Fields{"run": run.Dir()})
		}
		if st.State == detached.Prepared || n < len(seqs)-keptRuns {
			if err := run.Remove(); err != nil {
				return 0, err
			}
		}
	}
	return next, nil
}

// streak is how many runs before the next ended soon, one after the other.
func (j *job) streak(was *instance) int {
	st := was.status
	if was.none() || was.meta.hash != j.hash || st.State != detached.Exited ||
		st.Exit.Asked || lasting(j.spec, st.Exit.At.Sub(st.Begun)) {
		return 0
	}
	return was.meta.Streak + 1
}

// up waits until instances are up: they live for a while, and the check
// passes where there is one.
func (j *job) up(ctx context.Context, list []instance) error {
	if len(list) == 0 {
		return nil
	}
	most := j.d.UpTimeout
	if most == 0 {
		most = DefaultUpTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, most, fmt.Errorf("not up within %v", most))
	defer cancel()
	tick := time.NewTicker(upTick)
	defer tick.Stop()
	end, _ := ctx.Deadline()
	var last error
	var asked time.Time
	for {
		ok, err := j.lives(list)
		if err != nil {
			return err
		}
		if ok && j.spec.Check == nil {
			return nil
		}
		if ok && time.Since(asked) >= min(time.Duration(j.spec.Check.Interval), upAsk) {
			asked = time.Now()
			switch err := j.d.ask(ctx, j.spec.Check); {
			case err == nil:
				return nil
			case ctx.Err() == nil && time.Now().Before(end): // else it was cut off, which says nothing
				last = err
			}
		}
		select {
		case <-ctx.Done():
			if last != nil {
				return fmt.Errorf("%w: check: %w", context.Cause(ctx), last)
			}
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// lives says whether all of them have lived for long enough; an error names
// one that ended.
func (j *job) lives(list []instance) (bool, error) {
	o, err := j.d.look(j.name)
	if err != nil || o == nil {
		return false, errors.Join(err, errors.New("it is gone"))
	}
	all := true
	for _, was := range list {
		for _, i := range o.insts {
			if i.index != was.index {
				continue
			}
			if !i.running() {
				return false, fmt.Errorf("instance %d %s", i.index, i.String())
			}
			all = all && time.Since(i.status.Begun) >= j.d.settle()
		}
	}
	return all, nil
}
