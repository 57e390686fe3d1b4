//go:build e2e

package consul

import (
	"testing"
	"time"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/internal/reconcilertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// TestConsulKilled: Consul dies and comes back in the middle of everything; it
// converges, the watch is found again, and drift is heard of after it.
func TestConsulKilled(t *testing.T) {
	c := enginetest.NewConsul(t)
	client, err := api.NewClient(&api.Config{Address: c.Address})
	drivertest.Must(t, err)
	src := &reconcilertest.Source{}
	src.Declare(everything()[:6]...)
	d := &Driver{Env: testEnv, URL: c.Address}
	r := reconciled(t, d, src)
	r.Converges(t, 30*time.Second, "convergence")
	pair, _, err := client.KV().Get("top", nil)
	drivertest.Must(t, err)
	c.Kill(t)
	src.Declare(append(everything()[:6], reconcilertest.Resource(KindKV, "more", `{"Value":"y"}`))...)
	r.Kick()
	wait(t, 2*time.Second)
	c.Start(t)
	r.Converges(t, 60*time.Second, "convergence after a kill")
	again, _, err := client.KV().Get("top", nil)
	drivertest.Must(t, err)
	if again.ModifyIndex != pair.ModifyIndex {
		t.Errorf("written again for nothing: %d, then %d", pair.ModifyIndex, again.ModifyIndex)
	}
	until(t, "drift after the restart", func() bool {
		_, err := client.KV().Delete("more", nil)
		drivertest.Must(t, err)
		wait(t, time.Second)
		p, _, err := client.KV().Get("more", nil)
		drivertest.Must(t, err)
		return p != nil
	})
}

// TestDocumentedToken: what docs/engines/consul.md says that a token needs is
// enough.
func TestDocumentedToken(t *testing.T) {
	b := newBare(t)
	b.empty()
	_, _, err := b.client().ACL().PolicyCreate(&api.ACLPolicy{Name: "documented", Rules: `
		service_prefix "" { policy = "write"  intentions = "write" }
		key_prefix "config/" { policy = "write" }
		node_prefix "" { policy = "write" }
		acl = "write"`}, nil)
	drivertest.Must(t, err)
	tok, _, err := b.client().ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{Name: "documented"}}}, nil)
	drivertest.Must(t, err)
	d := b.driver()
	d.Token = func() (schema.Secret, error) { return schema.NewSecret(tok.SecretID), nil }
	var all []*drivertest.Resource
	for _, res := range everything() {
		if res.ID.Name == "top" {
			continue // its key is outside of config/
		}
		r := drivertest.NewResource(t, d, res.ID.Kind, res.ID.Name, drivers.Desired{Spec: res.Spec})
		r.Item.Nonce = drivertest.Nonce
		s := r.Settle(schema.Create)
		r.Item.Handle, r.Item.Nonce = s.Handle, ""
		all = append(all, r)
	}
	for i := len(all) - 1; i >= 0; i-- {
		all[i].Item.Want = nil
		_, err := all[i].Apply(all[i].Plan())
		drivertest.Must(t, err)
		if all[i].Observe().Exists {
			t.Errorf("%s is left", all[i].Item.Handle)
		}
	}
}
