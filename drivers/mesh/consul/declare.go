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

// Needs are the ACL objects that a role or a binding rule names, and for a
// resolver that leads to other services what says their protocols and its own:
// once it is there, Consul lets none of these alone become http any more. Other
// config entries need none. Their order turns round with what is changed (an
// intention of L7 comes after its protocol, and goes before it), and a need holds
// one way, also for what goes; what Consul does not take yet is waited for.
func (d *Driver) Needs(kind, name string, want drivers.Desired) []string {
	var needs []string
	add := func(prefix, name string) {
		if name != "" && !schema.HasMark(name) && !strings.Contains(name, "${") {
			needs = append(needs, prefix+name)
		}
	}
	switch kind {
	case KindRole, KindRule:
		for _, to := range links(want.Spec) {
			add(to[0], to[1])
		}
	case KindResolver:
		own, err := named(name, want.Spec, "Name")
		others := leadsTo(want.Spec, own)
		if err == nil && len(others) > 0 {
			for _, service := range append(others, own) {
				add(api.ServiceDefaults+"/", service)
			}
		}
	}
	slices.Sort(needs)
	return slices.Compact(needs)
}

// leadsTo are the other services that a resolver names.
func leadsTo(spec json.RawMessage, own string) []string {
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
	return slices.DeleteFunc(all, func(s string) bool { return s == "" || s == own })
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
