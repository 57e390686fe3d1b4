package consul

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/hashicorp/consul/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// BenchmarkEntry is what one config entry costs, from what Consul answers to a
// plan that finds nothing to do.
func BenchmarkEntry(b *testing.B) {
	d := &Driver{Env: "e", URL: "http://127.0.0.1:1"}
	d.setup()
	e := d.families[KindDefaults].(*entries)
	answer := []byte(`{"Kind":"service-defaults","Name":"n1","Protocol":"http","TransparentProxy":{},"MeshGateway":{},"Expose":{},"MaxInboundConnections":1,"Meta":{"aplomb-environment":"e"},"Hash":4570506531397265768,"CreateIndex":19,"ModifyIndex":19}`)
	it := drivers.Item{ID: schema.ID{Kind: KindDefaults, Name: "n1"}, Handle: "service-defaults/n1", Want: &drivers.Desired{Spec: json.RawMessage(`{"MaxInboundConnections":1,"Protocol":"http"}`)}}
	b.ReportAllocs()
	for b.Loop() {
		s, err := e.state(it.Handle, answer)
		if err != nil {
			b.Fatal(err)
		}
		if c, err := d.Plan(b.Context(), it, s); err != nil || c.Action != schema.None {
			b.Fatal(c, err)
		}
	}
}

// BenchmarkNothingToDo is what one key costs that is as declared.
func BenchmarkNothingToDo(b *testing.B) {
	d := &Driver{Env: "e", URL: "http://127.0.0.1:1"}
	d.setup()
	k := d.families[KindKV].(*kvs)
	pair := &api.KVPair{Key: "bench/n1", Value: []byte("value 1 of 1"), Flags: k.flags, ModifyIndex: 7}
	it := drivers.Item{ID: schema.ID{Kind: KindKV, Name: "n1"}, Handle: "kv/bench/n1", Want: &drivers.Desired{Spec: json.RawMessage(fmt.Sprintf(`{"Key":%q,"Value":%q}`, pair.Key, pair.Value))}}
	b.ReportAllocs()
	for b.Loop() {
		s, err := k.state(it.Handle, pair)
		if err != nil {
			b.Fatal(err)
		}
		if c, err := d.Plan(b.Context(), it, s); err != nil || c.Action != schema.None {
			b.Fatal(c, err)
		}
	}
}
