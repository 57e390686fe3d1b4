package nomad

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// variableSpec is the spec of nomad.variable, without its address. In a State
// every item is a token.
type variableSpec struct {
	Items map[string]string `json:"items"`
}

const itemsPath schema.Path = "/items"

// observedVariable is State.Raw of a variable.
type observedVariable struct{ index uint64 }

// variablePlan is Change.Opaque of a variable. It holds what is declared: the
// values of secrets come with the change.
type variablePlan struct {
	place   place
	items   map[string]string
	index   uint64 // ModifyIndex that it was planned from; 0: nothing lived
	nothing bool
	unknown bool
}

// masking is the token that stands for the text of an item. What is declared with a secret in it
// has the secret's token already.
func (d *Driver) masking(text string) string {
	if schema.HasToken(text) {
		return text
	}
	return schema.Token(d.Fingerprint([]byte(text)))
}

// masked is a spec whose items are tokens; a reference that is not resolved
// keeps its text.
func (d *Driver) masked(items map[string]string, unknown map[schema.Path]string) (json.RawMessage, error) {
	m := variableSpec{Items: map[string]string{}}
	for k, text := range items {
		if _, open := unknown[itemsPath.Child(k)]; !open {
			text = d.masking(text)
		}
		m.Items[k] = text
	}
	return driverkit.Text(m)
}

func (d *Driver) variables(ctx context.Context, places []place) (map[place]*api.VariableMetadata, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	q, err := d.query(ctx, api.AllNamespacesNamespace)
	if err != nil {
		return nil, err
	}
	if len(places) == 1 { // the list takes no filter by path
		q.Namespace, q.Prefix = places[0].namespace, places[0].name
	}
	list, _, err := d.client.Variables().List(q)
	if err != nil {
		return nil, fail("list", "variables", err)
	}
	all := make(map[place]*api.VariableMetadata, len(list))
	for _, v := range list {
		all[place{KindVariable, v.Namespace, v.Path}] = v
	}
	return all, nil
}

// observeVariables lists what lives. A variable that is as this environment
// left it is not read: its index says so, and the inventory says what is in it.
func (d *Driver) observeVariables(ctx context.Context, items []drivers.Item, states []drivers.State, at []int) error {
	places := make([]place, len(at))
	for n, i := range at {
		places[n], _ = placeOf(items[i].Handle) // Observe has looked
	}
	all, err := d.variables(ctx, places)
	if err != nil {
		return err
	}
	d.each(len(at), func(n int) {
		i := at[n]
		if v := all[places[n]]; v != nil {
			states[i] = d.observeVariable(ctx, places[n], v.ModifyIndex, items[i])
		} else if items[i].Last != nil { // a list leaves out what the token may not see
			states[i] = d.lookInto(ctx, places[n])
		}
	})
	return nil
}

func (d *Driver) observeVariable(ctx context.Context, p place, index uint64, it drivers.Item) drivers.State {
	if it.Last != nil && it.Last.Version == strconv.FormatUint(index, 10) {
		var s variableSpec
		if err := json.Unmarshal(it.Last.Spec, &s); err == nil {
			return d.variableState(p, index, d.Env, s.Items)
		}
	}
	return d.lookInto(ctx, p)
}

// lookInto reads a variable.
func (d *Driver) lookInto(ctx context.Context, p place) drivers.State {
	state := drivers.State{Handle: p.handle()}
	q, err := d.query(ctx, p.namespace)
	if err != nil {
		state.Err = err
		return state
	}
	var v api.Variable
	_, err = d.client.Raw().Query("/v1/var/"+p.name, &v, q) // Variables().Read takes "denied" for "not there"
	switch {
	case isStatus(err, http.StatusNotFound):
		return state
	case err != nil:
		state.Err = fail("read", p.handle(), err)
		return state
	}
	items := map[string]string(v.Items)
	owner := items[Mark]
	delete(items, Mark)
	return d.variableState(p, v.ModifyIndex, owner, items)
}

func (d *Driver) variableState(p place, index uint64, owner string, items map[string]string) drivers.State {
	spec, err := d.masked(items, nil)
	if err != nil {
		return drivers.State{Handle: p.handle(), Err: driverkit.Refuse("read", p.handle(), err, "")}
	}
	version := strconv.FormatUint(index, 10)
	outputs := variableOutputs(p)
	outputs["version"] = drivers.Output{Value: json.RawMessage(version)}
	return drivers.State{
		Handle: p.handle(), Exists: true, Owner: owner, Version: version, Spec: spec, Outputs: outputs,
		Health: drivers.Health{Status: drivers.Healthy}, Raw: &observedVariable{index},
	}
}

func variableOutputs(p place) map[string]drivers.Output {
	return map[string]drivers.Output{"path": {Value: quote(p.name)}, "namespace": {Value: quote(p.namespace)}}
}

// listVariables lists every variable: whose it is stands inside, and is read.
func (d *Driver) listVariables(ctx context.Context) ([]drivers.State, error) {
	all, err := d.variables(ctx, make([]place, fewItems+1))
	if err != nil {
		return nil, err
	}
	var places []place
	for p := range all {
		places = append(places, p)
	}
	states := make([]drivers.State, len(places))
	d.each(len(places), func(i int) {
		states[i] = d.observeVariable(ctx, places[i], all[places[i]].ModifyIndex, drivers.Item{})
	})
	var marked []drivers.State
	for _, s := range states {
		if s.Owner != "" {
			marked = append(marked, s)
		}
	}
	return sortStates(marked), nil
}

func (d *Driver) planVariable(c drivers.Change, it drivers.Item, state drivers.State) (drivers.Change, error) {
	p, err := placeOf(it.Handle)
	if err != nil {
		return c, driverkit.Refuse("plan", it.Handle, err, "")
	}
	plan := &variablePlan{place: p}
	if live, ok := state.Raw.(*observedVariable); ok {
		plan.index = live.index
	}
	c.Opaque = plan
	if it.Want == nil {
		driverkit.Deletion(&c, state)
		return c, nil
	}
	var s variableSpec
	if err := json.Unmarshal(it.Want.Spec, &s); err != nil {
		return c, driverkit.Refuse("read", it.Handle, errors.New("items hold texts"), "")
	}
	plan.items, plan.unknown = s.Items, len(it.Want.Unknown) > 0
	want, err := d.masked(s.Items, it.Want.Unknown)
	if err == nil {
		c.Diff, err = driverkit.Diff(state.Spec, want, it.Want.Unknown)
	}
	if err != nil {
		return c, driverkit.Refuse("read", it.Handle, err, "")
	}
	if state.Exists && state.Owner == "" {
		c.Diff = append(c.Diff, driverkit.MarkDelta(d.Env))
	}
	c.Outputs = variableOutputs(p)
	plan.nothing = len(c.Diff) == 0
	driverkit.Decide(&c, it, state, it.Last != nil || state.Owner == d.Env)
	return c, nil
}

func (d *Driver) applyVariable(ctx context.Context, c drivers.Change, p *variablePlan) (drivers.State, error) {
	gone := drivers.State{Handle: c.Handle}
	if p.unknown {
		return gone, driverkit.Stale("apply", c.Handle)
	}
	w, err := d.write(ctx, p.place.namespace)
	if err != nil {
		return gone, err
	}
	if c.Action == schema.Delete {
		_, err := d.client.Variables().CheckedDelete(p.place.name, p.index, w)
		if isConflict(err) {
			return gone, d.stillThere(ctx, p)
		}
		return gone, fail("delete", c.Handle, scrubbed(err, nil))
	}
	if p.nothing {
		return d.variableState(p.place, p.index, d.Env, p.items), nil
	}
	items, err := p.reveal(c)
	if err != nil {
		return gone, err
	}
	items[Mark] = d.Env
	v := &api.Variable{Namespace: p.place.namespace, Path: p.place.name, Items: items, ModifyIndex: p.index}
	written, _, err := d.client.Variables().CheckedUpdate(v, w) // of index 0: only if there is none
	if err != nil {
		return gone, fail("write", c.Handle, scrubbed(err, items))
	}
	return d.variableState(p.place, written.ModifyIndex, d.Env, p.items), nil
}

// reveal is the items in the clear.
func (p *variablePlan) reveal(c drivers.Change) (map[string]string, error) {
	items := make(map[string]string, len(p.items)+1)
	for k, text := range p.items {
		if s, given := c.Secrets[itemsPath.Child(k)]; given {
			text = s.Reveal()
		} else if schema.HasToken(text) {
			return nil, driverkit.Refuse("write", c.Handle, fmt.Errorf("the secret of items.%s was not given", k), "")
		}
		items[k] = text
	}
	return items, nil
}

// stillThere tells a variable that somebody altered from one that is gone.
func (d *Driver) stillThere(ctx context.Context, p *variablePlan) error {
	all, err := d.variables(ctx, []place{p.place})
	if err != nil || all[p.place] == nil {
		return err
	}
	return driverkit.Stale("delete", p.place.handle())
}

func isConflict(err error) bool {
	var conflict api.ErrCASConflict
	return errors.As(err, &conflict)
}
