package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"net/url"
	"reflect"
	"sync"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// acl is the ACL objects of one sort. Consul has no compare-and-set for them:
// what lives is read immediately before it is written. Their mark stands at the
// end of Description.
type acl struct {
	d *Driver
	aclSort
}

// aclSort is what the sorts of ACL objects differ in.
type aclSort interface {
	prefix() string         // of handles
	at() string             // below /v1
	all() string            // the list, below /v1
	fresh() aclObject       // to read into
	find(key string) string // where one is read by what the handle says
	anew() []schema.Path    // what is never altered in place
	given() bool            // the handle is an id that Consul gives
}

// aclObject is one object of the API's type.
type aclObject interface {
	name() string // what the handle says
	rename(string)
	id() string // what writes name it by; "" before it is made
	index() uint64
	description() *string
	settle(from aclObject) // takes over id and what else only Consul knows; nil: nothing lives
	outputs() map[string]drivers.Output
	value() any // the API's own
}

func newACL(d *Driver, s aclSort) *acl { return &acl{d, s} }

func (a *acl) address(name string, spec json.RawMessage) (string, error) {
	if a.given() {
		return "", nil
	}
	name, err := named(name, spec, "Name")
	if err == nil {
		_, err = cut(a.prefix()+name, a.prefix())
	}
	return a.prefix() + name, err
}

// observe reads objects one by one, beside each other: the lists lack what
// matters of policies and methods. One without handle is looked for by the
// nonce of the create that may have made it.
func (a *acl) observe(ctx context.Context, items []drivers.Item) ([]drivers.State, error) {
	states, errs := make([]drivers.State, len(items)), make([]error, len(items))
	var wg sync.WaitGroup
	for i, it := range items {
		wg.Go(func() {
			if it.Handle == "" {
				states[i], errs[i] = a.lost(ctx, it.Nonce)
			} else {
				states[i], errs[i] = a.read(ctx, it.Handle)
			}
		})
	}
	wg.Wait()
	return each(items, func(drivers.Item) (drivers.State, error) {
		s, err := states[0], errs[0]
		states, errs = states[1:], errs[1:]
		return s, err
	})
}

func (a *acl) read(ctx context.Context, handle string) (drivers.State, error) {
	key, err := cut(handle, a.prefix())
	if err != nil {
		return drivers.State{Handle: handle}, err
	}
	o := a.fresh()
	r := request{op: "read", subject: handle, path: a.find(url.PathEscape(key)), also: []int{http.StatusNotFound}}
	got, err := a.d.client.get(ctx, r, o.value())
	if err != nil || got.status == http.StatusNotFound || o.name() == "" {
		return drivers.State{Handle: handle}, err
	}
	return a.state(o)
}

// lost finds what a create with a nonce made.
func (a *acl) lost(ctx context.Context, nonce string) (drivers.State, error) {
	if nonce == "" {
		return drivers.State{}, nil
	}
	all, err := a.every(ctx)
	for _, o := range all {
		if m := markOf(*o.description()); m.env == a.d.Env && m.nonce == nonce {
			return a.read(ctx, a.prefix()+o.name())
		}
	}
	return drivers.State{}, err
}

// every is all objects, as far as the list tells of them.
func (a *acl) every(ctx context.Context) ([]aclObject, error) {
	var raw []json.RawMessage
	r := request{op: "list", subject: a.all(), path: a.all()}
	if _, err := a.d.client.get(ctx, r, &raw); err != nil {
		return nil, err
	}
	all := make([]aclObject, 0, len(raw))
	for _, text := range raw {
		o := a.fresh()
		if err := decode(r, text, o.value()); err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

func (a *acl) state(o aclObject) (drivers.State, error) {
	handle := a.prefix() + o.name()
	m := markOf(*o.description())
	tree := a.words(o)
	spec, err := canonical(handle, tree)
	return drivers.State{
		Handle: handle, Exists: true, Owner: m.env, Version: versionOf(o.index(), spec), Spec: spec,
		Outputs: o.outputs(), Health: drivers.Health{Status: drivers.Healthy}, Raw: o,
	}, err
}

// versionOf is an index, and what was read: a role is another one when a policy
// that it names is deleted, and its index stays.
func versionOf(index uint64, spec []byte) string {
	h := fnv.New64a()
	_, _ = h.Write(spec) // a hash takes everything
	return fmt.Sprintf("%d-%x", index, h.Sum64())
}

// words leaves the mark out of Description.
func (a *acl) words(o aclObject) map[string]any {
	tree := words(o.value())
	delete(tree, "Description")
	if text := markOf(*o.description()).text; text != "" {
		tree["Description"] = text
	}
	if r, ok := o.(interface{ reword(map[string]any) }); ok {
		r.reword(tree)
	}
	return tree
}

func (a *acl) want(it drivers.Item, state drivers.State) (wanted, error) {
	text, unknown, err := known(it.Handle, it.Want, nil)
	if err != nil {
		return wanted{}, err
	}
	o := a.fresh()
	if err = json.Unmarshal(text, o.value()); err == nil && !a.given() {
		var name string
		if name, err = cut(it.Handle, a.prefix()); err == nil {
			o.rename(name)
		}
	}
	if err == nil && markOf(*o.description()).env != "" {
		err = errors.New("the Description ends like an ownership mark")
	}
	if err != nil {
		return wanted{}, driverkit.Refuse("read", it.Handle, err, "")
	}
	live, _ := state.Raw.(aclObject)
	o.settle(live)
	tree := a.words(o)
	plant(tree, unknown)
	w := wanted{unknown: unknown, object: o, outputs: o.outputs(), anew: a.anew()}
	w.spec, err = canonical(it.Handle, tree)
	return w, err
}

func (a *acl) write(ctx context.Context, c drivers.Change, p plan) (drivers.State, error) {
	gone := drivers.State{Handle: c.Handle}
	want, ok := p.object.(aclObject)
	if !ok {
		return gone, driverkit.Stale("write", c.Handle)
	}
	live, _ := p.live.(aclObject)
	m := mark{text: *want.description(), env: a.d.Env}
	switch {
	case p.anew:
		want.settle(nil)
	case a.given() && live == nil:
		if s, err := a.lost(ctx, c.Nonce); err != nil || s.Exists { // the create has landed
			return s, err
		}
	default:
		if err := a.unmoved(ctx, c.Handle, live); err != nil {
			return gone, err
		}
	}
	if a.given() {
		m.nonce = c.Nonce
		if live != nil && !p.anew {
			m.nonce = markOf(*live.description()).nonce
		}
	}
	made, err := a.put(ctx, c.Handle, want, m)
	if err != nil {
		return gone, err
	}
	return a.state(made)
}

// put writes an object with its mark, and answers it as it was stored.
func (a *acl) put(ctx context.Context, handle string, want aclObject, m mark) (aclObject, error) {
	body := a.fresh()
	reflect.ValueOf(body.value()).Elem().Set(reflect.ValueOf(want.value()).Elem()) // want stays as it was planned
	*body.description() = m.String()
	r := request{op: "write", subject: handle, method: http.MethodPut, path: a.at(), body: body.value()}
	if id := body.id(); id != "" {
		r.path += "/" + url.PathEscape(id)
	}
	got, err := a.d.client.do(ctx, r)
	if err != nil {
		return nil, err
	}
	made := a.fresh()
	return made, decode(r, got.body, made.value())
}

// unmoved reads an object again: ErrStale if it is not what was planned from.
func (a *acl) unmoved(ctx context.Context, handle string, live aclObject) error {
	now, err := a.read(ctx, handle)
	if err != nil {
		return err
	}
	o, _ := now.Raw.(aclObject)
	if (o == nil) != (live == nil) || o != nil && (o.index() != live.index() || o.id() != live.id()) {
		return driverkit.Stale("write", handle)
	}
	return nil
}

func (a *acl) remove(ctx context.Context, c drivers.Change, p plan) error {
	live, _ := p.live.(aclObject)
	now, err := a.read(ctx, c.Handle)
	if err != nil || !now.Exists {
		return err
	}
	o, _ := now.Raw.(aclObject)
	if live == nil || o == nil || o.index() != live.index() {
		return driverkit.Stale("delete", c.Handle)
	}
	_, err = a.d.client.do(ctx, request{op: "delete", subject: c.Handle, method: http.MethodDelete, path: a.at() + "/" + url.PathEscape(o.id())})
	return err
}

// list answers the marked objects; none where Consul has no ACLs, or the token
// may not read them.
func (a *acl) list(ctx context.Context) ([]drivers.State, error) {
	all, err := a.every(ctx)
	if errors.Is(err, drivers.ErrDenied) || errors.Is(err, drivers.ErrPermanent) {
		return nil, nil
	}
	var states []drivers.State
	for _, o := range all {
		if markOf(*o.description()).env == "" {
			continue
		}
		s, err := a.read(ctx, a.prefix()+o.name())
		if err != nil {
			return nil, err
		}
		if s.Exists {
			states = append(states, s)
		}
	}
	return states, err
}
