//go:build e2e

package consul

import (
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/internal/reconcilertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// reconciled runs the reconciler over the driver; its token must not be in the
// log.
func reconciled(t *testing.T, d *Driver, src *reconcilertest.Source) *reconcilertest.Running {
	t.Helper()
	log := &drivertest.Log{}
	r := reconcilertest.Start(t, reconcilertest.Config{
		ID: testEnv, Source: src, Log: log,
		Target: drivers.Target{Name: "consul", Engine: "consul", Kinds: d.Kinds(), Driver: d, Identity: d.URL, Version: DriverVersion},
	})
	t.Cleanup(func() {
		r.Stop() // what it logs at the end counts
		if token, err := d.token(); err != nil || token != "" && strings.Contains(log.String(), token) {
			t.Errorf("the token is in the log: %v", err)
		}
	})
	return r
}

// token is the one that the driver uses.
func (d *Driver) token() (string, error) {
	if d.Token == nil {
		return "", nil
	}
	s, err := d.Token()
	return s.Reveal(), err
}

// TestReconciledInOneGo: a commit that declares everything converges, and one
// that removes it does; the driver's order holds in both.
func TestReconciledInOneGo(t *testing.T) {
	b := newBare(t)
	b.empty()
	src := &reconcilertest.Source{}
	all := []schema.Resource{
		reconcilertest.Resource(KindIntentions, "web", l7), reconcilertest.Resource(KindResolver, "web", webResolver), reconcilertest.Resource(KindDefaults, "web", httpDefaults),
		reconcilertest.Resource(KindResolver, "api", `{"Redirect":{"Service":"web","ServiceSubset":"v1"}}`), reconcilertest.Resource(KindDefaults, "api", httpDefaults),
		reconcilertest.Resource(KindKV, "settings", `{"Key":"config/web","JSON":{"a":1}}`),
		reconcilertest.Resource(KindService, "db", `{"Node":"node-db","Address":"10.0.0.9","Service":{"Port":5432}}`),
		reconcilertest.Resource(KindService, "db-admin", `{"Node":"node-db","Service":{"Port":5433}}`),
		reconcilertest.Resource(KindAuthMethod, "nomad-workloads", string(drivertest.JSON(t, map[string]any{"Type": "jwt", "Config": map[string]any{"JWTValidationPubKeys": []string{jwksPEM}}}))),
		reconcilertest.Resource(KindPolicy, "tasks", `{"Rules":"key_prefix \"config/\" { policy = \"read\" }"}`),
		reconcilertest.Resource(KindRole, "nomad-default-tasks", `{"Policies":[{"Name":"tasks"}]}`),
		reconcilertest.Resource(KindRule, "tasks", `{"AuthMethod":"nomad-workloads","BindType":"role","BindName":"nomad-default-tasks"}`),
	}
	src.Declare(all...)
	p := enginetest.NewProxy(t, b.address)
	d := b.driver()
	d.URL = p.Address
	r := reconciled(t, d, src)
	r.Converges(t, 30*time.Second, "what is declared at once")
	src.Declare(all[5]) // one stays: an empty tree is refused
	r.Converges(t, 30*time.Second, "what is removed at once")
	left, err := b.direct.List(t.Context())
	drivertest.Must(t, err)
	if len(left) != 1 {
		t.Errorf("left are %+v", left)
	}
	if n, _, err := b.client().Catalog().Node("node-db", nil); err != nil || n != nil {
		t.Errorf("the node is left: %+v, %v", n, err)
	}
}

// TestReconciledProtocolChange: a protocol of L4 while the intention of L7 goes
// is possible in one order alone: the intention first.
func TestReconciledProtocolChange(t *testing.T) {
	b := newBare(t)
	b.empty()
	src := &reconcilertest.Source{}
	src.Declare(reconcilertest.Resource(KindIntentions, "web", l7), reconcilertest.Resource(KindDefaults, "web", httpDefaults))
	r := reconciled(t, b.driver(), src)
	r.Converges(t, 30*time.Second, "convergence")
	src.Declare(reconcilertest.Resource(KindIntentions, "web", l4), reconcilertest.Resource(KindDefaults, "web", tcpDefaults))
	r.Converges(t, 10*time.Second, "an intention of L4, and tcp")
	src.Declare(reconcilertest.Resource(KindIntentions, "web", l7), reconcilertest.Resource(KindDefaults, "web", httpDefaults))
	r.Converges(t, 30*time.Second, "convergence")
	src.Declare(reconcilertest.Resource(KindDefaults, "web", tcpDefaults))
	r.Converges(t, 10*time.Second, "the intention gone, and tcp")
}
