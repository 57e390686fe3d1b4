package tofu

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"reflect"
	"syscall"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/detached"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// stopGrace is how long the tool may take to end once it was asked to, such as
// by the machine going down: it finishes what it has in hand.
const stopGrace = 5 * time.Minute

// Apply applies the saved plan in a run of its own, which goes on when ctx ends
// or this process dies: what came of it is then found by Observe. Where ctx ends
// because of a newer revision the tool is asked, once, to stop after what it has
// in hand.
func (d *Driver) Apply(ctx context.Context, c drivers.Change) (drivers.State, error) {
	if c.ID.Kind != Kind {
		return drivers.State{}, unserved(c.ID.Kind)
	}
	s, err := d.stackOf(c.Handle)
	if err != nil {
		return drivers.State{}, err
	}
	p, ok := c.Opaque.(plan)
	if !ok || p.deferred {
		return drivers.State{}, driverkit.Stale("apply", s.handle)
	}
	begun, err := d.begin(ctx, s, c, &p)
	if err != nil {
		return drivers.State{}, err
	}
	if begun != nil {
		if err := d.await(ctx, s, begun.run, p.total); err != nil {
			return drivers.State{}, err
		}
	}
	defer d.locks.Lock(s.handle)()
	ctx = context.WithoutCancel(ctx) // it has landed
	if begun != nil {
		if err := d.collect(ctx, s, begun.run, begun.hide); err != nil {
			return drivers.State{}, err
		}
	}
	return d.look(ctx, s)
}

// going is an apply that was started.
type going struct {
	run  *detached.Run
	hide *scrubber
}

// begin makes sure that the plan still holds, writes down what is about to be
// done, and starts the run; nil where there is nothing for the tool to do.
func (d *Driver) begin(ctx context.Context, s *stack, c drivers.Change, p *plan) (*going, error) {
	defer d.locks.Lock(s.handle)()
	if err := ctx.Err(); err != nil {
		return nil, driverkit.Fail("apply", s.handle, err)
	}
	if err := s.idle(); err != nil {
		return nil, err
	}
	base, err := s.base()
	if err != nil {
		return nil, driverkit.Fail("read", s.handle, err)
	}
	if base != p.base {
		if rec, err := s.record(); c.Action == schema.Delete && err == nil && rec == nil {
			return nil, nil // it is gone already
		}
		return nil, driverkit.Stale("apply", s.handle)
	}
	if p.destroy {
		return d.start(ctx, s, p, nil)
	}
	var sp spec
	if err := json.Unmarshal(p.spec, &sp); err != nil {
		return nil, driverkit.Refuse("read", s.handle, err, "")
	}
	if err := d.seal(s, sp.SecretVars, handed(c.Secrets)); err != nil {
		return nil, driverkit.Fail("seal the secrets of", s.handle, err)
	}
	w, err := d.sighted(ctx, s, p, sp)
	if err != nil {
		return nil, err
	}
	if p.file == "" {
		return nil, d.settle(ctx, s, p, sp, w)
	}
	return d.start(ctx, s, p, w)
}

// handed are the values of secret variables in a Change.
func handed(secrets map[schema.Path]schema.Secret) map[string]schema.Secret {
	values := map[string]schema.Secret{}
	for p, v := range secrets {
		if steps := p.Steps(); p.Within(secretsPath) && len(steps) == 2 {
			values[steps[1]] = v
		}
	}
	return values
}

// sighted makes a plan that was blind again, now that all values are known, and
// answers ErrStale unless it is exactly what was shown.
func (d *Driver) sighted(ctx context.Context, s *stack, p *plan, sp spec) (*workspace, error) {
	if p.blind && p.shown.Action == "" {
		return nil, driverkit.Stale("plan with its secrets", s.handle) // it was not planned at all; now it can be
	}
	w, err := d.prepare(ctx, s, sp, p.files)
	if err != nil || !p.blind {
		return w, err
	}
	if len(w.standIn) > 0 {
		return nil, driverkit.Refuse("apply", s.handle, errors.New("the value of a secret variable was not handed over"), "")
	}
	rec, err := s.record()
	if err != nil {
		return nil, driverkit.Fail("read", s.handle, err)
	}
	now := drivers.Change{}
	if now.Diff, err = d.declared(rec, &drivers.Desired{Spec: p.spec, Files: p.files}); err != nil {
		return nil, err
	}
	made, err := d.save(ctx, s, w, p, sp, false)
	if err != nil {
		return nil, err
	}
	now.Diff = append(now.Diff, made.deltas...)
	driverkit.SortDeltas(now.Diff)
	decide(&now, drivers.Item{}, drivers.State{Exists: rec != nil}, made)
	if !reflect.DeepEqual(p.shown, shown(now)) {
		return nil, driverkit.Stale("plan with its secrets", s.handle)
	}
	return w, nil
}

// settle writes down what is declared where the tool has nothing to do.
func (d *Driver) settle(ctx context.Context, s *stack, p *plan, sp spec, w *workspace) error {
	rec, err := s.record()
	if err != nil {
		return driverkit.Fail("read", s.handle, err)
	}
	if rec == nil {
		rec = &record{}
	}
	if err := s.keepTree(p.files); err != nil {
		return driverkit.Fail("keep the module of", s.handle, err)
	}
	rec.Format, rec.Environment, rec.Name = 1, d.Env, s.name
	rec.Spec, rec.Applied, rec.Files, rec.Failed = p.spec, p.spec, p.files.Hash(), ""
	return d.reread(ctx, s, rec, w, nil)
}

// start begins the apply of the saved plan. w nil: with the module and variables
// of what was applied last.
func (d *Driver) start(ctx context.Context, s *stack, p *plan, w *workspace) (*going, error) {
	if !s.hasPlan(p.file) {
		return nil, driverkit.Stale("apply", s.handle)
	}
	b := begun{Destroy: p.destroy, Plan: p.file}
	if w == nil {
		var err error
		if w, err = d.applied(ctx, s); err != nil {
			return nil, err
		}
	} else {
		b.Spec, b.Files = p.spec, p.files.Hash()
		if err := s.keepTree(p.files); err != nil {
			return nil, driverkit.Fail("keep the module of", s.handle, err)
		}
	}
	plain, secret, err := d.environ(w.tool, s, w.all())
	if err == nil {
		err = s.store(begunFile, b)
	}
	if err != nil {
		return nil, driverkit.Fail("begin the apply of", s.handle, err)
	}
	run, err := d.Shim.Start(ctx, s.path(runDir), detached.Spec{
		Argv: []string{w.tool.path, "apply", "-input=false", "-json", lockTimeout, s.path(p.file)},
		Env:  plain, Secrets: secret, Dir: s.path(moduleDir), Stop: detached.Stop{Signal: "INT", Grace: stopGrace},
	})
	if err != nil { // it may have started all the same: Observe looks
		return nil, &drivers.Error{Op: "start the apply of", Subject: s.handle, Class: drivers.ErrRetryable, Err: err}
	}
	return &going{run, w.scrubber(d, p.secrets)}, nil
}

// applied is the workspace of what was applied last.
func (d *Driver) applied(ctx context.Context, s *stack) (*workspace, error) {
	rec, err := s.record()
	if err != nil || rec == nil {
		return nil, driverkit.Fail("read", s.handle, errors.Join(err, fs.ErrNotExist))
	}
	sp, err := specOf(s.handle, &drivers.Desired{Spec: rec.Applied})
	if err != nil {
		return nil, err
	}
	files, err := s.tree(rec.Files)
	if err != nil {
		return nil, driverkit.Fail("read the module of", s.handle, err)
	}
	return d.prepare(ctx, s, sp, files)
}

// await waits for the end of the run, and tells how far it has come.
func (d *Driver) await(ctx context.Context, s *stack, run *detached.Run, total int) error {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	over := make(chan error, 1)
	go func() {
		_, err := run.Wait(waiting)
		over <- err
	}()
	const often = 200 * time.Millisecond
	tick := time.NewTicker(often)
	defer tick.Stop()
	p := &progress{total: total}
	var at int64
	for {
		select {
		case err := <-over:
			if err == nil {
				return nil
			}
			if ctx.Err() == nil {
				return &drivers.Error{Op: "wait for the apply of", Subject: s.handle, Class: drivers.ErrRetryable, Err: err}
			}
			return leave(ctx, s, run)
		case <-tick.C:
			at = tell(ctx, s.path(runDir, "output.log"), at, p)
		}
	}
}

// leave gives up waiting: the run goes on, or ends soon if nobody wants it any
// more.
func leave(ctx context.Context, s *stack, run *detached.Run) error {
	if !errors.Is(context.Cause(ctx), drivers.ErrSuperseded) {
		return &drivers.Error{Op: "apply", Subject: s.handle, Class: drivers.ErrWaiting, Err: errors.New("the apply goes on, and is looked for")}
	}
	err := run.Signal(syscall.SIGINT) // once: a second one would make the tool drop what it has in hand
	return &drivers.Error{Op: "apply", Subject: s.handle, Class: drivers.ErrWaiting, Err: errors.Join(drivers.ErrSuperseded, err)}
}

// tell reads on in what the tool says, whole lines only, and tells the last that
// is worth it.
func tell(ctx context.Context, path string, at int64, p *progress) int64 {
	f, err := os.Open(path)
	if err != nil {
		return at
	}
	defer func() { _ = f.Close() }() // only read
	const most = 1 << 20
	buf := make([]byte, most)
	n, err := f.ReadAt(buf, at)
	if n == 0 && err != nil {
		return at
	}
	end := bytes.LastIndexByte(buf[:n], '\n') + 1
	if end == 0 && n == most {
		end = n // a line without end is nothing to tell
	}
	text := ""
	for l := range bytes.SplitSeq(buf[:end], []byte{'\n'}) {
		if said := p.hear(l); said != "" {
			text = said
		}
	}
	if text != "" {
		drivers.Tell(ctx, text)
	}
	return at + int64(end)
}

// idle refuses to touch a stack in which an apply runs, or whose end was not
// taken in.
func (s *stack) idle() error {
	if _, err := os.Stat(s.path(runDir)); err == nil {
		return running(s)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return driverkit.Fail("look at", s.path(runDir), err)
	}
	return nil
}

func running(s *stack) error {
	return &drivers.Error{Op: "look at", Subject: s.handle, Class: drivers.ErrWaiting, Err: errors.New("an apply is running")}
}
