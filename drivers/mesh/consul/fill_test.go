package consul

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// newer are fields that the Consul of the tests, 1.19.2, does not know: it
// refuses an entry that has one ("invalid config key"), or leaves it out.
var newer = []string{
	"ServiceConfigEntry.MaxRequestHeadersKB", "UpstreamLimits.PassiveHealthCheck",
	"PassiveHealthCheck.EnforcingConsecutiveGatewayFailure", "PassiveHealthCheck.Consecutive5xx", "PassiveHealthCheck.ConsecutiveGatewayFailure",
	"IntentionHTTPHeaderPermission.Contains", "IntentionHTTPHeaderPermission.IgnoreCase", "ACLAuthMethod.TokenNameFormat",
}

// edition are fields that only Consul Enterprise takes ("is a consul enterprise
// feature", "requires Consul Enterprise").
var edition = []string{
	"ServiceConfigEntry.RateLimits", "RateLimits.InstanceLevel", "InstanceLevelRateLimits.RequestsPerSecond", "InstanceLevelRateLimits.RequestsMaxBurst",
	"InstanceLevelRateLimits.Routes", "InstanceLevelRouteRateLimits.PathExact", "InstanceLevelRouteRateLimits.PathPrefix", "InstanceLevelRouteRateLimits.PathRegex",
	"InstanceLevelRouteRateLimits.RequestsPerSecond", "InstanceLevelRouteRateLimits.RequestsMaxBurst",
	"ServiceResolverConfigEntry.PrioritizeByLocality", "ServiceResolverPrioritizeByLocality.Mode", "ServiceResolverFailover.Policy", "ServiceResolverFailoverPolicy.Mode", "ServiceResolverFailoverPolicy.Regions",
}

// filled is an instance of an API type in which every field is set but those
// left out; several of them make up all that a type can say.
type filled struct {
	kind string
	of   any            // a pointer to the type
	set  map[string]any // by "Type.Field"
	skip []string       // excluded by another field that is set
}

// full is all of them.
var full = []filled{
	{kind: KindDefaults, of: &api.ServiceConfigEntry{}, skip: []string{"ServiceConfigEntry.Destination"}},
	{kind: KindDefaults, of: &api.ServiceConfigEntry{}, skip: []string{"ServiceConfigEntry.UpstreamConfig"}},

	{kind: KindResolver, of: &api.ServiceResolverConfigEntry{},
		skip: append([]string{"ServiceResolverConfigEntry.Redirect", "LoadBalancer.LeastRequestConfig", "HashPolicy.SourceIP", "CookieConfig.Session"}, oldFailover...)},
	{kind: KindResolver, of: &api.ServiceResolverConfigEntry{}, set: map[string]any{"LoadBalancer.Policy": "least_request"},
		skip: []string{"ServiceResolverConfigEntry.Failover", "LoadBalancer.RingHashConfig", "LoadBalancer.HashPolicies", "ServiceResolverRedirect.Peer"}},
	{kind: KindResolver, of: &api.ServiceResolverConfigEntry{}, set: map[string]any{"LoadBalancer.Policy": "maglev"},
		skip: []string{"ServiceResolverConfigEntry.Failover", "LoadBalancer.RingHashConfig", "LoadBalancer.LeastRequestConfig", "ServiceResolverRedirect.Datacenter", "ServiceResolverRedirect.ServiceSubset", "HashPolicy.Field", "HashPolicy.FieldValue", "HashPolicy.CookieConfig"}},
	{kind: KindResolver, of: &api.ServiceResolverConfigEntry{}, set: map[string]any{"HashPolicy.Field": "cookie"},
		skip: []string{"ServiceResolverConfigEntry.Redirect", "LoadBalancer.LeastRequestConfig", "HashPolicy.SourceIP", "CookieConfig.TTL", "ServiceResolverFailover.Targets"}},
	{kind: KindResolver, of: &api.ServiceResolverConfigEntry{},
		skip: append([]string{"ServiceResolverConfigEntry.Redirect", "LoadBalancer.LeastRequestConfig", "HashPolicy.SourceIP", "CookieConfig.Session", "ServiceResolverFailoverTarget.Datacenter", "ServiceResolverFailoverTarget.ServiceSubset"}, oldFailover[:3]...)},

	{kind: KindIntentions, of: &api.ServiceIntentionsConfigEntry{}, skip: []string{"SourceIntention.Permissions"}},
	{kind: KindIntentions, of: &api.ServiceIntentionsConfigEntry{}, skip: append([]string{"SourceIntention.Action", "IntentionHTTPPermission.PathPrefix", "IntentionHTTPPermission.PathRegex"}, headersBut("Present")...)},
	{kind: KindIntentions, of: &api.ServiceIntentionsConfigEntry{}, skip: append([]string{"SourceIntention.Action", "IntentionHTTPPermission.PathExact", "IntentionHTTPPermission.PathRegex"}, headersBut("Exact")...)},
	{kind: KindIntentions, of: &api.ServiceIntentionsConfigEntry{}, skip: append([]string{"SourceIntention.Action", "IntentionHTTPPermission.PathExact", "IntentionHTTPPermission.PathPrefix"}, headersBut("Prefix")...)},
	{kind: KindIntentions, of: &api.ServiceIntentionsConfigEntry{}, skip: append([]string{"SourceIntention.Action", "IntentionHTTPPermission.PathExact", "IntentionHTTPPermission.PathPrefix"}, headersBut("Suffix")...)},
	{kind: KindIntentions, of: &api.ServiceIntentionsConfigEntry{}, skip: append([]string{"SourceIntention.Action", "IntentionHTTPPermission.PathExact", "IntentionHTTPPermission.PathPrefix"}, headersBut("Regex")...)},

	{kind: KindService, of: &api.CatalogRegistration{}},
	{kind: KindPolicy, of: &api.ACLPolicy{}},
	{kind: KindRole, of: &api.ACLRole{}},
	{kind: KindAuthMethod, of: &api.ACLAuthMethod{}},
	{kind: KindRule, of: &api.ACLBindingRule{}},
}

var oldFailover = []string{"ServiceResolverFailover.Service", "ServiceResolverFailover.ServiceSubset", "ServiceResolverFailover.Datacenters", "ServiceResolverFailoverTarget.Peer"}

// headersBut are the ways to match a header but one: they exclude each other.
func headersBut(name string) []string {
	var skip []string
	for _, n := range []string{"Present", "Exact", "Prefix", "Suffix", "Regex"} {
		if n != name {
			skip = append(skip, "IntentionHTTPHeaderPermission."+n)
		}
	}
	return skip
}

// values are what a field is set to where not any value of its type will do.
var values = map[string]any{
	"ServiceConfigEntry.Protocol": "HTTP2", "ServiceConfigEntry.Mode": "transparent", "ServiceConfigEntry.MutualTLSMode": "strict",
	"ServiceConfigEntry.BalanceInboundConnections": "exact_balance", "UpstreamConfig.BalanceOutboundConnections": "exact_balance", "UpstreamConfig.Protocol": "GRPC",
	"MeshGatewayConfig.Mode": "local", "ExposePath.Protocol": "http2", "ExposePath.Path": "/metrics",
	"EnvoyExtension.Name": "builtin/lua", "EnvoyExtension.Arguments": map[string]any{"ProxyType": "connect-proxy", "Listener": "inbound", "Script": "function envoy_on_request(h) end"},
	"EnvoyExtension.ConsulVersion": ">= 1.0.0", "EnvoyExtension.EnvoyVersion": ">= 1.0.0", "DestinationConfig.Addresses": []string{"a.example"},
	"ServiceConfigEntry.Name": "sample", "ServiceResolverConfigEntry.Name": "sample", "ServiceIntentionsConfigEntry.Name": "sample",
	"ACLPolicy.Name": "sample", "ACLRole.Name": "sample", "ACLAuthMethod.Name": "sample",

	"ServiceResolverConfigEntry.DefaultSubset": "k", "ServiceResolverSubset.Filter": "Service.Meta.v == 1",
	"ServiceResolverFailover.ServiceSubset": "k", "ServiceResolverFailover.Service": "sample",
	"ServiceResolverFailoverTarget.Service": "sample", "ServiceResolverFailoverTarget.ServiceSubset": "k", "ServiceResolverRedirect.ServiceSubset": "k", "ServiceResolverRedirect.Service": "other",
	"LoadBalancer.Policy": "ring_hash", "HashPolicy.Field": "cookie",

	"SourceIntention.Action": "allow", "SourceIntention.Type": "consul", "IntentionPermission.Action": "deny", "IntentionHTTPPermission.Methods": []string{"get"},
	"IntentionHTTPPermission.PathExact": "/a", "IntentionHTTPPermission.PathPrefix": "/a", "IntentionHTTPPermission.PathRegex": "/a.*", "IntentionJWTProvider.Name": "okta",

	"CatalogRegistration.ID": "6f1c9f2e-0b35-4a5e-8f0e-2b1c7b0f4a11", "CatalogRegistration.Address": "10.0.0.1", "HealthCheck.Status": "passing", "HealthCheckDefinition.HTTP": "http://a.example",

	"ACLPolicy.Rules": `key_prefix "a" { policy = "read" }`, "ACLPolicy.Datacenters": []string{"dc1"}, "ACLLink.Name": "one-policy",
	"ACLTemplatedPolicy.TemplateName": "builtin/service", "ACLServiceIdentity.Datacenters": []string{"dc1"}, "ACLTemplatedPolicy.Datacenters": []string{"dc1"}, "ACLNodeIdentity.Datacenter": "dc1",
	"ACLAuthMethod.Type": "jwt", "ACLAuthMethod.TokenLocality": "global", "ACLAuthMethod.MaxTokenTTL": time.Hour,
	"ACLAuthMethod.Config": map[string]any{"JWTValidationPubKeys": []any{jwksPEM}, "BoundIssuer": "me", "ClaimMappings": map[string]any{"a": "b"}, "ListClaimMappings": map[string]any{"c": "d"},
		"BoundAudiences": []any{"b", "a"}, "JWTSupportedAlgs": []any{"ES256"}, "ExpirationLeeway": "1s", "NotBeforeLeeway": "2s", "ClockSkewLeeway": "3s"},
	"ACLBindingRule.AuthMethod": "one-method", "ACLBindingRule.BindType": "templated-policy", "ACLBindingRule.BindName": "builtin/service", "ACLBindingRule.Selector": "",
}

// instance fills f, and answers which fields it set.
func (f filled) instance(t *testing.T) (any, map[string]bool) {
	t.Helper()
	set := map[string]bool{}
	v := reflect.New(reflect.TypeOf(f.of).Elem())
	f.fill(t, v.Elem(), set)
	return v.Interface(), set
}

func (f filled) fill(t *testing.T, v reflect.Value, set map[string]bool) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(t, v.Elem(), set)
	case reflect.Struct:
		f.fillFields(t, v, set)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		f.fill(t, v.Index(0), set)
	case reflect.Map:
		elem := reflect.New(v.Type().Elem()).Elem()
		f.fill(t, elem, set)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("k"), elem)
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		if v.Type() == reflect.TypeFor[time.Duration]() {
			v.SetInt(int64(7 * time.Second))
			return
		}
		v.SetInt(7)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	default:
		t.Fatalf("nothing to fill a %s with", v.Type())
	}
}

func (f filled) fillFields(t *testing.T, v reflect.Value, set map[string]bool) {
	t.Helper()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		full := v.Type().Name() + "." + field.Name
		_, isDescribed := described[full]
		if !isDescribed || exclusion(v.Type(), field.Name) != "" && field.Name != "Status" && field.Name != "Name" || slices.Contains(f.skip, full) || slices.Contains(newer, full) || slices.Contains(edition, full) {
			continue
		}
		set[full] = true
		value, has := f.set[full]
		if !has {
			value, has = values[full]
		}
		switch {
		case full == "UpstreamConfiguration.Defaults": // it has no name, and is in no peer
			f.fill(t, v.Field(i), set)
			d := v.Field(i).Interface().(*api.UpstreamConfig)
			d.Name, d.Peer = "", ""
		case has && field.Type.Kind() == reflect.Slice && reflect.TypeOf(value).Kind() == reflect.Slice, has && field.Type.Kind() == reflect.Map:
			v.Field(i).Set(reflect.ValueOf(value))
		case has:
			v.Field(i).Set(reflect.ValueOf(value).Convert(field.Type))
		default:
			f.fill(t, v.Field(i), set)
		}
	}
}

// spec is the instance as it would be declared.
func (f filled) spec(t *testing.T) json.RawMessage {
	t.Helper()
	v, _ := f.instance(t)
	tree := words(v)
	if reg, ok := v.(*api.CatalogRegistration); ok {
		tree["Checks"] = registration{CatalogRegistration: *reg}.checkWords(liveService{})
	}
	text, err := driverkit.Text(tree)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestEveryFieldIsSet: a field that may be declared and that no instance sets
// is one about which nothing is proven.
func TestEveryFieldIsSet(t *testing.T) {
	covered := map[string]bool{}
	for _, f := range full {
		_, set := f.instance(t)
		maps.Copy(covered, set)
	}
	for name := range described {
		if strings.Contains(name, ".") && !covered[name] && !slices.Contains(newer, name) && !slices.Contains(edition, name) {
			t.Errorf("%s is set by no instance", name)
		}
	}
	for _, name := range append(slices.Clone(newer), edition...) {
		if _, ok := described[name]; !ok {
			t.Errorf("%s is no field", name)
		}
	}
}

// TestEveryFieldIsCompared: whatever field of a declaration alters, the plan
// names it.
func TestEveryFieldIsCompared(t *testing.T) {
	d := &Driver{Env: "e", URL: "http://127.0.0.1:1"}
	for i, f := range full {
		spec := f.spec(t)
		want := func(spec json.RawMessage) json.RawMessage {
			it := f.item(t, d, spec)
			fam, err := d.family(f.kind)
			if err != nil {
				t.Fatal(err)
			}
			w, err := fam.want(it, drivers.State{})
			if err != nil {
				t.Fatalf("%s %d: %v", f.kind, i, err)
			}
			return w.spec
		}
		before := want(spec)
		for _, p := range paths(t, spec) {
			if unchanging(p) {
				continue
			}
			tree, err := driverkit.Tree(spec)
			if err != nil {
				t.Fatal(err)
			}
			after := want(drivertestJSON(t, altered(tree, p.Steps())))
			diff, err := driverkit.Diff(before, after, nil)
			if err != nil || len(diff) == 0 {
				t.Errorf("%s %d: %s was altered, and nothing differs: %v", f.kind, i, p, err)
			}
		}
	}
}

// unchanging are fields that are the address, or what everything else hangs on.
func unchanging(p schema.Path) bool {
	return slices.Contains([]schema.Path{"/Name", "/Node", "/Service/ID", "/Sources/0/Type"}, p) || strings.HasSuffix(string(p), "/Status") || p == "/Address" || strings.HasSuffix(string(p), "CheckID")
}

func (f filled) item(t *testing.T, d *Driver, spec json.RawMessage) drivers.Item {
	t.Helper()
	handle, err := d.Address(f.kind, "sample", spec)
	if err != nil {
		t.Fatal(err)
	}
	return drivers.Item{ID: schema.ID{Kind: f.kind, Name: "sample", Target: "local"}, Want: &drivers.Desired{Spec: spec}, Handle: handle}
}

// paths are those of the leaves of a spec.
func paths(t *testing.T, spec json.RawMessage) []schema.Path {
	t.Helper()
	tree, err := driverkit.Tree(spec)
	if err != nil {
		t.Fatal(err)
	}
	var all []schema.Path
	var walk func(schema.Path, any)
	walk = func(p schema.Path, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				walk(p.Child(k), e)
			}
		case []any:
			for i, e := range v {
				walk(p.Index(i), e)
			}
		default:
			all = append(all, p)
		}
	}
	walk("", tree)
	slices.Sort(all)
	return all
}

// altered is a tree with another value at one place.
func altered(at any, steps []string) any {
	if len(steps) > 0 {
		switch at := at.(type) {
		case map[string]any:
			at[steps[0]] = altered(at[steps[0]], steps[1:])
		case []any:
			var i int
			_, _ = fmt.Sscan(steps[0], &i)
			at[i] = altered(at[i], steps[1:])
		}
		return at
	}
	switch v := at.(type) {
	case bool:
		return !v
	case json.Number:
		return 8
	case string:
		if _, err := time.ParseDuration(v); err == nil {
			return "8s"
		}
		return v + "y"
	}
	return at
}

func drivertestJSON(t *testing.T, v any) json.RawMessage {
	t.Helper()
	text, err := driverkit.Text(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
