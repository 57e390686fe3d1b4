package compile

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/aplomb-dev/aplomb/schema"
)

// shipped are the templates of this program.
func shipped(t testing.TB) []Template {
	t.Helper()
	all, findings, err := New(Options{}).Templates(t.Context(), Declarations{})
	if err != nil || len(findings) > 0 || len(all) < 5 {
		t.Fatal(err, findings, len(all))
	}
	return all
}

func jsonSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	text, err := JSONSchema(shipped(t))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource(JSONSchemaID, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(JSONSchemaID)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// yamlDocuments are the documents of a text as JSON has them.
func yamlDocuments(t testing.TB, text string) []any {
	t.Helper()
	dec := yaml.NewDecoder(strings.NewReader(text))
	var all []any
	for {
		var v any
		if err := dec.Decode(&v); err != nil {
			return all
		}
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, doc)
	}
}

// What has no findings fits the JSON Schema: the examples, and the documents of
// the tests.
func TestJSONSchemaAccepts(t *testing.T) {
	s := jsonSchema(t)
	texts := map[string]string{"shop": strings.Replace(shop, "2027-01-31", `"2027-01-31"`, 1), "samples": sample(0) + sample(1) + sample(2) + sample(3)}
	err := filepath.WalkDir("../../examples", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(name) != ".yaml" {
			return err
		}
		data, err := os.ReadFile(name)
		if declares(data) {
			texts[name] = string(data)
		}
		return err
	})
	if err != nil || len(texts) < 5 {
		t.Fatal(err, len(texts))
	}
	kinds := map[string]bool{}
	for name, text := range texts {
		for _, doc := range yamlDocuments(t, text) {
			if err := s.Validate(doc); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			kinds[doc.(map[string]any)["kind"].(string)] = true
		}
	}
	t.Logf("%d kinds were tried", len(kinds))
}

// What a person mistypes is found by an editor.
func TestJSONSchemaRefuses(t *testing.T) {
	s := jsonSchema(t)
	good := "apiVersion: aplomb.dev/v1\nkind: local.process\nmetadata: {name: a}\nspec: {argv: [x], count: 2}\n"
	for _, c := range []struct{ from, to string }{
		{"aplomb.dev/v1", "aplomb.dev/v2"}, {"local.process", "local.proces"}, {"name: a", "name: A"}, {"name: a", "nam: a"},
		{"count: 2", "count: two"}, {"count: 2", "count: -1"}, {"count: 2", "count: 1.5"}, {"count: 2", "cuont: 2"},
		{"argv: [x], ", ""}, {"argv: [x]", "argv: []"}, {"argv: [x]", "argv: [1]"}, {"argv: [x]", "argv: x"},
		{"count: 2", "type: demon"}, {"count: 2", "check: {}"}, {"count: 2", "check: {http: \"http://x\", tcp: \"a:1\"}"},
		{"count: 2", "check: {tcp: x}"}, {"count: 2", "id: \"@{local.port/a.port}\""}, {"count: 2", "stop: {grace: soon}"},
		{"metadata: {name: a}\n", ""}, {"{name: a}", "{name: a, hold: [destroy]}"}, {"{name: a}", "{name: a, targets: []}"},
	} {
		text := strings.Replace(good, c.from, c.to, 1)
		if text == good {
			t.Fatalf("%q is not in it", c.from)
		}
		if s.Validate(yamlDocuments(t, text)[0]) == nil {
			t.Errorf("it accepts %s", text)
		}
	}
	for _, c := range []struct{ from, to string }{
		{"count: 2", "count: \"@{local.port/a.port}\""}, {"count: 2", "check: {tcp: \"@{local.port/a.address}\"}"},
		{"count: 2", "env: {A: 1, B: true, C: x}"}, {"kind: local.process", "kind: Another"}, {"kind: local.process", "kind: WebService@v2"},
		{"count: 2", "type: batch"}, {"count: 2", "stop: {signal: \"@{tofu.stack/a.signal}\", grace: 5s}"},
	} {
		if err := s.Validate(yamlDocuments(t, strings.Replace(good, c.from, c.to, 1))[0]); err != nil {
			t.Errorf("%s: %v", c.to, err)
		}
	}
}

// Every field of every kind is in it, documented.
func TestJSONSchemaIsWhole(t *testing.T) {
	text, err := JSONSchema(shipped(t))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Defs map[string]json.RawMessage `json:"$defs"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	for _, k := range schema.Kinds() {
		for _, f := range k.Fields {
			steps := f.Path.Steps()
			if name := steps[len(steps)-1]; name != "*" && !strings.Contains(string(text), `"`+name+`": {`) {
				t.Errorf("%s has no %s", k.Name, f.Path)
			}
		}
		if doc.Defs[k.Name] == nil {
			t.Errorf("there is no %s", k.Name)
		}
	}
	again, err := JSONSchema(shipped(t))
	if err != nil || !slices.Equal(text, again) {
		t.Error("it differs from time to time", err)
	}
	t.Logf("%d bytes, %d definitions", len(text), len(doc.Defs))
}

// A use is checked by the input of its template, pinned or not.
func TestJSONSchemaOfUses(t *testing.T) {
	s := jsonSchema(t)
	for text, good := range map[string]bool{
		"kind: WebService\nspec: {command: [x, 1], count: 2, env: {A: 1}, secrets: {K: set/key}}": true,
		"kind: WebService@v1\nspec: {command: [x], count: \"@{local.port/a.port}\"}":              true,
		"kind: WebService\nspec: {commandd: [x]}":                                                 false,
		"kind: WebService@v1\nspec: {commandd: [x]}":                                              false,
		"kind: WebService\nspec: {command: x}":                                                    false,
		"kind: WebService\nspec: {count: 1001}":                                                   false,
		"kind: WebService\nspec: {count: two}":                                                    false,
		"kind: WebService\nspec: {env: {A: [1]}}":                                                 false,
		"kind: Batch\nspec: {health: /}":                                                          false,
	} {
		err := s.Validate(yamlDocuments(t, "apiVersion: aplomb.dev/v1\nmetadata: {name: a}\n"+text+"\n")[0])
		if (err == nil) != good {
			t.Errorf("%s: %v", text, err)
		}
	}
}
