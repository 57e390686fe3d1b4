package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// namespaceSpec is the spec of nomad.namespace, without its address.
type namespaceSpec struct {
	Description  string            `json:"description"`
	Meta         map[string]string `json:"meta"`
	Capabilities *capabilities     `json:"capabilities,omitempty"`
}

type capabilities struct {
	EnabledTaskDrivers   []string `json:"enabledTaskDrivers"`
	DisabledTaskDrivers  []string `json:"disabledTaskDrivers"`
	EnabledNetworkModes  []string `json:"enabledNetworkModes"`
	DisabledNetworkModes []string `json:"disabledNetworkModes"`
}

// namespacePlan is Change.Opaque of a namespace.
type namespacePlan struct {
	name  string
	want  *api.Namespace // what is not declared is as it lives; nil: deleted
	index uint64         // ModifyIndex that it was planned from; 0: nothing lived
	wait  bool           // something of it is not known yet
}

// normal is a declared namespace as Nomad keeps it: lists without repeats.
func (s namespaceSpec) normal() namespaceSpec {
	if s.Meta == nil {
		s.Meta = map[string]string{}
	}
	if s.Capabilities != nil {
		c := *s.Capabilities
		for _, list := range []*[]string{&c.EnabledTaskDrivers, &c.DisabledTaskDrivers, &c.EnabledNetworkModes, &c.DisabledNetworkModes} {
			*list = slices.Compact(slices.Sorted(slices.Values(*list)))
			if *list == nil {
				*list = []string{}
			}
		}
		s.Capabilities = &c
		if len(c.EnabledTaskDrivers)+len(c.DisabledTaskDrivers)+len(c.EnabledNetworkModes)+len(c.DisabledNetworkModes) == 0 {
			s.Capabilities = nil
		}
	}
	return s
}

// namespaceSpecOf is a live namespace in the words of the spec.
func namespaceSpecOf(n *api.Namespace) (json.RawMessage, error) {
	s := namespaceSpec{Description: n.Description, Meta: maps.Clone(n.Meta)}
	delete(s.Meta, Mark)
	if c := n.Capabilities; c != nil {
		s.Capabilities = &capabilities{c.EnabledTaskDrivers, c.DisabledTaskDrivers, c.EnabledNetworkModes, c.DisabledNetworkModes}
	}
	return driverkit.Text(s.normal())
}

func (d *Driver) namespaces(ctx context.Context) (map[string]*api.Namespace, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	q, err := d.query(ctx, "")
	if err != nil {
		return nil, err
	}
	list, _, err := d.client.Namespaces().List(q)
	if err != nil {
		return nil, fail("list", "namespaces", err)
	}
	all := make(map[string]*api.Namespace, len(list))
	for _, n := range list {
		all[n.Name] = n
	}
	return all, nil
}

func (d *Driver) observeNamespaces(ctx context.Context, items []drivers.Item, states []drivers.State, at []int) error {
	all, err := d.namespaces(ctx)
	if err != nil {
		return err
	}
	for _, i := range at {
		p, _ := placeOf(items[i].Handle) // Observe has looked
		n := all[p.name]
		if n == nil && items[i].Last != nil { // a list leaves out what the token may not see
			var err error
			if n, err = d.readNamespace(ctx, p.name); err != nil {
				states[i].Err = err
				continue
			}
		}
		if n != nil {
			states[i] = namespaceState(n)
		}
	}
	return nil
}

func (d *Driver) listNamespaces(ctx context.Context) ([]drivers.State, error) {
	all, err := d.namespaces(ctx)
	if err != nil {
		return nil, err
	}
	var states []drivers.State
	for _, n := range all {
		if n.Meta[Mark] != "" {
			states = append(states, namespaceState(n))
		}
	}
	return sortStates(states), nil
}

func sortStates(states []drivers.State) []drivers.State {
	slices.SortFunc(states, func(a, b drivers.State) int { return strings.Compare(a.Handle, b.Handle) })
	return states
}

func namespaceState(n *api.Namespace) drivers.State {
	p := place{kind: KindNamespace, name: n.Name}
	spec, err := namespaceSpecOf(n)
	if err != nil {
		return drivers.State{Handle: p.handle(), Err: driverkit.Refuse("read", p.handle(), err, "")}
	}
	return drivers.State{
		Handle: p.handle(), Exists: true, Owner: n.Meta[Mark], Version: strconv.FormatUint(n.ModifyIndex, 10), Spec: spec,
		Outputs: map[string]drivers.Output{"name": {Value: quote(n.Name)}}, Health: drivers.Health{Status: drivers.Healthy}, Raw: n,
	}
}

// withoutAddress is a spec without the fields that make up its address.
func withoutAddress(spec json.RawMessage, fields ...string) (json.RawMessage, error) {
	tree, err := driverkit.Tree(spec)
	if err != nil {
		return nil, err
	}
	if object, ok := tree.(map[string]any); ok {
		for _, f := range fields {
			delete(object, f)
		}
	}
	return driverkit.Text(tree)
}

func (d *Driver) planNamespace(c drivers.Change, it drivers.Item, state drivers.State) (drivers.Change, error) {
	p, err := placeOf(it.Handle)
	if err != nil {
		return c, driverkit.Refuse("plan", it.Handle, err, "")
	}
	plan := &namespacePlan{name: p.name}
	live, _ := state.Raw.(*api.Namespace)
	if live != nil {
		plan.index = live.ModifyIndex
	}
	c.Opaque = plan
	if it.Want == nil {
		driverkit.Deletion(&c, state)
		return c, nil
	}
	var s namespaceSpec
	if err := driverkit.Decode(it.Want, &s); err != nil {
		return c, driverkit.Refuse("read", it.Handle, err, "")
	}
	plan.want, plan.wait = namespaceOf(p.name, live, s.normal()), len(it.Want.Unknown) > 0
	want, err := driverkit.Text(s.normal())
	if err == nil && plan.wait {
		want, err = withoutAddress(it.Want.Spec, "name")
	}
	if err == nil {
		c.Diff, err = driverkit.Diff(state.Spec, want, it.Want.Unknown)
	}
	if err != nil {
		return c, driverkit.Refuse("read", it.Handle, err, "")
	}
	plan.want.Meta[Mark] = d.Env
	if state.Exists && state.Owner == "" {
		c.Diff = append(c.Diff, driverkit.MarkDelta(d.Env))
	}
	c.Outputs = map[string]drivers.Output{"name": {Value: quote(p.name)}}
	driverkit.Decide(&c, it, state, it.Last != nil || state.Owner == d.Env)
	return c, nil
}

// namespaceOf is a namespace as it is to be: what no field of the spec names
// stays as it lives.
func namespaceOf(name string, live *api.Namespace, s namespaceSpec) *api.Namespace {
	n := &api.Namespace{Name: name}
	if live != nil {
		*n = *live
	}
	n.Description, n.Meta, n.Capabilities = s.Description, maps.Clone(s.Meta), nil
	if c := s.Capabilities; c != nil {
		n.Capabilities = &api.NamespaceCapabilities{
			EnabledTaskDrivers: c.EnabledTaskDrivers, DisabledTaskDrivers: c.DisabledTaskDrivers,
			EnabledNetworkModes: c.EnabledNetworkModes, DisabledNetworkModes: c.DisabledNetworkModes,
		}
	}
	return n
}

// readNamespace reads one; nil where there is none.
func (d *Driver) readNamespace(ctx context.Context, name string) (*api.Namespace, error) {
	q, err := d.query(ctx, "")
	if err != nil {
		return nil, err
	}
	n, _, err := d.client.Namespaces().Info(name, q)
	if isStatus(err, http.StatusNotFound) {
		return nil, nil
	}
	return n, fail("read", prefixes[KindNamespace]+name, err)
}

// applyNamespace writes or deletes one. Nomad has no compare-and-set for
// namespaces, so it is read again immediately before.
func (d *Driver) applyNamespace(ctx context.Context, c drivers.Change, p *namespacePlan) (drivers.State, error) {
	gone := drivers.State{Handle: c.Handle}
	if p.wait {
		return gone, driverkit.Stale("apply", c.Handle)
	}
	live, err := d.readNamespace(ctx, p.name)
	if err != nil {
		return gone, err
	}
	switch {
	case c.Action == schema.Delete:
		return gone, d.deleteNamespace(ctx, c.Handle, live, p)
	case c.Action == schema.None && live != nil:
		return namespaceState(live), nil
	case live == nil && p.index != 0, live != nil && live.ModifyIndex != p.index:
		return gone, driverkit.Stale("write", c.Handle)
	}
	w, err := d.write(ctx, "")
	if err != nil {
		return gone, err
	}
	if _, err := d.client.Namespaces().Register(p.want, w); err != nil {
		return gone, fail("write", c.Handle, err)
	}
	if live, err = d.readNamespace(ctx, p.name); err != nil {
		return gone, err
	}
	if live == nil {
		return gone, driverkit.Stale("read", c.Handle)
	}
	return namespaceState(live), nil
}

// inUse is how Nomad says that a namespace is not empty.
var inUse = regexp.MustCompile(`has (?:non-terminal|volumes|variables|quotas)|contains at least one`)

func (d *Driver) deleteNamespace(ctx context.Context, handle string, live *api.Namespace, p *namespacePlan) error {
	switch {
	case live == nil:
		return nil
	case live.Meta[Mark] != "" && live.Meta[Mark] != d.Env:
		return driverkit.Refuse("delete", handle, fmt.Errorf("it belongs to the environment %s", live.Meta[Mark]), "")
	case live.ModifyIndex != p.index:
		return driverkit.Stale("delete", handle)
	}
	w, err := d.write(ctx, "")
	if err != nil {
		return err
	}
	_, err = d.client.Namespaces().Delete(p.name, w)
	var answer api.UnexpectedResponseError
	if errors.As(err, &answer) && inUse.MatchString(answer.Body()) {
		return &drivers.Error{Op: "delete", Subject: handle, Class: drivers.ErrWaiting, Err: errors.New(clip(answer.Body())), Answered: true, Hint: "what lives in it must go first"}
	}
	if isStatus(err, http.StatusNotFound) {
		return nil
	}
	return fail("delete", handle, err)
}

// checkNamespace says what is wrong with a declaration of nomad.namespace.
func checkNamespace(p place, want drivers.Desired) error {
	var s namespaceSpec
	if err := driverkit.Decode(&want, &s); err != nil {
		return driverkit.Refuse("read", p.handle(), err, "")
	}
	if p.name == api.DefaultNamespace {
		return driverkit.Refuse("read", p.handle(), fmt.Errorf("the namespace %s is Nomad's own: it is always there, and cannot be deleted", p.name), "")
	}
	if _, taken := s.Meta[Mark]; taken {
		return driverkit.Refuse("read", p.handle(), fmt.Errorf("meta: the key %s is aplomb's own", Mark), "")
	}
	return nil
}
