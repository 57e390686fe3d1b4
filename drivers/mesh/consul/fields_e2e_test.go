//go:build e2e

package consul

import (
	"fmt"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// TestEveryFieldSettles: a declaration that says everything that one can say is
// applied, and then planning gives nothing, whatever Consul made of it; also
// for a driver made anew.
func TestEveryFieldSettles(t *testing.T) {
	b := newBare(t)
	for i, f := range full {
		t.Run(fmt.Sprintf("%s/%d", f.kind, i), func(t *testing.T) {
			b := b.in(t)
			b.empty()
			withMethods(b)
			withPolicies(b)
			b.call("PUT", "config", map[string]any{"Kind": "jwt-provider", "Name": "okta", "JSONWebKeySet": map[string]any{"Local": map[string]any{"JWKS": "eyJrZXlzIjpbXX0="}}}, nil)
			if f.kind == KindIntentions {
				b.call("PUT", "config", map[string]any{"Kind": "service-defaults", "Name": "sample", "Protocol": "http"}, nil)
			}
			if f.kind == KindResolver {
				b.call("PUT", "config", map[string]any{"Kind": "service-resolver", "Name": "other", "Subsets": map[string]any{"k": map[string]any{}}}, nil)
			}
			r := drivertest.NewResource(t, b.driver(), f.kind, "sample", drivers.Desired{Spec: f.spec(t)})
			r.Item.Nonce = drivertest.Nonce // it is found by that where Consul gives the id
			s := r.Settle(schema.Create)
			r.Item.Handle, r.Item.Nonce = s.Handle, ""
			r.Driver = b.driver()
			if c := r.Plan(); c.Action != schema.None {
				t.Errorf("a driver made anew plans %s with %+v", c.Action, c.Diff)
			}
			r.Item.Want = nil
			_, err := r.Apply(r.Plan())
			drivertest.Must(t, err)
			if r.Observe().Exists {
				t.Error("it was deleted, and exists")
			}
		})
	}
}
