package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// nodeMarkPath is the delta of a node's missing mark.
const nodeMarkPath schema.Path = "/!node-mark"

// beyondPath is the delta of what a registration has that no field declares and
// no transaction carries: a write takes it away.
const beyondPath schema.Path = "/!beyond"

// beyond is that, or nil.
func beyond(svc *api.AgentService) map[string]any {
	if svc == nil {
		return nil
	}
	more := map[string]any{"Kind": string(svc.Kind), "SocketPath": svc.SocketPath}
	for name, tree := range map[string]map[string]any{"Proxy": words(svc.Proxy), "Connect": words(svc.Connect)} {
		if len(tree) > 0 {
			more[name] = tree
		}
	}
	tagged := maps.Clone(svc.TaggedAddresses)
	maps.DeleteFunc(tagged, func(tag string, _ api.ServiceAddress) bool { return strings.HasPrefix(tag, "consul-") }) // Consul's own
	if len(tagged) > 0 {
		more["TaggedAddresses"] = tagged
	}
	maps.DeleteFunc(more, func(_ string, v any) bool { return v == "" })
	if len(more) == 0 {
		return nil
	}
	return more
}

// registration is what write makes of a declaration.
type registration struct {
	api.CatalogRegistration
	node bool // the declaration says what the node is
}

func (s *services) want(it drivers.Item, state drivers.State) (wanted, error) {
	at, err := placeOf(it.Handle)
	if err != nil {
		return wanted{}, err
	}
	text, unknown, err := known(it.Handle, it.Want, byCheck)
	if err != nil {
		return wanted{}, err
	}
	live, _ := state.Raw.(liveService)
	reg, err := register(it, at, text)
	if err != nil {
		return wanted{}, driverkit.Refuse("read", it.Handle, err, "")
	}
	tree := words(reg.CatalogRegistration)
	tree["Checks"] = reg.checkWords(live)
	if len(reg.Checks) == 0 {
		delete(tree, "Checks")
	}
	if !reg.node && live.node != nil { // the node is as it is
		maps.Copy(tree, nodeWords(live.node))
	} else if live.node != nil && reg.ID == "" && live.node.ID != "" {
		tree["ID"] = live.node.ID
	}
	plant(tree, unknown)
	w := wanted{unknown: unknown, object: reg, outputs: serviceOutputs(tree)}
	w.disturbs = s.disturbs(it, reg, live)
	if more := beyond(live.service); more != nil {
		before, err := driverkit.Text(more)
		if err != nil {
			return w, driverkit.Refuse("read", it.Handle, err, "")
		}
		w.extra = append(w.extra, drivers.Delta{Path: beyondPath, Op: schema.Delete, Before: before})
	}
	if reg.node && state.Exists && live.node.Meta[markKey] == "" {
		mark := driverkit.MarkDelta(s.d.Env)
		mark.Path = nodeMarkPath
		w.extra = append(w.extra, mark)
	}
	w.spec, err = canonical(it.Handle, tree)
	return w, err
}

// register reads a declaration as the API does, and fills in what Consul does.
func register(it drivers.Item, at place, text []byte) (registration, error) {
	var reg registration
	if err := json.Unmarshal(text, &reg.CatalogRegistration); err != nil {
		return reg, err
	}
	_, unknown := it.Want.Unknown["/Address"]
	reg.node = reg.Address != "" || unknown
	if !reg.node && (len(reg.NodeMeta) > 0 || len(reg.CatalogRegistration.TaggedAddresses) > 0 || reg.ID != "") {
		return reg, errors.New("ID, NodeMeta and TaggedAddresses are said together with Address, which makes the node")
	}
	reg.Node = at.node
	if reg.Service == nil {
		reg.Service = &api.AgentService{}
	}
	reg.Service.ID = at.id
	if reg.Service.Service == "" {
		reg.Service.Service = it.ID.Name
	}
	if reg.Service.Weights == (api.AgentWeights{}) {
		reg.Service.Weights = api.AgentWeights{Passing: 1, Warning: 1}
	}
	_, marked := reg.Service.Meta[markKey]
	if _, nodeMarked := reg.NodeMeta[markKey]; marked || nodeMarked {
		return reg, errMark
	}
	seen := map[string]bool{}
	for _, c := range reg.Checks {
		if c == nil || c.CheckID == "" || seen[c.CheckID] {
			return reg, errors.New("every check has a CheckID of its own")
		}
		seen[c.CheckID] = true
	}
	return reg, nil
}

// checkWords are the checks, each with its Status only while it does not live:
// afterwards that is for whoever checks.
func (r registration) checkWords(live liveService) []any {
	list := make([]any, len(r.Checks))
	for i, c := range r.Checks {
		tree := words(c)
		if live.checks[c.CheckID] == nil {
			tree["Status"] = statusOf(c)
		}
		list[i] = tree
	}
	return list
}

func statusOf(c *api.HealthCheck) string {
	if c.Status == "" {
		return api.HealthCritical
	}
	return c.Status
}

// disturbs says why a service must not be written, whatever it is.
func (s *services) disturbs(it drivers.Item, reg registration, live liveService) error {
	refuse := func(text, hint string) error {
		return driverkit.Refuse("register", it.Handle, errors.New(text), hint)
	}
	switch {
	case live.agent:
		return refuse("an agent runs the node "+reg.Node+", and removes what it does not know", "choose another Node; a service of that agent is registered there")
	case live.node == nil || !reg.node:
		return nil
	}
	switch owner := live.node.Meta[markKey]; {
	case owner != "" && owner != s.d.Env:
		return refuse("the node "+reg.Node+" belongs to the environment "+owner, "leave Address out to register the service on it, or choose another Node")
	case owner == "" && live.service == nil && it.Last == nil:
		return refuse("the node "+reg.Node+" lives already, and is not this environment's", "leave Address out to register the service on it, or choose another Node")
	}
	return nil
}

func (s *services) write(ctx context.Context, c drivers.Change, p plan) (drivers.State, error) {
	gone := drivers.State{Handle: c.Handle}
	at, err := placeOf(c.Handle)
	reg, ok := p.object.(registration)
	live, _ := p.live.(liveService)
	if err != nil || !ok {
		return gone, errors.Join(err, driverkit.Stale("write", c.Handle))
	}
	defer s.locks.Lock(at.node)()
	ops := append(s.nodeOps(reg, live), s.serviceOps(reg, live)...)
	ops = append(ops, checkOps(reg, live)...)
	if err := s.transact(ctx, "register", c.Handle, ops); err != nil {
		return gone, err
	}
	n, err := s.read(ctx, at.node)
	if err != nil {
		return gone, err
	}
	state, err := s.state(c.Handle, n.of(at.id))
	if err == nil && !state.Exists {
		err = driverkit.Stale("read back", c.Handle)
	}
	return state, err
}

// transact makes all of it or nothing.
func (s *services) transact(ctx context.Context, op, handle string, ops api.TxnOps) error {
	if len(ops) == 0 {
		return nil
	}
	_, failed, err := s.d.client.transact(ctx, op, handle, ops)
	if err != nil {
		return err
	}
	for _, i := range slices.Sorted(maps.Keys(failed)) {
		return refusal(op, handle, 409, errors.New(said([]byte(failed[i]))))
	}
	return nil
}

// nodeOps make or alter the node, where the declaration says what it is.
func (s *services) nodeOps(reg registration, live liveService) api.TxnOps {
	if !reg.node {
		return nil
	}
	want := api.Node{ID: reg.ID, Node: reg.Node, Address: reg.Address, TaggedAddresses: reg.CatalogRegistration.TaggedAddresses, Meta: map[string]string{markKey: s.d.Env}}
	maps.Copy(want.Meta, reg.NodeMeta)
	if live.node != nil {
		want.ModifyIndex = live.node.ModifyIndex
		if want.ID == "" {
			want.ID = live.node.ID
		}
		if live.node.Meta[markKey] == s.d.Env && reflect.DeepEqual(nodeWords(live.node), nodeWords(&want)) {
			return nil
		}
	}
	return api.TxnOps{{Node: &api.NodeTxnOp{Verb: api.NodeCAS, Node: want}}}
}

func (s *services) serviceOps(reg registration, live liveService) api.TxnOps {
	svc := *reg.Service
	svc.Meta = map[string]string{markKey: s.d.Env}
	maps.Copy(svc.Meta, reg.Service.Meta)
	if live.service != nil {
		svc.ModifyIndex = live.service.ModifyIndex
		if beyond(live.service) == nil && reflect.DeepEqual(words(live.service), words(&svc)) {
			return nil
		}
	}
	return api.TxnOps{{Service: &api.ServiceTxnOp{Verb: api.ServiceCAS, Node: reg.Node, Service: svc}}}
}

// checkOps make, alter and delete checks. What a check found stays.
func checkOps(reg registration, live liveService) api.TxnOps {
	var ops api.TxnOps
	declared := map[string]bool{}
	for _, c := range reg.Checks {
		declared[c.CheckID] = true
		want := *c
		want.Node, want.ServiceID, want.ServiceName, want.Status = reg.Node, reg.Service.ID, reg.Service.Service, statusOf(c)
		if was := live.checks[c.CheckID]; was != nil {
			if reflect.DeepEqual(words(was), words(c)) {
				continue
			}
			want.Status, want.Output, want.ModifyIndex = was.Status, was.Output, was.ModifyIndex
		}
		ops = append(ops, &api.TxnOp{Check: &api.CheckTxnOp{Verb: api.CheckCAS, Check: want}})
	}
	for _, id := range slices.Sorted(maps.Keys(live.checks)) {
		if !declared[id] {
			ops = append(ops, &api.TxnOp{Check: &api.CheckTxnOp{Verb: api.CheckDeleteCAS, Check: *live.checks[id]}})
		}
	}
	return ops
}

// remove deletes a service, and with the last one the node that was made for
// it. Nothing compares whether another service came to the node meanwhile, so
// that is read immediately before.
func (s *services) remove(ctx context.Context, c drivers.Change, p plan) error {
	at, err := placeOf(c.Handle)
	if err != nil {
		return err
	}
	defer s.locks.Lock(at.node)()
	n, err := s.read(ctx, at.node)
	if err != nil {
		return err
	}
	live, _ := p.live.(liveService)
	now := n.of(at.id)
	if now.service == nil && now.hidden {
		return unseen("delete", c.Handle)
	}
	var ops api.TxnOps
	if now.service != nil {
		if live.service == nil || now.service.ModifyIndex != live.service.ModifyIndex {
			return driverkit.Stale("delete", c.Handle)
		}
		ops = api.TxnOps{{Service: &api.ServiceTxnOp{Verb: api.ServiceDeleteCAS, Node: at.node, Service: *now.service}}}
	}
	if s.last(n, at.id) {
		ops = append(ops, &api.TxnOp{Node: &api.NodeTxnOp{Verb: api.NodeDeleteCAS, Node: *n.node}})
	}
	return s.transact(ctx, "deregister", c.Handle, ops)
}

// last says whether a node was made by this environment and has nothing but
// this service.
func (s *services) last(n onNode, id string) bool {
	if n.node == nil || n.node.Meta[markKey] != s.d.Env {
		return false
	}
	other := slices.ContainsFunc(n.services, func(svc *api.AgentService) bool { return svc.ID != id })
	return !other && !slices.ContainsFunc(n.checks, func(c *api.HealthCheck) bool { return c.ServiceID != id })
}

// claimsOf: of several services on one node, one says what the node is.
func claimsOf(name string, want drivers.Desired) []drivers.Claim {
	var w struct{ Node, Address string }
	if json.Unmarshal(want.Spec, &w) != nil || w.Address == "" || strings.TrimSpace(w.Node) == "" {
		return nil
	}
	return []drivers.Claim{{Thing: fmt.Sprintf("node %s, with its Address", w.Node)}}
}
