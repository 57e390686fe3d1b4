package tofu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/internal/sandbox"
	"github.com/aplomb-dev/aplomb/schema"
)

const (
	// sandboxTime bounds the plan of one stack of a proposal.
	sandboxTime = 5 * time.Minute
	// sandboxOutput bounds what is read of each of its runs, in bytes.
	sandboxOutput = 32 << 20
	// maxValues bounds the values in its plan: the smallest take a hundred bytes
	// of memory for three of text.
	maxValues = 1_000_000
)

// Names within the sandbox.
const (
	toolPath  = "/bin/tofu"
	rootsPath = "/etc/authorities.pem"
	planName  = planPrefix + "proposal"
)

// authorities are where systems keep the certificates that programs trust.
var authorities = []string{
	"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/pki/tls/cacert.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/cert.pem",
}

// sandboxed has the tool plan in a sandbox. The module lies where the driver would
// put it, since modules can see where they are.
func (p *Proposals) sandboxed(ctx context.Context, t *tool, s *stack, sp spec, b *behind, files schema.Tree, mounts []sandbox.Mount) ([]sandbox.Result, string, error) {
	spec, err := p.spec(t, s, sp, b, files, mounts)
	if err != nil {
		return nil, "", err
	}
	p.once.Do(func() { p.one = make(chan struct{}, 1) })
	select {
	case p.one <- struct{}{}:
		defer func() { <-p.one }()
	case <-ctx.Done():
		return nil, "", driverkit.Fail("run tofu for", s.handle, ctx.Err())
	}
	limited, cancel := context.WithTimeout(ctx, sandboxTime)
	defer cancel()
	ends, err := sandbox.Run(limited, spec)
	switch {
	case err == nil:
		return ends, "", nil
	case ctx.Err() != nil:
		return nil, "", driverkit.Fail("run tofu for", s.handle, ctx.Err())
	case limited.Err() != nil:
		return nil, fmt.Sprintf("it takes longer than %s", sandboxTime), nil
	}
	return p.unrun(s, err)
}

// unrun says what becomes of a proposal that could not be run. What the machine
// is short of for now is an error: it is tried again.
func (p *Proposals) unrun(s *stack, err error) ([]sandbox.Result, string, error) {
	log := p.Log.WithFields(logrus.Fields{"env": p.Env, "resource": s.handle}).WithError(err)
	switch {
	case errors.Is(err, sandbox.ErrUnavailable):
		log.Warn("a proposal is not planned")
		return nil, "the daemon has no sandbox for it; its log says why", nil
	case errors.Is(err, sandbox.ErrBusy):
		log.Warn("a proposal is not planned for now")
		return nil, "", &drivers.Error{Op: "plan", Subject: s.handle, Class: drivers.ErrRetryable, Err: errors.New("the daemon has no sandbox for it at present; its log says why")}
	}
	return nil, "", driverkit.Refuse("plan", s.handle, err, "")
}

// heard reads what the runs said: somebody else's bytes.
func (p *Proposals) heard(s *stack, b *behind, ends []sandbox.Result) (*planJSON, string, error) {
	hide := newScrubber(slices.Concat(b.secrets, b.known(), p.mine()))
	hide.mute = b.state != nil || b.sealed // what fails may tell them bit by bit
	for i, e := range ends {
		switch {
		case e.Full:
			return nil, fmt.Sprintf("it says more than %d MiB", sandboxOutput>>20), nil
		case e.Code != 0 && hide.mute:
			return nil, "", driverkit.Refuse("plan", s.handle, errors.New("the tool fails; what it says is kept back, since it knows what is secret"), "plan it where you may see the state")
		case e.Code != 0:
			failed := p.failed("plan", s, ended{e.Out, e.Errs, e.Code}, hide)
			return nil, "", &drivers.Error{Op: []string{"init", "plan", "show"}[min(i, 2)], Subject: s.handle, Class: drivers.ErrPermanent, Err: errors.New(clip(cause(failed)))}
		}
	}
	if len(ends) != 3 {
		return nil, "", driverkit.Refuse("plan", s.handle, errors.New("the tool did not end"), "")
	}
	if crowded(ends[2].Out, maxValues) {
		return nil, fmt.Sprintf("its plan has more than %d values", maxValues), nil
	}
	said, err := parsePlan(ends[2].Out)
	if err != nil || said.Errored {
		return nil, "", driverkit.Refuse("read the plan of", s.handle, errors.New("it is no plan"), "")
	}
	return said, "", nil
}

// spec is what runs in the sandbox, and what it sees.
func (p *Proposals) spec(t *tool, s *stack, sp spec, b *behind, files schema.Tree, mounts []sandbox.Mount) (sandbox.Spec, error) {
	home := filepath.Join(p.Dir, p.Env)
	program, err := filepath.EvalSymlinks(t.path)
	if err != nil {
		return sandbox.Spec{}, driverkit.Fail("find", t.path, err)
	}
	out := sandbox.Spec{
		User: p.As.User, Hosts: p.As.Hosts, Dir: s.path(moduleDir), Writable: []string{home, "/tmp"},
		Mounts: append(mounts, sandbox.Mount{From: program, To: toolPath}),
		Limits: sandbox.Limits{Output: sandboxOutput},
		Steps: [][]string{
			{toolPath, "init", "-input=false", "-no-color", "-reconfigure"},
			{toolPath, "plan", "-input=false", "-json", "-var-file=" + s.path(varsFile), "-out=" + s.path(planName)},
			{toolPath, "show", "-json", s.path(planName)},
		},
	}
	if out.Files, err = p.files(s, sp, b, files, len(mounts) > 0); err != nil {
		return out, err
	}
	if out.Env, err = p.environment(s, b); err != nil {
		return out, err
	}
	if len(out.Hosts) > 0 {
		for _, at := range authorities {
			if _, err := os.Stat(at); err == nil {
				out.Mounts = append(out.Mounts, sandbox.Mount{From: at, To: rootsPath})
				break
			}
		}
	}
	return out, nil
}

// files are the module, its variables, the state and the tool's configuration.
func (p *Proposals) files(s *stack, sp spec, b *behind, files schema.Tree, providers bool) ([]sandbox.File, error) {
	vars, err := json.Marshal(sp.Vars)
	if err != nil {
		return nil, driverkit.Refuse("read", s.handle, err, "")
	}
	config := "disable_checkpoint = true\nprovider_installation {\n}\n"
	if providers {
		config = fmt.Sprintf("disable_checkpoint = true\nprovider_installation {\n  filesystem_mirror {\n    path = %q\n  }\n}\n", mirror)
	}
	all := []sandbox.File{
		{Path: s.path(varsFile), Data: vars},
		{Path: filepath.Join(p.Dir, p.Env, ".home", "cli.tfrc"), Data: []byte(config)},
		{Path: s.path(moduleDir, overrideFile), Data: []byte(override(s.path(stateDir, stateName)))},
	}
	if b.state != nil {
		all = append(all, sandbox.File{Path: s.path(stateDir, stateName), Data: b.state})
	}
	for _, f := range files {
		name, ok := strings.CutPrefix(f.Path, sp.Module+"/")
		if !ok {
			return nil, driverkit.Refuse("copy the module of", s.handle, fmt.Errorf("the file %s does not lie in the module's folder", f.Path), "")
		}
		all = append(all, sandbox.File{Path: s.path(moduleDir, filepath.FromSlash(name)), Data: f.Data, Exec: f.Exec})
	}
	return all, nil
}

// environment is what the tool is told, and nothing of this process's own.
func (p *Proposals) environment(s *stack, b *behind) ([]string, error) {
	home := filepath.Join(p.Dir, p.Env, ".home")
	env := []string{
		"CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_INPUT=0", "TF_CLI_CONFIG_FILE=" + filepath.Join(home, "cli.tfrc"), "TF_DATA_DIR=" + s.path(dataDir),
		"HOME=" + home, "TMPDIR=/tmp", "PATH=/bin", "LC_ALL=C.UTF-8", "TZ=UTC",
	}
	if len(p.As.Hosts) > 0 {
		env = append(env, "HTTPS_PROXY="+sandbox.ProxyURL, "HTTP_PROXY="+sandbox.ProxyURL, "NO_PROXY=localhost,127.0.0.1", "SSL_CERT_FILE="+rootsPath)
	}
	for _, name := range slices.Sorted(maps.Keys(p.As.Variables)) {
		v, err := p.As.Variables[name]()
		if err != nil {
			return nil, &drivers.Error{Op: "read the variable " + name + " for", Subject: s.handle, Class: drivers.ErrDenied, Err: err}
		}
		env = append(env, name+"="+strings.TrimSpace(v.Reveal()))
	}
	all := b.all()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		env = append(env, "TF_VAR_"+name+"="+all[name].Reveal())
	}
	return env, nil
}
