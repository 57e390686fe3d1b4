package tofu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/internal/records"
	"github.com/aplomb-dev/aplomb/schema"
)

// maxOutput bounds what is read of one run: a plan of some 10,000 resources.
const maxOutput = 128 << 20

// lockTimeout is how long the tool waits for somebody else's lock on the state.
const lockTimeout = "-lock-timeout=20s"

// maxSocketDir is the length of the longest path of a folder in which providers
// can open their sockets.
const maxSocketDir = 80

// tool is the program.
type tool struct {
	path     string
	stamp    records.Stamp
	opentofu bool // else Terraform, which encrypts nothing
}

type toolCache struct {
	mu  sync.Mutex
	got *tool
}

// tool finds the program, and asks it once what it is.
func (d *Driver) tool(ctx context.Context) (*tool, error) {
	path, err := d.lookPath()
	if err != nil {
		return nil, &drivers.Error{Op: "find", Subject: "tofu", Class: drivers.ErrUnreachable, Err: err, Hint: "install OpenTofu, or name the target's binary"}
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, &drivers.Error{Op: "find", Subject: path, Class: drivers.ErrUnreachable, Err: err}
	}
	stamp := records.StampOf(info)
	d.tools.mu.Lock()
	defer d.tools.mu.Unlock()
	if d.tools.got != nil && d.tools.got.path == path && d.tools.got.stamp == stamp {
		return d.tools.got, nil
	}
	cmd := exec.CommandContext(ctx, path, "version")
	cmd.Env, cmd.Dir = []string{"CHECKPOINT_DISABLE=1", "HOME=/nonexistent", "TF_CLI_CONFIG_FILE=" + os.DevNull}, "/"
	var out limited
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, driverkit.Fail("ask the version of", path, ctx.Err())
		}
		return nil, &drivers.Error{Op: "ask the version of", Subject: path, Class: drivers.ErrUnreachable, Err: err}
	}
	t := &tool{path: path, stamp: stamp, opentofu: strings.HasPrefix(out.String(), "OpenTofu")}
	if !t.opentofu && !strings.HasPrefix(out.String(), "Terraform") {
		return nil, driverkit.Refuse("ask the version of", path, errors.New("this is neither OpenTofu nor Terraform"), "name the target's binary")
	}
	d.tools.got = t
	return t, nil
}

func (d *Driver) lookPath() (string, error) {
	if d.Binary != "" {
		return exec.LookPath(d.Binary)
	}
	path, err := exec.LookPath("tofu")
	if err != nil {
		path, err = exec.LookPath("terraform")
	}
	if err != nil {
		return "", errors.New("neither tofu nor terraform is in PATH")
	}
	return path, nil
}

// environ is what a run sees: what is no secret, and what is.
func (d *Driver) environ(t *tool, s *stack, vars map[string]schema.Secret) ([]string, map[string]schema.Secret, error) {
	home := filepath.Join(d.Dir, d.Env, ".home")
	if err := records.MakeDir(home); err != nil {
		return nil, nil, err
	}
	config := filepath.Join(home, "cli.tfrc")
	if d.ProviderConfig != nil {
		config = *d.ProviderConfig
	}
	tmp := home
	if len(tmp) > maxSocketDir {
		tmp = os.TempDir()
	}
	plain := []string{
		"CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_INPUT=0", "TF_CLI_CONFIG_FILE=" + config, "TF_DATA_DIR=" + s.path(dataDir),
		"HOME=" + home, "TMPDIR=" + tmp, "PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC",
	}
	secret := map[string]schema.Secret{}
	for _, name := range d.Pass {
		if strings.HasPrefix(name, "TF_") && !strings.HasPrefix(name, "TF_TOKEN_") {
			continue // they would make another run of this one
		}
		if v, ok := os.LookupEnv(name); ok {
			secret[name] = schema.NewSecret(v)
		}
	}
	for name, v := range vars {
		secret["TF_VAR_"+name] = v
	}
	if t.opentofu {
		secret["TF_ENCRYPTION"] = schema.NewSecret(fmt.Sprintf(encryption, d.passphrase(s)))
	}
	return plain, secret, nil
}

// encryption is OpenTofu's encryption block. The passphrase has 256 random
// bits, so stretching it is a formality, of which as little is done as the tool
// allows: each run of the tool does it several times.
const encryption = `key_provider "pbkdf2" "aplomb" {
  passphrase    = "%s"
  iterations    = 200000
  hash_function = "sha256"
}
method "aes_gcm" "aplomb" {
  keys = key_provider.pbkdf2.aplomb
}
state {
  method   = method.aes_gcm.aplomb
  enforced = true
}
plan {
  method   = method.aes_gcm.aplomb
  enforced = true
}
`

// cliConfig writes the generated CLI configuration, once it is needed.
func (d *Driver) cliConfig() error {
	if d.ProviderConfig != nil {
		return nil
	}
	home := filepath.Join(d.Dir, d.Env, ".home")
	cache := filepath.Join(home, "providers")
	if err := records.MakeDir(cache); err != nil {
		return err
	}
	at := &stack{dir: home}
	return at.write("cli.tfrc", fmt.Appendf(nil, "disable_checkpoint = true\nplugin_cache_dir   = %q\n", cache))
}

// slot waits for leave to run the tool.
func (d *Driver) slot(ctx context.Context) (free func(), err error) {
	select {
	case d.slots <- struct{}{}:
		return func() { <-d.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ended is how a run that was waited for ended.
type ended struct {
	out, errs []byte
	code      int
}

// run runs the tool in the copy of the module and waits for it. The tool and
// its providers are killed when ctx ends: it is for runs that write nothing.
func (d *Driver) run(ctx context.Context, t *tool, s *stack, vars map[string]schema.Secret, args ...string) (ended, error) {
	plain, secret, err := d.environ(t, s, vars)
	if err != nil {
		return ended{}, driverkit.Fail("make", d.Dir, err)
	}
	free, err := d.slot(ctx)
	if err != nil {
		return ended{}, driverkit.Fail("run tofu for", s.handle, err)
	}
	defer free()
	cmd := exec.CommandContext(ctx, t.path, args...)
	cmd.Dir, cmd.Env = s.path(moduleDir), plain
	for name, v := range secret {
		cmd.Env = append(cmd.Env, name+"="+v.Reveal())
	}
	var out, errs limited
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ended{}, driverkit.Fail("run tofu for", s.handle, ctx.Err())
	case out.full || errs.full:
		return ended{}, driverkit.Refuse("run tofu for", s.handle, fmt.Errorf("it wrote more than %d MiB", maxOutput>>20), "")
	case err != nil && !errors.As(err, &exit):
		return ended{}, &drivers.Error{Op: "run tofu for", Subject: s.handle, Class: drivers.ErrRetryable, Err: err}
	}
	return ended{out: out.Bytes(), errs: errs.Bytes(), code: cmd.ProcessState.ExitCode()}, nil
}

// limited keeps the first maxOutput bytes that are written to it.
type limited struct {
	bytes.Buffer
	full bool
}

// Write never fails, so that the writer does not.
func (l *limited) Write(p []byte) (int, error) {
	if room := maxOutput - l.Len(); len(p) > room {
		l.full = true
		_, _ = l.Buffer.Write(p[:room])
		return len(p), nil
	}
	return l.Buffer.Write(p)
}
