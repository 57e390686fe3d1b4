package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// policies are ACL policies and password policies: a text under a name.
type policies struct {
	kind   string
	prefix string // of handles
	path   string // in Vault
	marks  bool   // the text has room for a mark
}

type policySpec struct {
	Name   string `json:"name,omitempty"`
	Policy string `json:"policy,omitempty"`
	File   string `json:"file,omitempty"`
}

func (p policies) handle(name string, spec json.RawMessage) (string, error) {
	var s struct{ Name string }
	if err := decode(spec, &s); err != nil {
		return "", err
	}
	if s.Name == "" {
		s.Name = name
	}
	return p.prefix + s.Name, validPath(s.Name)
}

// maxPolicy is the size in bytes of the largest policy.
const maxPolicy = 256 << 10

func (p policies) check(handle string, want *drivers.Desired) error {
	name := strings.TrimPrefix(handle, p.prefix)
	switch {
	case p.kind == Policy && name != strings.ToLower(name):
		return fmt.Errorf("names of policies are in lower case: %s", strings.ToLower(name))
	case p.kind == Policy && (name == "root" || name == "response-wrapping" || name == "control-group"):
		return fmt.Errorf("the policy %s is Vault's own, and is not managed", name)
	}
	if _, open := want.Unknown["/policy"]; open {
		return nil
	}
	_, err := p.want(handle, want)
	return err
}

func (policies) needs(string, *drivers.Desired) []string { return nil }

// want is the text, whether it is given or in a file, as Vault would tell it.
func (p policies) want(_ string, w *drivers.Desired) (json.RawMessage, error) {
	var s policySpec
	if err := decode(w.Spec, &s); err != nil {
		return nil, err
	}
	if s.File != "" {
		f, ok := w.Files.Get(s.File)
		if !ok {
			return nil, fmt.Errorf("the file %s is not there", clip(s.File))
		}
		s.Policy, s.File = string(f.Data), ""
	}
	if len(s.Policy) > maxPolicy {
		return nil, fmt.Errorf("a policy of %d bytes (at most %d)", len(s.Policy), maxPolicy)
	}
	if s.Policy = trim(s.Policy); s.Policy == "" {
		return nil, errors.New("the policy is empty")
	}
	if _, owner := splitMark(s.Policy); owner != "" {
		return nil, errors.New("the policy begins with an ownership mark: leave that line out, aplomb writes its own")
	}
	return driverkit.Text(s)
}

// trim takes off what does not count at the end of a text.
func trim(policy string) string { return strings.TrimRight(policy, " \t\r\n") }

const policyMark = "# aplomb:"

// splitMark takes the mark, which is a comment in the first line, off a policy.
func splitMark(policy string) (own, owner string) {
	rest, ok := strings.CutPrefix(policy, policyMark)
	if !ok {
		return policy, ""
	}
	owner, own, _ = strings.Cut(rest, "\n")
	return own, strings.TrimSpace(owner)
}

// marked: a policy written as JSON has no room for a comment.
func (p policies) marked(want json.RawMessage) bool {
	var s policySpec
	return p.marks && decode(want, &s) == nil && !strings.HasPrefix(strings.TrimSpace(s.Policy), "{")
}

// manyPolicies is how many that were never applied are asked for at once where
// a list of names is read first: what is not in it need not be asked for.
const manyPolicies = 5

func (p policies) open(ctx context.Context, d *Driver, n int) (source, error) {
	var have map[string]bool
	if n >= manyPolicies {
		names, err := d.list(ctx, strings.TrimSuffix(p.path, "/"))
		if err == nil {
			have = make(map[string]bool, len(names))
			for _, name := range names {
				have[name] = true
			}
		} else if !errors.Is(err, drivers.ErrDenied) { // who may not list may read
			return nil, err
		}
	}
	return func(ctx context.Context, handle string, _ json.RawMessage) (*found, error) {
		name, err := p.name(handle)
		if err != nil || have != nil && !have[name] {
			return nil, err
		}
		data, err := d.get(ctx, p.path+name)
		if err != nil || data == nil {
			return nil, err
		}
		return p.found(text(data["policy"])), nil
	}, nil
}

func (p policies) name(handle string) (string, error) {
	name, ok := strings.CutPrefix(handle, p.prefix)
	if !ok || validPath(name) != nil {
		return "", driverkit.Refuse("find", handle, errors.New("no handle of a policy"), "")
	}
	return name, nil
}

func (p policies) found(policy string) *found {
	owner := ""
	if p.marks {
		policy, owner = splitMark(policy)
	}
	return &found{owner: owner, data: map[string]any{"policy": trim(policy)}}
}

func (p policies) view(f *found, declared, _ json.RawMessage) (json.RawMessage, error) {
	var s policySpec
	if declared != nil {
		if err := decode(declared, &s); err != nil {
			return nil, err
		}
	}
	return driverkit.Text(policySpec{Name: s.Name, Policy: text(f.data["policy"])})
}

func (p policies) outputs(handle string, _ json.RawMessage, _ *found) (map[string]drivers.Output, error) {
	return plain(map[string]any{"name": strings.TrimPrefix(handle, p.prefix)})
}

func (policies) immutable(schema.Path, json.RawMessage) bool { return false }

func (p policies) write(ctx context.Context, d *Driver, s *step) error {
	var spec policySpec
	if err := decode(s.want, &spec); err != nil {
		return driverkit.Refuse("read", s.handle, err, "")
	}
	name, err := p.name(s.handle)
	if err != nil {
		return err
	}
	policy := spec.Policy
	if p.marked(s.want) {
		policy = policyMark + " " + d.Env + "\n" + policy
	}
	_, err = d.write(ctx, p.path+name, map[string]any{"policy": policy})
	d.names.made(p.path, name) // also where it failed: it may have landed
	return err
}

func (p policies) remove(ctx context.Context, d *Driver, s *step) error {
	name, err := p.name(s.handle)
	if err != nil {
		return err
	}
	return d.erase(ctx, p.path+name)
}
