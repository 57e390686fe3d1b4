package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/detached"
	"github.com/aplomb-dev/aplomb/schema"
)

// workers is how many instances are started or stopped at once, where the spec
// does not say.
const workers = 16

// Apply implements drivers.Driver. A rolling update waits for each batch but
// the last; it may end in the middle, and the next one goes on from there.
func (d *Driver) Apply(ctx context.Context, c drivers.Change) (drivers.State, error) {
	if c.Action == schema.None {
		return d.answer(ctx, c.Handle)
	}
	p, ok := c.Opaque.(*planned)
	if !ok {
		return drivers.State{}, fail("apply", c.Handle, drivers.ErrStale, errors.New("plan it again"))
	}
	for _, delta := range c.Diff {
		if delta.Unknown && c.Action != schema.Delete {
			return drivers.State{}, fail("apply", c.Handle, drivers.ErrPermanent, fmt.Errorf("%s is not known yet", delta.Path))
		}
	}
	e := d.entry(p.name)
	e.apply.Lock()
	defer e.apply.Unlock()
	defer d.kick(p.name)
	if err := d.dispatch(ctx, c, p); err != nil {
		return drivers.State{}, classed(c.Handle, err)
	}
	return d.answer(ctx, c.Handle)
}

// classed gives an error of an apply a class where it has none.
func classed(handle string, err error) error {
	var e *drivers.Error
	if errors.As(err, &e) {
		return err
	}
	return fail("apply", handle, drivers.ErrRetryable, err)
}

func (d *Driver) answer(ctx context.Context, handle string) (drivers.State, error) {
	s := d.state(ctx, handle, false)
	return s, s.Err
}

func (d *Driver) dispatch(ctx context.Context, c drivers.Change, p *planned) error {
	o, err := d.fresh(p.name)
	if err != nil {
		return err
	}
	if c.Action == schema.Delete && o == nil {
		return nil // it landed before
	}
	if version(o) != p.version {
		return fail("apply", c.Handle, drivers.ErrStale, nil)
	}
	if o != nil && o.owner != "" && o.owner != d.Env {
		return fail("apply", c.Handle, drivers.ErrPermanent, fmt.Errorf("it carries the mark of environment %q", o.owner))
	}
	switch c.Action {
	case schema.Create, schema.Update, schema.Adopt:
		return d.converge(ctx, c, p, o)
	case schema.Replace:
		if _, err := d.newJob(c, p); err != nil { // before anything is stopped
			return err
		}
		if err := d.remove(ctx, p.name, o); err != nil {
			return err
		}
		return d.converge(ctx, c, p, nil)
	case schema.Delete:
		return d.remove(ctx, p.name, o)
	default:
		return fail("apply", c.Handle, drivers.ErrPermanent, fmt.Errorf("%s cannot be applied", c.Action))
	}
}

func version(o *observed) string {
	if o == nil {
		return ""
	}
	return o.version
}

// fresh is look with nothing remembered.
func (d *Driver) fresh(name string) (*observed, error) {
	d.forget(name)
	return d.look(name)
}

// forget makes the next look read the folder.
func (d *Driver) forget(name string) {
	e := d.entry(name)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stamp, e.group = stamp{}, nil
}

// job is what an apply works on.
type job struct {
	d       *Driver
	name    string
	dir     string // of the group
	work    string // working folder
	want    tree
	spec    *spec
	hash    string
	env     []string
	secrets map[string]schema.Secret
}

// newJob checks all that can be checked before anything is written.
func (d *Driver) newJob(c drivers.Change, p *planned) (*job, error) {
	refused := func(err error) (*job, error) { return nil, fail("apply", c.Handle, drivers.ErrPermanent, err) }
	s, err := p.want.typed()
	if err != nil {
		return refused(err)
	}
	if err := d.placed(s.Dir); err != nil {
		return refused(err)
	}
	j := &job{
		d: d, name: p.name, dir: d.groupDir(p.name), work: d.workDir(p.name, s.Dir),
		want: p.want, spec: s, hash: p.want.hash(), secrets: map[string]schema.Secret{},
	}
	env := inherited()
	for k, v := range s.Env {
		value, err := text(v)
		if err != nil {
			return refused(fmt.Errorf("env.%s: %w", k, err))
		}
		secret, given := c.Secrets[schema.Path("/env").Child(k)]
		switch {
		case given:
			delete(env, k)
			j.secrets[k] = secret
		case schema.HasToken(value):
			return refused(fmt.Errorf("the secret of env.%s was not given", k))
		default:
			env[k] = value
		}
	}
	env["APLOMB_ENVIRONMENT"], env["APLOMB_NAME"] = d.Env, p.name
	for k, v := range env {
		j.env = append(j.env, k+"="+v)
	}
	if run := j.run(0, meta{}); run.Check() != nil {
		return refused(run.Check())
	}
	return j, nil
}

// run is what an instance runs.
func (j *job) run(index int, m meta) detached.Spec {
	return detached.Spec{
		Argv: j.spec.Argv, Env: append(slices.Clone(j.env), "APLOMB_INSTANCE="+strconv.Itoa(index)), Secrets: j.secrets,
		Dir: j.work, Stop: j.spec.stop(), Meta: encode(m),
		Log: detached.Log{
			File:    filepath.Join(instanceDir(j.dir, index), "output.log"),
			MaxSize: j.spec.Logs.MaxSize, Keep: j.spec.Logs.Keep,
		},
	}
}

// inherited is all that a process gets of the daemon's environment.
func inherited() map[string]string {
	env := map[string]string{}
	for _, k := range []string{"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR"} {
		if v, ok := os.LookupEnv(k); ok {
			env[k] = v
		}
	}
	return env
}

// makeWork makes the working folder, inside of the root whatever links say.
func (j *job) makeWork() error {
	if j.spec.Dir == "" {
		return os.MkdirAll(j.work, 0o700)
	}
	if err := os.MkdirAll(j.d.Root, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(j.d.Root)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := root.MkdirAll(j.spec.Dir, 0o755); err != nil {
		return fmt.Errorf("make working folder: %w", err)
	}
	sub, err := root.OpenRoot(j.spec.Dir)
	if err != nil {
		return fmt.Errorf("open working folder: %w", err)
	}
	return sub.Close()
}

// converge makes what is there of o (nil: nothing) into what is wanted.
func (d *Driver) converge(ctx context.Context, c drivers.Change, p *planned, o *observed) error {
	j, err := d.newJob(c, p)
	if err != nil {
		return err
	}
	g := &group{Format: format, Owner: d.Env, Serial: 1, Spec: p.want.json(), At: d.now()}
	if o != nil {
		g.Serial = o.serial + 1
	}
	if err := os.MkdirAll(instancesDir(j.dir), 0o700); err != nil {
		return err
	}
	if err := j.makeWork(); err != nil {
		return err
	}
	if err := writeGroup(j.dir, g); err != nil {
		return err
	}
	d.forget(p.name)
	if err := j.sweep(ctx); err != nil {
		return fmt.Errorf("end strays: %w", err)
	}
	return j.roll(ctx)
}

// remove stops everything and forgets it.
func (d *Driver) remove(ctx context.Context, name string, o *observed) error {
	dir := d.groupDir(name)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(workers * 4) // they mostly wait
	for _, i := range o.insts {
		g.Go(func() error { return clearDir(gctx, instanceDir(dir, i.index), o.spec.stop()) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	strays, err := detached.Find(dir + "/") // of instances whose folder somebody deleted
	if err == nil {
		err = d.endStrays(ctx, name, strays, o.spec.stop())
	}
	if err != nil {
		return err
	}
	trash := filepath.Join(d.Dir, ".trash")
	if err := errors.Join(os.MkdirAll(trash, 0o700), os.RemoveAll(filepath.Join(trash, name))); err != nil {
		return err
	}
	if err := os.Rename(dir, filepath.Join(trash, name)); err != nil {
		return err
	}
	d.forget(name)
	return errors.Join(syncDir(d.Dir), os.RemoveAll(filepath.Join(trash, name)))
}

// clearDir ends all runs of an instance and removes its folder.
func clearDir(ctx context.Context, dir string, stop detached.Stop) error {
	seqs, err := runs(dir)
	if err != nil {
		return err
	}
	for _, seq := range seqs {
		run, err := detached.Open(runDir(dir, seq))
		if errors.Is(err, detached.ErrNoRun) {
			continue
		}
		if err == nil {
			_, err = run.Stop(ctx, stop)
		}
		if err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// sweep ends processes of this group whose run nobody knows any more, since
// somebody deleted its folder.
func (j *job) sweep(ctx context.Context) error {
	needed := false
	for i := range j.spec.Count {
		if _, err := os.Lstat(instanceDir(j.dir, i)); errors.Is(err, fs.ErrNotExist) {
			needed = true
			break
		}
	}
	if !needed {
		return nil
	}
	found, err := detached.Find(j.dir + "/")
	if err != nil {
		return err
	}
	var strays []detached.Marked
	for _, p := range found {
		if _, err := detached.Open(p.Dir); errors.Is(err, detached.ErrNoRun) {
			strays = append(strays, p)
		}
	}
	return j.d.endStrays(ctx, j.name, strays, j.spec.stop())
}

func (d *Driver) endStrays(ctx context.Context, name string, strays []detached.Marked, stop detached.Stop) error {
	if len(strays) == 0 {
		return nil
	}
	d.warn(name, "ending processes whose folder was deleted", logrus.Fields{"processes": len(strays)})
	return detached.End(ctx, strays, stop)
}
