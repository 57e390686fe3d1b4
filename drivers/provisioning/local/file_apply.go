package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/atomicfile"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

func canonicalMode(s string) (string, error) {
	if s == "" {
		return "0644", nil
	}
	if n, err := strconv.ParseUint(s, 8, 32); err != nil || n > 0o777 || len(s) != 4 {
		return "", driverkit.Refuse("read", "mode", fmt.Errorf("%q is not a mode such as 0644", s), "")
	}
	return s, nil
}

func (d *Driver) applyFile(c drivers.Change) (drivers.State, error) {
	plan, ok := c.Opaque.(*filePlan)
	if !ok || plan.unknown {
		return drivers.State{}, driverkit.Stale("apply", c.Handle)
	}
	where, err := d.place(c.Handle)
	if err != nil {
		return drivers.State{}, err
	}
	rs := roots{}
	defer rs.close()
	if plan.desired == nil {
		return d.deleteFile(rs, where, c.Handle, plan)
	}
	root, err := rs.make(where.base)
	if err != nil {
		return drivers.State{}, driverkit.Fail("open", where.base, err)
	}
	live, err := d.look(root, where, c.Handle, plan.show)
	if err != nil {
		return drivers.State{}, err
	}
	job, err := d.job(plan, c.Secrets)
	if err != nil {
		return drivers.State{}, err
	}
	if live.Exists && live.Version == job.version(plan, d.Fingerprint) {
		return live, nil // it landed already
	}
	if live.Version != plan.version {
		return drivers.State{}, driverkit.Stale("write", where.abs())
	}
	if err := d.announce(where, plan, c.Nonce, job.version(plan, d.Fingerprint)); err != nil {
		return drivers.State{}, driverkit.Fail("announce", where.abs(), err)
	}
	if err := d.write(root, where, job, live.Exists); err != nil {
		return drivers.State{}, err
	}
	return d.look(root, where, c.Handle, plan.show || plan.tells())
}

// tells says whether what was just written may be told: it is all declared,
// and none of it is a secret.
func (p *filePlan) tells() bool {
	return p.content && len(p.desired.Secrets) == 0 && !schema.HasToken(string(p.desired.Spec))
}

// job is what one Apply writes.
type job struct {
	data []byte // nil: only the mode
	mode string
}

// version is the live version once the job is done.
func (j job) version(plan *filePlan, print drivers.Fingerprinter) string {
	l := liveFile{kind: "file", print: plan.print, mode: j.mode}
	if j.data != nil {
		l.print = print(j.data)
	}
	return l.version()
}

func (d *Driver) job(plan *filePlan, secrets map[schema.Path]schema.Secret) (j job, err error) {
	var s fileSpec
	if err := driverkit.Decode(plan.desired, &s); err != nil {
		return j, driverkit.Refuse("read", FileKind, err, "")
	}
	if j.mode, err = canonicalMode(s.Mode); err != nil || !plan.content {
		return j, err
	}
	for _, p := range under(plan.desired.Secrets) {
		if _, ok := secrets[p]; !ok {
			return j, &drivers.Error{Op: "write", Subject: p.String(), Class: drivers.ErrRetryable, Err: errors.New("the secret's value did not come with the change")}
		}
	}
	if secrets == nil {
		secrets = map[schema.Path]schema.Secret{}
	}
	if j.data, err = render(plan.desired, secrets); j.data == nil && err == nil {
		j.data = []byte{}
	}
	if err == nil {
		err = asShown(plan.desired, s, secrets, j.data)
	}
	return j, err
}

// asShown refuses what would be written where it is anything else than what
// the plan showed, with the secrets in the places of their tokens. Otherwise a
// template could look at a secret, and do what nobody has approved.
func asShown(want *drivers.Desired, s fileSpec, secrets map[schema.Path]schema.Secret, data []byte) error {
	if len(secrets) == 0 {
		return nil
	}
	shown, err := render(want, nil)
	if err != nil {
		return driverkit.Refuse("write", FileKind, errors.New("the template does not only print its secrets"), "print a secret as it is: {{.NAME}}")
	}
	var pairs []string
	for p, value := range secrets {
		token := s.Vars[strings.TrimPrefix(string(p), "/vars/")]
		if p == contentPath {
			token = *s.Content
		}
		if text, ok := token.(string); ok {
			pairs = append(pairs, text, value.Reveal())
		}
	}
	if strings.NewReplacer(pairs...).Replace(string(shown)) != string(data) {
		return driverkit.Refuse("write", FileKind, errors.New("with the secrets in it the template makes something else than what the plan showed"), "print a secret as it is: {{.NAME}}")
	}
	return nil
}

func (d *Driver) write(root *os.Root, where place, j job, exists bool) error {
	mode, err := strconv.ParseUint(j.mode, 8, 32)
	if err != nil {
		return err
	}
	if j.data == nil {
		return driverkit.Fail("set mode of", where.abs(), chmod(root, where.rel, fs.FileMode(mode)))
	}
	if exists {
		return driverkit.Fail("write", where.abs(), atomicfile.Replace(root, where.rel, j.data, fs.FileMode(mode)))
	}
	if err := d.makeFolders(root, where); err != nil {
		return driverkit.Fail("make folders of", where.abs(), err)
	}
	err = atomicfile.Create(root, where.rel, j.data, fs.FileMode(mode))
	if errors.Is(err, fs.ErrExist) {
		return driverkit.Stale("write", where.abs())
	}
	return driverkit.Fail("write", where.abs(), err)
}

// chmod sets the mode of the very file, not of what a link names.
func chmod(root *os.Root, rel string, mode fs.FileMode) error {
	info, err := root.Lstat(rel)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file any more", rel)
	}
	if err := root.Chmod(rel, mode); err != nil {
		return err
	}
	return atomicfile.SyncDir(root, path.Dir(rel))
}

func (d *Driver) deleteFile(rs roots, where place, handle string, plan *filePlan) (drivers.State, error) {
	gone := drivers.State{Handle: handle}
	d.watched.Remove(where.abs())
	root, err := rs.open(where.base)
	if errors.Is(err, fs.ErrNotExist) {
		return gone, nil
	}
	if err != nil {
		return gone, driverkit.Fail("open", where.base, err)
	}
	live, err := d.look(root, where, handle, plan.show)
	if err != nil || !live.Exists {
		return gone, err
	}
	if live.Version != plan.version {
		return gone, driverkit.Stale("delete", where.abs())
	}
	err = errors.Join(root.Remove(where.rel), atomicfile.Clean(root, where.rel), atomicfile.SyncDir(root, path.Dir(where.rel)))
	if err != nil {
		return gone, driverkit.Fail("delete", where.abs(), err)
	}
	d.files.put(where.abs(), nil)
	if err := d.landings.Delete(pathName(where.abs())); err != nil {
		return gone, driverkit.Fail("forget", where.abs(), err)
	}
	return gone, driverkit.Fail("remove folders of", where.abs(), d.removeFolders(root, where))
}
