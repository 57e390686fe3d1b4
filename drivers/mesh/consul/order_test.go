//go:build e2e

package consul

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// step is one thing as a revision wants it; no spec: gone.
type step struct{ kind, spec string }

// permutations are all orders of some steps.
func permutations(all []step) [][]step {
	if len(all) < 2 {
		return [][]step{all}
	}
	var out [][]step
	for i, first := range all {
		rest := append(append([]step{}, all[:i]...), all[i+1:]...)
		for _, p := range permutations(rest) {
			out = append(out, append([]step{first}, p...))
		}
	}
	return out
}

// reach applies steps again and again, in this order, until all of them are
// made. What Consul refuses for its place in the order says so.
func reach(t *testing.T, d drivers.Driver, items map[string]*drivers.Item, order []step) {
	t.Helper()
	for range len(order) + 1 {
		left := 0
		for _, s := range order {
			it := items[s.kind]
			if it.Want = nil; s.spec != "" {
				it.Want = &drivers.Desired{Spec: json.RawMessage(s.spec)}
			}
			r := &drivertest.Resource{T: t, Driver: d, Item: *it}
			c := r.Plan()
			if c.Action == schema.None {
				continue
			}
			_, err := r.Apply(c)
			if err != nil && !errors.Is(err, drivers.ErrWaiting) {
				t.Fatalf("%s of %s: of class %v: %v", c.Action, it.Handle, drivers.Class(err), err)
			}
			if err != nil {
				left++
				if drivers.HintOf(err) == "" || !drivers.Answered(err) {
					t.Errorf("no hint, or no answer: %v", err)
				}
				continue
			}
			if it.Last = r.Item.Last; s.spec == "" {
				it.Last = nil
			}
		}
		if left == 0 {
			return
		}
	}
	t.Fatal("it does not converge")
}

const (
	httpDefaults = `{"Protocol":"http"}`
	tcpDefaults  = `{"Protocol":"tcp"}`
	webResolver  = `{"DefaultSubset":"v1","Subsets":{"v1":{"Filter":"Service.Meta.v == 1"}}}`
	toAPI        = `{"Redirect":{"Service":"api"}}`
	l7           = `{"Sources":[{"Name":"a","Permissions":[{"Action":"allow","HTTP":{"PathPrefix":"/"}}]}]}`
	l4           = `{"Sources":[{"Name":"a","Action":"allow"}]}`
)

// TestAnyOrderConverges: whatever comes first, what Consul does not take yet is
// waited for, and in the end everything is as declared.
func TestAnyOrderConverges(t *testing.T) {
	b := newBare(t)
	for name, revisions := range map[string][][]step{
		"made and removed at once": {
			{{KindDefaults, httpDefaults}, {KindResolver, webResolver}, {KindIntentions, l7}},
			{{KindDefaults, ""}, {KindResolver, ""}, {KindIntentions, ""}},
		},
		"another protocol, and the intention goes": {
			{{KindDefaults, httpDefaults}, {KindResolver, webResolver}, {KindIntentions, l7}},
			{{KindDefaults, tcpDefaults}, {KindResolver, webResolver}, {KindIntentions, ""}},
			{{KindDefaults, httpDefaults}, {KindResolver, webResolver}, {KindIntentions, l7}},
		},
		"another protocol, and the intention is of L4": {
			{{KindDefaults, httpDefaults}, {KindIntentions, l7}},
			{{KindDefaults, tcpDefaults}, {KindIntentions, l4}},
			{{KindDefaults, httpDefaults}, {KindIntentions, l7}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, first := range permutations(revisions[0]) {
				b.empty()
				d := b.driver()
				items := map[string]*drivers.Item{}
				for _, s := range first {
					handle, err := d.Address(s.kind, "web", json.RawMessage(`{}`))
					drivertest.Must(t, err)
					items[s.kind] = &drivers.Item{ID: schema.ID{Kind: s.kind, Name: "web", Target: "local"}, Handle: handle}
				}
				reach(t, d, items, first)
				for _, next := range revisions[1:] {
					for _, order := range permutations(next) {
						reach(t, d, items, order)
						reach(t, d, items, first)
					}
				}
			}
		})
	}
}

// TestResolversThatTurnRound: two resolvers that lead to each other the other
// way round than before are a circle while only one of them is written.
func TestResolversThatTurnRound(t *testing.T) {
	b := newBare(t)
	b.empty()
	d := b.driver()
	resource := func(name, spec string) *drivertest.Resource {
		return drivertest.NewResource(t, d, KindResolver, name, drivers.Desired{Spec: json.RawMessage(spec)})
	}
	web, api := resource("web", toAPI), resource("api", `{}`)
	web.Settle(schema.Create)
	api.Settle(schema.Create)
	api.Item.Want.Spec, web.Item.Want.Spec = json.RawMessage(`{"Redirect":{"Service":"web"}}`), json.RawMessage(`{}`)
	if _, err := api.Apply(api.Plan()); !errors.Is(err, drivers.ErrWaiting) {
		t.Fatalf("a circle: %v", err)
	}
	web.Settle(schema.Update)
	api.Settle(schema.Update)
}
