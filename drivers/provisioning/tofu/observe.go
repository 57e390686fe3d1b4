package tofu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/detached"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// Observe tells what the record of each stack says, without running the tool;
// it takes in the end of applies that nobody waited for.
func (d *Driver) Observe(ctx context.Context, items []drivers.Item) ([]drivers.State, error) {
	if len(items) > 0 && d.configured() == nil {
		d.setup()
		if _, err := d.tool(ctx); drivers.Class(err) == drivers.ErrUnreachable {
			return nil, err
		}
	}
	states := make([]drivers.State, len(items))
	for i, it := range items {
		states[i] = d.observe(ctx, it)
	}
	return states, nil
}

func (d *Driver) observe(ctx context.Context, it drivers.Item) drivers.State {
	s, err := d.stackOf(it.Handle)
	if err != nil {
		if d.configured() == nil {
			return drivers.State{Handle: it.Handle} // nothing can be there
		}
		return drivers.State{Handle: it.Handle, Err: err}
	}
	if err := ctx.Err(); err != nil {
		return drivers.State{Handle: it.Handle, Err: driverkit.Fail("look at", it.Handle, err)}
	}
	defer d.locks.Lock(s.handle)()
	state, err := d.look(ctx, s)
	if err != nil {
		return drivers.State{Handle: it.Handle, Err: err}
	}
	return state
}

// look answers the state of one stack. The caller has its lock.
func (d *Driver) look(ctx context.Context, s *stack) (drivers.State, error) {
	state := drivers.State{Handle: s.handle}
	if err := d.ending(ctx, s); err != nil {
		return state, err
	}
	rec, err := s.record()
	if err != nil {
		return state, driverkit.Fail("read", s.handle, err)
	}
	hash, err := s.stateHash()
	if errors.Is(err, errTorn) && (rec == nil || rec.State == "") {
		err = s.unlocked()
	}
	if err != nil {
		return state, d.torn(s, err)
	}
	switch {
	case rec == nil && hash == "":
		return state, nil
	case rec == nil:
		return state, driverkit.Refuse("look at", s.handle, errors.New("there is a state, and no record of who made it"), "restore "+s.path(recordFile)+" from a backup, or move the folder away")
	case rec.Environment != d.Env:
		return state, driverkit.Refuse("look at", s.handle, fmt.Errorf("it belongs to the environment %s", rec.Environment), "")
	case hash == "" && rec.State != "":
		return state, driverkit.Refuse("look at", s.handle, errors.New("its state is gone"), "restore "+s.path(stateDir, stateName)+", or delete "+s.dir+" to have all of it made anew")
	case hash != rec.State:
		if rec, err = d.refreshed(ctx, s, rec); err != nil {
			return state, err
		}
	}
	state.Exists, state.Spec, state.Outputs = true, rec.Spec, rec.Outputs
	state.Version = d.version(rec)
	state.Health, err = d.health(s, rec)
	return state, err
}

// version changes with everything that is known here, and with the clock, since
// nobody tells when something drifts.
func (d *Driver) version(rec *record) string {
	return baseOf(rec)[:16] + "." + strconv.FormatInt(d.Now().UnixNano()/int64(d.Refresh), 36)
}

// ending takes in the end of a run, and says that one goes on.
func (d *Driver) ending(ctx context.Context, s *stack) error {
	run, err := detached.Open(s.path(runDir))
	if errors.Is(err, detached.ErrNoRun) {
		return d.unbegun(s)
	}
	if err != nil {
		return driverkit.Fail("look at", s.path(runDir), err)
	}
	st, err := run.Status()
	if err != nil {
		return driverkit.Fail("look at", s.path(runDir), err)
	}
	if st.State == detached.Running || st.State == detached.Orphaned {
		return running(s)
	}
	if err := d.collect(ctx, s, run, nil); err != nil {
		if _, open := detached.Open(s.path(runDir)); open == nil {
			return err // it could not be taken in
		}
		d.Log.WithFields(logrus.Fields{"env": d.Env, "resource": s.handle}).WithError(err).Warn("an apply that nobody waited for has failed")
	}
	return nil
}

// unbegun cleans up after an apply that was written down and never started.
func (d *Driver) unbegun(s *stack) error {
	err := s.remove(begunFile)
	if err == nil {
		err = os.RemoveAll(s.path(runDir)) // a folder without a spec
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return driverkit.Fail("clean up", s.dir, err)
}

// unlocked takes away an empty state where there never was one: the tool makes
// it to hold a lock on, and leaves it where it dies planning, as it does when
// the daemon that reads what it says is killed. It is called once nothing runs.
func (s *stack) unlocked() error {
	at := s.path(stateDir, stateName)
	info, err := os.Stat(at)
	if err == nil && info.Size() > 0 {
		return errTorn
	}
	if err == nil {
		err = os.Remove(at)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// torn is a state that cannot be read: while something writes it that passes.
func (d *Driver) torn(s *stack, err error) error {
	if !errors.Is(err, errTorn) {
		return driverkit.Fail("read the state of", s.handle, err)
	}
	return &drivers.Error{Op: "read the state of", Subject: s.handle, Class: drivers.ErrWaiting, Err: err,
		Hint: "if nothing runs in " + s.dir + ", restore it from terraform.tfstate.backup beside it"}
}

// mend puts back the state as it was before an apply that was killed in the
// middle of writing it. It is called once nothing of that apply lives.
func (s *stack) mend(d *Driver) error {
	_, err := s.stateHash()
	if !errors.Is(err, errTorn) {
		return driverkit.Fail("read the state of", s.handle, err)
	}
	backup, err := readBounded(s.path(stateDir, stateName+".backup"), maxState)
	first := errors.Is(err, fs.ErrNotExist) // it was the first apply
	if err != nil && !first {
		return driverkit.Fail("mend the state of", s.handle, err)
	}
	torn, err := readBounded(s.path(stateDir, stateName), maxState)
	if err == nil { // kept for a person: it may name what nothing else does
		err = s.write(filepath.Join(stateDir, stateName+".torn"), torn)
	}
	if err == nil && first {
		err = os.Remove(s.path(stateDir, stateName))
	}
	if err != nil {
		return driverkit.Fail("mend the state of", s.handle, err)
	}
	if first {
		d.warn(s, "the tool was killed while it wrote its first state: what it made may live and be made again; the torn state is kept as terraform.tfstate.torn")
		return nil
	}
	d.warn(s, "the tool was killed while it wrote the state: the state before that apply is put back, and what that apply made may live and be made again; the torn state is kept as terraform.tfstate.torn")
	return driverkit.Fail("mend the state of", s.handle, s.write(filepath.Join(stateDir, stateName), backup))
}

func (d *Driver) warn(s *stack, text string) {
	d.Log.WithFields(logrus.Fields{"env": d.Env, "resource": s.handle}).Warn(text)
}

// refreshed reads a state that somebody else wrote.
func (d *Driver) refreshed(ctx context.Context, s *stack, rec *record) (*record, error) {
	w, err := d.reader(ctx, s, rec)
	if err != nil {
		return nil, err
	}
	next := *rec
	return &next, d.reread(ctx, s, &next, w, nil)
}

// List tells every stack of the environment.
func (d *Driver) List(ctx context.Context) ([]drivers.State, error) {
	d.setup()
	if err := d.configured(); err != nil {
		return nil, driverkit.Refuse("list", d.Dir, err, "this is a fault of the configuration")
	}
	entries, err := os.ReadDir(filepath.Join(d.Dir, d.Env))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, driverkit.Fail("list", d.Dir, err)
	}
	var all []drivers.State
	for _, e := range entries {
		if !e.IsDir() || !nameRE.MatchString(e.Name()) {
			continue
		}
		if st := d.observe(ctx, drivers.Item{Handle: prefix + e.Name()}); st.Exists || st.Err != nil {
			all = append(all, st)
		}
	}
	return all, nil
}

// Reveal asks the tool for an output.
func (d *Driver) Reveal(ctx context.Context, it drivers.Item, output, fingerprint string) (schema.Secret, error) {
	s, err := d.stackOf(it.Handle)
	if err != nil {
		return schema.Secret{}, err
	}
	defer d.locks.Lock(s.handle)()
	if err := s.idle(); err != nil {
		return schema.Secret{}, err
	}
	rec, err := s.record()
	if err != nil {
		return schema.Secret{}, driverkit.Fail("read", s.handle, err)
	}
	if rec == nil || !rec.Outputs[output].Secret {
		return schema.Secret{}, driverkit.Refuse("reveal an output of", s.handle, fmt.Errorf("it has no secret output %q", output), "")
	}
	w, err := d.reader(ctx, s, rec)
	if err != nil {
		return schema.Secret{}, err
	}
	told, err := d.outputs(ctx, s, w)
	if err != nil {
		return schema.Secret{}, err
	}
	v, err := driverkit.Tree(told[output].Value)
	if err != nil {
		return schema.Secret{}, driverkit.Refuse("reveal an output of", s.handle, errors.New("this is no JSON"), "")
	}
	value := plaintext(v)
	if d.Fingerprint(value) != fingerprint {
		return schema.Secret{}, driverkit.Stale("reveal "+output+" of", s.handle)
	}
	return schema.NewSecret(string(value)), nil
}

// failed is the error of a run that was waited for and says JSON.
func (d *Driver) failed(op string, s *stack, end ended, hide *scrubber) error {
	heard, err := listen(strings.NewReader(string(end.out)))
	if err != nil || len(heard.errors) == 0 {
		return &drivers.Error{Op: op, Subject: s.handle, Class: drivers.ErrRetryable, Err: plainError(end, hide)}
	}
	return &drivers.Error{Op: op, Subject: s.handle, Class: heard.class(), Err: heard.error(hide)}
}
