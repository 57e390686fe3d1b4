package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// paths are open objects: fields at a path. A role is one whose path is made
// of a mount, of where the mount keeps its roles, and of a name.
type paths struct{ kind string }

const pathPrefix = "path/"

type pathSpec struct {
	Mount   string            `json:"mount,omitempty"`
	Name    string            `json:"name,omitempty"`
	Path    string            `json:"path,omitempty"`
	Type    string            `json:"type,omitempty"`
	Fields  map[string]any    `json:"fields"`
	Secrets map[string]string `json:"secrets"` // literal, or as tokens
}

func pathSpecOf(spec json.RawMessage) (pathSpec, error) {
	s := pathSpec{Fields: map[string]any{}, Secrets: map[string]string{}}
	if spec == nil {
		return s, nil
	}
	return s, decode(spec, &s)
}

func (p paths) handle(name string, spec json.RawMessage) (string, error) {
	s, err := pathSpecOf(spec)
	if err != nil {
		return "", err
	}
	path := s.Path
	if p.kind == Role {
		if s.Name == "" {
			s.Name = name
		}
		path = s.Mount + "/" + collection(typeOf(s.Type, s.Mount), s.Mount) + "/" + s.Name
	}
	if strings.Contains(path, generateRoot) {
		issuer := text(s.Fields["issuer_name"])
		if validPath(issuer) != nil || strings.Contains(issuer, "/") {
			return "", errors.New("fields.issuer_name must be the name of the issuer, and no reference: it is found again by it")
		}
		path += "/" + issuer
	}
	return pathPrefix + path, validPath(path)
}

// closed are the paths below which nothing is managed as an open object: a
// word there could lock everybody out, or hand out rights.
var closed = []string{"sys", "cubbyhole", "identity", "auth/token"}

func (p paths) check(handle string, want *drivers.Desired) error {
	path := strings.TrimPrefix(handle, pathPrefix)
	for _, c := range closed {
		if path == c || strings.HasPrefix(path, c+"/") {
			return fmt.Errorf("%s is Vault's own, and is not managed", c)
		}
	}
	s, err := pathSpecOf(want.Spec)
	if err != nil {
		return err
	}
	for key := range s.Secrets {
		if _, both := s.Fields[key]; both {
			return fmt.Errorf("%s stands in fields and in secrets", clip(key))
		}
	}
	return checkFields(path, s, want.Unknown)
}

// needs are the mount, the connection of a database role, and the policies
// that a role hands out.
func (p paths) needs(name string, want *drivers.Desired) []string {
	handle, err := p.handle(name, want.Spec)
	s, specErr := pathSpecOf(want.Spec)
	if err != nil || specErr != nil {
		return nil
	}
	mount, _ := mountOf(strings.TrimPrefix(handle, pathPrefix))
	if s.Mount != "" {
		mount = s.Mount
	}
	needs := []string{"mount/" + mount}
	if strings.HasPrefix(mount, "auth/") {
		needs[0] = mount // the handle of an auth method is its path
	}
	for key, v := range s.Fields {
		if policyKey(key) {
			list, ok := v.([]any)
			if !ok {
				list = split(text(v))
			}
			for _, policy := range sorted(list) {
				needs = append(needs, "policy/"+policy)
			}
		}
	}
	if db := text(s.Fields["db_name"]); db != "" && p.kind == Role {
		needs = append(needs, pathPrefix+mount+"/config/"+db)
	}
	slices.Sort(needs)
	return needs
}

func (p paths) open(_ context.Context, d *Driver, _ int) (source, error) {
	return func(ctx context.Context, handle string, spec json.RawMessage) (*found, error) {
		path, ok := strings.CutPrefix(handle, pathPrefix)
		if !ok || validPath(path) != nil {
			return nil, driverkit.Refuse("find", handle, errors.New("no handle of a path"), "")
		}
		s, err := pathSpecOf(spec)
		if err != nil {
			return nil, driverkit.Refuse("read", handle, err, "")
		}
		r := rulesOf(path, s.Type)
		data, err := d.get(ctx, r.read)
		if says(err, "unable to find PKI issuer") {
			return nil, nil
		}
		if err != nil || data == nil {
			return nil, err
		}
		if below, ok := data[r.flatten].(map[string]any); ok {
			delete(data, r.flatten)
			maps.Copy(data, below)
		}
		return &found{data: data}, nil
	}, nil
}

func (p paths) want(_ string, w *drivers.Desired) (json.RawMessage, error) {
	s, err := pathSpecOf(w.Spec)
	if err != nil {
		return nil, err
	}
	return driverkit.Text(s)
}

// view: a field or secret that Vault does not tell is what was last applied. A
// field that can only be set when the thing is made, and is not told, is taken
// for what is declared where nothing was applied: nothing can be done about it.
func (p paths) view(f *found, declared, last json.RawMessage) (json.RawMessage, error) {
	s, err := pathSpecOf(declared)
	if err != nil {
		return nil, err
	}
	before, err := pathSpecOf(last)
	if err != nil {
		return nil, err
	}
	if declared == nil { // which of its fields are no secrets is not known
		return driverkit.Text(s)
	}
	r := rulesOf(s.path(), s.Type)
	fields := declaredOnly(s.Fields, f.data)
	for key, want := range s.Fields {
		if _, told := f.data[key]; told {
			continue
		}
		if v, had := before.Fields[key]; had {
			fields[key] = v
		} else if last == nil && r.fixed(key) {
			fields[key] = want
		}
	}
	kept := map[string]string{}
	for key := range s.Secrets {
		if v, had := before.Secrets[key]; had {
			kept[key] = v
		}
	}
	s.Fields, s.Secrets = fields, kept
	return driverkit.Text(s)
}

// path is where a spec is, for rules: a role's name does not matter to them.
func (s pathSpec) path() string {
	if s.Path != "" {
		if strings.Contains(s.Path, generateRoot) {
			return s.Path + "/x"
		}
		return s.Path
	}
	return s.Mount + "/" + collection(typeOf(s.Type, s.Mount), s.Mount) + "/" + "x"
}

// version is of what is declared only: Vault counts down and counts up in some
// objects. What a secret's field may tell is no part of it.
func (p paths) version(f *found, spec json.RawMessage) (string, error) {
	s, err := pathSpecOf(spec)
	if err != nil {
		return "", err
	}
	told := map[string]any{}
	for key := range s.Fields {
		if v, has := f.data[key]; has {
			told[key] = v
		}
	}
	return hash(told)
}

// stays: what cannot be deleted goes with its mount, and is let go of.
func (p paths) stays(handle string, spec json.RawMessage) bool {
	s, err := pathSpecOf(spec)
	return err == nil && rulesOf(strings.TrimPrefix(handle, pathPrefix), s.Type).lasting
}

// always: what comes with its mount was made by nobody, so that declaring it is
// making it.
func (p paths) always(handle string, spec json.RawMessage) bool {
	s, err := pathSpecOf(spec)
	return err == nil && rulesOf(strings.TrimPrefix(handle, pathPrefix), s.Type).always
}

func (p paths) outputs(handle string, _ json.RawMessage, _ *found) (map[string]drivers.Output, error) {
	path := strings.TrimPrefix(handle, pathPrefix)
	out := map[string]any{"path": path}
	if p.kind == Role {
		out["name"] = path[strings.LastIndexByte(path, '/')+1:]
	}
	return plain(out)
}

func (p paths) immutable(path schema.Path, declared json.RawMessage) bool {
	s, err := pathSpecOf(declared)
	steps := path.Steps()
	if err != nil || len(steps) < 2 {
		return false
	}
	return rulesOf(s.path(), s.Type).fixed(steps[1])
}

// write sends every declared field, and of the secrets those that moved: one
// that is sent again would undo what Vault rotated since.
func (p paths) write(ctx context.Context, d *Driver, s *step) error {
	spec, err := pathSpecOf(s.want)
	if err != nil {
		return driverkit.Refuse("read", s.handle, err, "")
	}
	path := strings.TrimPrefix(s.handle, pathPrefix)
	r := rulesOf(path, spec.Type)
	body := maps.Clone(spec.Fields)
	var values []schema.Secret
	for key, given := range spec.Secrets {
		at := schema.Path("/secrets").Child(key)
		if !s.anew && !r.whole && !slices.ContainsFunc(s.diff, func(d drivers.Delta) bool { return at.Within(d.Path) }) {
			continue
		}
		v, ok := s.secrets[at]
		if !ok && schema.HasToken(given) {
			return driverkit.Stale("write", s.handle)
		}
		if !ok {
			v = schema.NewSecret(given)
		}
		values = append(values, v)
		body[key] = v.Reveal()
	}
	if r.config == "" {
		_, err = d.write(ctx, r.write, body, values...)
		return err
	}
	return d.writeKey(ctx, r, s.found == nil, body, values)
}

// writeKey makes a thing whose later changes have a path of their own.
func (d *Driver) writeKey(ctx context.Context, r rules, create bool, body map[string]any, values []schema.Secret) error {
	config := map[string]any{}
	for key, v := range body {
		if !r.fixed(key) {
			config[key] = v
			delete(body, key)
		}
	}
	if create {
		if _, err := d.write(ctx, r.write, body, values...); err != nil {
			return err
		}
	}
	if len(config) == 0 {
		return nil
	}
	_, err := d.write(ctx, r.config, config, values...)
	return err
}

func (p paths) remove(ctx context.Context, d *Driver, s *step) error {
	spec, err := pathSpecOf(s.spec)
	if err != nil {
		return driverkit.Refuse("read", s.handle, err, "")
	}
	path := strings.TrimPrefix(s.handle, pathPrefix)
	r := rulesOf(path, spec.Type)
	if r.leases != "" {
		// Once the role and its connection are gone Vault cannot take back what
		// they gave out, and then refuses to unmount.
		if _, err := d.write(ctx, "sys/leases/revoke-prefix/"+r.leases, map[string]any{"sync": true}); err != nil {
			return err
		}
	}
	return d.erase(ctx, r.remove)
}
