package compile

import (
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/schema"
)

const goodConfig = `data: /var/lib/aplomb
environments:
  prod:
    id: 7f3a7f3a7f3a7f3a7f3a7f3a7f3a7f3a
    source: {git: https://git.example.org/fleet.git}
    targets:
      eu: {engine: nomad, address: https://nomad.eu:4646}
`

// What is written is checked, what is left out is filled in, and each place is
// known.
func TestConfig(t *testing.T) {
	for name, o := range map[string]Options{"in process": {}, "in a worker": {Workers: testPool(t)}} {
		t.Run(name, func(t *testing.T) {
			c := New(o)
			got, findings, err := c.Config(t.Context(), "aplomb.yaml", []byte(goodConfig))
			if err != nil || len(findings) > 0 {
				t.Fatal(findings, err)
			}
			for _, want := range []string{`"deletes":5`, `"share":"20%"`, `"drift":"repair"`, `"concurrency":16`, `"branch":"aplomb-status"`, `"interval":"30s"`} {
				if !strings.Contains(string(got.JSON), want) {
					t.Errorf("%s lacks %s", got.JSON, want)
				}
			}
			if p := got.Values["/environments/prod/targets/eu/address"]; p != (schema.Pos{File: "aplomb.yaml", Line: 7, Col: 36}) {
				t.Errorf("the address stands at %s", p)
			}
			if p := got.Keys["/environments/prod"]; p != (schema.Pos{File: "aplomb.yaml", Line: 3, Col: 3}) {
				t.Errorf("prod stands at %s", p)
			}
		})
	}
}

// Every finding is told at once, at its place, with what was meant.
func TestConfigFindings(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []string
	}{
		{"empty", "", []string{"a.yaml:1:1: a.yaml is empty"}},
		{"no mapping", "- 1\n", []string{"a.yaml:1:1: a list is not a configuration"}},
		{"two", goodConfig + "---\n" + goodConfig, []string{"a.yaml:9:1: a second document"}},
		{"missing", "data: x\n", []string{"a.yaml:1:1: missing field environments"}},
		{"many", strings.NewReplacer("id: 7f", "id: XX", "address", "adress", "data:", "dta:", "nomad,", "nomd,").Replace(goodConfig), []string{
			"a.yaml:1:1: missing field data", "a.yaml:1:1: unknown field dta (did you mean data?)",
			`a.yaml:4:9: environments.prod.id: "XX3a7f3a7f3a7f3a7f3a7f3a7f3a7f3a" is not a string that matches`,
			`a.yaml:7:20: environments.prod.targets.eu.engine: "nomd" is not one of "local", "nomad"`,
			"a.yaml:7:26: unknown field environments.prod.targets.eu.adress (did you mean address?)",
		}},
		{"a reference", strings.Replace(goodConfig, "/var/lib/aplomb", `"@{local.file/a.path}"`, 1), []string{"a.yaml:1:7: data: a configuration holds no references"}},
		{"a password", strings.Replace(goodConfig, "https://nomad.eu", "ftp://ana:hunter2@nomad.eu", 1), []string{
			"a.yaml:7:36: environments.prod.targets.eu.address: the value is not a string that matches"}},
		{"no yaml", "a: [", []string{"a.yaml:"}},
		{"both", strings.Replace(goodConfig, "git}", "git, tokenFile: a, keyFile: b}", 1), []string{"a.yaml:5:"}},
		{"neither", strings.Replace(goodConfig, ":4646}", ":4646, login: {}}", 1), []string{"a.yaml:7:"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, findings, err := New(Options{}).Config(t.Context(), "a.yaml", []byte(tc.text))
			if err != nil {
				t.Fatal(err)
			}
			for i := range max(len(findings), len(tc.want)) {
				switch {
				case i >= len(findings):
					t.Errorf("not found: %s", tc.want[i])
				case i >= len(tc.want):
					t.Errorf("also found: %s", findings[i])
				default:
					got := findings[i].String()
					if findings[i].Hint != "" {
						got += " (" + findings[i].Hint + ")"
					}
					if !strings.HasPrefix(got, tc.want[i]) {
						t.Errorf("found %q, want %q", got, tc.want[i])
					}
				}
			}
		})
	}
}

// FuzzConfig: whatever the file holds, the answer is a configuration or
// findings that say where.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(goodConfig))
	f.Add([]byte("environments: {a: {targets: {b: {engine: 1}}}}\n"))
	f.Add([]byte("environments: {a: null}\napi: {tokens: [{}, 1]}\n"))
	c := New(Options{})
	f.Fuzz(func(t *testing.T, data []byte) {
		_, findings, err := c.Config(t.Context(), "a.yaml", data)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range findings {
			if d.Pos.Line < 1 || d.Pos.Col < 1 {
				t.Fatalf("%s says no place", d)
			}
		}
	})
}
