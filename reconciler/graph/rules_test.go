package graph_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/schema"
)

func globs(t *testing.T, patterns ...string) []schema.Glob {
	t.Helper()
	all := []schema.Glob{}
	for _, p := range patterns {
		g, err := schema.ParseGlob(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	return all
}

// from puts a declaration into a file.
func from(file string, r schema.Resource) schema.Resource {
	r.Pos.File = file
	for i := range r.Refs {
		r.Refs[i].Pos.File = file
	}
	for i := range r.Needs {
		r.Needs[i].Pos.File = file
	}
	return r
}

func shared(r schema.Resource, paths ...string) schema.Resource {
	r.Share = paths
	return r
}

func TestRules(t *testing.T) {
	rules := []graph.Rule{
		{Path: "teams/shop", Kinds: globs(t, "memory.*"), Names: globs(t, "shop-*"), Targets: globs(t, "eu"), Templates: globs(t, "Web*")},
		{Path: "teams/pay"},
		{Path: "teams/pay/none", Kinds: globs(t), Templates: globs(t)},
	}
	use := func(r schema.Resource, template string) schema.Resource {
		r.Use = &schema.Use{Template: template, Name: "shop-web", Pos: r.Pos}
		return r
	}
	shop := func(r schema.Resource) schema.Resource { return from("teams/shop/a.yaml", r) }
	pay := func(r schema.Resource) schema.Resource { return from("teams/pay/b.yaml", r) }
	origin := func(r schema.Resource) schema.Resource { r.Origin = "teams/shop/web.cue"; return r }
	for name, c := range map[string]struct {
		rules []graph.Rule
		res   []schema.Resource
		want  []string
	}{
		"no rules": {nil, []schema.Resource{in(thing("x", 1, nil), "eu"), pay(in(thing("y", 1, nil, "x"), "us"))}, nil},
		"all is well": {rules, []schema.Resource{shop(in(thing("shop-a", 1, nil), "eu")), pay(in(thing("b", 1, nil), "us")),
			use(shop(in(thing("shop-web", 9, nil), "eu")), "WebService")}, nil},
		"no rule is for it": {rules, []schema.Resource{from("teams/shopping/a.yaml", in(thing("a", 1, nil), "eu"))}, []string{
			"teams/shopping/a.yaml:1: memory.thing/a: nothing may be declared here: no rule of the operator is for this path; the rules are for teams/pay, teams/pay/none, teams/shop"}},
		"a name and a target": {rules, []schema.Resource{shop(in(thing("web", 1, nil), "eu", "us"))}, []string{
			"teams/shop/a.yaml:1: memory.thing/web: the name web may not be declared here, by the operator's rule for teams/shop; names here are shop-*",
			"teams/shop/a.yaml:1: memory.thing/web: the target us may not be declared here, by the operator's rule for teams/shop; targets here are eu"}},
		"the engine's own name": {rules, []schema.Resource{shop(in(thing("shop-a", 1, map[string]any{"name": "pay-api"}), "eu"))}, []string{
			"teams/shop/a.yaml:1: memory.thing/shop-a: the name pay-api may not be declared here, by the operator's rule for teams/shop; names here are shop-*"}},
		"the nearest rule": {rules, []schema.Resource{from("teams/pay/none/x/a.yaml", in(thing("a", 1, nil), "eu"))}, []string{
			"teams/pay/none/x/a.yaml:1: memory.thing/a: the kind memory.thing may not be declared here, by the operator's rule for teams/pay/none; no kinds are allowed here"}},
		"a template, told once": {rules, []schema.Resource{use(shop(in(thing("shop-web", 3, nil), "eu")), "Database"), use(shop(in(thing("shop-web-db", 3, nil), "eu")), "Database")}, []string{
			"teams/shop/a.yaml:3: Database/shop-web: the template Database may not be used here, by the operator's rule for teams/shop; templates here are Web*"}},
		"where it is declared, not where it was written": {rules, []schema.Resource{origin(pay(in(thing("a", 1, nil), "eu")))}, []string{
			"teams/pay/b.yaml:1: memory.thing/a: the name a may not be declared here, by the operator's rule for teams/shop; names here are shop-*"}},
		"not shared": {rules, []schema.Resource{pay(in(thing("db", 1, nil), "eu")), shop(in(thing("shop-a", 1, map[string]any{"size": "@{memory.thing/db.size}"}, "db"), "eu"))}, []string{
			`teams/shop/a.yaml:2: memory.thing/shop-a: refers to memory.thing/db, which is not shared with this path (also teams/pay/b.yaml:1); its owner lets you with metadata.share: ["teams/shop/**"]`,
			`teams/shop/a.yaml:3: memory.thing/shop-a: needs memory.thing/db, which is not shared with this path (also teams/pay/b.yaml:1); its owner lets you with metadata.share: ["teams/shop/**"]`}},
		"shared with others": {rules, []schema.Resource{shared(pay(in(thing("db", 1, nil), "eu")), "teams/ops/**", "teams/*"), shop(in(thing("shop-a", 1, nil, "db"), "eu"))}, []string{
			`teams/shop/a.yaml:3: memory.thing/shop-a: needs memory.thing/db, which is not shared with this path (also teams/pay/b.yaml:1); its owner lets you with metadata.share: ["teams/shop/**"]`}},
		"shared":        {rules, []schema.Resource{shared(pay(in(thing("db", 1, nil), "eu")), "teams/shop/**"), shop(in(thing("shop-a", 1, map[string]any{"size": "@{memory.thing/db.size}"}), "eu"))}, nil},
		"with everyone": {rules, []schema.Resource{shared(pay(in(thing("db", 1, nil), "eu")), "**"), shop(in(thing("shop-a", 1, nil, "db"), "eu"))}, nil},
		"one rule":      {rules, []schema.Resource{pay(in(thing("db", 1, nil), "eu")), from("teams/pay/x/y.yaml", in(thing("web", 1, nil, "db"), "eu"))}, nil},
		"a rule for all": {append([]graph.Rule{{Names: globs(t, "base")}}, rules...), []schema.Resource{from("base.yaml", in(thing("base", 1, nil), "eu")), from("x/y.yaml", in(thing("other", 1, nil, "base"), "eu"))}, []string{
			"x/y.yaml:1: memory.thing/other: the name other may not be declared here, by the operator's rule for all paths; names here are base"}},
	} {
		t.Run(name, func(t *testing.T) {
			reg := registry(t, "eu", "us")
			_, findings := graph.NewRules(c.rules).Build(c.res, reg)
			if got := lines(nil, findings); !slices.Equal(got, c.want) {
				t.Errorf("found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			if got := lines(nil, graph.NewRules(c.rules).Check(c.res, reg)); !slices.Equal(got, c.want) {
				t.Errorf("checking found\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// TestRulesBelow: declarations that are looked at by themselves lie somewhere
// in what the rules speak of.
func TestRulesBelow(t *testing.T) {
	rules := graph.NewRules([]graph.Rule{{Path: "teams/shop"}})
	res := []schema.Resource{thing("a", 1, nil)}
	reg := registry(t, "eu")
	if _, findings := rules.Build(res, reg); len(findings) != 1 {
		t.Errorf("at the root: %v", findings)
	}
	if _, findings := rules.Below("teams/shop").Build(res, reg); len(findings) != 0 {
		t.Errorf("in its folder: %v", findings)
	}
}

// engine answers addresses as the drivers of Nomad and Vault do.
type engine struct{ drivers.Driver }

func (engine) Address(_, _ string, spec json.RawMessage) (string, error) {
	var s struct{ At string }
	err := json.Unmarshal(spec, &s)
	return s.At, err
}

func TestRulesOfEngines(t *testing.T) {
	kinds := []string{"nomad.job", "nomad.variable", "nomad.namespace", "vault.kv", "vault.policy", "vault.role", "vault.mount", "vault.auth"}
	reg, err := drivers.NewRegistry(drivers.Target{Name: "all", Kinds: kinds, Driver: engine{&memory.Driver{Engine: &memory.Engine{}}}})
	if err != nil {
		t.Fatal(err)
	}
	rules := graph.NewRules([]graph.Rule{{NomadNamespaces: globs(t, "shop"), VaultPaths: globs(t, "secret/shop/**", "auth/jwt/role/shop-*", "auth/shop")}})
	for _, c := range [][3]string{
		{"nomad.job", "job/shop/web", ""},
		{"nomad.job", "job/default/shop", "the namespace default"},
		{"nomad.variable", "variable/shop/nomad/jobs/web", ""},
		{"nomad.variable", "variable/pay/shop", "the namespace pay"},
		{"nomad.namespace", "namespace/shop", ""},
		{"nomad.namespace", "namespace/pay", "the namespace pay"},
		{"vault.kv", "kv/secret/data/shop/db", ""},
		{"vault.kv", "kv/secret/data/shop/a/b", ""},
		{"vault.kv", "kv/secret/data/shopping/db", "the path secret/shopping/db"},
		{"vault.kv", "kv/secret/data/pay/data/shop", "the path secret/pay/data/shop"},
		{"vault.role", "path/auth/jwt/role/shop-web", ""},
		{"vault.role", "path/auth/jwt/role/admin", "the path auth/jwt/role/admin"},
		{"vault.mount", "mount/secret/shop", ""},
		{"vault.mount", "mount/secret", "the path secret"},
		{"vault.auth", "auth/shop", ""},
		{"vault.auth", "auth/jwt", "the path auth/jwt"},
		{"vault.policy", "policy/anything", ""},
	} {
		spec, err := json.Marshal(map[string]string{"at": c[1]})
		if err != nil {
			t.Fatal(err)
		}
		res := schema.Resource{ID: schema.ID{Kind: c[0], Name: "x"}, Spec: spec, Pos: at(1)}
		_, findings := rules.Build([]schema.Resource{res}, reg)
		switch {
		case c[2] == "" && len(findings) > 0, c[2] != "" && (len(findings) != 1 || !strings.HasPrefix(findings[0].Message, c[2]+" may not be declared here")):
			t.Errorf("%s at %s: %v, want %q", c[0], c[1], findings, c[2])
		}
	}
}

// BenchmarkRules: what rules cost over many declarations.
func BenchmarkRules(b *testing.B) {
	reg, err := drivers.NewRegistry(drivers.Target{Name: "mem", Kinds: memory.Kinds(), Driver: &memory.Driver{Engine: &memory.Engine{}}})
	if err != nil {
		b.Fatal(err)
	}
	var res []schema.Resource
	for i := range 10_000 {
		r := thing("shop-"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+"-"+string(rune('a'+i/26%26))+string(rune('a'+i/676%26)), 1, map[string]any{"size": i})
		res = append(res, from("teams/t"+string(rune('a'+i%20))+"/a.yaml", r))
	}
	var rules []graph.Rule
	g, err := schema.ParseGlob("shop-*")
	if err != nil {
		b.Fatal(err)
	}
	for i := range 20 {
		rules = append(rules, graph.Rule{Path: "teams/t" + string(rune('a'+i)), Names: []schema.Glob{g}})
	}
	for name, r := range map[string]graph.Rules{"without": {}, "with": graph.NewRules(rules)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_ = r.Check(res, reg)
			}
		})
	}
}
