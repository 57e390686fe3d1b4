package compile

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/worker"
)

// specOf is the spec of a resource of res, and its references.
func specOf(t *testing.T, res Result, id string) (string, []schema.FieldRef) {
	t.Helper()
	for _, r := range res.Resources {
		if r.ID.String() == id {
			return string(r.Spec), r.Refs
		}
	}
	t.Fatalf("%s is not there: %s", id, told(res))
	return "", nil
}

func refTexts(refs []schema.FieldRef) (all []string) {
	for _, r := range refs {
		all = append(all, string(r.Path)+" "+r.Text)
	}
	return all
}

// A reference to a use stands for the template's output: a literal of any type,
// or text with references in it; from another use's input too.
func TestOutputs(t *testing.T) {
	res := unfoldHere(t, files("a.yaml", useOf("Pair@v1", "web", "{text: hello, count: 3}")+"---\n"+
		useOf("Pair@v1", "two", `{text: "@{Pair/web.text} @{Pair/web.where}"}`)+"---\n"+
		useOf("local.process", "p", `{argv: [x, "@{Pair/two.text}", "n=@{Pair/web.count}"], count: "@{Pair/web.count}", env: {A: "@@{Pair/web.x}", PORT: "@{Pair/web.port}", R: "@{Pair/web.region}"}}`)),
		files("web.cue", pair), nil)
	wantTold(t, res, "")
	spec, refs := specOf(t, res, "local.process/p")
	for _, want := range []string{
		`"argv":["x","hello eu:@{local.port/web-port.port}","n=3"]`, `"count":3,`, `"env":{"A":"@@{Pair/web.x}","PORT":"@{local.port/web-port.port}","R":"eu"}`,
	} {
		if !strings.Contains(spec, want) {
			t.Errorf("%s\nwants %s", spec, want)
		}
	}
	want := []string{"/argv/1 hello eu:@{local.port/web-port.port}", "/env/A @@{Pair/web.x}", "/env/PORT @{local.port/web-port.port}"}
	if got := refTexts(refs); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if spec, refs := specOf(t, res, "local.file/two"); !strings.Contains(spec, `"content":"hello eu:@{local.port/web-port.port}"`) || len(refs) != 1 || refs[0].Pos.String() != "a.yaml:9:14" {
		t.Errorf("%s %+v", spec, refs)
	}
}

// A need on a use is one on all that it yields.
func TestNeedsOnUses(t *testing.T) {
	res := unfoldHere(t, files("a.yaml", useOf("Pair@v1", "web", "{text: hello}")+"---\napiVersion: aplomb.dev/v1\nkind: local.port\nmetadata: {name: p, needs: [Pair/web, local.file/web]}\n"),
		files("web.cue", pair), nil)
	wantTold(t, res, "")
	got := res.Resources[2].Needs
	if len(got) != 2 || got[0].ID.String() != "local.file/web" || got[1].ID.String() != "local.port/web-port" || got[0].Pos.String() != "a.yaml:8:29" {
		t.Errorf("%+v", got)
	}
}

// What a reference to a use cannot be.
func TestOutputFindings(t *testing.T) {
	secrets := `package t

#S: {
	@aplomb(template="S")
	use: name: string
	spec: {from?: string}
	resources: a: {apiVersion: "aplomb.dev/v1", kind: "local.secret", metadata: name: use.name}
	outputs: {
		value: "@{local.secret/\(use.name).value}"
		list: [1, 2]
		texts: [for i in [0] {"@{local.secret/\(use.name).value}"}]
		if spec.from != _|_ {other: spec.from}
	}
}
`
	web := useOf("Pair@v1", "web", "{text: hello}") + "---\n" + useOf("S", "s", "{}") + "---\n"
	process := func(field string) string { return web + useOf("local.process", "p", "{argv: [x], "+field+"}") }
	for _, c := range []struct{ name, yaml, want string }{
		{"no such output", process(`env: {A: "@{Pair/web.prot}"}`), "a.yaml:14:28: local.process/p: spec.env.A: @{Pair/web.prot}: Pair/web has no output prot\n  hint: did you mean port?\n"},
		{"no such use", process(`env: {A: "@{Pair/wbe.port}"}`), "a.yaml:14:28: local.process/p: refers to Pair/wbe, which is not declared\n  hint: did you mean Pair/web?\n"},
		{"a number wanted", process(`count: "@{Pair/web.text}"`), "a.yaml:14:26: local.process/p: spec.count: @{Pair/web.text} is a string, and this field takes number\n"},
		{"of another resource", process(`count: "@{Pair/web.file}"`), "a.yaml:14:26: local.process/p: spec.count: @{Pair/web.file} is a string, and this field takes number\n"},
		{
			"a secret", process(`dir: "@{S/s.value}"`),
			"a.yaml:14:24: local.process/p: spec.dir: @{local.secret/s.value} is a secret, and this field takes none\n  hint: a secret flows only into a field that takes secrets\n",
		},
		{"a secret where it may be", process(`env: {A: "x@{S/s.value}"}`), ""},
		{"a list in a string", process(`env: {A: "x@{S/s.list}"}`), "a.yaml:14:28: local.process/p: spec.env.A: @{S/s.list}: inside a longer string only a scalar can stand\n"},
		{"a list", process(`env: {A: "@{S/s.texts[0]}"}`), ""},
		{
			"a secret in a list", web + useOf("nomad.job", "p", `{hcl: ./x.hcl, vars: {a: "@{S/s.texts}"}}`),
			"a.yaml:14:32: nomad.job/p: spec.vars.a: @{S/s.texts} holds the secret @{local.secret/s.value}, and this field takes none\n  hint: a secret flows only into a field that takes secrets\n",
		},
		{"an element", process(`count: "@{S/s.list[1]}"`), ""},
		{"no such element", process(`count: "@{S/s.list[2]}"`), "a.yaml:14:26: local.process/p: spec.count: @{S/s.list[2]}: the output list holds no [2]\n"},
		{"a target", process(`count: "@{Pair/web@eu.count}"`), "a.yaml:14:26: local.process/p: spec.count: @{Pair/web@eu.count}: a use of a template has no target\n"},
		{"an address", web + useOf("local.file", "f", `{path: "@{Pair/web.text}", content: x}`), "a.yaml:14:14: local.file/f: spec.path cannot hold a reference: it makes up the address\n"},
		{
			"a circle of outputs", useOf("S", "a", `{from: "@{S/b.other}"}`) + "---\n" + useOf("S", "b", `{from: "@{S/a.other}"}`) + "---\n" + useOf("local.process", "p", `{argv: [x, "@{S/a.other}"]}`),
			"a.yaml:14:18: local.process/p: spec.argv[1]: @{S/a.other}: outputs that refer to each other: S/a.other -> S/b.other -> S/a.other\n",
		},
		{"a need on none", web + "apiVersion: aplomb.dev/v1\nkind: local.port\nmetadata: {name: p, needs: [Pair/other, S/s@eu]}\n", "a.yaml:13:41: local.port/p: metadata.needs[1]: a use of a template has no target\na.yaml:13:29: local.port/p: needs Pair/other, which is not declared\n"},
		{
			"a use that has findings may be anything", useOf("Pair@v1", "web", "{}") + "---\napiVersion: aplomb.dev/v1\nkind: local.process\nmetadata: {name: p, needs: [Pair/web]}\nspec: {argv: [x], env: {A: \"@{Pair/web.x}\"}}\n",
			"a.yaml:4:7: Pair/web: missing field spec.text\n",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			res := unfoldHere(t, files("a.yaml", c.yaml, "x.hcl", "job {}"), files("web.cue", pair, "s/s.cue", secrets), nil)
			got, want := strings.Split(told(res), "\n"), strings.Split(c.want, "\n")
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("findings:\n%swant:\n%s", told(res), c.want)
			}
		})
	}
}

// Only what changed is unfolded again: of the files, the templates and the uses.
func TestUsesAreCached(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	fsys := files("a.yaml", useOf("Pair@v1", "a", "{text: a}")+"---\n"+useOf("Pair@v1", "b", "{text: b}"), "c.yaml", useOf("Pair@v1", "c", "{text: c}"), "p.yaml", port("p"))
	tree := files("web.cue", pair)
	count := func(values map[string]string) int {
		t.Helper()
		n := 0
		c := New(Options{CacheDir: dir, Workers: worker.New(worker.Options{Services: worker.Services{Service: func() worker.Handler { return counting{NewHandler(), &n} }}})})
		res := unfoldWith(t, c, fsys, tree, values)
		wantTold(t, res, "")
		if len(res.Resources) != 7 {
			t.Errorf("%d resources", len(res.Resources))
		}
		return n
	}
	for _, step := range []struct {
		name   string
		change func()
		values map[string]string
		want   int
	}{
		{"cold", func() {}, nil, 3 + 1 + 3}, // files, templates, uses
		{"a restart", func() {}, nil, 0},
		{"one use", func() { fsys["c.yaml"].Data = []byte(useOf("Pair@v1", "c", "{text: other}")) }, nil, 1 + 1},
		{"one of two in a file", func() {
			fsys["a.yaml"].Data = []byte(useOf("Pair@v1", "a", "{text: a}") + "---\n" + useOf("Pair@v1", "b", "{text: other}"))
		}, nil, 1 + 1},
		{"a template", func() { tree["web.cue"].Data = []byte(pair + "\n// more\n") }, nil, 1 + 3},
		{"a value", func() {}, map[string]string{"region": `"us"`}, 1 + 3},
		{"something else", func() { fsys["p.yaml"].Data = []byte(port("q")) }, map[string]string{"region": `"us"`}, 1},
	} {
		step.change()
		if n := count(step.values); n != step.want {
			t.Errorf("%s: %d were checked, want %d", step.name, n, step.want)
		}
	}
}

// An operator's package may take shipped templates as they are, or ask more;
// where he has templates, the others are not in force.
func TestOwnTemplates(t *testing.T) {
	own := files("cue.mod/module.cue", "module: \"example.org/templates@v0\"\nlanguage: version: \"v0.9.0\"\n", "lib/x.cue", "package lib\n\nprogram: \"web\"\n", "web.cue", `package own

import (
	"aplomb.dev/templates"
	"example.org/templates/lib"
)

#WebService: templates.#WebService & {
	spec: command: [lib.program, ...]
}

#Jobs: templates.#Batch
`)
	uses := files("a.yaml", useOf("WebService", "web", `{command: [web, "@{local.port/web.port}"], count: "@{local.port/web.port}"}`)+"---\n"+useOf("Batch", "b", "{command: [x], env: {U: \"@{WebService/web.url}\"}}"))
	res := unfoldHere(t, uses, own, nil)
	wantTold(t, res, "")
	refused := told(unfoldHere(t, files("a.yaml", useOf("WebService", "web", "{command: [other]}")), own, nil))
	if !strings.HasPrefix(refused, "a.yaml:4:") || !strings.Contains(refused, "WebService/web: spec") {
		t.Errorf("what it asks is not asked: %s", refused)
	}
	if spec, _ := specOf(t, res, "local.process/web"); !strings.Contains(spec, `"count":"@{local.port/web.port}"`) {
		t.Error(spec)
	}
	got := told(unfoldHere(t, files("a.yaml", useOf("CronJob", "c", "{every: 1h, command: [x]}")), own, nil))
	if want := "a.yaml:2:7: CronJob/c: unknown template CronJob\n  hint: the templates are Batch, WebService; kinds have a dot, such as local.file\n"; got != want {
		t.Errorf("%swant\n%s", got, want)
	}
}

// An input may name a file beside the use.
func TestInputFiles(t *testing.T) {
	res := unfoldHere(t, files("d/a.yaml", useOf("Pair@v1", "web", `{text: a, from: ./x.tmpl, secret: "@{local.secret/s.value}"}`)+"---\n"+useOf("local.secret", "s", "{}"), "d/x.tmpl", "content"),
		files("web.cue", pair), nil)
	wantTold(t, res, "")
	if r := res.Resources[0]; len(r.Files) != 1 || r.Files[0].Path != "d/x.tmpl" || !strings.Contains(string(r.Spec), `"template":"d/x.tmpl"`) {
		t.Errorf("%+v %s", r.Files, r.Spec)
	}
	res = unfoldHere(t, files("d/a.yaml", useOf("Pair@v1", "web", "{text: a, from: ./y.tmpl}")), files("web.cue", pair), nil)
	if got := told(res); !strings.HasPrefix(got, "d/a.yaml:4:23: local.file/web: spec.template: the file d/y.tmpl: there is no such file") {
		t.Error(got)
	}
}
