package plan_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
)

// user is the node of a resource with this spec, which may refer to the needs
// memory.thing/n and memory.secret/s.
func user(t *testing.T, spec string, fields map[schema.Path]string) *graph.Node {
	t.Helper()
	reg, err := drivers.NewRegistry(drivers.Target{Name: "mem", Kinds: memory.Kinds(), Driver: &memory.Driver{Engine: &memory.Engine{}}})
	if err != nil {
		t.Fatal(err)
	}
	r := schema.Resource{ID: schema.ID{Kind: memory.KindThing, Name: "user"}, Spec: json.RawMessage(spec), Files: schema.Tree{{Path: "f"}}}
	for _, p := range slices.Sorted(maps.Keys(fields)) {
		r.Refs = append(r.Refs, schema.FieldRef{Path: p, Text: fields[p]})
	}
	nodes, findings := graph.Build([]schema.Resource{
		{ID: schema.ID{Kind: memory.KindThing, Name: "n"}, Spec: json.RawMessage(`{}`)},
		{ID: schema.ID{Kind: memory.KindSecret, Name: "s"}, Spec: json.RawMessage(`{}`)}, r,
	}, reg)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	return nodes[slices.IndexFunc(nodes, func(n *graph.Node) bool { return n.ID.Name == "user" })]
}

// outputs are what n and s answer. n lacks "later".
func outputs(need *graph.Node) map[string]drivers.Output {
	if need.ID.Name == "s" {
		return map[string]drivers.Output{"value": {Secret: true, Fingerprint: "f1"}}
	}
	value := func(s string) drivers.Output { return drivers.Output{Value: json.RawMessage(s)} }
	return map[string]drivers.Output{
		"id": value(`"n-1"`), "size": value(`12345678901234567890`), "on": value(`true`), "nothing": value(`null`), "html": value(`"<a&b>"`),
		"value": value(`{"list":["x",{"deep":2.50}],"a.b":"dotted"}`),
	}
}

func TestResolve(t *testing.T) {
	const n, s = "memory.thing/n", "memory.secret/s"
	for _, c := range []struct {
		name, text string // the string at /value
		want       string // the JSON that stands there afterwards
		unknown    bool
		secret     bool
		inputs     map[string]string
		err        string
	}{
		{name: "a string", text: "@{memory.thing/n.id}", want: `"n-1"`, inputs: map[string]string{n + "@mem.id": `"n-1"`}},
		{name: "a number keeps its digits", text: "@{memory.thing/n.size}", want: `12345678901234567890`, inputs: map[string]string{n + "@mem.size": `12345678901234567890`}},
		{name: "a boolean", text: "@{memory.thing/n.on}", want: `true`, inputs: map[string]string{n + "@mem.on": `true`}},
		{name: "null", text: "@{memory.thing/n.nothing}", want: `null`, inputs: map[string]string{n + "@mem.nothing": `null`}},
		{name: "an object", text: "@{memory.thing/n@mem.value}", want: `{"a.b":"dotted","list":["x",{"deep":2.50}]}`,
			inputs: map[string]string{n + "@mem.value": `{"list":["x",{"deep":2.50}],"a.b":"dotted"}`}},
		{name: "nothing is escaped", text: "@{memory.thing/n.html}", want: `"<a&b>"`, inputs: map[string]string{n + "@mem.html": `"<a&b>"`}},
		{name: "into an output", text: "@{memory.thing/n.value.list[1].deep}", want: `2.50`, inputs: map[string]string{n + "@mem.value.list[1].deep": `2.50`}},
		{name: "by a quoted key", text: `@{memory.thing/n.value["a.b"]}`, want: `"dotted"`, inputs: map[string]string{n + `@mem.value["a.b"]`: `"dotted"`}},
		{name: "inside a longer string", text: "a @{memory.thing/n.id}:@{memory.thing/n.size}/@{memory.thing/n.on} z", want: `"a n-1:12345678901234567890/true z"`,
			inputs: map[string]string{n + "@mem.id": `"n-1"`, n + "@mem.size": `12345678901234567890`, n + "@mem.on": `true`}},
		{name: "escaped", text: "@@{memory.thing/n.id}", want: `"@{memory.thing/n.id}"`},
		{name: "escaped beside a reference", text: "@@{x} @{memory.thing/n.id}", want: `"@{x} n-1"`, inputs: map[string]string{n + "@mem.id": `"n-1"`}},
		{name: "unknown keeps the text", text: "@{memory.thing/n.later}", want: `"@{memory.thing/n.later}"`, unknown: true, inputs: map[string]string{n + "@mem.later": "?"}},
		{name: "an unknown part keeps the whole text", text: "@{memory.thing/n.id} @@{ @{memory.thing/n.later[0]}", want: `"@{memory.thing/n.id} @@{ @{memory.thing/n.later[0]}"`, unknown: true,
			inputs: map[string]string{n + "@mem.id": `"n-1"`, n + "@mem.later[0]": "?"}},
		{name: "a secret becomes its token", text: "@{memory.secret/s.value}", want: `"[secret:f1]"`, secret: true, inputs: map[string]string{s + "@mem.value": "secret:f1"}},
		{name: "a secret inside a longer string", text: "u:@{memory.secret/s.value}@@{@{memory.thing/n.id}", want: `"u:[secret:f1]@{n-1"`, secret: true,
			inputs: map[string]string{s + "@mem.value": "secret:f1", n + "@mem.id": `"n-1"`}},
		{name: "a secret beside an unknown", text: "@{memory.secret/s.value}@{memory.thing/n.later}", want: `"@{memory.secret/s.value}@{memory.thing/n.later}"`, unknown: true,
			inputs: map[string]string{s + "@mem.value": "secret:f1", n + "@mem.later": "?"}},
		{name: "a list inside a longer string", text: "a @{memory.thing/n.value.list}", err: "spec.value: @{memory.thing/n.value.list}: only a string, a number or a boolean fits inside a longer string"},
		{name: "null inside a longer string", text: "a @{memory.thing/n.nothing}", err: "spec.value: @{memory.thing/n.nothing}: only a string, a number or a boolean fits inside a longer string"},
		{name: "a path that the output lacks", text: "@{memory.thing/n.value.list[2]}", err: `spec.value: @{memory.thing/n.value.list[2]}: the output has no "2"`},
		{name: "a path into a scalar", text: "@{memory.thing/n.id.x}", err: `spec.value: @{memory.thing/n.id.x}: the output has no "x"`},
		{name: "a path into a secret", text: "@{memory.secret/s.value.x}", err: "spec.value: @{memory.secret/s.value.x}: a secret has no parts"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec, err := json.Marshal(map[string]any{"value": c.text, "size": 3})
			if err != nil {
				t.Fatal(err)
			}
			node := user(t, string(spec), map[schema.Path]string{"/value": c.text})
			want, inputs, err := plan.Resolve(node, outputs)
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Errorf("error %v, want %s", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := string(want.Spec); got != `{"size":3,"value":`+c.want+`}` {
				t.Errorf("the spec is %s, want %s", got, c.want)
			}
			if _, unknown := want.Unknown["/value"]; unknown != c.unknown || unknown && want.Unknown["/value"] != c.text {
				t.Errorf("unknown: %v", want.Unknown)
			}
			if _, secret := want.Secrets["/value"]; secret != c.secret || secret && want.Secrets["/value"] != c.text {
				t.Errorf("secrets: %v", want.Secrets)
			}
			got := map[string]string{}
			for ref, token := range inputs {
				got[ref.String()] = token
			}
			if !maps.Equal(got, c.inputs) {
				t.Errorf("inputs %v, want %v", got, c.inputs)
			}
			if tokens := plan.Tokens(node, outputs); !maps.Equal(tokens, inputs) {
				t.Errorf("Tokens says %v, Resolve %v", tokens, inputs)
			}
			if want.Files.Hash() != node.Res.Files.Hash() {
				t.Error("the files are lost")
			}
		})
	}
}

// TestResolvePlaces: strings deep in a spec, and a spec that refers to nothing.
func TestResolvePlaces(t *testing.T) {
	node := user(t, `{"env":{"a/b":"@{memory.thing/n.id}"},"list":["x",{"y":"@{memory.thing/n.size}"}],"z":1.0}`,
		map[schema.Path]string{"/env/a~1b": "@{memory.thing/n.id}", "/list/1/y": "@{memory.thing/n.size}"})
	want, _, err := plan.Resolve(node, outputs)
	if err != nil || string(want.Spec) != `{"env":{"a/b":"n-1"},"list":["x",{"y":12345678901234567890}],"z":1.0}` {
		t.Errorf("%s, %v", want.Spec, err)
	}
	if declared := string(node.Res.Spec); !strings.Contains(declared, "@{memory.thing/n.id}") {
		t.Errorf("the declaration was altered: %s", declared)
	}
	plain := user(t, `{"b":1,"a":2}`, nil)
	want, inputs, err := plan.Resolve(plain, func(*graph.Node) map[string]drivers.Output { panic("nothing is to be asked") })
	if err != nil || string(want.Spec) != `{"b":1,"a":2}` || len(inputs) > 0 || len(plan.Tokens(plain, nil)) > 0 {
		t.Errorf("%s, %v, %v", want.Spec, inputs, err)
	}
	if _, _, err := plan.Resolve(user(t, `{}`, map[schema.Path]string{"/a/b": "@@{"}), outputs); err == nil || err.Error() != `spec.a.b: the spec has no "a"` {
		t.Errorf("a place that is not there: %v", err)
	}
}

// TestTokensMove: an input's token changes when, and only when, the output
// does.
func TestTokensMove(t *testing.T) {
	node := user(t, `{"value":""}`, map[schema.Path]string{"/value": "@{memory.secret/s.value} @{memory.thing/n.value.list[0]}"})
	answer := func(fingerprint, value string) plan.Outputs {
		return func(need *graph.Node) map[string]drivers.Output {
			if need.ID.Name == "s" {
				return map[string]drivers.Output{"value": {Secret: true, Fingerprint: fingerprint}}
			}
			return map[string]drivers.Output{"value": {Value: json.RawMessage(value)}}
		}
	}
	first := plan.Tokens(node, answer("1", `{"list":["a"]}`))
	for _, c := range []struct {
		name string
		now  plan.Outputs
		same bool
	}{
		{"the same", answer("1", `{"list":["a"]}`), true},
		{"another part of the output", answer("1", `{"other":1,"list":["a","b"]}`), true},
		{"the part that is referred to", answer("1", `{"list":["b"]}`), false},
		{"another secret", answer("2", `{"list":["a"]}`), false},
		{"the part is gone", answer("1", `{}`), false},
		{"nothing is known any more", func(*graph.Node) map[string]drivers.Output { return nil }, false},
	} {
		if got := maps.Equal(first, plan.Tokens(node, c.now)); got != c.same {
			t.Errorf("%s: the same is %t", c.name, got)
		}
	}
}

func TestPlain(t *testing.T) {
	need := user(t, `{"value":""}`, map[schema.Path]string{"/value": "@{memory.thing/n.id}"}).Needs[0]
	for text, want := range map[string]string{"id": "n-1", "size": "12345678901234567890", "on": "true", "value.list[0]": "x", "value": "", "later": "", "id.x": ""} {
		ref, err := schema.ParseRef("memory.thing/n." + text)
		if err != nil {
			t.Fatal(err)
		}
		if got := plan.Plain(ref, need, outputs); got != want {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
}
