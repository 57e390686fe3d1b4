package consul

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// Check says what is wrong with a declaration, without looking at anything:
// what cannot be read, and what the driver refuses to write.
func (d *Driver) Check(kind, name string, want drivers.Desired) error {
	f, err := d.family(kind)
	if err != nil {
		return err
	}
	handle, err := f.address(name, want.Spec)
	if err != nil {
		return err
	}
	_, err = f.want(drivers.Item{ID: schema.ID{Kind: kind, Name: name}, Want: &want, Handle: handle}, drivers.State{})
	return err
}

// Claims says which node a service makes: of several services on it, one.
func (d *Driver) Claims(kind, name string, want drivers.Desired) []drivers.Claim {
	if kind != KindService {
		return nil
	}
	return claimsOf(name, want)
}

// Needs is the order that Consul wants: what says a service's protocol before
// what depends on it. Resolvers may lead to each other both ways, so they need
// no other resolver: a subset that is not there yet is waited for.
func (d *Driver) Needs(kind, name string, want drivers.Desired) []string {
	f, err := d.family(kind)
	if err != nil {
		return nil
	}
	handle, err := f.address(name, want.Spec)
	if err != nil {
		return nil
	}
	var needs []string
	add := func(prefix, name string) {
		if name != "" && name != "*" && !schema.HasMark(name) {
			needs = append(needs, prefix+name)
		}
	}
	switch kind {
	case KindIntentions:
		_, name, _ = strings.Cut(handle, "/")
		add(api.ServiceDefaults+"/", name)
		add(api.ServiceResolver+"/", name)
	case KindResolver:
		_, name, _ = strings.Cut(handle, "/")
		add(api.ServiceDefaults+"/", name)
		for _, to := range leadsTo(want.Spec) {
			add(api.ServiceDefaults+"/", to)
		}
	case KindRole, KindRule:
		for _, to := range links(want.Spec) {
			add(to[0], to[1])
		}
	}
	slices.Sort(needs)
	return slices.Compact(needs)
}

// leadsTo are the services that a resolver names.
func leadsTo(spec json.RawMessage) []string {
	var r struct {
		Redirect struct{ Service string }
		Failover map[string]struct {
			Service string
			Targets []struct{ Service string }
		}
	}
	_ = json.Unmarshal(spec, &r) // as far as it can be read: Check says what is wrong
	all := []string{r.Redirect.Service}
	for _, f := range r.Failover {
		all = append(all, f.Service)
		for _, t := range f.Targets {
			all = append(all, t.Service)
		}
	}
	return all
}

// links are the ACL objects that a role or a rule names, as prefix and name.
func links(spec json.RawMessage) [][2]string {
	var o struct {
		Policies                       []struct{ Name string }
		AuthMethod, BindType, BindName string
	}
	_ = json.Unmarshal(spec, &o) // as far as it can be read: Check says what is wrong
	all := [][2]string{{methods{}.prefix(), o.AuthMethod}}
	for _, p := range o.Policies {
		all = append(all, [2]string{policies{}.prefix(), p.Name})
	}
	switch api.BindingRuleBindType(o.BindType) {
	case api.BindingRuleBindTypeRole:
		all = append(all, [2]string{roles{}.prefix(), o.BindName})
	case api.BindingRuleBindTypePolicy:
		all = append(all, [2]string{policies{}.prefix(), o.BindName})
	}
	return all
}
