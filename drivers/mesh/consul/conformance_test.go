//go:build e2e

package consul

import (
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/drivers/drivertest"
)

// withMethods makes what binding rules want.
func withMethods(b *bare) {
	for _, name := range []string{"one-method", "two-method"} {
		b.call("PUT", "acl/auth-method", map[string]any{"Name": name, "Type": "jwt", "Config": map[string]any{"JWTValidationPubKeys": []string{jwksPEM}}}, nil)
	}
}

// withPolicies makes what roles want.
func withPolicies(b *bare) {
	for _, name := range []string{"one-policy", "two-policy"} {
		_, _, err := b.client().ACL().PolicyCreate(&api.ACLPolicy{Name: name, Rules: `key_prefix "a" { policy = "read" }`}, nil)
		drivertest.Must(b.t, err)
	}
}

// samples are one of each kind.
var samples = []struct {
	prepare func(*bare)
	skip    map[string]string
	drivertest.Sample
}{
	{Sample: drivertest.Sample{
		Kind: KindDefaults, Unknown: "/ExternalSNI", Outputs: []string{"name"}, Marks: true,
		A: `{"Protocol":"HTTP","ExternalSNI":"a.example","MaxInboundConnections":7}`,
		B: `{"Protocol":"http","ExternalSNI":"b.example","Meta":{"team":"shop"},"EnvoyExtensions":[{"Name":"builtin/lua","Arguments":{"ProxyType":"connect-proxy","Listener":"inbound","Script":"function envoy_on_request(h) end"}}]}`,
		D: `{"Protocol":"tcp","ExternalSNI":"c.example"}`,
		P: `{"Name":"spelled-out","Protocol":"tcp"}`,
		X: `{"BalanceInboundConnections":"sideways"}`,
	}},
	{Sample: drivertest.Sample{
		Kind: KindResolver, Unknown: "/ConnectTimeout", Outputs: []string{"name"}, Marks: true,
		A: `{"DefaultSubset":"v1","Subsets":{"v1":{"Filter":"Service.Meta.v == 1"},"all":{}},"ConnectTimeout":"1m"}`,
		B: `{"DefaultSubset":"v2","Subsets":{"v2":{"Filter":"Service.Meta.v == 2","OnlyPassing":true}},"RequestTimeout":"90s"}`,
		D: `{"ConnectTimeout":"3s"}`,
		P: `{"Name":"spelled-out"}`,
		X: `{"DefaultSubset":"nowhere"}`,
	}},
	{Sample: drivertest.Sample{
		Kind: KindIntentions, Unknown: "/Sources/1/Description", Outputs: []string{"name"}, Marks: true,
		A: `{"Sources":[{"Name":"*","Action":"deny"},{"Name":"a","Action":"allow","Description":"it may"}]}`,
		B: `{"Sources":[{"Name":"b","Action":"allow"},{"Name":"*","Action":"allow"},{"Name":"a","Action":"deny"}]}`,
		D: `{"Sources":[{"Name":"z","Action":"deny"}]}`,
		P: `{"Name":"spelled-out","Sources":[{"Name":"a","Action":"allow"}]}`,
		X: `{"Sources":[]}`,
	}, skip: map[string]string{"unknown": "the suite sets fields of objects, not of lists: TestUnknownInALIst"}},
	{Sample: drivertest.Sample{
		Kind: KindKV, Unknown: "/Value", Outputs: []string{"key", "index"}, Marks: true,
		A: `{"Value":"one"}`, B: `{"Value":"two"}`, D: `{"Value":"three"}`, P: `{"Key":"spelled/out","Value":"x"}`, X: `{}`,
	}, skip: map[string]string{"foreign mark": "a key's mark holds a part of a hash, which does not tell the environment: TestForeignFlags"}},
	{Sample: drivertest.Sample{
		Kind: KindService, Unknown: "/Address", Outputs: []string{"node", "id", "service", "address", "port"}, Marks: true,
		A: `{"Node":"node-$NAME","Address":"10.0.0.1","Service":{"Service":"db-$NAME","ID":"db-$NAME","Port":5432,"Tags":["b","a"]},"Checks":[{"CheckID":"z-$NAME","Name":"z","Status":"passing","Definition":{"TCP":"10.0.0.1:5432","Interval":"10s"}},{"CheckID":"a-$NAME","Name":"a","Status":"passing"}]}`,
		B: `{"Node":"node-$NAME","Address":"10.0.0.2","NodeMeta":{"rack":"r1"},"Service":{"Service":"db-$NAME","ID":"db-$NAME","Port":5433,"Meta":{"v":"2"},"Weights":{"Passing":10,"Warning":1}},"Checks":[{"CheckID":"a-$NAME","Name":"a, renamed","Status":"passing"}]}`,
		D: `{"Node":"node-$NAME","Address":"10.0.0.1","Service":{"Service":"db-$NAME","ID":"db-$NAME","Port":1}}`,
		P: `{"Node":"spelled-out","Address":"10.0.0.1","Service":{"ID":"x","Service":"x"}}`,
		X: `{"Node":"node-$NAME","Service":{"Service":"db-$NAME","ID":"db-$NAME"},"NodeMeta":{"a":"b"}}`,
	}},
	{Sample: drivertest.Sample{
		Kind: KindPolicy, Unknown: "/Rules", Outputs: []string{"id", "name"}, Marks: true, Blind: true,
		A: `{"Description":"for a","Rules":"key_prefix \"a\" { policy = \"read\" }"}`,
		B: `{"Rules":"key_prefix \"b\" { policy = \"read\" }","Datacenters":["dc1"]}`,
		P: `{"Name":"spelled-out","Rules":""}`,
		X: `{"Rules":"this is no policy {"}`,
	}},
	{prepare: withPolicies, Sample: drivertest.Sample{
		Kind: KindRole, Unknown: "/Description", Outputs: []string{"id", "name"}, Marks: true, Blind: true,
		A: `{"Description":"for a","Policies":[{"Name":"two-policy"},{"Name":"one-policy"}],"ServiceIdentities":[{"ServiceName":"web"}]}`,
		B: `{"Policies":[{"Name":"one-policy"}],"NodeIdentities":[{"NodeName":"n","Datacenter":"dc1"}],"TemplatedPolicies":[{"TemplateName":"builtin/service","TemplateVariables":{"Name":"api"}}]}`,
		P: `{"Name":"spelled-out"}`,
		X: `{"ServiceIdentities":[{"ServiceName":"No Such Name"}]}`,
	}},
	{Sample: drivertest.Sample{
		Kind: KindAuthMethod, Unknown: "/DisplayName", Outputs: []string{"name"}, Marks: true, Blind: true,
		A: `{"Type":"jwt","DisplayName":"a","MaxTokenTTL":"1h","Config":{"JWTValidationPubKeys":["` + jwksKey + `"],"BoundAudiences":["consul.io"],"ClaimMappings":{"nomad_job_id":"nomad_job_id"}}}`,
		B: `{"Type":"jwt","Description":"b","Config":{"JWTValidationPubKeys":["` + jwksKey + `"],"BoundAudiences":["b","a"],"ExpirationLeeway":"10s","JWTSupportedAlgs":["ES256"]}}`,
		P: `{"Name":"spelled-out","Type":"jwt","Config":{"JWTValidationPubKeys":["` + jwksKey + `"]}}`,
		X: `{"Type":"jwt","Config":{"JWTValidationPubKeys":["no key"]}}`,
	}},
	{prepare: withMethods, Sample: drivertest.Sample{
		Kind: KindRule, Unknown: "/BindName", Outputs: []string{"id"}, Marks: true, Blind: true,
		A: `{"AuthMethod":"one-method","BindType":"service","BindName":"web"}`,
		B: `{"AuthMethod":"one-method","Description":"b","BindType":"role","BindName":"r"}`,
		C: `{"AuthMethod":"two-method","BindType":"service","BindName":"web"}`,
		X: `{"AuthMethod":"one-method","BindType":"service","BindName":"${no.such}"}`,
	}},
}

func TestConformance(t *testing.T) {
	for _, s := range samples {
		drivertest.Run(t, drivertest.Harness{Driver: "mesh/consul", Env: testEnv, Open: open(s.Kind, s.prepare), Samples: []drivertest.Sample{s.Sample}, Skip: s.skip})
	}
}
