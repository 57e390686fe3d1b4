package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// mounts are secrets engines and auth methods: one table each in Vault, and
// the same words for both.
type mounts struct {
	kind   string
	prefix string // of handles
	path   string // of the table
}

// mountSpec is the spec of both kinds. Config is open: whatever a mount can be
// tuned by.
type mountSpec struct {
	Path        string            `json:"path,omitempty"`
	Type        string            `json:"type"`
	Description *string           `json:"description,omitempty"`
	Config      map[string]any    `json:"config"`
	Options     map[string]string `json:"options"`
	Local       any               `json:"local,omitempty"` // a bool, or a reference
	SealWrap    any               `json:"seal_wrap,omitempty"`
}

func mountSpecOf(spec json.RawMessage) (mountSpec, error) {
	s := mountSpec{Config: map[string]any{}, Options: map[string]string{}}
	return s, decode(spec, &s)
}

// decode reads a spec, numbers as they are written.
func decode(spec json.RawMessage, v any) error {
	dec := json.NewDecoder(strings.NewReader(string(spec)))
	dec.UseNumber()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("read spec: %w", err)
	}
	return nil
}

func (m mounts) handle(name string, spec json.RawMessage) (string, error) {
	var s struct{ Path string }
	if err := decode(spec, &s); err != nil {
		return "", err
	}
	if s.Path == "" {
		s.Path = name
	}
	return m.prefix + s.Path, validPath(s.Path)
}

var pathRE = regexp.MustCompile(`^[A-Za-z0-9_.@+-]+(/[A-Za-z0-9_.@+-]+)*$`)

// validPath takes what Vault takes for a path and nothing that means another.
func validPath(path string) error {
	if !pathRE.MatchString(path) || len(path) > 512 {
		return fmt.Errorf("%q is no path of Vault: names of letters, digits and _.@+-, with / between", clip(path))
	}
	for part := range strings.SplitSeq(path, "/") {
		if strings.Trim(part, ".") == "" {
			return fmt.Errorf("%q is no path of Vault", clip(path))
		}
	}
	return nil
}

// clip bounds what is repeated of a text.
func clip(s string) string { return driverkit.Clip(s, 80) }

// protected are the mounts without which there is no Vault, or no way in.
var protected = map[string][]string{Mount: {"sys", "cubbyhole", "identity", "auth", "audit"}, Auth: {"token"}}

func (m mounts) check(handle string, _ *drivers.Desired) error {
	path := strings.TrimPrefix(handle, m.prefix)
	for _, p := range protected[m.kind] {
		if path == p || strings.HasPrefix(path, p+"/") {
			return fmt.Errorf("%s is Vault's own, and is not managed", path)
		}
	}
	return nil
}

func (mounts) needs(string, *drivers.Desired) []string { return nil }

// open reads the table.
func (m mounts) open(ctx context.Context, d *Driver, _ int) (source, error) {
	table, err := d.get(ctx, m.path)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, handle string, _ json.RawMessage) (*found, error) {
		path, ok := strings.CutPrefix(handle, m.prefix)
		if !ok || validPath(path) != nil {
			return nil, driverkit.Refuse("find", handle, errors.New("no handle of a mount"), "")
		}
		entry, ok := table[path+"/"].(map[string]any)
		if !ok {
			return nil, nil
		}
		f := m.found(entry)
		f.health = m.health(ctx, d, path, entry)
		return f, nil
	}, nil
}

// found reads an entry of the table. What says which binary runs is left out:
// an upgrade of Vault is no drift.
func (mounts) found(entry map[string]any) *found {
	data := map[string]any{}
	for k, v := range entry {
		switch k {
		case "running_plugin_version", "running_sha256", "deprecation_status":
		default:
			data[k] = v
		}
	}
	description, owner := unmark(text(entry["description"]))
	data["description"] = description
	return &found{owner: owner, data: data}
}

// health of KV version 2 is whether it answers: it is being upgraded for a
// moment after it was mounted. Other mounts answer once they are in the table.
func (m mounts) health(ctx context.Context, d *Driver, path string, entry map[string]any) drivers.Health {
	options, _ := entry["options"].(map[string]any)
	accessor := text(entry["accessor"])
	if m.kind != Mount || text(entry["type"]) != "kv" || text(options["version"]) != "2" {
		return drivers.Health{Status: drivers.Healthy}
	}
	if _, seen := d.ready.Load(accessor); seen {
		return drivers.Health{Status: drivers.Healthy}
	}
	if _, err := d.get(ctx, path+"/config"); says(err, upgrading) {
		return drivers.Health{Status: drivers.Progressing, Reason: "KV version 2 is being prepared"}
	} else if err != nil && !errors.Is(err, drivers.ErrDenied) {
		return drivers.Health{Status: drivers.Unhealthy, Reason: err.Error()}
	}
	d.ready.Store(accessor, true)
	return drivers.Health{Status: drivers.Healthy}
}

var markRE = regexp.MustCompile(`^((?s).*?) ?\[aplomb:([^\[\]]*)\]$`)

// unmark takes the ownership mark off a description.
func unmark(description string) (own, owner string) {
	if m := markRE.FindStringSubmatch(description); m != nil {
		return m[1], m[2]
	}
	return description, ""
}

// mark puts it behind: "for the shop [aplomb:7f3a]".
func mark(description, env string) string {
	own := "[aplomb:" + env + "]"
	if description == "" {
		return own
	}
	return description + " " + own
}

func (mounts) marked(json.RawMessage) bool { return true }

func (m mounts) want(_ string, w *drivers.Desired) (json.RawMessage, error) {
	s, err := mountSpecOf(w.Spec)
	if err != nil {
		return nil, err
	}
	return driverkit.Text(s)
}

// view: of what Vault does not tell in the table, what was last applied counts.
func (m mounts) view(f *found, declared, last json.RawMessage) (json.RawMessage, error) {
	s := mountSpec{Config: map[string]any{}}
	all := declared == nil
	var before mountSpec
	if !all {
		var err error
		if s, err = mountSpecOf(declared); err != nil {
			return nil, err
		}
	}
	if last != nil {
		var err error
		if before, err = mountSpecOf(last); err != nil {
			return nil, err
		}
	}
	s.Type = text(f.data["type"])
	if all || s.Description != nil {
		own := text(f.data["description"])
		s.Description = &own
	}
	asked := s.Config
	config := lockoutIn(f.data["config"], asked)
	if s.Config = declaredOnly(asked, config); all {
		s.Config = config
	}
	for k := range asked {
		if v, had := before.Config[k]; had && !has(config, k) {
			s.Config[k] = v
		}
	}
	options, _ := f.data["options"].(map[string]any)
	view := map[string]string{}
	for k, v := range options {
		if _, asked := s.Options[k]; all || asked {
			view[k] = text(v)
		}
	}
	s.Options = view
	for field, at := range map[string]*any{"local": &s.Local, "seal_wrap": &s.SealWrap} {
		if *at != nil {
			*at = f.data[field]
		}
	}
	return driverkit.Text(s)
}

// lockoutKey is what an auth method is tuned with when logins fail too often.
const lockoutKey = "user_lockout_config"

// lockoutIn is how a mount is tuned, with what locks users out in the words that
// it is written in: Vault tells each field of that with user_ before it. Of those
// that are not asked for nothing is said, unless nothing is asked at all.
func lockoutIn(told any, asked map[string]any) map[string]any {
	config, _ := told.(map[string]any)
	live, ok := config[lockoutKey].(map[string]any)
	if !ok {
		return config
	}
	want, some := asked[lockoutKey].(map[string]any)
	lockout := map[string]any{}
	for name, v := range live {
		if name = strings.TrimPrefix(name, "user_"); !some || has(want, name) {
			lockout[name] = v
		}
	}
	config = maps.Clone(config)
	config[lockoutKey] = lockout
	return config
}

func has(m map[string]any, key string) bool {
	_, ok := m[key]
	return ok
}

func (m mounts) outputs(handle string, _ json.RawMessage, f *found) (map[string]drivers.Output, error) {
	path := strings.TrimPrefix(handle, "mount/") // "auth/jwt" is the path of an auth method as policies name it
	out := map[string]any{"path": path}
	if f != nil {
		out["accessor"] = text(f.data["accessor"])
	}
	return plain(out)
}

// plain are outputs that are no secrets.
func plain(values map[string]any) (map[string]drivers.Output, error) {
	out := map[string]drivers.Output{}
	for name, v := range values {
		text, err := driverkit.Text(v)
		if err != nil {
			return nil, err
		}
		out[name] = drivers.Output{Value: text}
	}
	return out, nil
}

func (mounts) immutable(path schema.Path, _ json.RawMessage) bool {
	return path == "/type" || path == "/local" || path == "/seal_wrap"
}

// write mounts, or tunes what is mounted.
func (m mounts) write(ctx context.Context, d *Driver, s *step) error {
	spec, err := mountSpecOf(s.want)
	if err != nil {
		return driverkit.Refuse("read", s.handle, err, "")
	}
	path := m.path + "/" + strings.TrimPrefix(s.handle, m.prefix)
	description := ""
	if s.found != nil {
		description = text(s.found.data["description"])
	}
	if spec.Description != nil {
		description = *spec.Description
	}
	body := map[string]any{"description": mark(description, d.Env)}
	if len(spec.Options) > 0 {
		body["options"] = spec.Options
	}
	if s.found != nil {
		for k, v := range spec.Config {
			body[k] = v
		}
		_, err = d.write(ctx, path+"/tune", body)
		return err
	}
	config := maps.Clone(spec.Config)
	delete(config, lockoutKey) // Vault reads it when it tunes only
	body["type"], body["config"] = spec.Type, config
	if spec.Local != nil {
		body["local"] = spec.Local
	}
	if spec.SealWrap != nil {
		body["seal_wrap"] = spec.SealWrap
	}
	if _, err = d.write(ctx, path, body); err != nil || !has(spec.Config, lockoutKey) {
		return err
	}
	_, err = d.write(ctx, path+"/tune", map[string]any{lockoutKey: spec.Config[lockoutKey]})
	return err
}

func (m mounts) remove(ctx context.Context, d *Driver, s *step) error {
	return d.erase(ctx, m.path+"/"+strings.TrimPrefix(s.handle, m.prefix))
}
