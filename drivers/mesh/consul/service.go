package consul

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

const servicePrefix = "service/"

// services is the services in the catalog that no agent runs.
type services struct {
	d     *Driver
	locks driverkit.Locks // by node: who removes the last service removes the node
}

func newServices(d *Driver) *services { return &services{d: d} }

// place is where a service lives.
type place struct{ node, id string }

func (p place) handle() string { return servicePrefix + url.PathEscape(p.node) + "/" + p.id }

func placeOf(handle string) (place, error) {
	rest, err := cut(handle, servicePrefix)
	if err != nil {
		return place{}, err
	}
	escaped, id, ok := strings.Cut(rest, "/")
	node, err := url.PathUnescape(escaped)
	if !ok || err != nil || node == "" || id == "" {
		return place{}, driverkit.Refuse("find", handle, errors.New("no handle service/NODE/ID"), "")
	}
	return place{node, id}, nil
}

func (s *services) address(name string, spec json.RawMessage) (string, error) {
	var w struct {
		Node    string
		Service struct{ ID, Service string }
	}
	if err := json.Unmarshal(spec, &w); err != nil {
		return "", driverkit.Refuse("read", servicePrefix+name, err, "")
	}
	at := place{w.Node, w.Service.ID}
	if at.id == "" {
		at.id = w.Service.Service
	}
	if at.id == "" {
		at.id = name
	}
	if at.node == "" || schema.HasMark(at.node) || schema.HasMark(at.id) {
		return "", driverkit.Refuse("find", servicePrefix+name, errors.New("the address is made of Node and Service: they are said, and hold no reference"), "")
	}
	_, err := placeOf(at.handle())
	return at.handle(), err
}

// onNode is what lives on one node.
type onNode struct {
	node     *api.Node // nil: it does not exist
	services []*api.AgentService
	checks   []*api.HealthCheck
	hidden   bool // the token may not see all of it
}

// liveService is State.Raw.
type liveService struct {
	node    *api.Node
	service *api.AgentService // nil: it does not exist
	checks  map[string]*api.HealthCheck
	agent   bool // an agent runs the node
	hidden  bool // it may be there, and the token may not see it
}

// of picks one service out of what lives on its node.
func (n onNode) of(id string) liveService {
	l := liveService{node: n.node, checks: map[string]*api.HealthCheck{}, hidden: n.hidden}
	for _, svc := range n.services {
		if svc.ID == id {
			l.service = svc
		}
	}
	for _, c := range n.checks {
		l.agent = l.agent || c.CheckID == "serfHealth"
		if c.ServiceID == id && l.service != nil {
			l.checks[c.CheckID] = c
		}
	}
	return l
}

// read reads a node by two requests beside each other.
func (s *services) read(ctx context.Context, node string) (onNode, error) {
	var of struct {
		Node     *api.Node
		Services []*api.AgentService
	}
	var n onNode
	var errs [2]error
	var wg sync.WaitGroup
	r := request{op: "read", subject: servicePrefix + url.PathEscape(node)}
	wg.Go(func() {
		r := r
		r.path = "catalog/node-services/" + url.PathEscape(node)
		var a answer
		a, errs[0] = s.d.client.get(ctx, r, &of)
		n.hidden = a.hidden
	})
	wg.Go(func() {
		r := r
		r.path = "health/node/" + url.PathEscape(node)
		_, errs[1] = s.d.client.get(ctx, r, &n.checks)
	})
	wg.Wait()
	if of.Node != nil {
		n.node, n.services = of.Node, of.Services
	}
	return n, errors.Join(errs[0], errs[1])
}

func (s *services) observe(ctx context.Context, items []drivers.Item) ([]drivers.State, error) {
	nodes := map[string]*seenNode{}
	var wg sync.WaitGroup
	for _, it := range items {
		at, err := placeOf(it.Handle)
		if err != nil || nodes[at.node] != nil {
			continue
		}
		n := &seenNode{}
		nodes[at.node] = n
		wg.Go(func() { n.onNode, n.err = s.read(ctx, at.node) })
	}
	wg.Wait()
	return each(items, func(it drivers.Item) (drivers.State, error) {
		at, err := placeOf(it.Handle)
		if err != nil {
			return drivers.State{}, err
		}
		n := nodes[at.node]
		if n.err != nil {
			return drivers.State{}, n.err
		}
		return s.state(it.Handle, n.of(at.id))
	})
}

type seenNode struct {
	onNode
	err error
}

func (s *services) state(handle string, l liveService) (drivers.State, error) {
	if l.service == nil && l.hidden {
		return drivers.State{Handle: handle}, unseen("read", handle)
	}
	if l.service == nil {
		return drivers.State{Handle: handle, Raw: l, Version: l.version()}, nil
	}
	tree := l.words()
	spec, err := canonical(handle, tree)
	return drivers.State{
		Handle: handle, Exists: true, Owner: l.service.Meta[markKey], Version: l.version(), Spec: spec,
		Outputs: serviceOutputs(tree), Health: l.health(), Raw: l,
	}, err
}

// version changes whenever one of the indices does that compare-and-set
// compares.
func (l liveService) version() string {
	if l.node == nil {
		return ""
	}
	text := fmt.Sprintf("%d", l.node.ModifyIndex)
	if l.service != nil {
		text += fmt.Sprintf(".%d", l.service.ModifyIndex)
	}
	for _, id := range slices.Sorted(maps.Keys(l.checks)) {
		text += fmt.Sprintf(".%d", l.checks[id].ModifyIndex)
	}
	return text
}

// words are those of a whole registration.
func (l liveService) words() map[string]any {
	tree := nodeWords(l.node)
	tree["Service"] = unmarked(words(l.service))
	var checks []any
	for _, id := range slices.Sorted(maps.Keys(l.checks)) {
		checks = append(checks, words(l.checks[id]))
	}
	if len(checks) > 0 {
		tree["Checks"] = checks
	}
	return tree
}

// nodeWords are the words of a registration for its node.
func nodeWords(n *api.Node) map[string]any {
	tree := words(api.CatalogRegistration{ID: n.ID, Node: n.Node, Address: n.Address, TaggedAddresses: n.TaggedAddresses, NodeMeta: n.Meta})
	if meta, ok := tree["NodeMeta"].(map[string]any); ok {
		delete(meta, markKey)
		if len(meta) == 0 {
			delete(tree, "NodeMeta")
		}
	}
	return tree
}

// health is that of the service's own checks.
func (l liveService) health() drivers.Health {
	var bad []string
	for _, id := range slices.Sorted(maps.Keys(l.checks)) {
		if status := l.checks[id].Status; status != api.HealthPassing {
			bad = append(bad, id+" is "+status)
		}
	}
	if len(bad) == 0 {
		return drivers.Health{Status: drivers.Healthy}
	}
	return drivers.Health{Status: drivers.Unhealthy, Reason: fmt.Sprintf("%d of %d checks passing: %s", len(l.checks)-len(bad), len(l.checks), strings.Join(bad, ", "))}
}

// serviceOutputs are the outputs, as far as they are known.
func serviceOutputs(tree map[string]any) map[string]drivers.Output {
	svc, _ := tree["Service"].(map[string]any)
	out := map[string]drivers.Output{}
	put := func(name string, v any) {
		if text, isText := v.(string); v != nil && !(isText && schema.HasMark(text)) {
			out[name] = output(v)
		}
	}
	put("node", tree["Node"])
	put("id", svc["ID"])
	put("service", svc["Service"])
	address := svc["Address"]
	if address == nil {
		address = tree["Address"]
	}
	put("address", address)
	port := svc["Port"]
	if port == nil {
		port = 0
	}
	put("port", port)
	return out
}

// list answers the marked services, node by node: Consul has no list of them.
func (s *services) list(ctx context.Context) ([]drivers.State, error) {
	var nodes []*api.Node
	if _, err := s.d.client.get(ctx, request{op: "list", subject: "nodes", path: "catalog/nodes"}, &nodes); err != nil {
		return nil, err
	}
	var states []drivers.State
	for _, node := range nodes {
		n, err := s.read(ctx, node.Node)
		if err != nil {
			return nil, err
		}
		for _, svc := range n.services {
			if svc.Meta[markKey] == "" {
				continue
			}
			state, err := s.state(place{node.Node, svc.ID}.handle(), n.of(svc.ID))
			if err != nil {
				return nil, err
			}
			states = append(states, state)
		}
	}
	return states, nil
}
