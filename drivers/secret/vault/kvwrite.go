package vault

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// The deltas of a version that is not ours, or not there, and of one of ours
// that somebody deleted.
const (
	versionPath schema.Path = "/!version"
	deletedPath schema.Path = "/!deleted"
)

// kvPlan is what becomes of a secret's content.
type kvPlan struct {
	write  bool // a new version is put
	next   int  // which one
	from   int  // the version whose generated values are kept; 0: all are made
	before int  // generation of from
	redo   bool // a write of ours to next may be under way already
	revive int  // a deleted version to bring back first; 0: none
}

// plan says whether there is a new version, and of what it is made.
func (k secrets) plan(d *Driver, c *drivers.Change, s *step, it drivers.Item, f *found) error {
	p := &kvPlan{write: true, next: 1}
	s.kv = p
	if f != nil {
		now := k.own(f, s, it)
		k.renew(c, p, now, f.owner == "" && s.last == nil)
	}
	if s.unknown {
		c.Outputs = map[string]drivers.Output{"path": c.Outputs["path"]}
		return nil
	}
	version := p.next
	if !p.write && p.revive == 0 {
		return nil
	}
	if !p.write {
		version--
	}
	var err error
	c.Outputs, err = k.holding(it.Handle, s.want, version)
	return err
}

// renew decides on what lives: whether it stays, is brought back, or is written
// anew, and what its generated values are kept of.
func (k secrets) renew(c *drivers.Change, p *kvPlan, now *kvState, foreign bool) {
	p.next, p.redo = now.current+1, now.mine == now.current+1
	p.from, p.before = now.base(foreign)
	if now.deleted[p.from] {
		p.revive = p.from
	}
	same := len(c.Diff) == 0
	p.write = !same || !now.whole()
	switch {
	case same && now.current == now.mine && now.deleted[now.mine]:
		p.write = false
		c.Diff = append(c.Diff, drivers.Delta{Path: deletedPath, Op: schema.Delete, Before: json.RawMessage(strconv.Itoa(now.mine))})
	case same && !now.whole(), now.mine > 0 && now.current != now.mine:
		c.Diff = append(c.Diff, versionDelta(now))
	}
	if p.write && p.from == 0 && now.mine > 0 && now.current > 0 {
		c.Why = "its own last version is gone: what is generated is made anew"
	}
}

func versionDelta(now *kvState) drivers.Delta {
	after := json.RawMessage(strconv.Itoa(now.current + 1))
	if now.current == 0 {
		return drivers.Delta{Path: versionPath, Op: schema.Create, After: after}
	}
	return drivers.Delta{Path: versionPath, Op: schema.Update, Before: json.RawMessage(strconv.Itoa(now.current)), After: after}
}

// own is what is known of the versions: by the metadata, or, where somebody
// took those away, by what was last applied.
func (k secrets) own(f *found, s *step, it drivers.Item) *kvState {
	if f.owner != "" || s.last == nil {
		return f.kv
	}
	now := *f.kv
	version, _, _ := strings.Cut(it.Last.Version, "-")
	now.mine, now.spec, now.from = number(version), k.sum(s.last), number(version)
	if spec, err := kvSpecOf(s.last); err == nil {
		now.generation, now.before = spec.generation(), spec.generation()
	}
	return &now
}

// base is the version that generated values are kept of, and its generation.
// What was never ours keeps its values where they have the name.
func (s *kvState) base(foreign bool) (version, generation int) {
	version, generation = s.from, s.before
	switch {
	case foreign:
		version, generation = s.current, 0
	case s.mine > 0 && s.mine <= s.current:
		version, generation = s.mine, s.generation
	}
	if !s.readable[version] && !s.deleted[version] {
		return 0, 0
	}
	return version, generation
}

// write puts the metadata, and then the value.
func (k secrets) write(ctx context.Context, d *Driver, s *step) error {
	mount, path, err := k.where(s.handle)
	if err != nil {
		return err
	}
	spec, err := kvSpecOf(s.want)
	if err != nil {
		return driverkit.Refuse("read", s.handle, err, "")
	}
	if err := d.isKV2(ctx, mount); err != nil {
		return err
	}
	p := s.kv
	meta := k.metadata(s, spec)
	if p.revive > 0 {
		if _, err := d.write(ctx, mount+"/undelete/"+path, map[string]any{"versions": []int{p.revive}}); err != nil {
			return err
		}
	}
	if !p.write {
		return d.putMetadata(ctx, mount, path, meta)
	}
	values, err := k.values(ctx, s, spec, mount, path)
	if err != nil {
		return err
	}
	if err := d.putMetadata(ctx, mount, path, meta); err != nil {
		return err
	}
	body, known := map[string]any{}, make([]schema.Secret, 0, len(values))
	for key, v := range values {
		body[key] = v.Reveal()
		known = append(known, v)
	}
	_, err = d.write(ctx, mount+"/data/"+path, map[string]any{"options": map[string]any{"cas": p.next - 1}, "data": body}, known...)
	if says(err, casMismatch) && !p.redo {
		// Somebody else wrote the version that the metadata call ours.
		meta[metaVersion] = "0"
		return errors.Join(err, d.putMetadata(ctx, mount, path, meta))
	}
	return err
}

// metadata are custom_metadata as they are to be: our keys, and all others as
// they are.
func (k secrets) metadata(s *step, spec kvSpec) map[string]any {
	meta := map[string]any{}
	if s.found != nil {
		maps.Copy(meta, s.found.kv.custom)
	}
	version := s.kv.next
	if !s.kv.write {
		version--
	}
	meta[metaOwner], meta[metaVersion], meta[metaSpec] = k.d.Env, strconv.Itoa(version), k.sum(s.want)
	meta[metaFrom] = strconv.Itoa(s.kv.from) + "/" + strconv.Itoa(s.kv.before)
	meta[metaGeneration] = strconv.Itoa(spec.generation())
	return meta
}

func (d *Driver) putMetadata(ctx context.Context, mount, path string, custom map[string]any) error {
	_, err := d.write(ctx, mount+"/metadata/"+path, map[string]any{"custom_metadata": custom})
	return err
}

// values are the whole content: kept, generated, decrypted or given.
func (k secrets) values(ctx context.Context, s *step, spec kvSpec, mount, path string) (map[string]schema.Secret, error) {
	kept, err := k.kept(ctx, s, spec, mount, path)
	if err != nil {
		return nil, err
	}
	all := map[string]schema.Secret{}
	for key, v := range spec.Values {
		at := schema.Path("/values").Child(key).Child("value")
		old, has := kept[key]
		given, told := s.secrets[at]
		switch {
		case has:
			all[key] = old
		case v.Generate != "":
			all[key], err = k.d.generate(ctx, v.Generate)
		case v.Age != "":
			all[key], err = k.d.unwrap(s.handle, v.Age)
		case told:
			all[key] = given
		case schema.HasToken(v.Value):
			err = driverkit.Stale("write", s.handle)
		default:
			all[key] = schema.NewSecret(v.Value)
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// kept are the generated values that stay: they are read of our last version.
// This is the one place where a plaintext that Vault made is read to be written.
func (k secrets) kept(ctx context.Context, s *step, spec kvSpec, mount, path string) (map[string]schema.Secret, error) {
	kept := map[string]schema.Secret{}
	adopted := s.kv.before == 0
	if s.kv.from == 0 || !adopted && s.kv.before != spec.generation() {
		return kept, nil
	}
	last, err := kvSpecOf(s.last)
	if err != nil {
		return nil, driverkit.Refuse("read", s.handle, err, "")
	}
	var stay []string
	for key, v := range spec.Values {
		if before, had := last.Values[key]; v.Generate != "" && (!had || before.Generate == v.Generate) {
			stay = append(stay, key)
		}
	}
	if len(stay) == 0 {
		return kept, nil
	}
	data, err := k.d.readVersion(ctx, mount, path, s.kv.from)
	if err != nil {
		return nil, err
	}
	if data == nil {
		return nil, driverkit.Stale("write", s.handle) // it was there when this was planned
	}
	for _, key := range stay {
		if v, ok := data[key].(string); ok {
			kept[key] = schema.NewSecret(v)
		}
	}
	return kept, nil
}

// generate has Vault make a value by a password policy.
func (d *Driver) generate(ctx context.Context, policy string) (schema.Secret, error) {
	if err := validPath(policy); err != nil {
		return schema.Secret{}, driverkit.Refuse("generate", policy, err, "")
	}
	path := "sys/policies/password/" + policy + "/generate"
	a, err := d.do(ctx, call{op: "generate", path: path})
	if status(err) == http.StatusNotFound {
		return schema.Secret{}, &drivers.Error{Op: "generate", Subject: path, Class: drivers.ErrRetryable,
			Err: errors.New("there is no such password policy"), Hint: "declare vault.password-policy/" + policy + ", or correct the name"}
	}
	if err != nil {
		return schema.Secret{}, err
	}
	value := text(a.Data["password"])
	if value == "" {
		return schema.Secret{}, &drivers.Error{Op: "generate", Subject: path, Class: drivers.ErrRetryable, Err: errors.New("the answer holds no password")}
	}
	return schema.NewSecret(value), nil
}

// isKV2 refuses a mount that is no KV version 2: on others the words that are
// written to would be secrets themselves.
func (d *Driver) isKV2(ctx context.Context, mount string) error {
	if _, seen := d.kv2.Load(mount); seen {
		return nil
	}
	a, err := d.do(ctx, call{op: "look at", path: "sys/internal/ui/mounts/" + mount})
	if status(err) == http.StatusForbidden {
		return &drivers.Error{Op: "look at", Subject: mount, Class: drivers.ErrRetryable, Err: errors.New("there is no such mount, or the token may do nothing below it"),
			Hint: "declare the mount, and let this need it"}
	}
	if err != nil {
		return err
	}
	options, _ := a.Data["options"].(map[string]any)
	if text(a.Data["type"]) != "kv" || text(options["version"]) != "2" {
		return driverkit.Refuse("write", mount, errors.New("this mount is no KV version 2"), "declare it with type kv and options version \"2\"")
	}
	d.kv2.Store(mount, true)
	return nil
}

// keys of a set, sorted.
func keys(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }
