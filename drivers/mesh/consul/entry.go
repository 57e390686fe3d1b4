package consul

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// markKey holds the environment's id where Consul has room for metadata.
const markKey = "aplomb-environment"

// fewEntries is up to how many entries of a kind are read one by one: a list
// holds all that there are.
const fewEntries = 4

// entries is the config entries of one kind.
type entries struct {
	d      *Driver
	native string // "service-defaults"
}

func newEntries(d *Driver, kind string) *entries {
	return &entries{d: d, native: strings.TrimPrefix(kind, "consul.")}
}

// liveEntry is State.Raw.
type liveEntry struct{ index uint64 }

func (e *entries) address(name string, spec json.RawMessage) (string, error) {
	name, err := named(name, spec, "Name")
	if err != nil {
		return "", err
	}
	_, err = cut(e.native+"/"+name, e.native+"/")
	return e.native + "/" + name, err
}

func (e *entries) path(name string) string { return "config/" + e.native + "/" + url.PathEscape(name) }

func (e *entries) observe(ctx context.Context, items []drivers.Item) ([]drivers.State, error) {
	if len(items) <= fewEntries {
		return each(items, func(it drivers.Item) (drivers.State, error) { return e.read(ctx, it.Handle) })
	}
	found, list, err := e.all(ctx, nil)
	if err != nil {
		return nil, err
	}
	return each(items, func(it drivers.Item) (drivers.State, error) {
		name, err := cut(it.Handle, e.native+"/")
		if err == nil && found[name].text == nil && list.hidden { // asked for by name, it is denied or absent
			return e.read(ctx, it.Handle)
		}
		if err != nil || found[name].text == nil {
			return drivers.State{}, err
		}
		return e.state(it.Handle, found[name].text)
	})
}

// read reads one entry.
func (e *entries) read(ctx context.Context, handle string) (drivers.State, error) {
	name, err := cut(handle, e.native+"/")
	if err != nil {
		return drivers.State{Handle: handle}, err
	}
	a, err := e.d.client.do(ctx, request{op: "read", subject: handle, method: http.MethodGet, path: e.path(name), also: []int{http.StatusNotFound}})
	if err != nil || a.status == http.StatusNotFound {
		return drivers.State{Handle: handle}, err
	}
	return e.state(handle, a.body)
}

// listed is one entry of a list.
type listed struct {
	index uint64
	text  json.RawMessage
}

// all reads every entry of the kind, by name. A wait in query makes it block.
func (e *entries) all(ctx context.Context, query url.Values) (map[string]listed, answer, error) {
	var list []json.RawMessage
	r := request{op: "list", subject: e.native, path: "config/" + e.native, query: query}
	a, err := e.d.client.get(ctx, r, &list)
	if err != nil {
		return nil, a, err
	}
	found := make(map[string]listed, len(list))
	for _, text := range list {
		var head struct {
			Name        string
			ModifyIndex uint64
		}
		if err := decode(r, text, &head); err != nil {
			return nil, a, err
		}
		found[head.Name] = listed{head.ModifyIndex, text}
	}
	return found, a, nil
}

// state is a stored entry. It is healthy as soon as it is stored: Consul
// refuses one with which a discovery chain would not compile.
func (e *entries) state(handle string, text []byte) (drivers.State, error) {
	broken := func(err error) (drivers.State, error) {
		return drivers.State{}, &drivers.Error{Op: "read", Subject: handle, Class: drivers.ErrRetryable, Err: err, Answered: true}
	}
	entry, err := decodeEntry(e.native, text)
	if err != nil {
		return broken(err)
	}
	tree := words(entry)
	spec, err := canonical(handle, unmarked(tree))
	if err != nil {
		return broken(err)
	}
	index := entry.GetModifyIndex()
	return drivers.State{
		Handle: handle, Exists: true, Owner: entry.GetMeta()[markKey], Version: strconv.FormatUint(index, 10), Spec: spec,
		Outputs: map[string]drivers.Output{"name": output(entry.GetName())},
		Health:  drivers.Health{Status: drivers.Healthy}, Raw: liveEntry{index},
	}, nil
}

// unmarked takes the mark out of a tree's Meta.
func unmarked(tree map[string]any) map[string]any {
	if meta, ok := tree["Meta"].(map[string]any); ok {
		delete(meta, markKey)
		if len(meta) == 0 {
			delete(tree, "Meta")
		}
	}
	return tree
}

// marked puts the mark into a copy of a tree's Meta.
func marked(tree map[string]any, env string) map[string]any {
	out, meta := map[string]any{}, map[string]any{markKey: env}
	for k, v := range tree {
		out[k] = v
	}
	if own, ok := tree["Meta"].(map[string]any); ok {
		for k, v := range own {
			meta[k] = v
		}
	}
	out["Meta"] = meta
	return out
}

var errMark = errors.New("the key " + markKey + " of Meta says whose it is")

func (e *entries) want(it drivers.Item, _ drivers.State) (wanted, error) {
	name, err := cut(it.Handle, e.native+"/")
	if err != nil {
		return wanted{}, err
	}
	var sort func(map[string]any, map[schema.Path]string) map[schema.Path]string
	if e.native == api.ServiceIntentions {
		sort = bySource
	}
	text, unknown, err := known(it.Handle, it.Want, sort)
	if err != nil {
		return wanted{}, err
	}
	entry, err := decodeEntry(e.native, text)
	if err != nil {
		return wanted{}, driverkit.Refuse("read", it.Handle, err, "")
	}
	if _, has := entry.GetMeta()[markKey]; has {
		return wanted{}, driverkit.Refuse("read", it.Handle, errMark, "leave it out: it is put there")
	}
	tree := words(entry)
	tree["Name"] = name
	plant(tree, unknown)
	spec, err := canonical(it.Handle, tree)
	if err != nil {
		return wanted{}, err
	}
	body := marked(tree, e.d.Env)
	body["Kind"] = e.native
	return wanted{spec: spec, unknown: unknown, object: body, outputs: map[string]drivers.Output{"name": output(name)}}, nil
}

// known is a spec in another order, without what is not known yet; that stands
// where unknown says.
func known(handle string, want *drivers.Desired, sort func(map[string]any, map[schema.Path]string) map[schema.Path]string) (json.RawMessage, map[schema.Path]string, error) {
	sorted, unknown := want.Spec, want.Unknown
	if sort != nil {
		tree, err := object(handle, want.Spec)
		if err != nil {
			return nil, nil, err
		}
		unknown = sort(tree, unknown)
		if sorted, err = canonical(handle, tree); err != nil {
			return nil, nil, err
		}
	}
	if len(unknown) == 0 {
		return sorted, nil, nil
	}
	var text json.RawMessage
	if err := driverkit.Decode(&drivers.Desired{Spec: sorted, Unknown: unknown}, &text); err != nil {
		return nil, nil, driverkit.Refuse("read", handle, err, "")
	}
	return text, unknown, nil
}

// decodeEntry reads an entry into the API's type, and normalises it as the
// server does. What the type does not read by itself, such as a duration that
// is a text, is read as Consul's own client reads it, which takes ten times as
// long.
func decodeEntry(kind string, text []byte) (api.ConfigEntry, error) {
	entry, err := api.MakeConfigEntry(kind, "")
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(text, entry) != nil {
		var raw map[string]any
		if err := json.Unmarshal(text, &raw); err != nil {
			return nil, err
		}
		if raw == nil {
			return nil, errNoObject
		}
		raw["Kind"] = kind
		if entry, err = api.DecodeConfigEntry(raw); err != nil {
			return nil, err
		}
	}
	normalise(entry)
	return entry, nil
}

func (e *entries) write(ctx context.Context, c drivers.Change, p plan) (drivers.State, error) {
	live, _ := p.live.(liveEntry)
	r := request{op: "write", subject: c.Handle, method: http.MethodPut, path: "config", query: cas(live.index), body: p.object}
	a, err := e.d.client.do(ctx, r)
	if err != nil {
		return drivers.State{Handle: c.Handle}, err
	}
	if !yes(a) {
		return drivers.State{Handle: c.Handle}, driverkit.Stale("write", c.Handle)
	}
	state, err := e.read(ctx, c.Handle)
	if err == nil && !state.Exists {
		err = driverkit.Stale("read back", c.Handle)
	}
	return state, err
}

func (e *entries) remove(ctx context.Context, c drivers.Change, p plan) error {
	name, err := cut(c.Handle, e.native+"/")
	if err != nil {
		return err
	}
	live, _ := p.live.(liveEntry)
	a, err := e.d.client.do(ctx, request{op: "delete", subject: c.Handle, method: http.MethodDelete, path: e.path(name), query: cas(live.index)})
	if err == nil && !yes(a) {
		err = driverkit.Stale("delete", c.Handle)
	}
	return err
}

func (e *entries) list(ctx context.Context) ([]drivers.State, error) {
	found, _, err := e.all(ctx, nil)
	if err != nil {
		return nil, err
	}
	var states []drivers.State
	for name, l := range found {
		s, err := e.state(e.native+"/"+name, l.text)
		if err != nil {
			s = drivers.State{Handle: e.native + "/" + name, Err: err}
		}
		if s.Owner != "" || s.Err != nil {
			states = append(states, s)
		}
	}
	return states, nil
}

func cas(index uint64) url.Values { return url.Values{"cas": {strconv.FormatUint(index, 10)}} }

// yes says whether a compare-and-set was made.
func yes(a answer) bool { return strings.TrimSpace(string(a.body)) == "true" }
