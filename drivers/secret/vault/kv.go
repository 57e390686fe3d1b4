package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// secrets are secrets in KV version 2. All that is compared stands in their
// metadata: which version is ours, and a fingerprint of the declaration that it
// was made of. The metadata are written first, with the version that comes, and
// then the value, with compare-and-set: after a crash at any point either both
// are there, or it is seen that the value is not.
type secrets struct{ d *Driver }

const kvPrefix = "kv/"

// The keys of custom_metadata.
const (
	metaOwner      = "aplomb"
	metaVersion    = "aplomb-version"    // the version that is ours, or comes
	metaFrom       = "aplomb-from"       // what it was, or is, made from: VERSION/GENERATION
	metaSpec       = "aplomb-spec"       // fingerprint of the declaration
	metaGeneration = "aplomb-generation" // of the version
)

type kvSpec struct {
	Mount      string             `json:"mount"`
	Path       string             `json:"path,omitempty"`
	Generation any                `json:"generation"` // a number, or a reference
	Values     map[string]kvValue `json:"values"`
}

type kvValue struct {
	Generate string `json:"generate,omitempty"` // a password policy
	Age      string `json:"age,omitempty"`
	Value    string `json:"value,omitempty"` // literal, or a token
}

func kvSpecOf(spec json.RawMessage) (kvSpec, error) {
	s := kvSpec{Mount: "secret", Generation: json.Number("1"), Values: map[string]kvValue{}}
	if spec == nil {
		return s, nil
	}
	return s, decode(spec, &s)
}

func (s kvSpec) generation() int { return number(scalar(s.Generation)) }

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// kvState is what the metadata of a secret say.
type kvState struct {
	current    int // the newest version; 0: there is none yet
	mine, from int
	spec       string
	generation int
	before     int // generation of from
	readable   map[int]bool
	deleted    map[int]bool   // and can be brought back
	custom     map[string]any // all of custom_metadata
}

// handle is kv/MOUNT/data/PATH, as policies and templates name it.
func (secrets) handle(name string, spec json.RawMessage) (string, error) {
	s, err := kvSpecOf(spec)
	if err != nil {
		return "", err
	}
	if s.Path == "" {
		s.Path = name
	}
	for part := range strings.SplitSeq(s.Mount, "/") {
		if part == "data" {
			return "", fmt.Errorf("a mount with a part that is named data is not taken: %s", clip(s.Mount))
		}
	}
	path := s.Mount + "/data/" + s.Path
	return kvPrefix + path, validPath(path)
}

// where splits a handle.
func (secrets) where(handle string) (mount, path string, err error) {
	rest, ok := strings.CutPrefix(handle, kvPrefix)
	mount, path, both := strings.Cut(rest, "/data/")
	if !ok || !both || validPath(rest) != nil {
		return "", "", driverkit.Refuse("find", handle, errors.New("no handle of a secret"), "")
	}
	return mount, path, nil
}

func (k secrets) check(_ string, want *drivers.Desired) error {
	s, err := kvSpecOf(want.Spec)
	if err != nil {
		return err
	}
	if len(s.Values) == 0 {
		return errors.New("values: there is none")
	}
	for key, v := range s.Values {
		if key == "path" || key == "version" {
			return fmt.Errorf("values: the key %s is taken: it is an output of every secret", key)
		}
		if v.Age == "" {
			continue
		}
		if _, open := want.Unknown[schema.Path("/values").Child(key).Child("age")]; open {
			return fmt.Errorf("values.%s.age: a ciphertext is no reference", clip(key))
		}
		if err := checkAge(v.Age); err != nil {
			return fmt.Errorf("values.%s.age: %w", clip(key), err)
		}
	}
	return nil
}

func (k secrets) needs(_ string, want *drivers.Desired) []string {
	s, err := kvSpecOf(want.Spec)
	if err != nil {
		return nil
	}
	needs := map[string]bool{"mount/" + s.Mount: true}
	for _, v := range s.Values {
		if v.Generate != "" {
			needs["password-policy/"+v.Generate] = true
		}
	}
	return keys(needs)
}

// open answers what reads the metadata of one secret; nothing of its value is
// read.
func (k secrets) open(context.Context, *Driver, int) (source, error) {
	return func(ctx context.Context, handle string, _ json.RawMessage) (*found, error) {
		mount, path, err := k.where(handle)
		if err != nil {
			return nil, err
		}
		data, err := k.d.get(ctx, mount+"/metadata/"+path)
		if err != nil || data == nil {
			return nil, err
		}
		s := kvStateOf(data, k.d.Now())
		return &found{owner: text(s.custom[metaOwner]), kv: s}, nil
	}, nil
}

func kvStateOf(data map[string]any, now time.Time) *kvState {
	custom, _ := data["custom_metadata"].(map[string]any)
	s := &kvState{current: number(scalar(data["current_version"])), custom: custom, readable: map[int]bool{}, deleted: map[int]bool{}}
	s.mine, s.spec, s.generation = number(text(custom[metaVersion])), text(custom[metaSpec]), number(text(custom[metaGeneration]))
	from, before, _ := strings.Cut(text(custom[metaFrom]), "/")
	s.from, s.before = number(from), number(before)
	versions, _ := data["versions"].(map[string]any)
	for n, v := range versions {
		v, _ := v.(map[string]any)
		destroyed, _ := v["destroyed"].(bool)
		until, err := time.Parse(time.RFC3339Nano, text(v["deletion_time"]))
		gone := err == nil && !now.Before(until) // one to come is no deletion yet
		s.readable[number(n)], s.deleted[number(n)] = !destroyed && !gone, !destroyed && gone
	}
	return s
}

// whole says that what lives is the version that the metadata tell of.
func (s *kvState) whole() bool { return s.current > 0 && s.current == s.mine && s.readable[s.mine] }

// version begins with the number of the newest version: where somebody takes
// the metadata away, the last one that was applied is still known by it.
func (secrets) version(f *found, _ json.RawMessage) (string, error) {
	s := f.kv
	h, err := hash(f.owner, s.current, s.mine, s.from, s.spec, s.generation, s.readable[s.mine], s.deleted[s.mine], s.readable[s.current])
	return strconv.Itoa(s.current) + "-" + h, err
}

func (secrets) marked(json.RawMessage) bool { return true }

func (k secrets) want(_ string, w *drivers.Desired) (json.RawMessage, error) {
	s, err := kvSpecOf(w.Spec)
	if err != nil {
		return nil, err
	}
	return driverkit.Text(s)
}

// sum is the fingerprint of what makes a secret's content.
func (k secrets) sum(spec json.RawMessage) string {
	s, err := kvSpecOf(spec)
	if err != nil || spec == nil {
		return ""
	}
	text, err := driverkit.Text([]any{s.generation(), s.Values})
	if err != nil {
		return ""
	}
	return k.d.Fingerprint(text)
}

// view is the declaration that the secret was made of, if it is one that is
// known; of another nothing can be told.
func (k secrets) view(f *found, declared, last json.RawMessage) (json.RawMessage, error) {
	s, err := kvSpecOf(declared)
	if err != nil {
		return nil, err
	}
	made := f.kv.spec
	if f.owner == "" {
		made = k.sum(last)
	}
	switch before, err := kvSpecOf(last); {
	case made != "" && made == k.sum(declared):
	case err == nil && made != "" && made == k.sum(last):
		s.Generation, s.Values = before.Generation, before.Values
	default:
		s.Generation, s.Values = nil, map[string]kvValue{}
	}
	return driverkit.Text(s)
}

func (k secrets) outputs(handle string, declared json.RawMessage, f *found) (map[string]drivers.Output, error) {
	if f == nil {
		return plain(map[string]any{"path": strings.TrimPrefix(handle, kvPrefix)})
	}
	s := f.kv
	if f.owner != "" && s.spec == k.sum(declared) && s.readable[s.mine] {
		return k.holding(handle, declared, s.mine)
	}
	return plain(map[string]any{"path": strings.TrimPrefix(handle, kvPrefix), "version": s.current})
}

// holding are the outputs of a version that was made as declared.
func (k secrets) holding(handle string, declared json.RawMessage, version int) (map[string]drivers.Output, error) {
	path := strings.TrimPrefix(handle, kvPrefix)
	out, err := plain(map[string]any{"path": path, "version": version})
	if err != nil {
		return nil, err
	}
	s, err := kvSpecOf(declared)
	for key := range s.Values {
		out[key] = drivers.Output{Secret: true, Fingerprint: path + "#" + strconv.Itoa(version)}
	}
	return out, err
}

func (secrets) immutable(schema.Path, json.RawMessage) bool { return false }

func (k secrets) remove(ctx context.Context, d *Driver, s *step) error {
	mount, path, err := k.where(s.handle)
	if err != nil {
		return err
	}
	return d.erase(ctx, mount+"/metadata/"+path)
}

// Reveal reads exactly the version that the fingerprint names.
func (d *Driver) Reveal(ctx context.Context, item drivers.Item, output, fingerprint string) (schema.Secret, error) {
	d.setup()
	none := schema.Secret{}
	if item.ID.Kind != KV {
		return none, driverkit.Refuse("reveal", item.Handle, fmt.Errorf("%s has no secret output", item.ID.Kind), "")
	}
	mount, path, err := secrets{d}.where(item.Handle)
	if err != nil {
		return none, err
	}
	of, version, ok := strings.Cut(fingerprint, "#")
	if !ok || of != strings.TrimPrefix(item.Handle, kvPrefix) || number(version) == 0 {
		return none, driverkit.Stale("reveal", item.Handle)
	}
	data, err := d.readVersion(ctx, mount, path, number(version))
	if err != nil {
		return none, err
	}
	if data == nil {
		return none, driverkit.Stale("reveal", item.Handle)
	}
	value, ok := data[output].(string)
	if !ok {
		return none, driverkit.Refuse("reveal", item.Handle, fmt.Errorf("version %s has no text under %q", version, clip(output)), "")
	}
	return schema.NewSecret(value), nil
}

// readVersion reads the plaintext of one version; nil where it is no more.
func (d *Driver) readVersion(ctx context.Context, mount, path string, version int) (map[string]any, error) {
	a, err := d.do(ctx, call{op: "read", path: mount + "/data/" + path, query: "version=" + strconv.Itoa(version)})
	if status(err) == 404 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	meta, _ := a.Data["metadata"].(map[string]any)
	data, _ := a.Data["data"].(map[string]any)
	if number(scalar(meta["version"])) != version {
		return nil, nil
	}
	return data, nil
}
