package consul

import (
	"net/http"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
)

// Consul answers 500 to nearly everything that it does not want: a wrong field,
// an entry that another one still needs, a leader that is being elected. What
// to do next stands in the text alone.

// order is what Consul says where an entry comes before what it wants, or goes
// before what still wants it. All of these pass when the rest is applied.
var order = []struct{ said, hint string }{
	{"is incompatible with l7 intentions permissions", "permissions want an http protocol: declare consul.service-defaults with it, and take such intentions away before the protocol"},
	{"uses inconsistent protocols", "what a service leads to has another protocol: declare consul.service-defaults with the same one for both"},
	{"does not permit advanced routing", "routing and splitting want an http protocol: declare it in consul.service-defaults"},
	{"does not have a subset named", "the subset is declared by the other service's consul.service-resolver"},
	{"does not match defined listener protocol", "an ingress gateway names this service with another protocol"},
	{"referenced jwt provider does not exist", "the jwt-provider config entry of that name must be there first"},
	{"detected circular", "resolvers lead back to where they began"},
	{"allowenablingpermissivemutualtls", "the mesh config entry must allow permissive mutual TLS first"},
	{"has an external sni set", "ExternalSNI in service-defaults excludes redirects, subsets and failover"},
	{"sameness group missing", "the sameness-group config entry must be there first"},
	{"peer exported service", "an exported service cannot lead there: see exported-services"},
	{"missing node registration", "a consul.service that says Address makes the node"},
	{"no such acl role", "the role must be there first"},
	{"no such acl policy", "the policy must be there first"},
	{"such an acl policy", "the policy must be there first"},
	{"error checking jwksurl", "Consul reads the keys when the method is written: what serves them must be up"},
	{"error checking jwks", "Consul reads the keys when the method is written: what serves them must be up"},
	{"error checking oidcdiscoveryurl", "Consul reads the discovery document when the method is written: what serves it must be up"},
	{"cannot find auth method", "the auth method must be there first"},
	{"auth method not found", "the auth method must be there first"},
	{"acl not found: auth method", "the auth method must be there first"},
}

// passing is what Consul says when it is its own trouble, whatever else the
// text holds.
var passing = []string{
	"no cluster leader", "not the leader", "leadership", "no leader", "raft", "rpc error getting client", "rpc error establishing", "rpc client", "connection refused",
	"connection reset", "broken pipe", "i/o timeout", "timed out", "deadline exceeded", "eof", "unavailable", "shutting down", "no path to datacenter",
	"no known consul servers", "error reading", "rate limit", "overloaded", "acl system must be bootstrapped", "lock delay",
}

// never is what is no trouble of Consul's own, whatever else the text holds.
var never = []string{"failed to parse acl rules", "invalid auth method", "invalid policy", "invalid role", "invalid binding rule"}

// wrong is what Consul says of a field that it will never take.
var wrong = []string{
	"invalid", "is required", "required", "must be", "must not", "must contain", "must provide", "cannot", "not a valid", "exceeds", "mutually exclusive",
	"should only", "bad ", "not supported", "unsupported", "at least one", "missing", "not allowed", "too large", "too long", "malformed", "unknown", "only supported", "not permitted", "immutable", "is empty",
}

// refusal is the error of an answer that is no success.
func refusal(op, subject string, status int, err error) error {
	text := strings.ToLower(err.Error())
	e := &drivers.Error{Op: op, Subject: subject, Err: err, Answered: true}
	switch {
	case strings.Contains(text, "acl support disabled"):
		e.Class, e.Hint = drivers.ErrPermanent, "this Consul has no ACLs: acl { enabled = true } in its configuration"
		return e
	case status == http.StatusForbidden, strings.Contains(text, "permission denied"), strings.Contains(text, "acl not found") && !strings.Contains(text, "auth method"):
		return driverkit.FailHTTP(op, subject, http.StatusForbidden, err)
	case status != http.StatusInternalServerError && status != http.StatusConflict && status != http.StatusBadRequest && status != http.StatusNotFound:
		return driverkit.FailHTTP(op, subject, status, err)
	}
	for _, o := range order {
		if strings.Contains(text, o.said) {
			e.Class, e.Hint = drivers.ErrWaiting, o.hint
			return e
		}
	}
	switch {
	case strings.Contains(text, "index is stale"), strings.Contains(text, "already exists"):
		e.Class, e.Err = drivers.ErrStale, nil
	case status == http.StatusBadRequest, holds(text, never):
		e.Class = drivers.ErrPermanent
	case holds(text, passing):
		e.Class = drivers.ErrRetryable
	case holds(text, wrong):
		e.Class = drivers.ErrPermanent
	default:
		e.Class = drivers.ErrRetryable
	}
	return e
}

func holds(text string, any []string) bool {
	for _, s := range any {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}
