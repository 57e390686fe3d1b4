package vault

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
)

// builtin are policies that every Vault has.
var builtin = []string{"default", "root", "response-wrapping", "control-group", "default-ceiling"}

// List answers mounts, auth methods, policies, and secrets in KV version 2 that
// bear this environment's mark. Roles and other paths are not listed: Vault has
// no one way to list them, and they bear no mark.
func (d *Driver) List(ctx context.Context) ([]drivers.State, error) {
	d.setup()
	var all []drivers.State
	for _, part := range []func(context.Context) ([]drivers.State, error){d.listMounts, d.listPolicies, d.listSecrets} {
		states, err := part(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, states...)
	}
	return all, nil
}

// looked reads what handles name.
func (d *Driver) looked(ctx context.Context, kind string, handles []string) ([]drivers.State, error) {
	k, err := d.served(kind)
	if err != nil {
		return nil, err
	}
	items, at, states := make([]drivers.Item, len(handles)), make([]int, len(handles)), make([]drivers.State, len(handles))
	for i, h := range handles {
		items[i].Handle, at[i] = h, i
		items[i].ID.Kind = kind
	}
	err = d.observeKind(ctx, k, items, at, states)
	return slices.DeleteFunc(states, func(s drivers.State) bool { return !s.Exists && s.Err == nil }), err
}

func (d *Driver) listMounts(ctx context.Context) ([]drivers.State, error) {
	var all []drivers.State
	for _, kind := range []string{Mount, Auth} {
		k, err := d.served(kind)
		if err != nil {
			return nil, err
		}
		m, _ := k.(mounts)
		table, err := d.get(ctx, m.path)
		if err != nil {
			return nil, err
		}
		var handles []string
		for path := range table {
			handle := m.prefix + strings.TrimSuffix(path, "/")
			if strings.HasSuffix(path, "/") && m.check(handle, nil) == nil {
				handles = append(handles, handle)
			}
		}
		slices.Sort(handles)
		states, err := d.looked(ctx, kind, handles)
		if err != nil {
			return nil, err
		}
		all = append(all, states...)
	}
	return all, nil
}

func (d *Driver) listPolicies(ctx context.Context) ([]drivers.State, error) {
	var all []drivers.State
	for _, kind := range []string{Policy, PasswordPolicy} {
		k, err := d.served(kind)
		if err != nil {
			return nil, err
		}
		p, _ := k.(policies)
		names, err := d.list(ctx, strings.TrimSuffix(p.path, "/"))
		if err != nil {
			return nil, err
		}
		var handles []string
		for _, name := range names {
			if kind == PasswordPolicy || !slices.Contains(builtin, name) {
				handles = append(handles, p.prefix+name)
			}
		}
		states, err := d.looked(ctx, kind, handles)
		if err != nil {
			return nil, err
		}
		all = append(all, states...)
	}
	return all, nil
}

func (d *Driver) listSecrets(ctx context.Context) ([]drivers.State, error) {
	table, err := d.get(ctx, "sys/mounts")
	if err != nil {
		return nil, err
	}
	var handles []string
	for path, entry := range table {
		e, _ := entry.(map[string]any)
		options, _ := e["options"].(map[string]any)
		if text(e["type"]) != "kv" || text(options["version"]) != "2" {
			continue
		}
		mount := strings.TrimSuffix(path, "/")
		below, err := d.walk(ctx, mount, "", 0)
		if err != nil && !errors.Is(err, drivers.ErrDenied) && !says(err, upgrading) {
			return nil, err
		}
		for _, p := range below {
			if handle := kvPrefix + mount + "/data/" + p; validPath(strings.TrimPrefix(handle, kvPrefix)) == nil {
				handles = append(handles, handle)
			}
		}
	}
	slices.Sort(handles)
	states, err := d.looked(ctx, KV, handles)
	return slices.DeleteFunc(states, func(s drivers.State) bool { return s.Owner != d.Env }), err
}

// deepest bounds how many folders of secrets lie in one another.
const deepest = 32

// walk lists the secrets below a folder of a mount.
func (d *Driver) walk(ctx context.Context, mount, folder string, depth int) ([]string, error) {
	names, err := d.list(ctx, mount+"/metadata/"+folder)
	if err != nil || depth > deepest {
		return nil, err
	}
	var all []string
	for _, name := range names {
		if !strings.HasSuffix(name, "/") {
			all = append(all, folder+name)
			continue
		}
		below, err := d.walk(ctx, mount, folder+name, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, below...)
	}
	return all, nil
}
