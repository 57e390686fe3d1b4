package consul

import (
	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// policies are the ACL policies.
type policies struct{}

func (policies) prefix() string          { return "acl-policy/" }
func (policies) at() string              { return "acl/policy" }
func (policies) all() string             { return "acl/policies" }
func (policies) fresh() aclObject        { return &policy{} }
func (policies) find(name string) string { return "acl/policy/name/" + name }
func (policies) anew() []schema.Path     { return nil }
func (policies) given() bool             { return false }

type policy struct{ api.ACLPolicy }

func (p *policy) name() string         { return p.Name }
func (p *policy) rename(name string)   { p.Name = name }
func (p *policy) id() string           { return p.ID }
func (p *policy) index() uint64        { return p.ModifyIndex }
func (p *policy) description() *string { return &p.Description }
func (p *policy) value() any           { return &p.ACLPolicy }
func (p *policy) outputs() map[string]drivers.Output {
	return idAndName(p.ID, p.Name)
}

func (p *policy) settle(from aclObject) {
	p.ID = ""
	if from != nil {
		p.ID = from.id()
	}
}

// idAndName leaves the id out while it is not known.
func idAndName(id, name string) map[string]drivers.Output {
	out := map[string]drivers.Output{"name": output(name)}
	if id != "" {
		out["id"] = output(id)
	}
	return out
}

// roles are the ACL roles.
type roles struct{}

func (roles) prefix() string          { return "acl-role/" }
func (roles) at() string              { return "acl/role" }
func (roles) all() string             { return "acl/roles" }
func (roles) fresh() aclObject        { return &role{} }
func (roles) find(name string) string { return "acl/role/name/" + name }
func (roles) anew() []schema.Path     { return nil }
func (roles) given() bool             { return false }

type role struct{ api.ACLRole }

func (r *role) name() string         { return r.Name }
func (r *role) rename(name string)   { r.Name = name }
func (r *role) id() string           { return r.ID }
func (r *role) index() uint64        { return r.ModifyIndex }
func (r *role) description() *string { return &r.Description }
func (r *role) value() any           { return &r.ACLRole }
func (r *role) outputs() map[string]drivers.Output {
	return idAndName(r.ID, r.Name)
}

func (r *role) settle(from aclObject) {
	r.ID = ""
	if from != nil {
		r.ID = from.id()
	}
}
