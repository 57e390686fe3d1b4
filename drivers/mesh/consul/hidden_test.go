//go:build e2e

package consul

import (
	"errors"
	"fmt"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// TestWhatIsHiddenIsNotGone: Consul leaves out of lists what a token may not
// read, without an error. What is missing then is denied, never gone: however
// many things are looked at together.
func TestWhatIsHiddenIsNotGone(t *testing.T) {
	b := newBare(t)
	b.empty()
	_, _, err := b.client().ACL().PolicyCreate(&api.ACLPolicy{Name: "narrow", Rules: `
key_prefix "seen/open/" { policy = "read" }
service "open" { policy = "read" }
node "open" { policy = "read" }
`}, nil)
	drivertest.Must(t, err)
	tok, _, err := b.client().ACL().TokenCreate(&api.ACLToken{Policies: []*api.ACLTokenPolicyLink{{Name: "narrow"}}}, nil)
	drivertest.Must(t, err)
	d := b.driver()
	d.Token = func() (schema.Secret, error) { return schema.NewSecret(tok.SecretID), nil }

	b.put(KindKV, "kv/seen/open/a", `{"Value":"x"}`, "")
	b.put(KindKV, "kv/seen/closed/a", `{"Value":"x"}`, "")
	b.put(KindDefaults, "service-defaults/open", `{"Protocol":"http"}`, "")
	b.put(KindDefaults, "service-defaults/closed", `{"Protocol":"http"}`, "")
	b.put(KindService, "service/closed/api", `{"Node":"closed","Address":"127.0.0.1","Service":{"Address":"127.0.0.1","Port":80}}`, "")
	item := func(kind, handle string) drivers.Item {
		return drivers.Item{ID: schema.ID{Kind: kind, Name: "x"}, Handle: handle}
	}
	keys := []drivers.Item{item(KindKV, "kv/seen/open/a"), item(KindKV, "kv/seen/closed/a")}
	entries := []drivers.Item{item(KindDefaults, "service-defaults/open"), item(KindDefaults, "service-defaults/closed")}
	for i := range 2 * readsAtOnce {
		keys = append(keys, item(KindKV, fmt.Sprintf("kv/seen/open/none%d", i)))
	}
	for i := range 2 * fewEntries {
		entries = append(entries, item(KindDefaults, fmt.Sprintf("service-defaults/none%d", i)))
	}
	for _, items := range [][]drivers.Item{keys, entries} {
		states, err := d.Observe(t.Context(), items)
		drivertest.Must(t, err)
		if !states[0].Exists || !errors.Is(states[1].Err, drivers.ErrDenied) {
			t.Errorf("%s: seen %t, hidden %v", items[0].ID.Kind, states[0].Exists, states[1].Err)
		}
		if s := states[len(states)-1]; s.Exists {
			t.Errorf("%s: what is not there exists", items[0].ID.Kind)
		}
	}
	states, err := d.Observe(t.Context(), []drivers.Item{item(KindService, "service/closed/api")})
	drivertest.Must(t, err)
	if !errors.Is(states[0].Err, drivers.ErrDenied) {
		t.Errorf("a service on a node that is hidden: %+v", states[0])
	}
}
