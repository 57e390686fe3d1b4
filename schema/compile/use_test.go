package compile

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/worker"
)

// unfoldHere compiles in this process; templates may be nil.
func unfoldHere(t testing.TB, fsys, templates fstest.MapFS, values map[string]string) Result {
	t.Helper()
	return unfoldWith(t, New(Options{}), fsys, templates, values)
}

func unfoldWith(t testing.TB, c *Compiler, fsys, templates fstest.MapFS, values map[string]string) Result {
	t.Helper()
	d := Declarations{FS: fsys, Environment: "test", Values: map[string]json.RawMessage{}}
	for k, v := range values {
		d.Values[k] = json.RawMessage(v)
	}
	if templates != nil {
		d.Templates = templates
	}
	res, err := c.Compile(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// told are findings as people read them.
func told(res Result) string {
	var b strings.Builder
	for _, d := range res.Findings {
		b.WriteString(d.String() + "\n")
		if d.Hint != "" {
			b.WriteString("  hint: " + d.Hint + "\n")
		}
	}
	return b.String()
}

func wantTold(t *testing.T, res Result, want string) {
	t.Helper()
	if got := told(res); got != want {
		t.Errorf("findings:\n%swant:\n%s", got, want)
	}
}

// pair is a template of two resources, one of which has a suffix, and a newer
// version of it with one.
const pair = `package web

import "strings"

// A pair of files.
#Pair: {
	@aplomb(template="Pair", version="v1")
	use: {name: string, path: string}
	environment: values: {region: *"eu" | string, ...}
	spec: {
		// What they say.
		text!: string
		// How often.
		count: *1 | int & >=1 & <=9
		// A secret in it.
		secret?: string @aplomb(secret)
		// A file beside the use.
		from?: string @aplomb(file)
	}
	resources: {
		first: {
			apiVersion: "aplomb.dev/v1"
			kind:       "local.file"
			metadata: {name: use.name, labels: {made: "by-pair"}}
			"spec": {path: use.name, if spec.from == _|_ {content: strings.Join([for i in [1] {spec.text}], "")}
				if spec.from != _|_ {template: spec.from}
				if spec.secret != _|_ {vars: S: spec.secret}
			}
		}
		more: [{
			apiVersion: "aplomb.dev/v1"
			kind:       "local.port"
			metadata: name: "\(use.name)-port"
			"spec": {}
		}]
	}
	outputs: {
		file:   "@{local.file/\(use.name).path}"
		where:  "\(environment.values.region):@{local.port/\(use.name)-port.port}"
		port:   "@{local.port/\(use.name)-port.port}"
		count:  spec.count
		text:   spec.text
		region: environment.values.region
	}
}

#Pair10: {
	@aplomb(template="Pair", version="v10")
	use: name: string
	spec: {}
	resources: file: {apiVersion: "aplomb.dev/v1", kind: "local.port", metadata: name: use.name, "spec": {}}
}

#Pair9: {
	@aplomb(template="Pair", version="v9")
	spec: {}
}
`

const use1 = `apiVersion: aplomb.dev/v1
kind: Pair@v1
metadata: {name: web, labels: {team: shop, made: by-hand}, needs: [local.port/p], hold: [delete], adopt: true, expires: 2027-01-31}
spec: {text: hello}
---
apiVersion: aplomb.dev/v1
kind: local.port
metadata: {name: p}
`

// A use is what its template yields, named after it, with what the use says of
// itself beside the template's own.
func TestUse(t *testing.T) {
	res := unfoldHere(t, files("a/b.yaml", use1), files("t/web.cue", pair), nil)
	wantTold(t, res, "")
	if len(res.Resources) != 3 {
		t.Fatalf("%+v", res.Resources)
	}
	for i, want := range []string{"local.file/web", "local.port/web-port"} {
		r := res.Resources[i]
		if r.ID.String() != want || r.Use == nil || r.Use.String() != "Pair/web" || r.Use.Version != "v1" || r.Use.Pos != r.Pos || r.Pos.String() != "a/b.yaml:1:1" {
			t.Errorf("%s: %+v, use %+v", r.ID, r, r.Use)
		}
		if r.Lines != "" {
			t.Errorf("%s: its fields seem to stand in the file of the use: %q", r.ID, r.Lines)
		}
		if r.Labels["team"] != "shop" || len(r.Needs) != 1 || !slices.Equal(r.Hold, []schema.Action{schema.Delete}) || !r.Adopt || !r.Expires.Equal(time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%s: %+v", r.ID, r)
		}
	}
	if r := res.Resources[0]; r.Labels["made"] != "by-pair" || string(r.Spec) != `{"content":"hello","mode":"0644","path":"web","vars":{}}` {
		t.Errorf("%v %s", r.Labels, r.Spec)
	}
	if res.Resources[2].Use != nil {
		t.Error("what is no use has one")
	}
}

// Without a pin the newest version is taken, and v10 is newer than v9.
func TestVersions(t *testing.T) {
	res := unfoldHere(t, files("a.yaml", useOf("Pair", "web", "{}")), files("web.cue", pair), nil)
	wantTold(t, res, "")
	if len(res.Resources) != 1 || res.Resources[0].Use.Version != "v10" {
		t.Errorf("%+v", res.Resources)
	}
}

func useOf(kind, name, spec string) string {
	return "apiVersion: aplomb.dev/v1\nkind: " + kind + "\nmetadata: {name: " + name + "}\nspec: " + spec + "\n"
}

// Findings about an input are at its line, in the words of its schema; about
// what a template makes of it, at the use.
func TestUseFindings(t *testing.T) {
	templates := func(body string) fstest.MapFS { return files("web.cue", pair, "own/t.cue", "package own\n\n"+body) }
	own := func(resources string) string {
		return "#T: {\n\t@aplomb(template=\"T\")\n\tuse: name: string\n\tspec: {n?: int, m: *\"\" | string}\n\tresources: {" + resources + "}\n}\n"
	}
	res := `a: {apiVersion: "aplomb.dev/v1", kind: "local.port", metadata: name: `
	for _, c := range []struct{ name, uses, templates, want string }{
		{"unknown field", useOf("Pair@v1", "w", "{text: a, cuont: 3}"), "", "a.yaml:4:17: Pair/w: unknown field spec.cuont\n  hint: did you mean count?\n"},
		{"missing", useOf("Pair@v1", "w", "{}"), "", "a.yaml:4:7: Pair/w: missing field spec.text\n"},
		{"misfit", useOf("Pair@v1", "w", "{text: a, count: 12}"), "", "a.yaml:4:24: Pair/w: spec.count: 12 is not an int from 1 to 9\n"},
		{"reference of another type", useOf("Pair@v1", "w", `{text: a, count: "@{local.file/x.path}"}`), "", `a.yaml:4:24: Pair/w: spec.count: "@{local.file/x.path}" is a string, which is not an int from 1 to 9` + "\n"},
		{"unknown template", useOf("Piar", "w", "{}"), "", "a.yaml:2:7: Piar/w: unknown template Piar\n  hint: did you mean Pair?\n"},
		{"nothing near", useOf("Nomad", "w", "{}"), "", "a.yaml:2:7: Nomad/w: unknown template Nomad\n  hint: the templates are Pair; kinds have a dot, such as local.file\n"},
		{"unknown version", useOf("Pair@v2", "w", "{}"), "", "a.yaml:2:7: Pair/w: unknown version v2 of the template Pair\n  hint: Pair has v10, v9, v1\n"},
		{"no version", useOf("Pair@new", "w", "{}"), "", "a.yaml:2:7: Pair/w: kind: \"Pair@new\" pins no version of a template\n  hint: a version is a v and a number: Pair@v2\n"},
		{"yields nothing", useOf("Pair@v9", "w", "{}"), "", "a.yaml:1:1: Pair/w: the template Pair@v9 yields nothing: it has no resources (also templates:web.cue:54:1)\n"},
		{
			"a target", "apiVersion: aplomb.dev/v1\nkind: Pair\nmetadata: {name: w, target: eu}\n", "",
			"a.yaml:3:29: Pair/w: metadata.target cannot stand in a use of a template\n  hint: the template says where what it yields lives, from the values of the environment\n",
		},
		{
			"another name", useOf("T", "w", "{}"), own(res + `"other", spec: {}}`),
			"a.yaml:1:1: T/w: yields local.port/other: what a use yields is named after it (also templates:own/t.cue:7:14)\n  hint: call it w or w-…\n",
		},
		{
			"what the kind refuses", useOf("T", "w", "{}"), own(res + `use.name, "spec": number: 99999}`),
			"a.yaml:1:1: T/w: yields local.port/w: spec.number: 99999 is not an int from 1 to 65535 (also templates:own/t.cue:7:101)\n",
		},
		{
			"a field that the kind has not", useOf("T", "w", "{}"), own(res + `use.name, "spec": nmuber: 1}`),
			"a.yaml:1:1: T/w: yields local.port/w: unknown field spec.nmuber (also templates:own/t.cue:7:101)\n  hint: did you mean number?\n",
		},
		{
			"no value", useOf("T", "w", "{}"), own(res + `use.name, "spec": number: spec.n}`),
			"a.yaml:1:1: T/w: cannot be unfolded: resources.a: spec.number: it depends on n, which is not given (also templates:own/t.cue:7:101)\n",
		},
		{
			"a use of a template", useOf("T", "w", "{}"), own(`a: {apiVersion: "aplomb.dev/v1", kind: "Pair", metadata: name: use.name}`),
			"a.yaml:1:1: T/w: yields Pair/w, which is a use of a template (also templates:own/t.cue:7:14)\n  hint: templates are put together in CUE, not by using each other\n",
		},
		{
			"refused", useOf("T", "w", "{m: x}"), "#T: {\n@aplomb(template=\"T\")\nspec: m: string\nrefuse: [if spec.m == \"x\" {field: \"m\", message: \"m is x\", hint: \"say y\"}]\nresources: {}\n}\n",
			"a.yaml:4:11: T/w: m is x\n  hint: say y\n",
		},
		{
			"a value of the environment", useOf("T", "w", "{}"), "#T: {\n@aplomb(template=\"T\")\nspec: {}\nenvironment: values: {zone: string, platform: \"cloud\", ...}\nresources: {}\n}\n",
			"a.yaml:1:1: T/w: the template T does not take the environment's value platform: \"local\" and \"cloud\" contradict each other (also templates:own/t.cue:6:37)\n" +
				"  hint: the operator says it, in values: of the environment or with --value\n" +
				"a.yaml:1:1: T/w: the template T wants the value zone of the environment, which is not given (also templates:own/t.cue:6:23)\n" +
				"  hint: values: {zone: …} in the environment's configuration, or --value zone=…\n",
		},
		{"twice", useOf("Pair", "w", "{}") + "---\n" + useOf("Pair@v1", "w", "{text: a}"), "", "a.yaml:6:1: Pair/w: declared twice (also a.yaml:1:1)\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			wantTold(t, unfoldHere(t, files("a.yaml", c.uses), templates(c.templates), map[string]string{"platform": `"local"`}), c.want)
		})
	}
}

// Faults of a template are findings at its file, and at each use of it.
func TestFaultyTemplates(t *testing.T) {
	for _, c := range []struct{ name, template, want string }{
		{"syntax", "package t\n\n#T: {\n\t@aplomb(template=\"T\"\n", "a.yaml:2:7: T/w: unknown template T\n"},
		{"no such field", "package t\n\n#T: {\n\t@aplomb(template=\"T\")\n\tspec: {}\n\tresources: a: missing\n}\n", "templates:t.cue:6:16: the templates do not load"},
		{"no such import", "package t\n\nimport \"example.org/x\"\n\n#T: {\n\t@aplomb(template=\"T\")\n\tspec: x.y\n}\n", "templates:t.cue:3:8: the templates do not load"},
		{"no spec", "package t\n\n#T: {\n\t@aplomb(template=\"T\")\n}\n", "templates:t.cue:3:1: the template T: it has no spec, which is its input\n"},
		{"a condition", "package t\n\n#T: {\n\t@aplomb(template=\"T\")\n\tspec: {a: int, if a > 1 {b: int}}\n}\n", "only fields are understood"},
		{"a bad version", "package t\n\n#T: {\n\t@aplomb(template=\"T\", version=\"two\")\n\tspec: {}\n}\n", `the template T: "two" is no version: a v and a number`},
		{"a bad name", "package t\n\n#T: {\n\t@aplomb(template=\"T.x\")\n\tspec: {}\n}\n", `"T.x" is no name`},
		{"twice", "package t\n\n#T: {\n\t@aplomb(template=\"T\")\n\tspec: {}\n}\n#U: {\n\t@aplomb(template=\"T\")\n\tspec: {}\n}\n", "templates:t.cue:7:1: the template T is defined twice (also templates:t.cue:3:1)\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := told(unfoldHere(t, files("a.yaml", useOf("T", "w", "{}")), files("t.cue", c.template), nil))
			if !strings.Contains(got, c.want) || !strings.Contains(got, "templates:t.cue:") {
				t.Errorf("findings:\n%swant:\n%s", got, c.want)
			}
			if !strings.Contains(got, "a.yaml:") && c.name != "twice" && c.name != "a bad name" {
				t.Errorf("none at the use:\n%s", got)
			}
			if got := told(unfoldHere(t, files("a.yaml", port("p")), files("t.cue", c.template), nil)); !strings.Contains(got, "templates:t.cue:") {
				t.Errorf("without uses:\n%s", got)
			}
		})
	}
}

// Templates that have no end, or no bounds, end within the deadline, and the
// rest is checked all the same.
func TestEvilTemplates(t *testing.T) {
	evil := `package t

import "list"

#Endless: {
	@aplomb(template="Endless")
	use: name: string
	spec: n!: int
	let l = list.Range(0, spec.n, 1)
	resources: a: {apiVersion: "aplomb.dev/v1", kind: "local.port", metadata: name: use.name, "spec": number: len(l)}
}
#Many: {
	@aplomb(template="Many")
	use: name: string
	spec: {}
	resources: [for i in list.Range(0, 5000, 1) {apiVersion: "aplomb.dev/v1", kind: "local.port", metadata: name: "\(use.name)-\(i)"}]
}
#Good: {
	@aplomb(template="Good")
	use: name: string
	spec: {}
	resources: a: {apiVersion: "aplomb.dev/v1", kind: "local.port", metadata: name: use.name}
}
`
	pool := worker.New(worker.Options{Command: testWorker, Limits: worker.Limits{Deadline: time.Minute, Memory: 160 << 20}})
	t.Cleanup(func() { _ = pool.Close() })
	uses := useOf("Endless", "e", "{n: 3000000000}") + "---\n" + useOf("Many", "m", "{}") + "---\n" + useOf("Good", "g", "{}")
	res := unfoldWith(t, New(Options{Workers: pool}), files("a.yaml", uses), files("t.cue", evil), nil)
	got := told(res)
	for _, want := range []string{"a.yaml:1:1: Endless/e: unfolding it", "a.yaml:6:1: Many/m: the template Many yields more than 200 resources"} {
		if !strings.Contains(got, want) {
			t.Errorf("findings:\n%swant %s", got, want)
		}
	}
	if len(res.Findings) != 2 || !slices.ContainsFunc(res.Seen, func(r schema.Resource) bool { return r.ID.Name == "g" && r.Spec != nil }) {
		t.Errorf("findings:\n%s%+v", got, res.Seen)
	}
}

// Templates that cost too much to be read at all are named as what they are, by
// their file where only one can be meant.
func TestEndlessTemplates(t *testing.T) {
	evil := "package t\nimport \"list\"\n#T: {\n@aplomb(template=\"T\")\nuse: name: string\nspec: n: int\n" +
		"let l = list.Range(0, 3000000000, 1)\n" +
		"resources: a: {apiVersion: \"aplomb.dev/v1\", kind: \"local.port\", metadata: name: use.name, \"spec\": number: len(l)}\n}\n"
	pool := worker.New(worker.Options{Command: testWorker, Limits: worker.Limits{Deadline: time.Minute, Memory: 160 << 20}})
	t.Cleanup(func() { _ = pool.Close() })
	for want, tree := range map[string]fstest.MapFS{
		"templates:t.cue:1:1: checking it ": files("t.cue", evil),
		"templates:.:1:1: checking it ":     files("t.cue", evil, "u/u.cue", "package u\n"),
	} {
		got := told(unfoldWith(t, New(Options{Workers: pool}), files("a.yaml", useOf("T", "e", "{n: 3}")), tree, nil))
		if !strings.Contains(got, "a.yaml:1:1: T/e: unfolding it was not tried: see the findings about the templates\n") || !strings.Contains(got, want) ||
			!strings.Contains(got, "take out what was added last") {
			t.Errorf("findings:\n%swant %s", got, want)
		}
	}
}

// What shipped templates refuse is said at the field, and nothing that a team
// writes gets into what Nomad or Vault evaluates but names.
func TestShippedRefuse(t *testing.T) {
	hashistack := map[string]string{"platform": `"hashistack"`}
	for _, c := range []struct {
		name, use, want string
		values          map[string]string
	}{
		{"no command", useOf("WebService", "w", "{}"), "a.yaml:1:1: WebService/w: neither command nor image says what runs\n  hint: say one of them\n", nil},
		{"an image on one machine", useOf("Batch", "w", "{image: x}"), "a.yaml:4:15: Batch/w: platform local starts commands, and no containers\n  hint: say command too\n", nil},
		{"an image on hashistack", useOf("Batch", "w", "{image: x}"), "", hashistack},
		{"a calendar", useOf("CronJob", "w", `{command: [x], schedule: "0 8 * * *"}`), "a.yaml:4:32: CronJob/w: platform local has no calendar\n  hint: say every instead, such as every: 15m; schedule wants platform hashistack\n", nil},
		{"a calendar on hashistack", useOf("CronJob", "w", `{command: [x], schedule: "0 8 * * *"}`), "", hashistack},
		{"both", useOf("CronJob", "w", `{command: [x], schedule: "0 8 * * *", every: 1h}`), "a.yaml:4:7: CronJob/w: exactly one of spec.every and spec.schedule must be there; there are spec.every and spec.schedule\n", hashistack},
		{"a server", useOf("Database", "w", "{}"), "a.yaml:1:1: Database/w: platform local has no database server of its own\n  hint: server: [PROGRAM, ARGUMENT…] says what serves it\n", nil},
		{"a key", useOf("SecretSet", "w", `{generate: {"A\"}": {}}}`), "a.yaml:4:18: SecretSet/w: the key A\"} is no name: lower-case letters, digits and inner hyphens, at most 32\n", nil},
		{"a variable", useOf("Batch", "w", `{command: [x], secrets: {"A={{ x }}": a/b}}`), "a.yaml:4:31: Batch/w: A={{ x }} is no name of an environment variable\n  hint: letters, digits and _, and no digit first\n", hashistack},
		{"a secret", useOf("Batch", "w", `{command: [x], secrets: {A: "a/b\" }}"}}`), "a.yaml:4:", hashistack},
		{"a platform", useOf("Batch", "w", `{command: [x]}`), "a.yaml:1:1: Batch/w: the template Batch@v1 does not take the environment's value platform: ", map[string]string{"platform": `"cloud"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := told(unfoldHere(t, files("a.yaml", c.use), nil, c.values))
			if got != c.want && (c.want == "" || strings.HasSuffix(c.want, "\n") || !strings.HasPrefix(got, c.want)) {
				t.Errorf("findings:\n%swant:\n%s", got, c.want)
			}
		})
	}
}

// A use may be written in CUE; its findings stand where it is written.
func TestUseInCUE(t *testing.T) {
	text := "package app\n\nweb: {\n\tapiVersion: \"aplomb.dev/v1\"\n\tkind:       \"WebService\"\n\tmetadata: name: \"web\"\n\tspec: {\n\t\tcommand: [\"x\"]\n\t\tcount: N\n\t}\n}\n"
	res := unfoldHere(t, files("d/app.cue", strings.Replace(text, "N", "3", 1)), nil, nil)
	wantTold(t, res, "")
	if len(res.Resources) != 3 || res.Resources[0].Use.String() != "WebService/web" || res.Resources[0].Pos.File != "d/app.cue" {
		t.Errorf("%+v", res.Resources)
	}
	res = unfoldHere(t, files("d/app.cue", strings.Replace(text, "N", "3000", 1)), nil, nil)
	wantTold(t, res, "d/app.cue:9:10: WebService/web: spec.count: 3000 is not an int from 0 to 1000\n")
}
