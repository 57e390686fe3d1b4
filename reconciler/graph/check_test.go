package graph_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/schema"
)

// TestCheck: what is found among declarations of which some are broken, and
// what is not said because a broken one may be what it looks for.
func TestCheck(t *testing.T) {
	broken := func(r schema.Resource) schema.Resource { r.Spec = nil; return r }
	nameless := func(r schema.Resource) schema.Resource { r.Spec, r.ID.Name = nil, ""; return r }
	kindless := func(r schema.Resource) schema.Resource { r.Spec, r.ID.Kind = nil, ""; return r }
	ref := func(to string) map[string]any { return map[string]any{"value": "@{memory.thing/" + to + "}"} }
	for _, c := range []struct {
		name    string
		targets []string
		res     []schema.Resource
		want    []string
	}{
		{"nothing wrong", []string{"eu"}, []schema.Resource{thing("a", 1, ref("b.id")), thing("b", 5, nil)}, nil},
		{"what is broken is declared", []string{"eu"}, []schema.Resource{thing("a", 1, ref("b.id"), "b"), broken(thing("b", 5, nil))}, nil},
		{
			"another is not", []string{"eu"}, []schema.Resource{thing("a", 1, ref("c.id"), "d"), broken(thing("b", 5, nil))},
			[]string{"a.yaml:2: memory.thing/a: refers to memory.thing/c, which is not declared", "a.yaml:3: memory.thing/a: needs memory.thing/d, which is not declared"},
		},
		{"a name that is not known may be any", []string{"eu"}, []schema.Resource{thing("a", 1, ref("c.id"), "d"), nameless(thing("b", 5, nil))}, nil},
		{
			"but not of another kind", []string{"eu"}, []schema.Resource{thing("a", 1, ref("c.id")), {ID: schema.ID{Kind: memory.KindSecret}, Pos: at(9)}},
			[]string{"a.yaml:2: memory.thing/a: refers to memory.thing/c, which is not declared"},
		},
		{
			"a kind that is not known may be any", []string{"eu"}, []schema.Resource{thing("a", 1, ref("c.id"), "b"), kindless(thing("b", 5, nil))},
			[]string{"a.yaml:2: memory.thing/a: refers to memory.thing/c, which is not declared"},
		},
		{"a file that does not parse may be all", []string{"eu"}, []schema.Resource{thing("a", 1, ref("c.id"), "d"), {Pos: at(9)}}, nil},
		{
			"what a broken one needs", []string{"eu"}, []schema.Resource{broken(thing("a", 1, ref("c.id"))), nameless(thing("", 5, nil, "a")), kindless(thing("b", 9, nil, "a", "e"))},
			nil, // the nameless one may be c or e
		},
		{
			"what a broken one needs, and nobody may be", []string{"eu"}, []schema.Resource{broken(thing("a", 1, ref("c.id"), "x")), kindless(thing("b", 9, nil, "a", "e"))},
			[]string{
				"a.yaml:2: memory.thing/a: refers to memory.thing/c, which is not declared",
				"a.yaml:3: memory.thing/a: needs memory.thing/x, which is not declared",
				"a.yaml:12: needs memory.thing/e, which is not declared",
			},
		},
		{
			"duplicates with a broken one", []string{"eu"}, []schema.Resource{thing("a", 1, nil), broken(thing("a", 5, nil)), broken(thing("a", 9, nil))},
			[]string{"a.yaml:5: memory.thing/a: declared twice (also a.yaml:1)", "a.yaml:9: memory.thing/a: declared twice (also a.yaml:1)"},
		},
		{
			"a target that is not known is none, and none twice", []string{"eu", "us"},
			[]schema.Resource{in(thing("a", 1, nil), "eu"), in(broken(thing("a", 5, nil)), ""), in(thing("b", 9, ref("a.id")), "us")},
			nil,
		},
		{
			"which of several may be said by a broken one", []string{"eu", "us", "asia"},
			[]schema.Resource{in(thing("a", 1, nil), "eu", "us"), in(broken(thing("a", 5, nil)), ""), in(thing("b", 9, ref("a.id")), "asia")},
			nil,
		},
		{
			"an unknown target hides nothing", []string{"eu"},
			[]schema.Resource{in(broken(thing("a", 1, nil, "c")), "ue"), in(thing("b", 9, ref("a.id"), "d"), "su")},
			[]string{
				`a.yaml:1: memory.thing/a: no target "ue" serves memory.thing; one of eu`,
				"a.yaml:3: memory.thing/a: needs memory.thing/c, which is not declared",
				`a.yaml:9: memory.thing/b: no target "su" serves memory.thing; one of eu`,
				"a.yaml:11: memory.thing/b: needs memory.thing/d, which is not declared",
			},
		},
		{
			"a cycle through a broken one, beside all else", []string{"eu"},
			[]schema.Resource{broken(thing("a", 1, nil, "b")), thing("b", 10, ref("a.id")), thing("c", 20, map[string]any{"id": "b"}, "z"), thing("b", 30, nil, "y")},
			[]string{
				"a.yaml:11: memory.thing/b: needs itself: memory.thing/a -> memory.thing/b -> memory.thing/a",
				"a.yaml:20: memory.thing/c: has the same address as memory.thing/b: memory.thing/b (also a.yaml:10)",
				"a.yaml:22: memory.thing/c: needs memory.thing/z, which is not declared",
				"a.yaml:30: memory.thing/b: declared twice (also a.yaml:10)",
				"a.yaml:32: memory.thing/b: needs memory.thing/y, which is not declared",
			},
		},
		{
			"an address that is refused hides nothing", []string{"eu"},
			[]schema.Resource{thing("a", 1, map[string]any{"id": "@{memory.thing/b.id}"}, "c"), thing("b", 9, nil), thing("d", 20, ref("a.id"))},
			[]string{
				"a.yaml:1: memory.thing/a: id is the address and may hold no reference",
				"a.yaml:3: memory.thing/a: needs memory.thing/c, which is not declared",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := lines(nil, graph.Check(c.res, registry(t, c.targets...))); !slices.Equal(got, c.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
		})
	}
}

// judge is an engine that has an opinion: a thing is refused for its field
// "refuse", and claims what "claim" and "share" say.
type judge struct{ *memory.Driver }

func words(d drivers.Desired) map[string]string {
	var w map[string]string
	if err := json.Unmarshal(d.Spec, &w); err != nil {
		panic(err)
	}
	return w
}

func (judge) Check(kind, name string, d drivers.Desired) error {
	w := words(d)
	if _, unknown := d.Unknown["/refuse"]; w["refuse"] == "" || unknown {
		return nil
	}
	return &drivers.Error{Op: "read", Subject: w["subject"], Class: drivers.ErrPermanent, Err: errors.New(w["refuse"]), Hint: "mend it"}
}

func (judge) Claims(_, _ string, d drivers.Desired) (claims []drivers.Claim) {
	if w := words(d); w["claim"] != "" {
		claims = append(claims, drivers.Claim{Thing: w["claim"]})
	} else if w["share"] != "" {
		claims = append(claims, drivers.Claim{Thing: w["share"], Shared: true})
	}
	return claims
}

// TestJudged: what drivers say of a declaration alone is a finding at its
// place, in Build as in Check.
func TestJudged(t *testing.T) {
	d := judge{&memory.Driver{Engine: &memory.Engine{}, Env: "env"}}
	targets := []drivers.Target{{Name: "eu", Kinds: memory.Kinds(), Driver: &drivers.Retry{Driver: d}}, {Name: "us", Kinds: memory.Kinds(), Driver: d}}
	reg, err := drivers.NewRegistry(targets...)
	if err != nil {
		t.Fatal(err)
	}
	with := func(name string, line int, pairs ...string) schema.Resource {
		spec := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			spec[pairs[i]] = pairs[i+1]
		}
		return in(thing(name, line, spec), "eu")
	}
	res := []schema.Resource{
		with("a", 1, "refuse", "too round", "subject", "memory.thing/a"),
		with("b", 10, "refuse", "too square", "subject", "b.tmpl", "claim", "hidden"),
		with("c", 20, "refuse", "@{memory.thing/a.id}"),
		with("d", 30, "claim", "port 80"), with("e", 40, "share", "port 80"), with("f", 50, "claim", "port 80"),
		with("g", 60, "share", "port 81"), with("h", 70, "share", "port 81"), with("i", 80, "claim", "port 81"),
		in(with("j", 90, "claim", "port 80"), "us"),
		with("k", 100, "claim", "port 82"), with("l", 110, "claim", "port 82", "id", "k"),
	}
	want := []string{
		"a.yaml:1: memory.thing/a: too round; mend it",
		"a.yaml:10: memory.thing/b: b.tmpl: too square; mend it",
		"a.yaml:40: memory.thing/e: wants the port 80, and so does memory.thing/d (also a.yaml:30)",
		"a.yaml:50: memory.thing/f: wants the port 80, and so does memory.thing/d (also a.yaml:30)",
		"a.yaml:80: memory.thing/i: wants the port 81, and so does memory.thing/g (also a.yaml:60)",
		"a.yaml:110: memory.thing/l: has the same address as memory.thing/k: memory.thing/k (also a.yaml:100)",
	}
	nodes, findings := graph.Build(res, reg)
	if got := lines(nodes, findings); !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
	if got := lines(nil, graph.Check(res, reg)); !slices.Equal(got, want) {
		t.Errorf("Check\n  %s\nBuild\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
