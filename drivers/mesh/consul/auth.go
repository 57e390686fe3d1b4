package consul

import (
	"maps"
	"regexp"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// methods are the auth methods.
type methods struct{}

func (methods) prefix() string          { return "acl-auth-method/" }
func (methods) at() string              { return "acl/auth-method" }
func (methods) all() string             { return "acl/auth-methods" }
func (methods) fresh() aclObject        { return &method{} }
func (methods) find(name string) string { return "acl/auth-method/" + name }
func (methods) anew() []schema.Path     { return []schema.Path{"/Type"} }
func (methods) given() bool             { return false }

type method struct{ api.ACLAuthMethod }

func (m *method) name() string         { return m.Name }
func (m *method) rename(name string)   { m.Name = name }
func (m *method) index() uint64        { return m.ModifyIndex }
func (m *method) description() *string { return &m.Description }
func (m *method) value() any           { return &m.ACLAuthMethod }

// id is the name, also of one that is not made yet: Consul makes or alters it
// by the same request.
func (m *method) id() string { return m.Name }

func (m *method) outputs() map[string]drivers.Output {
	return map[string]drivers.Output{"name": output(m.Name)}
}

func (m *method) settle(aclObject) {
	if m.TokenLocality == "" {
		m.TokenLocality = "local"
	}
	config := maps.Clone(m.Config) // a spec's words become the server's
	for _, name := range leeways {
		if text, ok := config[name].(string); ok {
			if span, err := time.ParseDuration(text); err == nil {
				config[name] = int64(span)
			}
		}
	}
	m.Config = config
}

// leeways are spans of time that Consul takes in Config as nanoseconds only.
var leeways = []string{"ExpirationLeeway", "NotBeforeLeeway", "ClockSkewLeeway"}

// reword makes spans of time texts again.
func (m *method) reword(tree map[string]any) {
	config, _ := tree["Config"].(map[string]any)
	for _, name := range leeways {
		switch n := config[name].(type) {
		case int64:
			config[name] = time.Duration(n).String()
		case float64:
			config[name] = time.Duration(n).String()
		}
	}
}

// rules are the binding rules. Consul gives their ids, and knows them by no
// name.
type rules struct{}

func (rules) prefix() string        { return "acl-binding-rule/" }
func (rules) at() string            { return "acl/binding-rule" }
func (rules) all() string           { return "acl/binding-rules" }
func (rules) fresh() aclObject      { return &rule{} }
func (rules) find(id string) string { return "acl/binding-rule/" + id }
func (rules) anew() []schema.Path   { return []schema.Path{"/AuthMethod"} }
func (rules) given() bool           { return true }

type rule struct{ api.ACLBindingRule }

func (r *rule) name() string         { return r.ID }
func (r *rule) id() string           { return r.ID }
func (r *rule) rename(string)        {} // its id is Consul's
func (r *rule) index() uint64        { return r.ModifyIndex }
func (r *rule) description() *string { return &r.Description }
func (r *rule) value() any           { return &r.ACLBindingRule }

func (r *rule) outputs() map[string]drivers.Output {
	if r.ID == "" {
		return map[string]drivers.Output{}
	}
	return map[string]drivers.Output{"id": output(r.ID)}
}

func (r *rule) settle(from aclObject) {
	r.ID = ""
	if from != nil {
		r.ID = from.id()
	}
}

// mark is a description with the ownership mark at its end.
type mark struct{ text, env, nonce string }

// markRE is the mark: whose it is, and what made it where Consul gives the id.
var markRE = regexp.MustCompile(`(?s)^(.*?)\s?\[aplomb ([A-Za-z0-9._-]{1,128})(?: ([A-Za-z0-9._-]{1,128}))?\]$`)

// markOf takes a description apart; without a mark it is all text.
func markOf(description string) mark {
	m := markRE.FindStringSubmatch(description)
	if m == nil {
		return mark{text: description}
	}
	return mark{text: m[1], env: m[2], nonce: m[3]}
}

// String puts it together again.
func (m mark) String() string {
	text := m.text
	if text != "" {
		text += " "
	}
	text += "[aplomb " + m.env
	if m.nonce != "" {
		text += " " + m.nonce
	}
	return text + "]"
}
