//go:build e2e

package consul

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/schema"
)

const testEnv = "0123456789abcdef0123456789abcdef"

func TestMain(m *testing.M) { os.Exit(enginetest.Main(m)) }

// bare speaks to Consul without the driver: the foreign hand.
type bare struct {
	t       testing.TB
	address string
	token   string
	api     *api.Client
	direct  *Driver // one for looking, whose connections are used again
}

func newBare(t testing.TB) *bare {
	c := enginetest.ConsulACL(t)
	client, err := api.NewClient(&api.Config{Address: c.Address, Token: c.Token, HttpClient: http.DefaultClient})
	drivertest.Must(t, err)
	b := &bare{t: t, address: c.Address, token: c.Token, api: client}
	b.direct = b.driver()
	return b
}

// in is the same hand in a subtest.
func (b *bare) in(t testing.TB) *bare {
	sub := *b
	sub.t = t
	return &sub
}

func (b *bare) client() *api.Client { return b.api }

// call makes a request and reads JSON into out; a 404 leaves it.
func (b *bare) call(method, path string, in, out any) int {
	b.t.Helper()
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		drivertest.Must(b.t, err)
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequest(method, b.address+"/v1/"+path, body)
	drivertest.Must(b.t, err)
	req.Header.Set("X-Consul-Token", b.token)
	res, err := http.DefaultClient.Do(req)
	drivertest.Must(b.t, err)
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	drivertest.Must(b.t, err)
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusNotFound {
		b.t.Fatalf("%s %s: %s: %s", method, path, res.Status, text)
	}
	if out != nil && res.StatusCode == http.StatusOK {
		drivertest.Must(b.t, json.Unmarshal(text, out))
	}
	return res.StatusCode
}

// empty leaves nothing behind of what tests make.
func (b *bare) empty() {
	b.t.Helper()
	c := b.client()
	for _, kind := range []string{api.ServiceIntentions, api.ServiceResolver, api.ServiceDefaults} {
		var all []struct{ Name string }
		b.call("GET", "config/"+kind, nil, &all)
		for _, e := range all {
			if kind == api.ServiceResolver { // one may hold another
				b.call("PUT", "config", map[string]any{"Kind": kind, "Name": e.Name}, nil)
			}
		}
		for _, e := range all {
			b.call("DELETE", "config/"+kind+"/"+url.PathEscape(e.Name), nil, nil)
		}
	}
	_, err := c.KV().DeleteTree("", nil)
	drivertest.Must(b.t, err)
	nodes, _, err := c.Catalog().Nodes(nil)
	drivertest.Must(b.t, err)
	for _, n := range nodes {
		if n.Meta["consul-network-segment"] != "" || n.Address == "127.0.0.1" {
			continue
		}
		_, err := c.Catalog().Deregister(&api.CatalogDeregistration{Node: n.Node}, nil)
		drivertest.Must(b.t, err)
	}
	b.emptyACL(c)
}

func (b *bare) emptyACL(c *api.Client) {
	b.t.Helper()
	methods, _, err := c.ACL().AuthMethodList(nil)
	drivertest.Must(b.t, err)
	for _, m := range methods {
		_, err := c.ACL().AuthMethodDelete(m.Name, nil)
		drivertest.Must(b.t, err)
	}
	roles, _, err := c.ACL().RoleList(nil)
	drivertest.Must(b.t, err)
	for _, r := range roles {
		_, err := c.ACL().RoleDelete(r.ID, nil)
		drivertest.Must(b.t, err)
	}
	policies, _, err := c.ACL().PolicyList(nil)
	drivertest.Must(b.t, err)
	for _, p := range policies {
		if !strings.Contains(p.Name, "global-management") && !strings.Contains(p.Name, "builtin") && p.Name != readOnly {
			_, err := c.ACL().PolicyDelete(p.ID, nil)
			drivertest.Must(b.t, err)
		}
	}
}

const readOnly = "tests-read-only"

// readToken may read everything that the driver reads.
func (b *bare) readToken() string {
	b.t.Helper()
	c := b.client()
	if p, _, err := c.ACL().PolicyReadByName(readOnly, nil); err != nil || p == nil {
		_, _, err := c.ACL().PolicyCreate(&api.ACLPolicy{Name: readOnly, Rules: `
			key_prefix "" { policy = "list" }
			service_prefix "" { policy = "read"  intentions = "read" }
			node_prefix "" { policy = "read" }
			acl = "read"`}, nil)
		drivertest.Must(b.t, err)
	}
	tok, _, err := c.ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{Name: readOnly}}}, nil)
	drivertest.Must(b.t, err)
	return tok.SecretID
}

// driver is a fresh one.
func (b *bare) driver() *Driver {
	token := b.token
	return &Driver{Env: testEnv, URL: b.address, Token: func() (schema.Secret, error) { return schema.NewSecret(token), nil }}
}

// put makes a thing, or gives it this spec, as a foreign hand; owner "" leaves
// no mark. It answers the handle.
func (b *bare) put(kind, handle, spec, owner string) string {
	b.t.Helper()
	var tree map[string]any
	drivertest.Must(b.t, json.Unmarshal([]byte(spec), &tree))
	_, name, _ := strings.Cut(handle, "/")
	switch kind {
	case KindDefaults, KindResolver, KindIntentions:
		tree["Kind"] = strings.TrimPrefix(kind, "consul.")
		tree["Name"] = name
		if owner != "" {
			tree = marked(tree, owner)
		}
		b.call("PUT", "config", tree, nil)
	case KindKV:
		pair := &api.KVPair{Key: name, Value: []byte(fmt.Sprint(tree["Value"]))}
		if owner != "" {
			pair.Flags = flagsOf(owner)
		}
		_, err := b.client().KV().Put(pair, nil)
		drivertest.Must(b.t, err)
	case KindService:
		b.putService(handle, spec, owner)
	default:
		return b.putACL(kind, name, tree, owner)
	}
	return handle
}

func (b *bare) putService(handle, spec, owner string) {
	b.t.Helper()
	at, err := placeOf(handle)
	drivertest.Must(b.t, err)
	var reg api.CatalogRegistration
	drivertest.Must(b.t, json.Unmarshal([]byte(spec), &reg))
	if reg.Service == nil {
		reg.Service = &api.AgentService{}
	}
	reg.Service.ID = at.id
	if reg.Service.Service == "" {
		reg.Service.Service = at.id
	}
	if owner != "" {
		reg.Service.Meta = map[string]string{markKey: owner}
		if reg.NodeMeta == nil {
			reg.NodeMeta = map[string]string{}
		}
		reg.NodeMeta[markKey] = owner
	}
	for _, c := range reg.Checks {
		c.Node, c.ServiceID = reg.Node, at.id
	}
	_, err = b.client().Catalog().Register(&reg, nil)
	drivertest.Must(b.t, err)
}

func (b *bare) putACL(kind, name string, tree map[string]any, owner string) string {
	b.t.Helper()
	sort := newACL(b.direct, sorts[kind])
	o := sort.fresh()
	text, err := json.Marshal(tree)
	drivertest.Must(b.t, err)
	drivertest.Must(b.t, json.Unmarshal(text, o.value()))
	if kind == KindAuthMethod {
		o.settle(nil)
	}
	if owner != "" {
		*o.description() = mark{text: *o.description(), env: owner}.String()
	}
	live := sort.fresh()
	path := sort.at()
	if name != "" && b.call("GET", sort.find(name), nil, live.value()) == http.StatusOK {
		path += "/" + live.id()
		o.settle(live)
	}
	if !sort.given() {
		tree["Name"] = name
	}
	body := map[string]any{}
	text, err = json.Marshal(o.value())
	drivertest.Must(b.t, err)
	drivertest.Must(b.t, json.Unmarshal(text, &body))
	if !sort.given() {
		body["Name"] = name
	}
	made := sort.fresh()
	b.call("PUT", path, body, made.value())
	return sort.prefix() + made.name()
}

// mark alters whose a thing is.
func (b *bare) mark(kind, handle, owner string) {
	b.t.Helper()
	_, name, _ := strings.Cut(handle, "/")
	switch kind {
	case KindDefaults, KindResolver, KindIntentions:
		var raw map[string]any
		b.call("GET", "config/"+handle, nil, &raw)
		delete(raw, "Hash")
		unmarked(raw)
		if owner != "" {
			raw = marked(raw, owner)
		}
		b.call("PUT", "config", raw, nil)
	case KindKV:
		pair, _, err := b.client().KV().Get(name, nil)
		drivertest.Must(b.t, err)
		pair.Flags = 0
		if owner != "" {
			pair.Flags = flagsOf(owner)
		}
		_, err = b.client().KV().Put(pair, nil)
		drivertest.Must(b.t, err)
	case KindService:
		at, err := placeOf(handle)
		drivertest.Must(b.t, err)
		found, _, err := b.client().Catalog().NodeServiceList(at.node, nil)
		drivertest.Must(b.t, err)
		for _, svc := range found.Services {
			if svc.ID != at.id {
				continue
			}
			delete(svc.Meta, markKey)
			if owner != "" {
				svc.Meta[markKey] = owner
			}
			_, err := b.client().Catalog().Register(&api.CatalogRegistration{Node: at.node, SkipNodeUpdate: true, Service: svc}, nil)
			drivertest.Must(b.t, err)
		}
	default:
		b.markACL(kind, name, owner)
	}
}

func (b *bare) markACL(kind, name, owner string) {
	b.t.Helper()
	sort := newACL(b.direct, sorts[kind])
	live := sort.fresh()
	b.call("GET", sort.find(name), nil, live.value())
	m := markOf(*live.description())
	*live.description() = m.text
	if owner != "" {
		*live.description() = mark{text: m.text, env: owner, nonce: m.nonce}.String()
	}
	b.call("PUT", sort.at()+"/"+live.id(), live.value(), nil)
}

// delete deletes a thing as a foreign hand.
func (b *bare) delete(kind, handle string) {
	b.t.Helper()
	_, name, _ := strings.Cut(handle, "/")
	switch kind {
	case KindDefaults, KindResolver, KindIntentions:
		b.call("DELETE", "config/"+handle, nil, nil)
	case KindKV:
		_, err := b.client().KV().Delete(name, nil)
		drivertest.Must(b.t, err)
	case KindService:
		at, err := placeOf(handle)
		drivertest.Must(b.t, err)
		_, err = b.client().Catalog().Deregister(&api.CatalogDeregistration{Node: at.node, ServiceID: at.id}, nil)
		drivertest.Must(b.t, err)
	default:
		sort := newACL(b.direct, sorts[kind])
		live := sort.fresh()
		b.call("GET", sort.find(name), nil, live.value())
		b.call("DELETE", sort.at()+"/"+live.id(), nil, nil)
	}
}

// open is an empty Consul for the conformance suite.
func open(kind string, prepare func(*bare)) func(*testing.T) *drivertest.Engine {
	return func(t *testing.T) *drivertest.Engine {
		b := newBare(t)
		b.empty()
		if prepare != nil {
			prepare(b)
		}
		proxy := enginetest.NewProxy(t, b.address)
		log := &drivertest.Log{}
		read := b.readToken()
		var denied atomic.Bool
		return &drivertest.Engine{
			New: func(*testing.T) drivers.Driver {
				return &Driver{Env: testEnv, URL: proxy.Address, Log: log.Logger(), Token: func() (schema.Secret, error) {
					if denied.Load() {
						return schema.NewSecret(read), nil
					}
					return schema.NewSecret(b.token), nil
				}}
			},
			Create: func(t *testing.T, _ drivertest.Sample, handle, spec, owner string) string {
				return b.put(kind, handle, spec, owner)
			},
			Edit:   func(_ *testing.T, handle, spec string) { b.put(kind, handle, spec, testEnv) },
			Delete: func(_ *testing.T, handle string) { b.delete(kind, handle) },
			Mark:   func(_ *testing.T, handle, owner string) { b.mark(kind, handle, owner) },
			Reach: func(reachable bool) {
				proxy.Meddle(func(*http.Request) enginetest.Fault {
					if reachable {
						return enginetest.Pass
					}
					return enginetest.Refuse
				})
			},
			Deny: denied.Store,
			Log:  log.String,
		}
	}
}
