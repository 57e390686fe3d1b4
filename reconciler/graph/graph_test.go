package graph_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/schema"
)

// registry has a memory engine under each name.
func registry(t *testing.T, names ...string) *drivers.Registry {
	t.Helper()
	var targets []drivers.Target
	for _, name := range names {
		targets = append(targets, drivers.Target{Name: name, Kinds: memory.Kinds(), Driver: &memory.Driver{Engine: &memory.Engine{}, Env: "env"}})
	}
	reg, err := drivers.NewRegistry(targets...)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// thing declares a memory.thing at line; spec strings with references are
// noted as schema/compile does.
func thing(name string, line int, spec map[string]any, needs ...string) schema.Resource {
	raw, err := json.Marshal(spec)
	if err != nil {
		panic(err)
	}
	r := schema.Resource{ID: schema.ID{Kind: memory.KindThing, Name: name}, Spec: raw, Pos: at(line)}
	for _, key := range slices.Sorted(maps.Keys(spec)) {
		if text, ok := spec[key].(string); ok && schema.HasMark(text) {
			r.Refs = append(r.Refs, schema.FieldRef{Path: schema.Path("").Child(key), Text: text, Pos: at(line + 1)})
		}
	}
	for i, need := range needs {
		id, err := schema.ParseID("memory.thing/" + need)
		if err != nil {
			panic(err)
		}
		r.Needs = append(r.Needs, schema.Need{ID: id, Pos: at(line + 2 + i)})
	}
	return r
}

func at(line int) schema.Pos { return schema.Pos{File: "a.yaml", Line: line} }

func in(r schema.Resource, targets ...string) schema.Resource {
	r.Targets = targets
	return r
}

// lines are a Build's outcome: the order and what each node needs, or the
// findings with their hints.
func lines(nodes []*graph.Node, findings []schema.Diagnostic) []string {
	var out []string
	for _, n := range nodes {
		line := n.ID.Name + "@" + n.ID.Target
		for _, need := range n.Needs {
			line += " " + need.ID.Name + "@" + need.ID.Target
		}
		out = append(out, line)
	}
	for _, f := range findings {
		line := f.String()
		if f.Hint != "" {
			line += "; " + f.Hint
		}
		out = append(out, line)
	}
	return out
}

func TestBuild(t *testing.T) {
	ref := func(to string) map[string]any { return map[string]any{"value": "@{memory.thing/" + to + "}"} }
	for _, c := range []struct {
		name    string
		targets []string
		res     []schema.Resource
		want    []string // "node@target need@target…", or findings
	}{
		{"nothing", []string{"eu"}, nil, nil},
		{"the only target is meant", []string{"eu"}, []schema.Resource{thing("a", 1, nil)}, []string{"a@eu"}},
		{"no target serves it", nil, []schema.Resource{thing("a", 1, nil)}, []string{"a.yaml:1: memory.thing/a: no configured target serves memory.thing; the engines stand in the daemon's configuration: add a target of engine memory, or name the configuration with -c"}},
		{
			"two targets, none named", []string{"us", "eu"}, []schema.Resource{thing("a", 1, nil)},
			[]string{"a.yaml:1: memory.thing/a: several targets serve memory.thing, and none is named; metadata.target: one of eu, us"},
		},
		{"targets: [eu, us]", []string{"eu", "us"}, []schema.Resource{in(thing("a", 1, nil), "eu", "us")}, []string{"a@eu", "a@us"}},
		{
			"no such target", []string{"eu"}, []schema.Resource{in(thing("a", 1, nil), "ue")},
			[]string{`a.yaml:1: memory.thing/a: no target "ue" serves memory.thing; one of eu`},
		},
		{
			"a reference means the referrer's own target", []string{"eu", "us"},
			[]schema.Resource{in(thing("a", 1, nil), "eu", "us"), in(thing("b", 5, ref("a.id")), "eu", "us")},
			[]string{"a@eu", "a@us", "b@eu a@eu", "b@us a@us"},
		},
		{
			"else the only one", []string{"eu", "us"},
			[]schema.Resource{in(thing("a", 1, nil), "us"), in(thing("b", 5, ref("a.id")), "eu")},
			[]string{"a@us", "b@eu a@us"},
		},
		{
			"else it must be said", []string{"eu", "us", "asia"},
			[]schema.Resource{in(thing("a", 1, nil), "eu", "us"), in(thing("b", 5, ref("a.id")), "asia")},
			[]string{"a.yaml:6: memory.thing/b: refers to memory.thing/a, which exists in 2 targets; say which: memory.thing/a@eu"},
		},
		{
			"and can be said", []string{"eu", "us"},
			[]schema.Resource{in(thing("a", 1, nil), "eu", "us"), in(thing("b", 5, ref("a@us.id"), "a@eu"), "eu")},
			[]string{"a@eu", "a@us", "b@eu a@eu a@us"},
		},
		{
			"a need in a target where it is not", []string{"eu", "us"},
			[]schema.Resource{in(thing("a", 1, nil), "eu"), in(thing("b", 5, nil, "a@us"), "eu")},
			[]string{"a.yaml:7: memory.thing/b: needs memory.thing/a@us, which is not declared; did you mean memory.thing/a?"},
		},
		{
			"a duplicate names both places", []string{"eu"}, []schema.Resource{thing("a", 1, nil), thing("a", 9, nil)},
			[]string{"a.yaml:9: memory.thing/a: declared twice (also a.yaml:1)"},
		},
		{"the same name elsewhere is another", []string{"eu", "us"}, []schema.Resource{in(thing("a", 1, nil), "eu"), in(thing("a", 9, nil), "us")}, []string{"a@eu", "a@us"}},
		{
			"a shared address names both places", []string{"eu"},
			[]schema.Resource{thing("a", 1, nil), thing("b", 9, map[string]any{"id": "a"})},
			[]string{"a.yaml:9: memory.thing/b: has the same address as memory.thing/a: memory.thing/a (also a.yaml:1)"},
		},
		{
			"the same address in another engine is another", []string{"eu", "us"},
			[]schema.Resource{in(thing("a", 1, nil), "eu"), in(thing("b", 9, map[string]any{"id": "a"}), "us")},
			[]string{"a@eu", "b@us"},
		},
		{
			"an address that the engine refuses", []string{"eu"}, []schema.Resource{thing("a", 1, map[string]any{"id": "@{memory.thing/b.id}"}), thing("b", 9, nil)},
			[]string{"a.yaml:1: memory.thing/a: id is the address and may hold no reference"},
		},
		{
			"a dangling need", []string{"eu"}, []schema.Resource{thing("database", 1, nil), thing("b", 5, nil, "databaes")},
			[]string{"a.yaml:7: memory.thing/b: needs memory.thing/databaes, which is not declared; did you mean memory.thing/database?"},
		},
		{
			"a dangling reference, nothing near", []string{"eu"}, []schema.Resource{thing("database", 1, nil), thing("b", 5, ref("c.id"))},
			[]string{"a.yaml:6: memory.thing/b: refers to memory.thing/c, which is not declared"},
		},
		{
			"all findings at once", []string{"eu"}, []schema.Resource{thing("a", 1, nil, "nowhere"), thing("b", 9, nil, "never"), thing("b", 20, nil)},
			[]string{
				"a.yaml:3: memory.thing/a: needs memory.thing/nowhere, which is not declared",
				"a.yaml:11: memory.thing/b: needs memory.thing/never, which is not declared",
				"a.yaml:20: memory.thing/b: declared twice (also a.yaml:9)",
			},
		},
		{"a need said twice is one", []string{"eu"}, []schema.Resource{thing("a", 1, nil), thing("b", 5, ref("a.id"), "a", "a")}, []string{"a@eu", "b@eu a@eu"}},
		{"an escaped reference needs nothing", []string{"eu"}, []schema.Resource{thing("a", 1, map[string]any{"value": "@@{memory.thing/b.id}"})}, []string{"a@eu"}},
		{
			"a cycle of one", []string{"eu"}, []schema.Resource{thing("a", 1, nil, "a")},
			[]string{"a.yaml:3: memory.thing/a: needs itself: memory.thing/a -> memory.thing/a"},
		},
		{
			"a cycle of two, by reference", []string{"eu"}, []schema.Resource{thing("a", 1, nil, "b"), thing("b", 10, ref("a.id"))},
			[]string{"a.yaml:11: memory.thing/b: needs itself: memory.thing/a -> memory.thing/b -> memory.thing/a"},
		},
		{
			"a cycle of three, without what leads to it", []string{"eu"},
			[]schema.Resource{thing("a", 1, nil, "b"), thing("b", 10, nil, "c"), thing("c", 20, nil, "d"), thing("d", 30, nil, "b")},
			[]string{"a.yaml:32: memory.thing/d: needs itself: memory.thing/b -> memory.thing/c -> memory.thing/d -> memory.thing/b"},
		},
		{
			"several cycles", []string{"eu"},
			[]schema.Resource{thing("a", 1, nil, "b"), thing("b", 10, nil, "a"), thing("c", 20, nil, "d"), thing("d", 30, nil, "c"), thing("e", 40, nil)},
			[]string{
				"a.yaml:12: memory.thing/b: needs itself: memory.thing/a -> memory.thing/b -> memory.thing/a",
				"a.yaml:32: memory.thing/d: needs itself: memory.thing/c -> memory.thing/d -> memory.thing/c",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			nodes, findings := graph.Build(c.res, registry(t, c.targets...))
			if got := lines(nodes, findings); !slices.Equal(got, c.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
			if len(findings) > 0 && nodes != nil {
				t.Error("an order in spite of findings")
			}
		})
	}
}

// TestOrder: whatever order the files were read in, the order is one, and
// needs come first.
func TestOrder(t *testing.T) {
	var res []schema.Resource
	for i := range 40 {
		var needs []string
		for j := 7 * i % 11; j < i; j += 5 {
			needs = append(needs, fmt.Sprintf("r%d", 39-j))
		}
		res = append(res, thing(fmt.Sprintf("r%d", 39-i), i, nil, needs...))
	}
	reg := registry(t, "eu")
	nodes, findings := graph.Build(res, reg)
	if findings != nil {
		t.Fatal(findings)
	}
	want := lines(nodes, nil)
	edges := 0
	for i, n := range nodes {
		if n.Index != i {
			t.Errorf("%s is at %d and says %d", n.ID, i, n.Index)
		}
		for _, need := range n.Needs {
			edges++
			if need.Index >= i || !slices.Contains(need.By, n) {
				t.Errorf("%s comes before its need %s, or is not known to it", n.ID, need.ID)
			}
		}
	}
	if edges < 40 {
		t.Fatalf("only %d needs: this proves nothing", edges)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		rng.Shuffle(len(res), func(i, j int) { res[i], res[j] = res[j], res[i] })
		again, _ := graph.Build(res, reg)
		if got := lines(again, nil); !slices.Equal(got, want) {
			t.Fatalf("shuffled:\n%v\nfirst\n%v", got, want)
		}
	}
}

// anyKind is an engine of every kind.
type anyKind struct{ *memory.Driver }

func (anyKind) Address(kind, name string, _ json.RawMessage) (string, error) {
	return kind + "/" + name, nil
}

func TestOrderByLayer(t *testing.T) {
	kinds := []string{"local.process", "local.service", "local.secret", "local.file"} // the layers, the wrong way round
	reg, err := drivers.NewRegistry(drivers.Target{Name: "l", Kinds: kinds, Driver: anyKind{}})
	if err != nil {
		t.Fatal(err)
	}
	var res []schema.Resource
	for i, kind := range kinds {
		res = append(res, schema.Resource{ID: schema.ID{Kind: kind, Name: "a"}, Spec: json.RawMessage(`{}`), Pos: at(i + 1)})
	}
	res[3].Needs = []schema.Need{{ID: res[2].ID}} // the file wants the secret, whatever the layers say
	nodes, findings := graph.Build(res, reg)
	var got []string
	for _, n := range nodes {
		got = append(got, n.ID.Kind+" "+n.Layer)
	}
	want := []string{"local.secret secret", "local.file provisioning", "local.service mesh", "local.process scheduler"}
	if findings != nil || !slices.Equal(got, want) {
		t.Errorf("%v, findings %v; want %v", got, findings, want)
	}
}

// ordered is an engine that knows an order: b wants a, and what nobody
// declares.
type ordered struct{ anyKind }

func (ordered) Needs(kind, name string, _ drivers.Desired) []string {
	if name != "b" {
		return nil
	}
	return []string{"local.service/a", "local.service/missing", kind + "/b"}
}

func TestOrderOfTheEngine(t *testing.T) {
	reg, err := drivers.NewRegistry(drivers.Target{Name: "l", Kinds: []string{"local.file", "local.service"}, Driver: ordered{}})
	if err != nil {
		t.Fatal(err)
	}
	res := []schema.Resource{
		{ID: schema.ID{Kind: "local.file", Name: "b"}, Spec: json.RawMessage(`{}`), Pos: at(1)},
		{ID: schema.ID{Kind: "local.service", Name: "a"}, Spec: json.RawMessage(`{}`), Pos: at(2)},
	}
	nodes, findings := graph.Build(res, reg)
	if findings != nil || nodes[0].ID.Name != "a" || len(nodes[1].Needs) != 1 || nodes[1].Needs[0] != nodes[0] || len(nodes[0].By) != 1 {
		t.Errorf("%v, findings %v", lines(nodes, nil), findings)
	}
}

// TestLong: neither a long chain nor a long cycle exhausts anything.
func TestLong(t *testing.T) {
	const n = 10_000
	res := make([]schema.Resource, n)
	for i := range res {
		res[i] = thing(fmt.Sprintf("r%d", i), i, nil, fmt.Sprintf("r%d", (i+1)%n))
	}
	reg := registry(t, "eu")
	began := time.Now()
	_, findings := graph.Build(res, reg)
	if len(findings) != 1 || strings.Count(findings[0].Message, "->") != n {
		t.Errorf("%d findings of a cycle of %d", len(findings), n)
	}
	res[n-1].Needs = nil
	nodes, findings := graph.Build(res, reg)
	if len(findings) > 0 || len(nodes) != n || nodes[0].ID.Name != "r9999" || nodes[n-1].ID.Name != "r0" {
		t.Fatalf("%d nodes, %v", len(nodes), findings)
	}
	if took := time.Since(began); took > 20*time.Second { // linear takes well under one
		t.Errorf("it took %v", took)
	}
}
