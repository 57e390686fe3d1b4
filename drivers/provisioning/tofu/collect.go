package tofu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/detached"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// collect takes in the end of a run: what it said becomes the record of the
// stack, and run and plan are removed. It may be repeated after a crash at any
// point of it. The error is the apply's own; a person sees it in the health too.
// hide nil: made anew, from what is still known.
func (d *Driver) collect(ctx context.Context, s *stack, run *detached.Run, hide *scrubber) error {
	st, err := run.Status()
	if err == nil && st.State == detached.Lost {
		st, err = run.Stop(ctx, detached.Stop{Signal: "KILL"}) // nothing of it lives; that is now written down
	}
	if err != nil {
		return &drivers.Error{Op: "look at the apply of", Subject: s.handle, Class: drivers.ErrRetryable, Err: err}
	}
	var b begun
	if err := s.load(begunFile, &b); err != nil {
		if errors.Is(err, fs.ErrNotExist) { // taken in already
			return d.removed(s, run, nil)
		}
		return driverkit.Fail("read", s.handle, err)
	}
	if st.State == detached.Prepared || st.Exit.Error != "" {
		err := &drivers.Error{Op: "apply", Subject: s.handle, Class: drivers.ErrRetryable, Err: fmt.Errorf("the tool was not started: %s", st.Exit.Error)}
		return d.removed(s, run, err)
	}
	said, err := s.said()
	if err != nil {
		return driverkit.Fail("read what was said of", s.handle, err)
	}
	if class := said.class(); st.Exit.Code != 0 && len(said.errors) == 1 && (class == drivers.ErrStale || class == drivers.ErrWaiting) {
		return d.removed(s, run, &drivers.Error{Op: "apply", Subject: s.handle, Class: class, Err: said.error(newScrubber(nil))})
	}
	return d.takeIn(ctx, s, run, &b, st.Exit, said, hide)
}

// said is what the run said.
func (s *stack) said() (*said, error) {
	f, err := os.Open(s.path(runDir, "output.log"))
	if errors.Is(err, fs.ErrNotExist) {
		return &said{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return listen(io.LimitReader(f, maxOutput))
}

// takeIn writes the record of a run that did something.
func (d *Driver) takeIn(ctx context.Context, s *stack, run *detached.Run, b *begun, exit detached.Exit, said *said, hide *scrubber) error {
	if err := s.mend(d); err != nil {
		return err
	}
	rec, err := s.record()
	if err != nil {
		return driverkit.Fail("read", s.handle, err)
	}
	if rec == nil && b.Destroy { // it was forgotten, but for the rest of the folder
		return driverkit.Fail("forget", s.dir, errors.Join(s.remove(begunFile), os.RemoveAll(s.dir)))
	}
	if rec == nil {
		rec = &record{Format: 1, Environment: d.Env, Name: s.name, Spec: b.Spec}
	}
	if !b.Destroy {
		var sp spec
		if err := json.Unmarshal(b.Spec, &sp); err != nil {
			return driverkit.Refuse("read", s.handle, err, "")
		}
		rec.Applied, rec.Files = b.Spec, b.Files
	}
	ok := exit.Code == 0 && exit.Signal == "" && !exit.Lost
	rec.Failed = ""
	if ok && !b.Destroy {
		rec.Spec = b.Spec
	}
	w, err := d.known(s, rec)
	if err != nil {
		return err
	}
	if hide == nil || !ok || len(said.checks) > 0 { // what is told below may repeat what only the state knows
		hide = d.hider(ctx, s, w, hide.known())
	}
	var failure error
	if !ok {
		failure = d.failure(s, exit, said, hide)
		rec.Failed = clip(cause(failure))
	}
	if ok && b.Destroy {
		return d.forget(ctx, s, run, rec, w)
	}
	for i, text := range said.checks {
		said.checks[i] = clip(hide.scrub(text))
	}
	if err := d.reread(ctx, s, rec, w, said); err != nil {
		return err
	}
	return d.removed(s, run, failure)
}

// reader is a workspace in which outputs can be read: whichever copy of a module
// is there will do, since each has the same state.
func (d *Driver) reader(ctx context.Context, s *stack, rec *record) (*workspace, error) {
	for _, name := range []string{initFile, moduleDir, dataDir} {
		if _, err := os.Stat(s.path(name)); err != nil {
			return d.applied(ctx, s)
		}
	}
	return d.known(s, rec)
}

// known is the workspace of a record, as far as reading takes one.
func (d *Driver) known(s *stack, rec *record) (*workspace, error) {
	sp, err := specOf(s.handle, &drivers.Desired{Spec: rec.Applied})
	if err != nil {
		return nil, err
	}
	vars, err := d.unseal(s, sp.SecretVars)
	if err != nil {
		return nil, driverkit.Fail("open the secrets of", s.handle, err)
	}
	return &workspace{vars: vars}, nil
}

// failure is what an apply ended with.
func (d *Driver) failure(s *stack, exit detached.Exit, said *said, hide *scrubber) error {
	e := &drivers.Error{Op: "apply", Subject: s.handle, Class: drivers.ErrRetryable, Err: said.error(hide)}
	if e.Err == nil {
		e.Err = fmt.Errorf("the tool ended by itself: %s", exit)
	}
	return e
}

func cause(err error) string {
	var e *drivers.Error
	if errors.As(err, &e) && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}

// removed removes what is left of a run that was taken in, and answers err.
func (d *Driver) removed(s *stack, run *detached.Run, err error) error {
	gone := errors.Join(s.remove(begunFile), run.Remove())
	if gone == nil {
		gone = s.sweep()
	}
	if err == nil {
		return driverkit.Fail("clean up", s.dir, gone)
	}
	return err
}

// forget removes a stack whose state is empty.
func (d *Driver) forget(ctx context.Context, s *stack, run *detached.Run, rec *record, w *workspace) error {
	t, err := d.tool(ctx)
	if err != nil {
		return err
	}
	if hash, err := s.stateHash(); err != nil || hash != "" {
		end, err := d.run(ctx, t, s, w.all(), "state", "list")
		if err != nil {
			return err
		}
		if end.code != 0 || len(end.out) > 0 {
			rec.Failed = "it was destroyed, and its state is not empty: " + clip(d.hider(ctx, s, w, nil).scrub(string(end.out)+string(end.errs)))
			if err := d.reread(ctx, s, rec, w, nil); err != nil {
				return err
			}
			return d.removed(s, run, &drivers.Error{Op: "destroy", Subject: s.handle, Class: drivers.ErrRetryable, Err: errors.New(rec.Failed)})
		}
	}
	d.checks.forget(s.handle)
	// In this order a crash is found by what was begun, and ends here again.
	if err := os.RemoveAll(s.path(stateDir)); err != nil {
		return driverkit.Fail("forget", s.dir, err)
	}
	if err := s.remove(recordFile); err != nil {
		return driverkit.Fail("forget", s.dir, err)
	}
	return driverkit.Fail("forget", s.dir, errors.Join(s.remove(begunFile), os.RemoveAll(s.dir)))
}

// reread fills in outputs and checks of a record from the state, and writes it.
// What an apply said does for what is not sensitive, and saves a run.
func (d *Driver) reread(ctx context.Context, s *stack, rec *record, w *workspace, said *said) error {
	sp, err := specOf(s.handle, &drivers.Desired{Spec: rec.Applied})
	if err != nil {
		return err
	}
	if rec.State, err = s.stateHash(); err != nil {
		return d.torn(s, err)
	}
	if err := os.Chmod(s.path(stateDir, stateName), 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) { // the tool made it readable for all, in a folder that is not
		return driverkit.Fail("write", s.dir, err)
	}
	var told map[string]toldOutput
	if said != nil && said.ended {
		told, rec.Checks = said.outputs, said.checks
		d.checks.forget(s.handle)
	}
	if missing(sp, told) && rec.State != "" {
		if told, err = d.outputs(ctx, s, w); err != nil {
			return err
		}
	}
	if rec.Outputs, err = d.recorded(s, sp, told); err != nil {
		return err
	}
	if rec.Failed == "" {
		if err := s.prune(sp.SecretVars); err != nil {
			return driverkit.Fail("write", s.dir, err)
		}
	}
	return driverkit.Fail("write", s.dir, s.store(recordFile, rec))
}

// missing says whether a declared output has to be asked for.
func missing(sp spec, told map[string]toldOutput) bool {
	if told == nil {
		return len(sp.Outputs) > 0
	}
	for name, want := range sp.Outputs {
		if o, ok := told[name]; ok && (want.Sensitive || o.Sensitive) {
			return true
		}
	}
	return false
}

// outputs asks the tool for all outputs, sensitive ones too.
func (d *Driver) outputs(ctx context.Context, s *stack, w *workspace) (map[string]toldOutput, error) {
	t, err := d.tool(ctx)
	if err != nil {
		return nil, err
	}
	end, err := d.run(ctx, t, s, w.all(), "output", "-json")
	if err != nil {
		return nil, err
	}
	if end.code != 0 {
		return nil, &drivers.Error{Op: "read the outputs of", Subject: s.handle, Class: drivers.ErrRetryable, Err: plainError(end, w.scrubber(d, nil))}
	}
	var told map[string]toldOutput
	if err := json.Unmarshal(end.out, &told); err != nil {
		return nil, driverkit.Refuse("read the outputs of", s.handle, errors.New("this is no JSON"), "")
	}
	return told, nil
}

// recorded are the declared outputs that are there and of the declared type.
func (d *Driver) recorded(s *stack, sp spec, told map[string]toldOutput) (map[string]drivers.Output, error) {
	out := map[string]drivers.Output{}
	for name, want := range sp.Outputs {
		o, ok := told[name]
		if !ok {
			continue
		}
		v, err := driverkit.Tree(o.Value)
		if err != nil {
			return nil, driverkit.Refuse("read the outputs of", s.handle, errors.New("this is no JSON"), "")
		}
		if o.Sensitive && !want.Sensitive {
			d.warn(s, "an output is sensitive and not declared so")
			continue
		}
		if kindOf(v) != want.Type && want.Type != "any" {
			continue
		}
		if !want.Sensitive && schema.ForgesToken(string(o.Value)) {
			continue
		}
		if out[name], err = outputOf(o.Value, want.Sensitive, d.Fingerprint); err != nil {
			return nil, err
		}
	}
	return out, nil
}
