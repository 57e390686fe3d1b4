package tofu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/internal/sandbox"
	"github.com/aplomb-dev/aplomb/schema"
)

// Proposals plans stacks as somebody proposes them, whose module nobody has
// agreed to: the module is judged by lists first, then the tool runs in a
// sandbox, with an identity of its own and the providers that are named. It
// looks and lists as the driver does, and never writes. What is not planned is
// answered as decided later, with the reason. Safe for concurrent use.
type Proposals struct {
	*Driver
	As Identity

	once sync.Once
	one  chan struct{} // taken while a sandbox runs: what strangers want waits for itself, and nothing else for it
}

// Identity is what stacks of proposals are planned with.
type Identity struct {
	User      *sandbox.User                            // who the tool runs as; nil: this process's own user, which is not root
	Providers []string                                 // that it may run: TYPE, NAMESPACE/TYPE or HOST/NAMESPACE/TYPE, patterns of schema.Glob
	Modules   []string                                 // sources that modules may name beside folders of their own
	Hosts     []string                                 // sandbox.Spec.Hosts
	Mirror    string                                   // folder with unpacked providers; "" is the cache of Driver
	Variables map[string]func() (schema.Secret, error) // of the tool's environment, read at each use
	State     bool                                     // whether it is given the state of a stack that exists, and with it every secret in it
}

var _ drivers.Driver = (*Proposals)(nil)

// Check says what is wrong with an identity.
func (id *Identity) Check() error {
	for _, p := range id.Providers {
		name, ok := providerName(p, true)
		if _, err := schema.ParseGlob(name); !ok || err != nil {
			return fmt.Errorf("%q names no provider", p)
		}
	}
	for _, h := range id.Hosts {
		if err := sandbox.CheckHost(h); err != nil {
			return err
		}
	}
	return nil
}

// Apply is refused.
func (p *Proposals) Apply(_ context.Context, c drivers.Change) (drivers.State, error) {
	return drivers.State{}, driverkit.Refuse("apply", c.ID.String(), errors.New("a proposal is only planned"), "")
}

// Plan plans what is declared in a sandbox. What is declared as it was applied
// last has nothing to do; what is no longer declared is planned by Aside, since
// that runs what was applied before.
func (p *Proposals) Plan(ctx context.Context, it drivers.Item, state drivers.State) (drivers.Change, error) {
	if it.Want == nil || it.ID.Kind != Kind {
		return (&Aside{p.Driver}).Plan(ctx, it, state)
	}
	driverkit.Place(&it, state)
	c := drivers.Change{ID: it.ID, Handle: it.Handle, Action: schema.None}
	if state.Err != nil {
		return c, state.Err
	}
	if l := it.Last; l != nil && state.Exists && string(l.Spec) == string(it.Want.Spec) && l.Files == it.Want.Files.Hash() {
		c.Outputs = state.Outputs
		return c, nil
	}
	s, err := p.stackOf(it.Handle)
	if err != nil {
		return c, err
	}
	if len(it.Want.Unknown) > 0 {
		return p.deferred(c, it, state)
	}
	if err := p.Driver.Check(it.ID.Kind, it.ID.Name, *it.Want); err != nil {
		return c, err
	}
	sp, err := specOf(s.handle, it.Want)
	if err != nil {
		return c, err
	}
	if why, err := p.propose(ctx, &c, s, sp, it, state); err != nil {
		return c, err
	} else if why != "" {
		return drivers.Change{ID: it.ID, Handle: it.Handle, Action: schema.Deferred, Why: "not planned on a proposal: " + why}, nil
	}
	return c, nil
}

// propose fills in the change, or says why it is not planned.
func (p *Proposals) propose(ctx context.Context, c *drivers.Change, s *stack, sp spec, it drivers.Item, state drivers.State) (string, error) {
	t, err := p.tool(ctx)
	if err != nil {
		return "", err
	}
	r := p.As.rules(t)
	j := r.judge(sp.Module, it.Want.Files)
	if len(j.findings) > 0 {
		why := j.findings[0].String()
		if n := len(j.findings); n > 1 {
			why += fmt.Sprintf("; and %d more", n-1)
		}
		return why, nil
	}
	mounts, why := p.providers(r, j.providers)
	if why != "" {
		return why, nil
	}
	b, why, err := p.behind(ctx, t, s, sp)
	if err != nil || why != "" {
		return why, err
	}
	if c.Diff, err = p.declared(b.rec, it.Want); err != nil {
		return "", err
	}
	ends, why, err := p.sandboxed(ctx, t, s, sp, b, it.Want.Files, mounts)
	if err != nil || why != "" {
		return why, err
	}
	said, why, err := p.heard(s, b, ends)
	if err == nil && why == "" {
		why, err = p.told(c, s, sp, b, said, it, state)
	}
	if err != nil && len(b.standIn) > 0 && len(ends) > 1 { // it came as far as the plan: as the driver itself would answer
		*c = blindly(*c, plan{}, state)
		c.Opaque = nil
		return "", nil
	}
	return why, err
}

// rules are what modules must keep to.
func (id *Identity) rules(t *tool) *rules {
	r := &rules{modules: id.Modules, opentofu: t.opentofu}
	for _, p := range id.Providers {
		name, ok := providerName(p, t.opentofu)
		if g, err := schema.ParseGlob(name); ok && err == nil {
			r.providers = append(r.providers, g)
		}
	}
	return r
}

// mirror is where providers lie within the sandbox.
const mirror = "/providers"

// providers are the folders of providers that the sandbox sees, each unpacked:
// those that are named, and what else may be run and is here. Modules from
// elsewhere and the state may want that.
func (p *Proposals) providers(r *rules, named []string) (mounts []sandbox.Mount, why string) {
	from := p.As.Mirror
	if from == "" {
		from = filepath.Join(p.Dir, p.Env, ".home", "providers")
	}
	here, err := fs.Glob(os.DirFS(from), "*/*/*")
	if err != nil { // of the pattern alone
		return nil, err.Error()
	}
	for _, name := range here {
		at := filepath.Join(from, filepath.FromSlash(name))
		if info, err := os.Stat(at); err != nil || !info.IsDir() || !r.runs(name) {
			continue
		}
		if p.As.Mirror == "" && p.As.User != nil {
			if err := p.readable(at); err != nil {
				p.Log.WithField("env", p.Env).WithError(err).Warn("providers cannot be made readable for the user that plans proposals")
			}
		}
		mounts = append(mounts, sandbox.Mount{From: at, To: mirror + "/" + name})
	}
	for _, name := range named {
		if !slices.ContainsFunc(mounts, func(m sandbox.Mount) bool { return m.To == mirror+"/"+name }) {
			return nil, "the provider " + name + " is not here yet: proposals use those that are installed, and install none"
		}
	}
	return mounts, ""
}

// readable lets other users read what lies in the cache, whatever the umask was
// when it was installed: within the sandbox, since the folder above is ours alone.
func (p *Proposals) readable(at string) error {
	p.inits.Lock()
	defer p.inits.Unlock()
	root, err := os.OpenRoot(at)
	if err != nil {
		return err
	}
	walked := fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		want := info.Mode().Perm() | 0o044
		if want&0o100 != 0 {
			want |= 0o011
		}
		if want == info.Mode().Perm() {
			return nil
		}
		return root.Chmod(name, want)
	})
	return errors.Join(walked, root.Close())
}

// behind is what a stack already is.
type behind struct {
	*workspace
	rec     *record
	state   []byte // in plain text; nil: there is none
	secrets []schema.Secret
	sealed  bool // values of secret variables are known
}

// behind reads what a stack is. One that exists is planned against its state, or
// not at all: without it everything would seem to be made.
func (p *Proposals) behind(ctx context.Context, t *tool, s *stack, sp spec) (*behind, string, error) {
	defer p.locks.Lock(s.handle)()
	b := &behind{workspace: &workspace{tool: t, vars: map[string]schema.Secret{}, standIn: map[string]string{}}}
	if err := s.idle(); err != nil {
		return nil, "", err
	}
	var err error
	if b.rec, err = s.record(); err != nil {
		return nil, "", driverkit.Fail("read", s.handle, err)
	}
	hash, err := s.stateHash()
	if err != nil {
		return nil, "", p.torn(s, err)
	}
	if (b.rec != nil || hash != "") && !p.As.State {
		return nil, "it exists, and its state holds secrets that are not shown to proposals (plan.state)", nil
	}
	if hash != "" && b.rec == nil {
		return nil, "", driverkit.Refuse("look at", s.handle, errors.New("there is a state, and no record of who made it"), "")
	}
	if hash != "" {
		if err := p.reveal(ctx, t, s, b); err != nil {
			return nil, "", err
		}
	}
	if b.rec != nil {
		if b.vars, err = p.unseal(s, sp.SecretVars); err != nil {
			return nil, "", driverkit.Fail("open the secrets of", s.handle, err)
		}
	}
	for name := range b.vars {
		b.sealed = b.sealed || schema.HasToken(sp.SecretVars[name])
	}
	for name, text := range sp.SecretVars {
		if _, known := b.vars[name]; !known {
			b.standIn[name] = text
		}
	}
	return b, "", nil
}

// reveal reads the state, and what is secret in it.
func (p *Proposals) reveal(ctx context.Context, t *tool, s *stack, b *behind) error {
	w, err := p.reader(ctx, s, b.rec)
	if err != nil {
		return err
	}
	if b.secrets, err = p.stateSecrets(ctx, s, w); err != nil {
		return driverkit.Refuse("read the secrets of", s.handle, err, "")
	}
	end, err := p.run(ctx, t, s, w.all(), "state", "pull")
	if err != nil {
		return err
	}
	if end.code != 0 || !json.Valid(end.out) {
		return driverkit.Refuse("read the state of", s.handle, errors.New("the tool cannot"), "")
	}
	b.state = end.out
	return nil
}

// told adds to a change what the sandbox said: somebody else's bytes.
func (p *Proposals) told(c *drivers.Change, s *stack, sp spec, b *behind, said *planJSON, it drivers.Item, state drivers.State) (string, error) {
	if len(said.ResourceChanges)+len(said.OutputChanges)+len(said.ResourceDrift) > maxProposed {
		return fmt.Sprintf("it changes more than %d things", maxProposed), nil
	}
	made, err := p.read(s, b.workspace, sp, said)
	if err != nil {
		return "", err
	}
	seen := map[schema.Path]bool{}
	secret := slices.Concat(b.secrets, made.secrets, b.known(), p.mine())
	if sizeOf(secret) > maxSecret {
		return fmt.Sprintf("more than %d MiB of it are secret", maxSecret>>20), nil
	}
	hide := newScrubber(secret)
	for _, d := range made.deltas {
		if hide.Holds(string(d.Path)) || seen[d.Path] {
			return "what it would change is named by something secret, or twice", nil
		}
		seen[d.Path] = true
		d.Before, d.After = kept(hide, d.Before), kept(hide, d.After)
		c.Diff = append(c.Diff, d)
	}
	driverkit.SortDeltas(c.Diff)
	for name, o := range made.outputs {
		if hide.Holds(string(o.Value)) {
			delete(made.outputs, name) // it is unknown
		}
	}
	c.Outputs = made.outputs
	if slices.ContainsFunc(made.drifted, hide.Holds) {
		made.drifted = []string{"what is secret"}
	}
	decide(c, it, state, made)
	if c.Action == schema.None {
		c.Outputs = state.Outputs
	}
	return "", nil
}

// Bounds of what is told of one stack.
const (
	maxProposed = 10_000  // changes
	maxSecret   = 4 << 20 // bytes that are looked for in them
)

func sizeOf(secrets []schema.Secret) (n int) {
	for _, s := range secrets {
		n += len(s.Reveal())
	}
	return n
}

// kept is a value, without one that holds something secret.
func kept(hide *scrubber, value json.RawMessage) json.RawMessage {
	if len(value) == 0 || !hide.Holds(string(value)) {
		return value
	}
	return quoted("(kept back: it holds something secret)")
}

// known are the secret variables that the tool was given.
func (w *workspace) known() []schema.Secret {
	var all []schema.Secret
	for _, v := range w.vars {
		all = append(all, v)
	}
	return all
}

// mine are the secrets of the identity, as far as they can be read.
func (p *Proposals) mine() []schema.Secret {
	var all []schema.Secret
	for _, read := range p.As.Variables {
		if v, err := read(); err == nil && len(strings.TrimSpace(v.Reveal())) >= minPassed {
			all = append(all, schema.NewSecret(strings.TrimSpace(v.Reveal())))
		}
	}
	return all
}
