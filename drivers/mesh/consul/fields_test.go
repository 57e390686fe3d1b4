package consul

// description is what the schema says of a field of the API.
type description struct {
	doc       string
	cue       string // instead of what follows from its type
	required  bool
	address   bool // it makes up the handle
	immutable bool
}

func doc(text string) description          { return description{doc: text} }
func typed(text, cue string) description   { return description{doc: text, cue: cue} }
func must(text, cue string) description    { return description{doc: text, cue: cue, required: true} }
func located(text, cue string) description { return description{doc: text, cue: cue, address: true} }

const (
	protocols  = `"tcp" | "http" | "http2" | "grpc"`
	verdicts   = `"allow" | "deny"`
	percent    = `int & >=0 & <=100`
	port       = `int & >=1 & <=65535`
	nonEmpty   = `string & !=""`
	addressDoc = "where it is to differ from metadata.name. It is the address, and cannot hold a reference."
)

// described is by "Type.Field"; "Type" alone is a line at the top of it.
var described = map[string]description{
	// service-defaults
	"ServiceConfigEntry.Name":                      located("The service's name, "+addressDoc, nonEmpty),
	"ServiceConfigEntry.Protocol":                  doc("What the service speaks: tcp, http, http2 or grpc, in any case. L7 intentions, routing and splitting want one of the last three."),
	"ServiceConfigEntry.Mode":                      typed("How proxies take in its traffic.", `"" | "direct" | "transparent"`),
	"ServiceConfigEntry.TransparentProxy":          doc("What holds in transparent mode."),
	"ServiceConfigEntry.MutualTLSMode":             typed("Whether connections without mutual TLS are let in.", `"" | "strict" | "permissive"`),
	"ServiceConfigEntry.MeshGateway":               doc("How connections leave for other datacenters."),
	"ServiceConfigEntry.Expose":                    doc("Paths that are reached through the proxy without mutual TLS."),
	"ServiceConfigEntry.ExternalSNI":               doc("The server name of a service outside the mesh."),
	"ServiceConfigEntry.UpstreamConfig":            doc("How this service reaches others."),
	"ServiceConfigEntry.Destination":               doc("Where a service outside the mesh is, reached through a terminating gateway."),
	"ServiceConfigEntry.MaxInboundConnections":     doc("How many connections an instance takes; 0 is no limit."),
	"ServiceConfigEntry.LocalConnectTimeoutMs":     doc("Milliseconds in which the proxy must reach its instance; 0 is 5000."),
	"ServiceConfigEntry.LocalRequestTimeoutMs":     doc("Milliseconds in which an instance must answer an HTTP request; 0 is 15000."),
	"ServiceConfigEntry.BalanceInboundConnections": typed("How connections are spread over the proxy's threads.", `"" | "exact_balance"`),
	"ServiceConfigEntry.RateLimits":                doc("How many requests an instance takes."),
	"ServiceConfigEntry.EnvoyExtensions":           doc("Extensions of Envoy, in the order in which they work."),
	"ServiceConfigEntry.Meta":                      doc("Free words. The key aplomb-environment is the ownership mark's."),
	"ServiceConfigEntry.MaxRequestHeadersKB":       doc("KiB of the headers of a request; Consul 1.20 and newer."),

	"TransparentProxyConfig.OutboundListenerPort": doc("The port to which outbound traffic is redirected; 0 is 15001."),
	"TransparentProxyConfig.DialedDirectly":       doc("Whether others may dial an instance's own address."),
	"MeshGatewayConfig.Mode":                      typed("Through which mesh gateways.", `"" | "none" | "local" | "remote"`),
	"ExposeConfig.Checks":                         doc("Whether the paths of HTTP and gRPC checks are."),
	"ExposeConfig.Paths":                          doc("Which paths."),
	"ExposePath.ListenerPort":                     typed("The port on which the proxy listens for it.", port),
	"ExposePath.Path":                             doc("The path, such as /metrics."),
	"ExposePath.LocalPathPort":                    typed("The port on which the instance serves it.", port),
	"ExposePath.Protocol":                         typed("What it speaks there.", `"" | "http" | "http2"`),
	"EnvoyExtension.Name":                         must("Which extension.", nonEmpty),
	"EnvoyExtension.Required":                     doc("Whether the proxy gets no configuration where it fails."),
	"EnvoyExtension.Arguments":                    doc("What the extension is told."),
	"EnvoyExtension.ConsulVersion":                doc("A constraint on Consul's version, outside of which it is left out."),
	"EnvoyExtension.EnvoyVersion":                 doc("A constraint on Envoy's version, outside of which it is left out."),

	"UpstreamConfiguration.Overrides":           doc("For some services."),
	"UpstreamConfiguration.Defaults":            doc("For all others."),
	"UpstreamConfig.Name":                       doc("Which service; in Overrides only, and there needed."),
	"UpstreamConfig.Peer":                       doc("The cluster peer in which that service is."),
	"UpstreamConfig.EnvoyListenerJSON":          doc("A whole listener of Envoy's, instead."),
	"UpstreamConfig.EnvoyClusterJSON":           doc("A whole cluster of Envoy's, instead."),
	"UpstreamConfig.Protocol":                   doc("What is spoken to it."),
	"UpstreamConfig.ConnectTimeoutMs":           doc("Milliseconds in which it must be reached; 0 is 5000."),
	"UpstreamConfig.Limits":                     doc("How much is asked of it at once."),
	"UpstreamConfig.PassiveHealthCheck":         doc("When an instance is left alone because it failed."),
	"UpstreamConfig.MeshGateway":                doc("How connections to it leave for other datacenters."),
	"UpstreamConfig.BalanceOutboundConnections": typed("How connections are spread over the proxy's threads.", `"" | "exact_balance"`),
	"UpstreamLimits.MaxConnections":             doc("Connections at once."),
	"UpstreamLimits.MaxPendingRequests":         doc("Requests that wait for a connection."),
	"UpstreamLimits.MaxConcurrentRequests":      doc("Requests at once."),
	"UpstreamLimits.PassiveHealthCheck":         doc("When an instance is left alone because it failed; newer than Consul 1.19."),

	"PassiveHealthCheck.Interval":                           doc("Time from one look to the next."),
	"PassiveHealthCheck.MaxFailures":                        doc("Failures in a row after which an instance is left alone."),
	"PassiveHealthCheck.EnforcingConsecutive5xx":            typed("Percent of the times that it is, after answers of 5xx.", percent),
	"PassiveHealthCheck.EnforcingConsecutiveGatewayFailure": typed("Percent of the times that it is, after 502, 503 and 504; newer than Consul 1.19.", percent),
	"PassiveHealthCheck.Consecutive5xx":                     doc("Answers of 5xx in a row, instead of MaxFailures; newer than Consul 1.19."),
	"PassiveHealthCheck.ConsecutiveGatewayFailure":          doc("Answers of 502, 503 and 504 in a row; newer than Consul 1.19."),
	"PassiveHealthCheck.MaxEjectionPercent":                 typed("Percent of the instances that may be left alone at once.", percent),
	"PassiveHealthCheck.BaseEjectionTime":                   doc("For how long, times how often it was before."),

	"DestinationConfig.Addresses":               doc("Host names or addresses."),
	"DestinationConfig.Port":                    typed("The port.", port),
	"RateLimits.InstanceLevel":                  doc("For each instance."),
	"InstanceLevelRateLimits.RequestsPerSecond": doc("Requests a second, on average."),
	"InstanceLevelRateLimits.RequestsMaxBurst":  doc("Requests at once; at least RequestsPerSecond."),
	"InstanceLevelRateLimits.Routes":            doc("Other limits for some paths; the first that matches holds."),

	"InstanceLevelRouteRateLimits.PathExact":         doc("The whole path."),
	"InstanceLevelRouteRateLimits.PathPrefix":        doc("How the path begins."),
	"InstanceLevelRouteRateLimits.PathRegex":         doc("An expression for the path."),
	"InstanceLevelRouteRateLimits.RequestsPerSecond": doc("Requests a second, on average."),
	"InstanceLevelRouteRateLimits.RequestsMaxBurst":  doc("Requests at once."),

	// service-resolver
	"ServiceResolverConfigEntry.Name":                 located("The service's name, "+addressDoc, nonEmpty),
	"ServiceResolverConfigEntry.DefaultSubset":        doc("The subset that is taken where none is named."),
	"ServiceResolverConfigEntry.Subsets":              doc("Parts of the instances, by name."),
	"ServiceResolverConfigEntry.Redirect":             doc("Another service to go to instead; excludes Failover."),
	"ServiceResolverConfigEntry.Failover":             doc("Where to go if no instance of a subset is healthy, by the subset's name; * is any."),
	"ServiceResolverConfigEntry.ConnectTimeout":       doc("Time in which an instance must be reached."),
	"ServiceResolverConfigEntry.RequestTimeout":       doc("Time in which an instance must answer."),
	"ServiceResolverConfigEntry.PrioritizeByLocality": doc("Whether instances nearby go first; Consul Enterprise only, but for none."),
	"ServiceResolverConfigEntry.LoadBalancer":         doc("How an instance is chosen."),
	"ServiceResolverConfigEntry.Meta":                 doc("Free words. The key aplomb-environment is the ownership mark's."),

	"ServiceResolverSubset.Filter":                doc(`An expression over instances, such as Service.Meta.version == v1.`),
	"ServiceResolverSubset.OnlyPassing":           doc("Whether instances with a warning are left out."),
	"ServiceResolverRedirect.Service":             doc("The service."),
	"ServiceResolverRedirect.ServiceSubset":       doc("Its subset."),
	"ServiceResolverRedirect.Datacenter":          doc("Its datacenter."),
	"ServiceResolverRedirect.Peer":                doc("The cluster peer that has it."),
	"ServiceResolverFailover.Service":             doc("Another service."),
	"ServiceResolverFailover.ServiceSubset":       doc("Another subset."),
	"ServiceResolverFailover.Datacenters":         doc("Other datacenters, in this order."),
	"ServiceResolverFailover.Targets":             doc("Other places, in this order; excludes the fields above."),
	"ServiceResolverFailover.Policy":              doc("In which order they are tried; Consul Enterprise only, but for sequential."),
	"ServiceResolverFailoverTarget.Service":       doc("A service."),
	"ServiceResolverFailoverTarget.ServiceSubset": doc("Its subset."),
	"ServiceResolverFailoverTarget.Datacenter":    doc("Its datacenter."),
	"ServiceResolverFailoverTarget.Peer":          doc("The cluster peer that has it."),
	"ServiceResolverFailoverPolicy.Mode":          typed("The order.", `"" | "sequential" | "order-by-locality"`),
	"ServiceResolverFailoverPolicy.Regions":       doc("The regions, in this order."),
	"ServiceResolverPrioritizeByLocality.Mode":    typed("How.", `"" | "none" | "failover"`),

	"LoadBalancer.Policy":             typed("The way to choose.", `"" | "random" | "round_robin" | "least_request" | "ring_hash" | "maglev"`),
	"LoadBalancer.RingHashConfig":     doc("More about ring_hash."),
	"LoadBalancer.LeastRequestConfig": doc("More about least_request."),
	"LoadBalancer.HashPolicies":       doc("What ring_hash and maglev go by."),
	"RingHashConfig.MinimumRingSize":  doc("Entries in the ring, at least."),
	"RingHashConfig.MaximumRingSize":  doc("Entries in the ring, at most."),
	"LeastRequestConfig.ChoiceCount":  doc("Among how many the least busy is chosen."),
	"HashPolicy.Field":                typed("What of a request.", `"" | "header" | "cookie" | "query_parameter"`),
	"HashPolicy.FieldValue":           doc("Its name."),
	"HashPolicy.CookieConfig":         doc("A cookie that Envoy makes where there is none."),
	"HashPolicy.SourceIP":             doc("The caller's address instead."),
	"HashPolicy.Terminal":             doc("Whether what follows is left out where this gave something."),
	"CookieConfig.Session":            doc("Whether it ends with the session."),
	"CookieConfig.TTL":                doc("How long it lives otherwise."),
	"CookieConfig.Path":               doc("Its path."),

	// service-intentions
	"ServiceIntentionsConfigEntry.Name":    located(`The service that is reached; "*" is any. It is said `+addressDoc, nonEmpty),
	"ServiceIntentionsConfigEntry.Sources": {doc: "Who may reach it, or not. In which order they stand says nothing: Consul goes by precedence.", required: true},
	"ServiceIntentionsConfigEntry.JWT":     doc("A token that every request must carry."),
	"ServiceIntentionsConfigEntry.Meta":    doc("Free words. The key aplomb-environment is the ownership mark's."),

	"SourceIntention.Name":        must(`The service that reaches; "*" is any.`, nonEmpty),
	"SourceIntention.Peer":        doc("The cluster peer in which it is."),
	"SourceIntention.Action":      typed("Whether it may; excludes Permissions.", verdicts),
	"SourceIntention.Permissions": doc("With which requests it may; the first that matches holds. The service wants an http protocol for it."),
	"SourceIntention.Type":        typed("Where the source is known; there is one.", `"consul"`),
	"SourceIntention.Description": doc("Words for people."),

	"IntentionPermission.Action":               must("Whether such requests are let in.", verdicts),
	"IntentionPermission.HTTP":                 doc("Which requests."),
	"IntentionPermission.JWT":                  doc("A token that such requests must carry."),
	"IntentionHTTPPermission.PathExact":        doc("The whole path."),
	"IntentionHTTPPermission.PathPrefix":       doc("How the path begins."),
	"IntentionHTTPPermission.PathRegex":        doc("An expression for the path."),
	"IntentionHTTPPermission.Header":           doc("What the headers must be; all of them."),
	"IntentionHTTPPermission.Methods":          doc("The methods, in any case; none is any."),
	"IntentionHTTPHeaderPermission.Name":       must("The header's name.", nonEmpty),
	"IntentionHTTPHeaderPermission.Present":    doc("It is there."),
	"IntentionHTTPHeaderPermission.Exact":      doc("It is this."),
	"IntentionHTTPHeaderPermission.Prefix":     doc("It begins so."),
	"IntentionHTTPHeaderPermission.Suffix":     doc("It ends so."),
	"IntentionHTTPHeaderPermission.Contains":   doc("It holds this; Consul 1.20 and newer."),
	"IntentionHTTPHeaderPermission.Regex":      doc("It matches this expression."),
	"IntentionHTTPHeaderPermission.Invert":     doc("The opposite of what it says."),
	"IntentionHTTPHeaderPermission.IgnoreCase": doc("Large and small letters are one; Consul 1.20 and newer."),
	"IntentionJWTRequirement.Providers":        doc("Whose tokens, by their jwt-provider entries, which must be there."),
	"IntentionJWTProvider.Name":                must("The jwt-provider's name.", nonEmpty),
	"IntentionJWTProvider.VerifyClaims":        doc("What the token must say."),
	"IntentionJWTClaimVerification.Path":       doc("Where in the token."),
	"IntentionJWTClaimVerification.Value":      doc("What stands there."),

	// service
	"CatalogRegistration.ID":              doc("The node's own id, a UUID; together with Address."),
	"CatalogRegistration.Node":            {doc: "The node that has the service. It is part of the address, and cannot hold a reference. Not one that an agent runs: that removes what it does not know.", cue: nonEmpty, required: true, address: true},
	"CatalogRegistration.Address":         typed("The node's address. It makes the node; of several services on one node, one says it. Without it the node must be there.", nonEmpty),
	"CatalogRegistration.TaggedAddresses": doc("Other addresses of the node, by tag; together with Address."),
	"CatalogRegistration.NodeMeta":        doc("Free words about the node; together with Address. The key aplomb-environment is the ownership mark's."),
	"CatalogRegistration.Service":         doc("The service."),
	"CatalogRegistration.Checks":          doc("What decides whether it is healthy: all of them must pass. Something else runs them, such as consul-esm."),
	"AgentService.ID":                     located("The id on its node, where it is to differ from Service. It is part of the address, and cannot hold a reference.", nonEmpty),
	"AgentService.Service":                located("The name by which it is looked up, where it is to differ from metadata.name. It cannot hold a reference.", nonEmpty),
	"AgentService.Tags":                   doc("Free tags, to select by."),
	"AgentService.Meta":                   doc("Free words. The key aplomb-environment is the ownership mark's."),
	"AgentService.Port":                   typed("The port on which it is reached.", `int & >=0 & <=65535`),
	"AgentService.Address":                doc("Where it is reached, where that is not the node's address."),
	"AgentService.Weights":                doc("How much of the traffic it gets by DNS; 1 and 1 where it is not said."),
	"AgentService.EnableTagOverride":      doc("Whether others may alter its tags through their agents."),
	"AgentWeights.Passing":                typed("While its checks pass.", `*1 | int & >=1 & <=65535`),
	"AgentWeights.Warning":                typed("While one of them warns.", `*1 | int & >=0 & <=65535`),
	"HealthCheck.CheckID":                 {doc: "The check's id, unique on the node.", cue: nonEmpty, required: true, address: true},
	"HealthCheck.Name":                    doc("Its name."),
	"HealthCheck.Status":                  typed("What it is until something checks; critical where it is not said. Afterwards it says nothing.", `"passing" | "warning" | "critical"`),
	"HealthCheck.Notes":                   doc("Words for people."),
	"HealthCheck.Definition":              doc("What is to be checked, for whoever checks."),

	"HealthCheckDefinition.HTTP":                                   doc("A URL that must answer with 2xx."),
	"HealthCheckDefinition.Header":                                 doc("Headers to send. Whoever reads the catalog reads them: no secrets."),
	"HealthCheckDefinition.Method":                                 doc("The method; GET where it is not said."),
	"HealthCheckDefinition.Body":                                   doc("What to send."),
	"HealthCheckDefinition.TLSServerName":                          doc("The name in the certificate."),
	"HealthCheckDefinition.TLSSkipVerify":                          doc("Whether any certificate will do."),
	"HealthCheckDefinition.TCP":                                    doc("A host:port to which a connection must open."),
	"HealthCheckDefinition.TCPUseTLS":                              doc("Whether with TLS."),
	"HealthCheckDefinition.GRPC":                                   doc("A host:port with gRPC's health protocol."),
	"HealthCheckDefinition.GRPCUseTLS":                             doc("Whether with TLS."),
	"HealthCheckDefinition.IntervalDuration":                       doc("Time from one check to the next."),
	"HealthCheckDefinition.TimeoutDuration":                        doc("Time after which a check has failed."),
	"HealthCheckDefinition.DeregisterCriticalServiceAfterDuration": doc("Time after which a service that fails is removed by whoever checks. It is then made again: leave it out."),

	// ACL
	"ACLPolicy.Name":        located("The name, "+addressDoc, `=~"^[A-Za-z0-9_-]{1,128}$"`),
	"ACLPolicy.Description": doc("Words for people. The ownership mark follows them."),
	"ACLPolicy.Rules":       doc("The rules, as HCL or JSON."),
	"ACLPolicy.Datacenters": doc("Where it holds; none is everywhere."),

	"ACLRole.Name":                         located("The name, "+addressDoc, `=~"^[A-Za-z0-9_-]{1,256}$"`),
	"ACLRole.Description":                  doc("Words for people. The ownership mark follows them."),
	"ACLRole.Policies":                     doc("Policies, by name."),
	"ACLRole.ServiceIdentities":            doc("What a service of a name may do."),
	"ACLRole.NodeIdentities":               doc("What an agent of a name may do."),
	"ACLRole.TemplatedPolicies":            doc("Policies that Consul makes of a template."),
	"ACLLink.Name":                         must("The policy's name.", nonEmpty),
	"ACLServiceIdentity.ServiceName":       must("The service's name.", nonEmpty),
	"ACLServiceIdentity.Datacenters":       doc("Where it holds; none is everywhere."),
	"ACLNodeIdentity.NodeName":             must("The agent's name.", nonEmpty),
	"ACLNodeIdentity.Datacenter":           must("Its datacenter.", nonEmpty),
	"ACLTemplatedPolicy.TemplateName":      must("The template, such as builtin/service.", nonEmpty),
	"ACLTemplatedPolicy.TemplateVariables": doc("What the template takes."),
	"ACLTemplatedPolicy.Datacenters":       doc("Where it holds; none is everywhere."),
	"ACLTemplatedPolicyVariables.Name":     doc("The name that the template takes."),

	"ACLAuthMethod.Name":            located("The name, "+addressDoc, `=~"^[A-Za-z0-9_-]{1,128}$"`),
	"ACLAuthMethod.Type":            {doc: "The type. Another one makes the method anew.", cue: `"jwt"`, required: true, immutable: true},
	"ACLAuthMethod.DisplayName":     doc("The name in Consul's own pages."),
	"ACLAuthMethod.Description":     doc("Words for people. The ownership mark follows them."),
	"ACLAuthMethod.MaxTokenTTL":     doc("How long a token from it lives, 1m to 24h; forever where it is not said."),
	"ACLAuthMethod.TokenLocality":   typed("Whether tokens hold in this datacenter or in all.", `"local" | "global"`),
	"ACLAuthMethod.TokenNameFormat": doc("What tokens are named, with ${…} for what is known of who logs in."),
	"ACLAuthMethod.Config":          must("Whose tokens are trusted; exactly one of JWKSURL, JWTValidationPubKeys and OIDCDiscoveryURL.", jwtConfig),

	"ACLBindingRule.Description": doc("Words for people. The ownership mark follows them."),
	"ACLBindingRule.AuthMethod":  {doc: "The auth method. Another one makes the rule anew.", cue: nonEmpty, required: true, immutable: true},
	"ACLBindingRule.Selector":    doc("An expression over who logs in; none is everybody."),
	"ACLBindingRule.BindType":    must("What they get.", `"service" | "role" | "node" | "policy" | "templated-policy"`),
	"ACLBindingRule.BindName":    must("Its name, with ${…} for what is known of who logs in.", nonEmpty),
	"ACLBindingRule.BindVars":    doc("What a templated policy takes."),
}

// jwtConfig is Config of a method of type jwt, whose type the API's package
// does not have: that of agent/consul/authmethod/ssoauth.
const jwtConfig = `{
			@aplomb(oneof="JWKSURL JWTValidationPubKeys OIDCDiscoveryURL")

			// Where the keys are served; Consul reads them when this is written.
			JWKSURL?: =~"^https?://"

			// The certificate of the authority of JWKSURL, as PEM.
			JWKSCACert?: string

			// The public keys themselves, as PEM.
			JWTValidationPubKeys?: [...string]

			// Where a discovery document says it.
			OIDCDiscoveryURL?: =~"^https?://"

			// The certificate of the authority of OIDCDiscoveryURL, as PEM.
			OIDCDiscoveryCACert?: string

			// The algorithms of signatures that will do; RS256 where none is said.
			JWTSupportedAlgs?: [...string]

			// Audiences of which a token must name one.
			BoundAudiences?: [...string]

			// The issuer that a token must name.
			BoundIssuer?: string

			// Which claims are known under which names.
			ClaimMappings?: {[string]: string}

			// The same for claims that are lists.
			ListClaimMappings?: {[string]: string}

			// How long after its end a token holds.
			ExpirationLeeway?: ` + durationCUE + `

			// How long before its begin a token holds.
			NotBeforeLeeway?: ` + durationCUE + `

			// How far the clocks may differ.
			ClockSkewLeeway?: ` + durationCUE + `
		}`
