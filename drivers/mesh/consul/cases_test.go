//go:build e2e

package consul

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/schema"
)

func spec(text string) drivers.Desired { return drivers.Desired{Spec: json.RawMessage(text)} }

// TestForeignFlags: flags with aplomb's tag are another environment's mark;
// other flags are somebody's own, and are shown by an adoption.
func TestForeignFlags(t *testing.T) {
	b := newBare(t)
	b.empty()
	r := drivertest.NewResource(t, b.driver(), KindKV, "a", spec(`{"Value":"x"}`))
	b.put(KindKV, "kv/a", `{"Value":"theirs"}`, "another")
	s := r.Observe()
	if s.Owner == "" || s.Owner == testEnv {
		t.Errorf("the owner is %q", s.Owner)
	}
	if _, err := r.Driver.Plan(t.Context(), r.Item, s); !errors.Is(err, drivers.ErrPermanent) {
		t.Errorf("another's key: %v", err)
	}
	r.Item.Want = nil
	if _, err := r.Driver.Plan(t.Context(), r.Item, s); !errors.Is(err, drivers.ErrPermanent) {
		t.Errorf("another's key is to be deleted: %v", err)
	}
	r.Item.Want = &drivers.Desired{Spec: json.RawMessage(`{"Value":"x"}`)}
	_, err := b.client().KV().Put(&api.KVPair{Key: "a", Value: []byte("x"), Flags: 42}, nil)
	drivertest.Must(t, err)
	if c := r.Plan(); c.Action != schema.Adopt || len(c.Diff) != 1 || c.Diff[0].Path != drivers.MarkPath {
		t.Errorf("flags of somebody's own: %s with %+v", c.Action, c.Diff)
	}
	r.Settle(schema.Adopt)
	_, err = b.client().KV().Put(&api.KVPair{Key: "a", Value: []byte("x")}, nil) // as `consul kv put` does
	drivertest.Must(t, err)
	if c := r.Plan(); c.Action != schema.Update || len(c.Diff) != 1 || c.Diff[0].Path != drivers.MarkPath {
		t.Errorf("a plain put: %s with %+v", c.Action, c.Diff)
	}
	r.Settle(schema.Update)
}

// TestUnknownInAList: a reference in a list that Consul orders otherwise.
func TestUnknownInAList(t *testing.T) {
	b := newBare(t)
	b.empty()
	want := spec(`{"Sources":[{"Name":"*","Action":"deny","Description":"@{local.port/p.port}"},{"Name":"a","Action":"allow"}]}`)
	want.Unknown = map[schema.Path]string{"/Sources/0/Description": "@{local.port/p.port}"}
	r := drivertest.NewResource(t, b.driver(), KindIntentions, "web", want)
	c := r.Plan()
	found := false
	for _, d := range c.Diff {
		found = found || d.Unknown && d.Path == "/Sources/1/Description" && strings.Contains(string(d.After), "@{local.port/p.port}")
	}
	if !found {
		t.Errorf("%+v", c.Diff)
	}
	if _, err := r.Apply(c); !errors.Is(err, drivers.ErrStale) {
		t.Errorf("an unknown was applied: %v", err)
	}
}

// TestValues: every form of a value is stored as it is, and settles.
func TestValues(t *testing.T) {
	b := newBare(t)
	b.empty()
	file := schema.Tree{{Path: "a/b.bin", Data: []byte{0, 1, 0xff}}}
	big := strings.Repeat("x", 500<<10)
	for i, c := range []struct {
		want   drivers.Desired
		stored string
	}{
		{spec(`{"Value":""}`), ""},
		{spec(`{"Value":"a <b> & c"}`), "a <b> & c"},
		{spec(`{"Value":"{ \"a\": 1 }"}`), `{ "a": 1 }`},
		{spec(`{"Value":"{\"a\":1}"}`), `{"a":1}`},
		{spec(`{"JSON":{"b":[1,{"c":"<d>"}],"a":12345678901234567890}}`), `{"a":12345678901234567890,"b":[1,{"c":"<d>"}]}`},
		{spec(`{"Base64":"AAH/"}`), "\x00\x01\xff"},
		{drivers.Desired{Spec: json.RawMessage(`{"File":"a/b.bin"}`), Files: file}, "\x00\x01\xff"},
		{spec(`{"Value":"` + big + `"}`), big},
	} {
		r := drivertest.NewResource(t, b.driver(), KindKV, fmt.Sprintf("k%d", i), c.want)
		r.Settle(schema.Create)
		pair, _, err := b.client().KV().Get(fmt.Sprintf("k%d", i), nil)
		drivertest.Must(t, err)
		if string(pair.Value) != c.stored || pair.Flags != flagsOf(testEnv) {
			t.Errorf("%d: stored %.60q with flags %x", i, pair.Value, pair.Flags)
		}
		r.Item.Want.Spec = json.RawMessage(`{"Value":"then"}`)
		r.Settle(schema.Update)
	}
	r := drivertest.NewResource(t, b.driver(), KindKV, "json", spec(`{"JSON":{"a":1,"b":{"c":2}}}`))
	r.Settle(schema.Create)
	r.Item.Want.Spec = json.RawMessage(`{"JSON":{"a":1,"b":{"c":3}}}`)
	if c := r.Plan(); len(c.Diff) != 1 || c.Diff[0].Path != "/JSON/b/c" {
		t.Errorf("a field of JSON moved: %+v", c.Diff)
	}
}

// TestManyKeysInFewRequests: observing is a request for 128 keys, or one for a
// folder; config entries are one a kind.
func TestManyKeysInFewRequests(t *testing.T) {
	b := newBare(t)
	b.empty()
	p := enginetest.NewProxy(t, b.address)
	d := b.driver()
	d.URL = p.Address
	items := func(kind string, n int, key string) []drivers.Item {
		all := make([]drivers.Item, n)
		for i := range all {
			text := json.RawMessage(fmt.Sprintf(key, i))
			handle, err := d.Address(kind, fmt.Sprintf("n%d", i), text)
			drivertest.Must(t, err)
			all[i] = drivers.Item{ID: schema.ID{Kind: kind, Name: fmt.Sprintf("n%d", i), Target: "local"}, Handle: handle}
		}
		return all
	}
	for _, c := range []struct {
		items []drivers.Item
		want  map[string]int
	}{
		{items(KindKV, 128, `{"Key":"x%d"}`), map[string]int{"PUT /v1/txn": 1}},
		{items(KindKV, 300, `{"Key":"x%d"}`), map[string]int{"PUT /v1/txn": 3}},
		{items(KindKV, 300, `{"Key":"config/web/x%d"}`), map[string]int{"GET /v1/kv/config/web/": 1}},
		{append(items(KindDefaults, 300, `{"Name":"x%d"}`), items(KindIntentions, 300, `{"Name":"x%d"}`)...), map[string]int{"GET /v1/config/service-defaults": 1, "GET /v1/config/service-intentions": 1}},
		{items(KindDefaults, 2, `{"Name":"x%d"}`), map[string]int{"GET /v1/config/service-defaults/x0": 1, "GET /v1/config/service-defaults/x1": 1}},
		{items(KindService, 3, `{"Node":"n","Service":{"ID":"x%d"}}`), map[string]int{"GET /v1/catalog/node-services/n": 1, "GET /v1/health/node/n": 1}},
	} {
		p.Requests()
		states, err := d.Observe(t.Context(), c.items)
		drivertest.Must(t, err)
		for i, s := range states {
			if s.Exists || s.Err != nil || s.Handle != c.items[i].Handle {
				t.Fatalf("%s: %+v", c.items[i].Handle, s)
			}
		}
		if got := p.Requests(); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("requests %v, want %v", got, c.want)
		}
	}
}

// TestKeysThatAreDenied: a key that the token may not read is that key's error.
func TestKeysThatAreDenied(t *testing.T) {
	b := newBare(t)
	b.empty()
	b.put(KindKV, "kv/open/a", `{"Value":"x"}`, "")
	b.put(KindKV, "kv/closed/a", `{"Value":"x"}`, "")
	_, _, err := b.client().ACL().PolicyCreate(&api.ACLPolicy{Name: "some", Rules: `key_prefix "open/" { policy = "read" }`}, nil)
	drivertest.Must(t, err)
	tok, _, err := b.client().ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{Name: "some"}}}, nil)
	drivertest.Must(t, err)
	d := b.driver()
	d.Token = func() (schema.Secret, error) { return schema.NewSecret(tok.SecretID), nil }
	states, err := d.Observe(t.Context(), []drivers.Item{
		{ID: schema.ID{Kind: KindKV, Name: "a"}, Handle: "kv/open/a"}, {ID: schema.ID{Kind: KindKV, Name: "b"}, Handle: "kv/closed/a"}, {ID: schema.ID{Kind: KindKV, Name: "c"}, Handle: "kv/open/b"},
	})
	drivertest.Must(t, err)
	if !states[0].Exists || !errors.Is(states[1].Err, drivers.ErrDenied) || states[2].Exists || states[2].Err != nil {
		t.Errorf("%+v", states)
	}
	d = b.driver()
	const canary = "c4n4ry-7e1f0c52-8d2b-4f55-b0de-3f0d4a5c6b7a"
	d.Token = func() (schema.Secret, error) { return schema.NewSecret(canary), nil }
	for kind, handle := range map[string]string{KindKV: "kv/a", KindDefaults: "service-defaults/a", KindPolicy: "acl-policy/a", KindService: "service/n/a"} {
		states, err := d.Observe(t.Context(), []drivers.Item{{ID: schema.ID{Kind: kind, Name: "a"}, Handle: handle}})
		if text := fmt.Sprintf("%v %+v %#v", err, states, states); strings.Contains(text, canary) {
			t.Errorf("%s: the token is told: %s", kind, text)
		}
		if err == nil && !errors.Is(states[0].Err, drivers.ErrDenied) {
			t.Errorf("%s: a token that is none: %v", kind, states[0].Err)
		}
	}
}

// TestServiceOnAnAgentsNode: the agent would take it away again.
func TestServiceOnAnAgentsNode(t *testing.T) {
	b := newBare(t)
	b.empty()
	self, err := b.client().Agent().NodeName()
	drivertest.Must(t, err)
	r := drivertest.NewResource(t, b.driver(), KindService, "x", spec(`{"Node":"`+self+`","Service":{}}`))
	if _, err := r.Driver.Plan(t.Context(), r.Item, r.Observe()); !errors.Is(err, drivers.ErrPermanent) {
		t.Errorf("on an agent's node: %v", err)
	}
}

// TestNodes: a node that lives already is not taken; a service may be put on
// it, and the node stays when the service goes. A node of our own goes with its
// last service.
func TestNodes(t *testing.T) {
	b := newBare(t)
	b.empty()
	_, err := b.client().Catalog().Register(&api.CatalogRegistration{Node: "theirs", Address: "10.1.1.1"}, nil)
	drivertest.Must(t, err)
	r := drivertest.NewResource(t, b.driver(), KindService, "x", spec(`{"Node":"theirs","Address":"10.1.1.2","Service":{}}`))
	if _, err := r.Driver.Plan(t.Context(), r.Item, r.Observe()); !errors.Is(err, drivers.ErrPermanent) || drivers.HintOf(err) == "" {
		t.Errorf("another's node: %v", err)
	}
	r.Item.Want.Spec = json.RawMessage(`{"Node":"theirs","Service":{"Port":80}}`)
	r.Settle(schema.Create)
	r.Item.Want = nil
	_, err = r.Apply(r.Plan())
	drivertest.Must(t, err)
	if n, _, err := b.client().Catalog().Node("theirs", nil); err != nil || n == nil || n.Node.Address != "10.1.1.1" || len(n.Services) != 0 {
		t.Errorf("their node: %+v, %v", n, err)
	}
	two := drivertest.NewResource(t, b.driver(), KindService, "two", spec(`{"Node":"own","Service":{"Port":2}}`))
	if _, err := two.Apply(two.Plan()); !errors.Is(err, drivers.ErrWaiting) || drivers.HintOf(err) == "" {
		t.Errorf("on a node that is not there: %v", err)
	}
	one := drivertest.NewResource(t, b.driver(), KindService, "one", spec(`{"Node":"own","Address":"10.1.1.3","Service":{"Port":1}}`))
	one.Settle(schema.Create)
	two.Settle(schema.Create)
	for _, r := range []*drivertest.Resource{one, two} {
		if n, _, err := b.client().Catalog().Node("own", nil); err != nil || n == nil {
			t.Errorf("the node went before its last service: %v", err)
		}
		r.Item.Want = nil
		_, err = r.Apply(r.Plan())
		drivertest.Must(t, err)
	}
	if n, _, err := b.client().Catalog().Node("own", nil); err != nil || n != nil {
		t.Errorf("the node stays: %+v, %v", n, err)
	}
}

// TestChecksAreForWhoChecks: what a check found is health and no drift, and a
// change of the check does not undo it.
func TestChecksAreForWhoChecks(t *testing.T) {
	b := newBare(t)
	b.empty()
	r := drivertest.NewResource(t, b.driver(), KindService, "db", spec(`{"Node":"own","Address":"10.1.1.3","Service":{},"Checks":[{"CheckID":"c","Name":"c","Status":"passing"}]}`))
	if s := r.Settle(schema.Create); s.Health.Status != drivers.Healthy {
		t.Errorf("%+v", s.Health)
	}
	found := &api.HealthCheck{Node: "own", CheckID: "c", Name: "c", ServiceID: "db", Status: "critical", Output: "refused"}
	_, err := b.client().Catalog().Register(&api.CatalogRegistration{Node: "own", SkipNodeUpdate: true, Checks: api.HealthChecks{found}}, nil)
	drivertest.Must(t, err)
	s := r.Observe()
	if s.Health.Status != drivers.Unhealthy || !strings.Contains(s.Health.Reason, "0 of 1 checks passing: c is critical") {
		t.Errorf("%+v", s.Health)
	}
	if c := r.Plan(); c.Action != schema.None {
		t.Errorf("a result is taken for drift: %+v", c.Diff)
	}
	r.Item.Want.Spec = json.RawMessage(`{"Node":"own","Address":"10.1.1.3","Service":{},"Checks":[{"CheckID":"c","Name":"renamed","Status":"passing"}]}`)
	r.Settle(schema.Update)
	checks, _, err := b.client().Health().Node("own", nil)
	drivertest.Must(t, err)
	if c := checks[0]; c.Status != "critical" || c.Output != "refused" || c.Name != "renamed" {
		t.Errorf("%+v", c)
	}
}

// TestRoleThatLostAPolicy: deleting a policy takes it from its roles, whose
// index stays; it is drift all the same.
func TestRoleThatLostAPolicy(t *testing.T) {
	b := newBare(t)
	b.empty()
	withPolicies(b)
	r := drivertest.NewResource(t, b.driver(), KindRole, "r", spec(`{"Policies":[{"Name":"one-policy"},{"Name":"two-policy"}]}`))
	before := r.Settle(schema.Create)
	b.delete(KindPolicy, "acl-policy/one-policy")
	s := r.Observe()
	if c := r.Plan(); c.Action != schema.Update || s.Version == before.Version {
		t.Errorf("%s with %+v; version %q, then %q", c.Action, c.Diff, before.Version, s.Version)
	}
	if _, err := r.Apply(r.Plan()); !errors.Is(err, drivers.ErrWaiting) || drivers.HintOf(err) == "" {
		t.Errorf("a policy that is not there: %v", err)
	}
	b.put(KindPolicy, "acl-policy/one-policy", `{"Rules":""}`, "")
	r.Settle(schema.Update)
}

// TestBeyond: what no transaction carries is told before a write takes it away.
func TestBeyond(t *testing.T) {
	b := newBare(t)
	b.empty()
	r := drivertest.NewResource(t, b.driver(), KindService, "db", spec(`{"Node":"own","Address":"10.1.1.3","Service":{}}`))
	r.Settle(schema.Create)
	svc := &api.AgentService{ID: "db", Service: "db", Meta: map[string]string{markKey: testEnv}, TaggedAddresses: map[string]api.ServiceAddress{"wan": {Address: "1.2.3.4", Port: 5}}}
	_, err := b.client().Catalog().Register(&api.CatalogRegistration{Node: "own", SkipNodeUpdate: true, Service: svc}, nil)
	drivertest.Must(t, err)
	c := r.Plan()
	if c.Action != schema.Update || len(c.Diff) != 1 || c.Diff[0].Path != beyondPath || !strings.Contains(string(c.Diff[0].Before), "1.2.3.4") {
		t.Errorf("%s with %+v", c.Action, c.Diff)
	}
	r.Settle(schema.Update)
}

// TestAdoptionDisturbsNothing: what is equal already gets the mark, and nothing
// else moves.
func TestAdoptionDisturbsNothing(t *testing.T) {
	b := newBare(t)
	for _, s := range samples {
		t.Run(s.Kind, func(t *testing.T) {
			b := b.in(t)
			b.empty()
			if s.prepare != nil {
				s.prepare(b)
			}
			text := strings.ReplaceAll(s.A, "$NAME", "sample")
			r := drivertest.NewResource(t, b.driver(), s.Kind, "sample", spec(text))
			r.Item.Handle = b.put(s.Kind, r.Item.Handle, text, "")
			before := r.Observe()
			c := r.Plan()
			if c.Action != schema.Adopt {
				t.Fatalf("%s with %+v", c.Action, c.Diff)
			}
			for _, d := range c.Diff {
				if !strings.HasPrefix(string(d.Path), "/!") {
					t.Errorf("%s %s: from %s to %s", d.Op, d.Path, d.Before, d.After)
				}
			}
			after, err := r.Apply(c)
			drivertest.Must(t, err)
			if string(after.Spec) != string(before.Spec) || after.Owner != testEnv {
				t.Errorf("before %s, after %s, of %q", before.Spec, after.Spec, after.Owner)
			}
		})
	}
}

// TestWithoutACLs: a Consul that has none says so for the ACL kinds, and serves
// the others.
func TestWithoutACLs(t *testing.T) {
	d := &Driver{Env: testEnv, URL: enginetest.Consul(t).Address}
	r := drivertest.NewResource(t, d, KindKV, "a", spec(`{"Value":"x"}`))
	r.Settle(schema.Create)
	if all, err := d.List(t.Context()); err != nil || len(all) != 1 || all[0].Handle != "kv/a" {
		t.Errorf("%+v, %v", all, err)
	}
	states, err := d.Observe(t.Context(), []drivers.Item{{ID: schema.ID{Kind: KindPolicy, Name: "a"}, Handle: "acl-policy/a"}})
	if err != nil || !errors.Is(states[0].Err, drivers.ErrPermanent) || drivers.HintOf(states[0].Err) == "" {
		t.Errorf("%+v, %v", states, err)
	}
}

// TestNoAddress: an address that is none is told, and nothing is asked.
func TestNoAddress(t *testing.T) {
	for _, url := range []string{"", "127.0.0.1:8500", "unix:///x", "http://"} {
		d := &Driver{Env: "e", URL: url}
		if _, err := d.Observe(t.Context(), nil); !errors.Is(err, drivers.ErrPermanent) {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := http.Get("http://127.0.0.1:1"); err == nil {
		t.Skip("something answers there")
	}
	d := &Driver{Env: "e", URL: "http://127.0.0.1:1"}
	if _, err := d.Observe(t.Context(), []drivers.Item{{ID: schema.ID{Kind: KindKV, Name: "a"}, Handle: "kv/a"}}); !errors.Is(err, drivers.ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
}
