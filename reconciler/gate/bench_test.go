package gate_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
)

// BenchmarkOwnersOf is a change of very many fields under many rules for fields.
func BenchmarkOwnersOf(b *testing.B) {
	var rules []gate.OwnerRule
	for i := range 100 {
		f, err := gate.ParseField(fmt.Sprintf("/job/TaskGroups/*/Tasks/*/Env/k%d", i))
		if err != nil {
			b.Fatal(err)
		}
		rules = append(rules, gate.OwnerRule{Fields: []gate.Field{f}, Owners: []string{"a"}})
	}
	o := gate.NewOwners(rules)
	for _, n := range []int{10, 1000, 10_000} {
		var env []string
		for i := range n {
			env = append(env, fmt.Sprintf(`"v%d":"x"`, i))
		}
		spec := []byte(`{"job":{"TaskGroups":[{"Name":"web","Tasks":[{"Name":"srv","Env":{` + strings.Join(env, ",") + `}}]}]}}`)
		c := plan.Mask("env", "engine", drivers.Change{ID: schema.ID{Kind: "nomad.job", Name: "web", Target: "eu"}, Action: schema.Create})
		in := gate.Owned{Change: c, Spec: spec, Now: &gate.Face{Files: []string{"a"}, Labels: map[string]string{}}}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				if len(o.Of(in)) != 0 {
					b.Fatal("something is owned")
				}
			}
		})
	}
}
