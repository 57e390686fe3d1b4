package tofu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/internal/records"
	"github.com/aplomb-dev/aplomb/schema"
)

// Names in the copy of a module.
const (
	overrideName = "aplomb_override"
	overrideFile = overrideName + ".tf"
	tfLockFile   = ".terraform.lock.hcl"
)

// workspace is a copy of a module in which the tool is ready to run.
type workspace struct {
	tool    *tool
	vars    map[string]schema.Secret // of secret variables: what is known
	standIn map[string]string        // of those that are not: the token that stands in
}

// all are the values that the tool is given for secret variables.
func (w *workspace) all() map[string]schema.Secret {
	all := map[string]schema.Secret{}
	for k, v := range w.vars {
		all[k] = v
	}
	for k, v := range w.standIn {
		all[k] = schema.NewSecret(v)
	}
	return all
}

// prepare copies the module, writes its variables and runs init where that is
// due. The caller has the stack's lock, and nothing runs in the folder.
func (d *Driver) prepare(ctx context.Context, s *stack, sp spec, files schema.Tree) (*workspace, error) {
	t, err := d.tool(ctx)
	if err != nil {
		return nil, err
	}
	known, err := d.unseal(s, sp.SecretVars)
	if err != nil {
		return nil, driverkit.Fail("open the secrets of", s.handle, err)
	}
	w := &workspace{tool: t, vars: known, standIn: map[string]string{}}
	for name, text := range sp.SecretVars {
		if _, ok := known[name]; !ok {
			w.standIn[name] = text
		}
	}
	if err := s.unpack(sp.Module, files); err != nil {
		return nil, driverkit.Fail("copy the module of", s.handle, err)
	}
	if _, has := files.Get(path.Join(sp.Module, tfLockFile)); !has && s.lock != nil {
		if err := s.put(filepath.Join(moduleDir, tfLockFile), s.lock); err != nil {
			return nil, driverkit.Fail("copy the module of", s.handle, err)
		}
	}
	vars, err := json.Marshal(sp.Vars)
	if err != nil {
		return nil, driverkit.Refuse("read", s.handle, err, "")
	}
	if err := s.put(varsFile, vars); err != nil {
		return nil, driverkit.Fail("write the variables of", s.handle, err)
	}
	return w, d.init(ctx, s, w)
}

// put writes a file that need not outlive the machine.
func (s *stack) put(name string, data []byte) error {
	if err := os.WriteFile(s.path(name), data, 0o600); err != nil {
		return err
	}
	return os.Chmod(s.path(name), 0o600)
}

// unpack makes module/ a copy of a module's folder, unless it is one. Its name
// is the same for every version of it, since modules can see where they are.
func (s *stack) unpack(module string, files schema.Tree) (err error) {
	stamp := hashOf(module, files.Hash(), s.dir)
	const stampFile = "module.sum"
	if old, err := readBounded(s.path(stampFile), 1<<10); err == nil && string(old) == stamp {
		return nil
	}
	if err := s.remove(stampFile); err != nil {
		return err
	}
	if err := os.RemoveAll(s.path(moduleDir)); err != nil {
		return err
	}
	for _, dir := range []string{moduleDir, stateDir} {
		if err := records.MakeDir(s.path(dir)); err != nil {
			return err
		}
	}
	root, err := os.OpenRoot(s.path(moduleDir))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	for _, f := range files {
		name, ok := strings.CutPrefix(f.Path, module+"/")
		if !ok || !fs.ValidPath(name) {
			return fmt.Errorf("the file %s does not lie in the module's folder %s", f.Path, module)
		}
		if err := copyFile(root, name, f); err != nil {
			return err
		}
	}
	if err := root.WriteFile(overrideFile, []byte(override(s.path(stateDir, stateName))), 0o600); err != nil {
		return err
	}
	return s.put(stampFile, []byte(stamp))
}

func copyFile(root *os.Root, name string, f schema.File) error {
	if dir := path.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	mode := fs.FileMode(0o600)
	if f.Exec {
		mode = 0o700
	}
	return root.WriteFile(name, f.Data, mode)
}

// override keeps the state where it belongs, outside the copy.
func override(state string) string {
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "${", "$${", "%{", "%%{").Replace(state)
	return "terraform {\n  backend \"local\" {\n    path = \"" + quoted + "\"\n  }\n}\n"
}

func hashOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		_, _ = fmt.Fprintf(h, "%d %s\n", len(p), p) // a hash takes everything
	}
	return hex.EncodeToString(h.Sum(nil))
}

// init runs the tool's init where module, lock file, program or configuration
// are not those of the last one.
func (d *Driver) init(ctx context.Context, s *stack, w *workspace) error {
	stamp, err := d.initStamp(s, w.tool)
	if err != nil {
		return driverkit.Fail("look at the module of", s.handle, err)
	}
	if old, err := readBounded(s.path(initFile), 1<<10); err == nil && string(old) == stamp {
		if _, err := os.Stat(s.path(dataDir)); err == nil {
			return nil
		}
	}
	if err := d.cliConfig(); err != nil {
		return driverkit.Fail("write", d.Dir, err)
	}
	if d.ProviderConfig == nil {
		d.inits.Lock()
		defer d.inits.Unlock()
	}
	end, err := d.run(ctx, w.tool, s, w.all(), "init", "-input=false", "-no-color", "-reconfigure")
	if err != nil {
		return err
	}
	if end.code != 0 {
		return &drivers.Error{Op: "init", Subject: s.handle, Class: drivers.ErrRetryable, Err: plainError(end, w.scrubber(d, nil)), Hint: "tofu init of the module says this"}
	}
	if stamp, err = d.initStamp(s, w.tool); err == nil { // it may have written the lock file
		err = s.put(initFile, []byte(stamp))
	}
	return driverkit.Fail("look at the module of", s.handle, err)
}

// initStamp is what init depends on.
func (d *Driver) initStamp(s *stack, t *tool) (string, error) {
	module, err := readBounded(s.path("module.sum"), 1<<10)
	if err != nil {
		return "", err
	}
	lock, err := readBounded(s.path(moduleDir, tfLockFile), maxRecord)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	config := ""
	if d.ProviderConfig != nil {
		data, err := readBounded(*d.ProviderConfig, maxRecord)
		if err != nil {
			return "", err
		}
		config = *d.ProviderConfig + "\n" + string(data)
	}
	return hashOf(string(module), string(lock), t.path, fmt.Sprint(t.stamp), config), nil
}
