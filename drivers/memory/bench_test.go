package memory

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
)

// fleet is ten thousand converged things.
func fleet(b *testing.B) (*Driver, []drivers.Item, []drivers.State) {
	b.Helper()
	d := &Driver{Engine: &Engine{Seed: 1}, Env: "env"}
	items := make([]drivers.Item, 10_000)
	for i := range items {
		items[i] = item(KindThing, fmt.Sprint("thing-", i), fmt.Sprintf(`{"class":"a","count":2,"size":8,"value":{"n":%d,"text":"some words that are as long as words are"}}`, i))
		turn(b, d, &items[i])
	}
	states, err := d.Observe(b.Context(), items)
	if err != nil {
		b.Fatal(err)
	}
	return d, items, states
}

func BenchmarkObserve10k(b *testing.B) {
	d, items, _ := fleet(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Observe(b.Context(), items); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPlanNone(b *testing.B) {
	d, items, states := fleet(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := i % len(items)
		if _, err := d.Plan(b.Context(), items[n], states[n]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPlanUpdate(b *testing.B) {
	d, items, states := fleet(b)
	want := &drivers.Desired{Spec: json.RawMessage(`{"class":"a","count":3,"size":8,"value":{"n":0,"text":"other words"}}`)}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := i % len(items)
		it := items[n]
		it.Want = want
		if _, err := d.Plan(b.Context(), it, states[n]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCreate plans and applies a create, and a delete.
func BenchmarkCreateAndDelete(b *testing.B) {
	d := &Driver{Engine: &Engine{Seed: 1}, Env: "env"}
	it := item(KindThing, "web", `{"class":"a","count":2,"size":8,"value":{"n":1}}`)
	it.Handle = "memory.thing/web"
	gone := it
	gone.Want = nil
	b.ReportAllocs()
	for b.Loop() {
		c, err := d.Plan(b.Context(), it, drivers.State{Handle: it.Handle})
		if err != nil {
			b.Fatal(err)
		}
		live, err := d.Apply(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		if c, err = d.Plan(b.Context(), gone, live); err != nil {
			b.Fatal(err)
		}
		if _, err = d.Apply(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}
