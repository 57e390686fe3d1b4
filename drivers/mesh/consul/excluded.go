package consul

import "reflect"

// Why a field of the API's types is not one that is declared. A test holds this
// against the types: a field that is neither here nor in the schema fails it.
const (
	counted    = "the server counts it"
	computed   = "the server computes it"
	bykind     = "the kind of the declaration says it"
	enterprise = "Consul Enterprise only"
	legacy     = "left from intentions before config entries; the server refuses it"
	agents     = "an agent's own: services that an agent runs are not declared here"
	ours       = "it carries the ownership mark"
	untried    = "a transaction does not carry it, and outside of one there is no compare-and-set"
	deprecated = "superseded"
	volatile   = "what checks the service writes it"
)

// excluded is by "Type.Field"; "*.Field" holds for all types.
var excluded = map[string]string{
	"*.CreateIndex": counted, "*.ModifyIndex": counted, "*.Hash": computed,
	"*.Partition": enterprise, "*.Namespace": enterprise, "*.SamenessGroup": enterprise,

	"ServiceConfigEntry.Kind": bykind, "ServiceResolverConfigEntry.Kind": bykind, "ServiceIntentionsConfigEntry.Kind": bykind,
	"SourceIntention.Precedence": computed,
	"SourceIntention.LegacyID":   legacy, "SourceIntention.LegacyMeta": legacy, "SourceIntention.LegacyCreateTime": legacy, "SourceIntention.LegacyUpdateTime": legacy,
	"ExposePath.ParsedFromCheck": computed,

	"KVPair.LockIndex": counted, "KVPair.Session": "a lock is held by who runs, not declared", "KVPair.Flags": ours,

	"CatalogRegistration.Datacenter": "that of the target", "CatalogRegistration.Check": "Checks says it", "CatalogRegistration.Locality": enterprise,
	"CatalogRegistration.SkipNodeUpdate": "a declaration without Address skips the node",
	"AgentService.Kind":                  agents, "AgentService.Proxy": agents, "AgentService.Connect": agents, "AgentService.SocketPath": agents,
	"AgentService.ContentHash": computed, "AgentService.PeerName": computed, "AgentService.Datacenter": computed,
	"AgentService.Locality": enterprise, "AgentService.AI": untried, "AgentService.Ports": untried, "AgentService.TaggedAddresses": untried,
	"HealthCheck.Node": "that of the service", "HealthCheck.ServiceID": "that of the service", "HealthCheck.ServiceName": "that of the service", "HealthCheck.ServiceTags": "those of the service",
	"HealthCheck.Output": volatile, "HealthCheck.Status": "declared for the time before anything checks; then " + volatile, "HealthCheck.Type": computed, "HealthCheck.ExposedPort": agents, "HealthCheck.PeerName": computed,
	"HealthCheckDefinition.UDP": untried, "HealthCheckDefinition.SessionName": untried, "HealthCheckDefinition.OSService": agents,
	"HealthCheckDefinition.Interval": "IntervalDuration says it, under this name in JSON", "HealthCheckDefinition.Timeout": "TimeoutDuration says it, under this name in JSON",
	"HealthCheckDefinition.DeregisterCriticalServiceAfter": "DeregisterCriticalServiceAfterDuration says it, under this name in JSON",

	"ACLPolicy.ID": computed, "ACLRole.ID": computed, "ACLBindingRule.ID": computed, "ACLLink.ID": "a policy is named; its id is Consul's",
	"ACLAuthMethod.NamespaceRules": enterprise,
}

// exclusion is why a field is not declared, or "".
func exclusion(in reflect.Type, field string) string {
	if why := excluded[in.Name()+"."+field]; why != "" {
		return why
	}
	return excluded["*."+field]
}
