package config

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
)

const (
	owningConfig = `data: data
api:
  listen: 127.0.0.1:7717
  tokens:
    - {name: ana, role: approver, tokenFile: a, teams: [shop/team]}
environments:
  prod:
    id: 7f3a7f3a7f3a7f3a7f3a7f3a7f3a7f3a
    source: {git: fleet}
    targets: {local: {engine: local, root: files}}
    gates: {owners: owners.yaml}
`
	owningFile = `rules:
  - match: {kinds: ["local.*"], fields: [/content]}
    owners: [shop/team]
  - match: {paths: ["security/**"], labels: {tier: prod}}
    owners: ["@ana", Shop/Team]
    reviews: 2
`
)

// loadOwning loads a configuration with files beside it.
func loadOwning(t *testing.T, config, owners string) (*Config, []string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"aplomb.yaml": config, "owners.yaml": owners, "fleet/owners.yaml": owners, "data/owners.yaml": owners, "files/owners.yaml": owners} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if text == "" {
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "fleet", "owners.yaml"), filepath.Join(dir, "link.yaml")); err != nil {
		t.Fatal(err)
	}
	c, findings, err := Load(t.Context(), compile.New(compile.Options{}), nil, filepath.Join(dir, "aplomb.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, f := range findings {
		said = append(said, strings.ReplaceAll(f.String(), dir+"/", ""))
	}
	return c, said
}

// The rules are those of the file, and another file is another section.
func TestOwners(t *testing.T) {
	c, said := loadOwning(t, owningConfig, owningFile)
	if len(said) > 0 {
		t.Fatal(said)
	}
	g := c.Environments[0].Gates
	if got := strings.Join(g.Owners.All(), " "); got != "shop/team @ana" || g.OwnersFile != filepath.Join(filepath.Dir(c.Path), "owners.yaml") {
		t.Errorf("%q of %s", got, g.OwnersFile)
	}
	change := plan.Masked{ID: schema.ID{Kind: "local.file"}, Action: schema.Create}
	rules := g.Owners.Of(gate.Owned{Change: change, Spec: []byte(`{"content":"x"}`), Now: &gate.Face{Files: []string{"security/a.yaml"}, Labels: map[string]string{"tier": "prod"}}})
	if len(rules) != 2 || rules[1].Reviews != 2 || rules[0].Reviews != 1 {
		t.Errorf("%+v", rules)
	}
	other, said := loadOwning(t, owningConfig, strings.Replace(owningFile, "/content", "/path", 1))
	if len(said) > 0 || c.Environments[0].Same(other.Environments[0]) {
		t.Errorf("other rules are the same section: %v", said)
	}
	for _, pair := range [][2][]byte{{c.JSON, other.JSON}} {
		if got := fmt.Sprint(Diff(pair[0], pair[1])); got != "[environments.prod.gates.owners.rules]" {
			t.Errorf("what differs is %s", got)
		}
	}
	if got := fmt.Sprint(Diff(c.Environments[0].JSON, other.Environments[0].JSON)); got != "[gates.owners.rules]" {
		t.Errorf("what differs is %s", got)
	}
}

// Each mistake is told at its place in the file that holds it.
func TestOwnersFindings(t *testing.T) {
	for _, c := range []struct {
		name, config, owners string // what is replaced, as OLD -> NEW
		want                 []string
	}{
		{"no file", "owners.yaml -> none.yaml", "", []string{"aplomb.yaml:11:21: environments.prod.gates.owners: open none.yaml: no such file"}},
		{"in the repository", "owners: owners.yaml -> owners: fleet/owners.yaml", "", []string{"aplomb.yaml:11:21: environments.prod.gates.owners: it lies in source.git, where"}},
		{"by a link", "owners.yaml -> link.yaml", "", []string{"aplomb.yaml:11:21: environments.prod.gates.owners: it lies in source.git"}},
		{"in the data folder", "owners.yaml -> data/owners.yaml", "", []string{"aplomb.yaml:11:21: environments.prod.gates.owners: it lies in the data folder"}},
		{"where files are written", "owners.yaml -> files/owners.yaml", "", []string{"aplomb.yaml:11:21: environments.prod.gates.owners: it lies in the root of target local"}},
		{"a team of people", "[shop/team] -> ['@eve']", "", []string{"aplomb.yaml:5:57: api.tokens[0].teams[0]: \"@eve\" is not a string that matches"}},
		{"empty", "", "* -> \n", []string{"owners.yaml:1:1: owners.yaml is empty: a list of owners is one document"}},
		{"a list", "", "* -> [a]", []string{"owners.yaml:1:1: a list is not a list of owners, which is a mapping"}},
		{"an unknown field", "", "labels: -> lables:", []string{`owners.yaml:4:37: unknown field rules[1].match.lables`}},
		{"no match", "", `match: {kinds: ["local.*"], fields: [/content]} -> reviews: 1`, []string{"owners.yaml:2:5: missing field rules[0].match"}},
		{"no owners", "", "    owners: [shop/team]\n -> ", []string{"owners.yaml:2:5: missing field rules[0].owners"}},
		{"no field", "", "/content -> content", []string{`owners.yaml:2:42: rules[0].match.fields[0]: "content" is not a string that matches`}},
		{"no pattern of fields", "", "/content -> '/[a'", []string{`owners.yaml:2:42: rules[0].match.fields[0]: "/[a" is no pattern of fields`}},
		{"no kind", "", "local.* -> lokal.*", []string{`owners.yaml:2:21: rules[0].match.kinds[0]: "lokal.*" fits no kind`}},
		{"no path", "", "security/** -> ../x", []string{`owners.yaml:4:21: rules[1].match.paths[0]: "../x" is no pattern`}},
		{"no label", "", "prod -> '[a'", []string{`owners.yaml:4:52: rules[1].match.labels.tier: "[a" is no pattern`}},
		{"nothing", "", `["local.*"] -> []`, []string{`owners.yaml:2:20: rules[0].match.kinds: the list is empty`}},
		{"nobody", "", "@ana -> @eve", []string{`owners.yaml:5:14: rules[1].owners[0]: nobody speaks for @eve`}},
		{"no teams", "{git: fleet} -> {git: fleet, branch: main}\n    forge: {kind: git, signers: [s]}", "[shop/team] -> [ops/security]", []string{`owners.yaml:3:14: rules[0].owners[0]: nobody speaks for ops/security: a Git server`}},
		{"too few", "", ", Shop/Team -> ", []string{`owners.yaml:5:13: rules[1].owners: 2 reviews, and only 1 may give one`}},
		{"a team as a person", "", "[shop/team] -> ['@shop/team']", []string{`owners.yaml:3:14: rules[0].owners[0]: "@shop/team" is not a string that matches`}},
	} {
		config, owners := owningConfig, owningFile
		for edit, text := range map[string]*string{c.config: &config, c.owners: &owners} {
			old, repl, found := strings.Cut(edit, " -> ")
			switch {
			case !found:
			case old == "*":
				*text = repl
			case !strings.Contains(*text, old):
				t.Fatalf("%s: the example has changed", c.name)
			default:
				*text = strings.Replace(*text, old, repl, 1)
			}
		}
		_, said := loadOwning(t, config, owners)
		if len(said) != len(c.want) {
			t.Errorf("%s: found %q, want %q", c.name, said, c.want)
			continue
		}
		for i := range said {
			if !strings.HasPrefix(said[i], c.want[i]) {
				t.Errorf("%s: found %q, want %q", c.name, said[i], c.want[i])
			}
		}
	}
}

// FuzzOwners: whatever the file holds ends in rules, or in findings that say
// where.
func FuzzOwners(f *testing.F) {
	f.Add([]byte(owningFile))
	f.Add([]byte("rules:\n  - match: {labels: {a: '**', b: ''}, fields: [/~1/**/a, /]}\n    owners: [a, '@ana']\n    reviews: 100\n"))
	check := compile.New(compile.Options{})
	f.Fuzz(func(t *testing.T, data []byte) {
		checked, findings, err := check.Owners(t.Context(), "owners.yaml", data)
		if err != nil {
			t.Fatal(err)
		}
		c := &Config{JSON: json.RawMessage(`{"environments":{"prod":{"gates":{}}}}`)}
		e := &Environment{Name: "prod", JSON: json.RawMessage(`{"gates":{}}`), Forge: &Forge{}}
		if len(findings) == 0 {
			if findings, err = c.takeOwners(e, "owners.yaml", checked); err != nil {
				t.Fatal(err)
			}
		}
		for _, d := range findings {
			if d.Pos.Line < 1 || d.Pos.Col < 1 {
				t.Fatalf("%s says no place", d)
			}
		}
		g := e.Gates.Owners
		_ = g.Of(gate.Owned{Change: plan.Masked{ID: schema.ID{Kind: "local.file"}, Action: schema.Create}, Spec: []byte(`{"a":[{"name":"x"}]}`), Now: &gate.Face{}})
		for _, owner := range g.All() {
			if owner == "" || strings.ContainsAny(strings.TrimPrefix(owner, "@"), "@ ") {
				t.Fatalf("%q is an owner", owner)
			}
		}
	})
}
