package edit

import (
	"errors"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/schema"
)

// declaration is a declaration of local.process/web with a spec.
func declaration(spec string) string {
	return "apiVersion: aplomb.dev/v1\nkind: local.process\nmetadata: {name: web}\n" + spec
}

func web(t *testing.T) schema.ID {
	t.Helper()
	id, err := schema.ParseID("local.process/web")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// set applies PATH=VALUE texts to one file.
func set(t *testing.T, name, file string, sets ...string) (Edited, error) {
	t.Helper()
	var all []Set
	for _, text := range sets {
		s, err := ParseSet(text)
		if err != nil {
			return Edited{}, err
		}
		all = append(all, s)
	}
	return Apply([]File{{name, []byte(file)}}, web(t), all)
}

// TestSet: the value is another one, and nothing else is, to the byte.
func TestSet(t *testing.T) {
	for name, tc := range map[string]struct{ spec, set, want string }{
		"plain":             {"spec:\n  image: web:v1 # the one\n", "image=web:v2", "spec:\n  image: web:v2 # the one\n"},
		"double quotes":     {"spec:\n  image: \"web:v1\"   # x\n", "image=web:v2", "spec:\n  image: \"web:v2\"   # x\n"},
		"single quotes":     {"spec:\n  image: 'it''s'\n", "image=that's", "spec:\n  image: 'that''s'\n"},
		"single to double":  {"spec:\n  image: 'a'\n", `image="a\nb"`, "spec:\n  image: \"a\\nb\"\n"},
		"a tag is a text":   {"spec:\n  tag: latest\n", "tag=1.10", "spec:\n  tag: \"1.10\"\n"},
		"yes is a text":     {"spec:\n  tag: latest\n", "tag=yes", "spec:\n  tag: \"yes\"\n"},
		"a hash":            {"spec:\n  tag: latest\n", "tag=a #b", "spec:\n  tag: \"a #b\"\n"},
		"a number":          {"spec:\n  count: 3\n", "count=4", "spec:\n  count: 4\n"},
		"a number as text":  {"spec:\n  count: 3\n", `count="4"`, "spec:\n  count: \"4\"\n"},
		"a truth value":     {"spec: {on: false, a: 1}\n", "on=true", "spec: {on: true, a: 1}\n"},
		"flow":              {"spec: {image: web:v1, count: 2}\n", "image=web:v2", "spec: {image: web:v2, count: 2}\n"},
		"flow wants quotes": {"spec: {image: web}\n", "image=a,b", "spec: {image: \"a,b\"}\n"},
		"list":              {"spec:\n  c:\n  - image: a\n  - image: b # two\n", "c[1].image=x", "spec:\n  c:\n  - image: a\n  - image: x # two\n"},
		"flow list":         {"spec: {args: [a, \"b\", c]}\n", "args[1]=x", "spec: {args: [a, \"x\", c]}\n"},
		"dotted key":        {"spec:\n  vars: {a.b: x, a: {b: y}}\n", `vars["a.b"]=z`, "spec:\n  vars: {a.b: z, a: {b: y}}\n"},
		"quoted key":        {"spec:\n  \"a.b\": x\n", `"a.b"=z`, "spec:\n  \"a.b\": z\n"},
		"umlauts before":    {"spec: {ä: ö, \"é€𝄞\": '…', image: v1}\n", "image=v2", "spec: {ä: ö, \"é€𝄞\": '…', image: v2}\n"},
		"crlf":              {"spec:\r\n  image: v1\r\n  b: 1\r\n", "image=v2", "spec:\r\n  image: v2\r\n  b: 1\r\n"},
		"empty":             {"spec:\n  image: # none yet\n  b: 1\n", "image=v2", "spec:\n  image: v2 # none yet\n  b: 1\n"},
		"empty text":        {"spec:\n  image: \"\"\n", "image=v2", "spec:\n  image: \"v2\"\n"},
		"to empty":          {"spec:\n  image: v1\n", "image=", "spec:\n  image: \"\"\n"},
		"null":              {"spec: {image: null}\n", "image=v2", "spec: {image: v2}\n"},
		"a reference":       {"spec:\n  env: {A: \"@{local.port/web.port}\"}\n", "env.A=x=y", "spec:\n  env: {A: \"x=y\"}\n"},
		"no last newline":   {"spec:\n  image: v1", "image=v2", "spec:\n  image: v2"},
		"same":              {"spec:\n  image: 'v1'\n", "image=v1", "spec:\n  image: 'v1'\n"},
		"two documents":     {"spec:\n  image: v1\n---\nfoo: bar\nspec:\n  image: v1\n", "image=v2", "spec:\n  image: v2\n---\nfoo: bar\nspec:\n  image: v1\n"},

		"new":                {"spec:\n  a: 1\n", "image=v1", "spec:\n  a: 1\n  image: v1\n"},
		"new, nested":        {"spec:\n  a: 1\n", "env.A=1", "spec:\n  a: 1\n  env:\n    A: 1\n"},
		"new, wide":          {"spec:\n    a: 1\n", "env.A=1", "spec:\n    a: 1\n    env:\n        A: 1\n"},
		"new, crlf":          {"spec:\r\n  a: 1\r\n", "image=v1", "spec:\r\n  a: 1\r\n  image: v1\r\n"},
		"new, no newline":    {"spec:\n  a: 1", "image=v1", "spec:\n  a: 1\n  image: v1"},
		"new, before marker": {"spec:\n  a: 1\n\n---\nb: 1\n", "image=v1", "spec:\n  a: 1\n  image: v1\n\n---\nb: 1\n"},
		"new, before key":    {"spec:\n  a: 1\n  # c\nother: 1\n", "image=v1", "spec:\n  a: 1\n  # c\n  image: v1\nother: 1\n"},
		"new, after literal": {"spec:\n  a: |\n    x\n\n    # y\nother: 1\n", "image=v1", "spec:\n  a: |\n    x\n\n    # y\n  image: v1\nother: 1\n"},
		"new, after list":    {"spec:\n  a:\n  - x\n  - y: 1\n    z: 2\n", "image=v1", "spec:\n  a:\n  - x\n  - y: 1\n    z: 2\n  image: v1\n"},
		"new, in item":       {"spec:\n  a:\n  - x: 1\n  - y: 1\n", "a[0].z=q", "spec:\n  a:\n  - x: 1\n    z: q\n  - y: 1\n"},
		"new, flow":          {"spec: {a: 1}\n", "image=v1", "spec: {a: 1, image: v1}\n"},
		"new, flow nested":   {"spec: {a: [1, {b: 2}]} # x\n", "env.A=b", "spec: {a: [1, {b: 2}], env: {A: b}} # x\n"},
		"new, flow lines":    {"spec: {\n  a: 1,\n  b: 'x' # c\n}\n", "image=v1", "spec: {\n  a: 1,\n  b: 'x',\n  image: v1 # c\n}\n"},
		"new, empty flow":    {"spec: {}\n", "image=v1", "spec: {image: v1}\n"},
		"new, empty spec":    {"spec:\n", "env.A=x", "spec:\n  env:\n    A: x\n"},
		"new, no spec":       {"# end\n", "image=v1", "# end\nspec:\n  image: v1\n"},
		"new, empty key":     {"?\n", "a=1", "?\nspec:\n  a: 1\n"},
		"new, odd key":       {"spec: {a: 1}\n", `env["on"]=x`, "spec: {a: 1, env: {\"on\": x}}\n"},
		"new, under null":    {"spec:\n  env: ~\n", "env.A=x", "spec:\n  env: {A: x}\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := set(t, "w.yaml", declaration(tc.spec), tc.set)
			if err != nil {
				t.Fatal(err)
			}
			if want := declaration(tc.want); string(got.File.Data) != want {
				t.Errorf("got\n%s\nwant\n%s", got.File.Data, want)
			}
			if got.Changed() != (tc.spec != tc.want) {
				t.Errorf("changed: %v", got.Changed())
			}
			again, err := set(t, "w.yaml", string(got.File.Data), tc.set)
			if err != nil || again.Changed() || string(again.File.Data) != string(got.File.Data) {
				t.Errorf("again: %v, %s", err, again.File.Data)
			}
		})
	}
}

// TestJSON: what is JSON stays so.
func TestJSON(t *testing.T) {
	const head = "{\n\t\"apiVersion\": \"aplomb.dev/v1\",\n\t\"kind\": \"local.process\",\n\t\"metadata\": {\"name\": \"web\"},\n\t\"spec\": {"
	for _, tc := range []struct{ spec, set, want string }{
		{`"image": "v1"}` + "\n}\n", "image=v2", `"image": "v2"}` + "\n}\n"},
		{`"count": 1}` + "\n}\n", "count=2", `"count": 2}` + "\n}\n"},
		{`"count": 1}` + "\n}\n", "env.A=yes", `"count": 1, "env": {"A": "yes"}}` + "\n}\n"},
		{"\n\t\t\"count\": 1\n\t}\n}\n", "image=v1", "\n\t\t\"count\": 1,\n\t\t\"image\": \"v1\"\n\t}\n}\n"},
	} {
		got, err := set(t, "w.json", head+tc.spec, tc.set)
		if err != nil || string(got.File.Data) != head+tc.want {
			t.Errorf("%s: %v\n%s", tc.set, err, got.File.Data)
		}
	}
}

// TestRefused: what cannot be set without setting more is not, and says why.
func TestRefused(t *testing.T) {
	for name, tc := range map[string]struct{ spec, set, want string }{
		"literal":        {"spec:\n  a: |\n    x\n", "a=y", "w.yaml:5: spec.a: it is a text of several lines"},
		"folded plain":   {"spec:\n  a: x\n    y\n", "a=z", "several lines"},
		"folded quoted":  {"spec:\n  a: \"x\n    y\"\n", "a=z", "several lines"},
		"anchor":         {"spec:\n  a: &x 1\n  b: *x\n", "a=2", "spec.a has an anchor, &x"},
		"alias":          {"spec:\n  a: &x 1\n  b: *x\n", "b=2", "spec.b is an alias, *x"},
		"shared mapping": {"spec:\n  a: &x {c: 1}\n  b: *x\n", "b.c=2", "spec.b is an alias, *x"},
		"merge":          {"spec:\n  <<: {a: 1}\n", "a=2", "merge keys"},
		"tag":            {"spec:\n  a: !!str 1\n", "a=2", "an anchor or a tag"},
		"mapping":        {"spec:\n  a: {b: 1}\n", "a=2", "spec.a is a mapping"},
		"list":           {"spec:\n  a: [1]\n", "a.b=2", "spec.a is a list"},
		"item":           {"spec:\n  a: [1]\n", "a[1]=2", "spec.a has 1 items"},
		"text":           {"spec:\n  a: x\n", "a.b=2", "spec.a is a text"},
		"new list":       {"spec:\n  a: x\n", "b[0]=2", "there is no list there"},
		"twice":          {"spec:\n  a: x\n  a: y\n", "a=2", "stands there twice"},
		"below the spec": {"spec:\n  a: x\n", "spec.a=2", "the spec has no field spec"},
		"broken":         {"spec:\n  a: [x\n", "a=2", "w.yaml: it does not parse"},
		"control":        {"spec:\n  a: x\n", "a=\x1b[0m", "control character"},
		"no value":       {"spec:\n  a: x\n", "a", "is not PATH=VALUE"},
		"no path":        {"spec:\n  a: x\n", "=a", "is empty"},
		"odd path":       {"spec:\n  a: x\n", "a[x]=1", "between [ and ]"},
		"kept newlines":  {"spec:\n  a: |+\n    x\n\n", "b=1", "would change more than it"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := set(t, "w.yaml", declaration(tc.spec), tc.set)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q\n%s", err, tc.want, got.File.Data)
			}
		})
	}
	if _, err := set(t, "w.yaml", declaration("spec: {a: 1}\n"), "a=2", "a=3"); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("one path with two values: %v", err)
	}
}

// TestFind: which declaration is meant is certain, or nothing is set.
func TestFind(t *testing.T) {
	doc := func(kind, meta string) string {
		return "apiVersion: aplomb.dev/v1\nkind: " + kind + "\nmetadata: {" + meta + "}\nspec: {a: 1}\n"
	}
	for name, tc := range map[string]struct{ file, id, want string }{
		"a use":         {doc("WebService@v2", "name: web"), "WebService/web", ""},
		"a target":      {doc("nomad.job", "name: web, target: eu") + "---\n" + doc("nomad.job", "name: web, target: us"), "nomad.job/web@us", ""},
		"two targets":   {doc("nomad.job", "name: web, target: eu") + "---\n" + doc("nomad.job", "name: web, target: us"), "nomad.job/web", "is declared at a.yaml:1, too"},
		"one for all":   {doc("nomad.job", "name: web, targets: [eu, us]"), "nomad.job/web", ""},
		"one of all":    {doc("nomad.job", "name: web, targets: [eu, us]"), "nomad.job/web@us", "one declaration is nomad.job/web for eu, us"},
		"another one":   {doc("nomad.job", "name: web, target: eu"), "nomad.job/web@us", "no YAML or JSON file declares nomad.job/web@us"},
		"another kind":  {doc("nomad.job", "name: web"), "nomad.jobs/web", "no YAML or JSON"},
		"no target":     {doc("nomad.job", "name: web"), "nomad.job/web@eu", ""},
		"no aplomb":     {strings.Replace(doc("nomad.job", "name: web"), "aplomb.dev", "k8s.io", 1), "nomad.job/web", "no YAML or JSON"},
		"beside broken": {"nomad.job web: [", "nomad.job/web", "it does not parse"},
	} {
		id, err := schema.ParseID(tc.id)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Apply([]File{{"a.yaml", []byte(tc.file)}, {"b.yaml", []byte("x: [")}}, id, []Set{{"a", "2"}})
		var e *Error
		switch {
		case tc.want == "" && (err != nil || !got.Changed()):
			t.Errorf("%s: %v", name, err)
		case tc.want != "" && (!errors.As(err, &e) || !strings.Contains(err.Error(), tc.want) || e.Missing != strings.HasPrefix(tc.want, "no ")):
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	both := declaration("spec:\n  a: 1\n")
	if _, err := Apply([]File{{"a.yaml", []byte(both)}, {"b.yaml", []byte(both)}}, web(t), []Set{{"a", "2"}}); err == nil {
		t.Error("one that is declared in two files was set in one")
	}
}

// TestMark: the mark at the beginning of a file stays.
func TestMark(t *testing.T) {
	got, err := set(t, "w.yaml", "\uFEFF"+declaration("spec: {a: 1}\n"), "a=2", "b=c")
	if err != nil || string(got.File.Data) != "\uFEFF"+declaration("spec: {a: 2, b: c}\n") {
		t.Errorf("%v: %q", err, got.File.Data)
	}
}

// FuzzApply: whatever a file holds, an edit changes one stretch of it, which
// holds no comment and no end of a line, and the same edit again changes
// nothing.
func FuzzApply(f *testing.F) {
	f.Add("spec: {a: 1}\n", "a", "2", false)
	f.Add("spec:\n  a:\n  - b: 'x' # y\n    c: \"z\\\"\"\n---\n- x\n", "a[0].b", "it's", false)
	f.Add("spec:\r\n  \"ä b\": &x |\r\n    y\r\n  c: *x\r\n", "d.e", "true", false)
	f.Add("spec:\n  a: # b\n  c: [d, {e: f}]\n\n  # g\nh: i", "a.b", "null", false)
	f.Add(`{"a":[{},{"b":null}]}}`, "a[1].b", "x y", true)
	f.Fuzz(func(t *testing.T, rest, path, val string, json bool) {
		file := declaration(rest)
		if json {
			file = `{"apiVersion":"aplomb.dev/v1","kind":"local.process","metadata":{"name":"web"},"spec":` + rest
		}
		if len(file) > 4<<10 || len(val) > 1<<10 {
			t.Skip()
		}
		name, s := "w.yaml", Set{path, val}
		if json {
			name = "w.json"
		}
		id := schema.ID{Kind: "local.process", Name: "web"}
		got, err := Apply([]File{{name, []byte(file)}}, id, []Set{s})
		if err != nil {
			return
		}
		out := string(got.File.Data)
		if !got.Changed() {
			if out != file {
				t.Fatalf("nothing is to be changed, and the file is: %q", out)
			}
			return
		}
		from, to := 0, 0
		for from < len(file) && from < len(out) && file[from] == out[from] {
			from++
		}
		for to < len(file)-from && to < len(out)-from && file[len(file)-1-to] == out[len(out)-1-to] {
			to++
		}
		if gone := file[from : len(file)-to]; strings.ContainsAny(gone, "\n\r") {
			t.Fatalf("%q was taken out of %q", gone, file)
		}
		again, err := Apply([]File{{name, []byte(out)}}, id, []Set{s})
		if err != nil || again.Changed() {
			t.Fatalf("again: %v, of %q made of %q", err, out, file)
		}
	})
}
