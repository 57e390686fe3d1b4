package compile

import (
	"cmp"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/worker"
)

const fleetModule = "module: \"example.org/fleet@v0\"\nlanguage: version: \"v0.9.0\"\n"

// fleet is a repository with a library, packages in CUE, and YAML beside them.
func fleet() fstest.MapFS {
	return files(
		"cue.mod/module.cue", fleetModule,
		"lib/web/web.cue", `package web

import "aplomb.dev/schema/local"

#Web: {
	#name: string
	#port: *0 | int

	port: local.#Port & {metadata: name: #name, if #port > 0 {spec: number: #port}}
	process: local.#Process & {
		metadata: {name: #name, labels: tier: "front"}
		spec: {
			argv: ["web", "@{local.port/\(#name).address}"]
			count: *2 | int
		}
	}
}
`,
		"shop/web.cue", `package shop

import (
	"aplomb.dev/schema/local"
	"example.org/fleet/lib/web"
)

shop: web.#Web & {#name: "shop", process: spec: count: 3}

let names = ["a", "b"]

workers: {
	for i, n in names {
		(n): local.#Service & {
			metadata: name: "worker-\(n)"
			spec: {port: "@{local.port/shop.port}", tags: ["\(i)"]}
		}
	}
}

plain: {
	apiVersion: "aplomb.dev/v1"
	kind:       "local.file"
	metadata: name: "conf"
	spec: {path: "etc/conf", template: "./conf.tmpl"}
}
`,
		"shop/conf.tmpl", "x",
		"shop/secret.yaml", "apiVersion: aplomb.dev/v1\nkind: local.secret\nmetadata: {name: session}\n",
		"alone.cue", "import \"aplomb.dev/schema/local\"\n\nalone: local.#Port & {metadata: name: \"alone\"}\n",
	)
}

func names(all []schema.Resource) []string {
	var out []string
	for _, r := range all {
		out = append(out, r.ID.Kind+"/"+r.ID.Name)
	}
	slices.Sort(out)
	return out
}

func find(t *testing.T, res Result, kind, name string) schema.Resource {
	t.Helper()
	for _, r := range res.Resources {
		if r.ID.Kind == kind && r.ID.Name == name {
			return r
		}
	}
	t.Fatalf("there is no %s/%s in %v; findings %v", kind, name, names(res.Resources), res.Findings)
	return schema.Resource{}
}

// Declarations in CUE are those of YAML: the same specs, references, files, and
// places that a person knows.
func TestCUE(t *testing.T) {
	res := compileHere(t, fleet())
	want := []string{
		"local.file/conf", "local.port/alone", "local.port/shop", "local.process/shop", "local.secret/session",
		"local.service/worker-a", "local.service/worker-b",
	}
	if got := names(res.Resources); !slices.Equal(got, want) {
		t.Fatalf("%v, want %v; findings %v", got, want, res.Findings)
	}
	if res.Files != 4 || res.Outside {
		t.Errorf("%d files, outside %t", res.Files, res.Outside)
	}
	yaml := compileHere(t, files("shop/web.yaml", `apiVersion: aplomb.dev/v1
kind: local.process
metadata: {name: shop, labels: {tier: front}}
spec: {argv: [web, "@{local.port/shop.address}"], count: 3}
`)).Resources[0]
	got := find(t, res, "local.process", "shop")
	if string(got.Spec) != string(yaml.Spec) || !reflect.DeepEqual(got.Labels, yaml.Labels) || got.Refs[0].Text != yaml.Refs[0].Text {
		t.Errorf("CUE makes %+v\nYAML makes %+v", got, yaml)
	}
	for _, p := range []struct{ kind, name, pos string }{
		{"local.process", "shop", "shop/web.cue:8:34"}, {"local.port", "shop", "shop/web.cue:8:1"}, {"local.service", "worker-b", "shop/web.cue:14:3"},
		{"local.file", "conf", "shop/web.cue:22:2"}, {"local.port", "alone", "alone.cue:3:1"},
	} {
		if at := find(t, res, p.kind, p.name).Pos.String(); at != p.pos {
			t.Errorf("%s/%s is at %s, want %s", p.kind, p.name, at, p.pos)
		}
	}
	conf := find(t, res, "local.file", "conf")
	if len(conf.Files) != 1 || conf.Files[0].Path != "shop/conf.tmpl" {
		t.Errorf("the files %+v", conf.Files)
	}
	if again := compileWith(t, Options{Workers: testPool(t)}, fleet()); !reflect.DeepEqual(again, res) {
		t.Errorf("a worker says %+v\nthis process says %+v", again, res)
	}
}

// Only the packages that hold a file that was altered are evaluated again, over
// restarts too.
func TestCUECache(t *testing.T) {
	dir := t.TempDir()
	fsys := fleet()
	fsys["other/o.cue"] = &fstest.MapFile{Data: []byte("package other\n\nimport \"aplomb.dev/schema/local\"\n\no: local.#Port & {metadata: name: \"other\"}\n")}
	first, n := cached(t, dir, fsys)
	if n != 5 || len(first.Resources) != 8 {
		t.Fatalf("%d inputs checked, %d resources, %v", n, len(first.Resources), first.Findings)
	}
	if again, n := cached(t, dir, fsys); n != 0 || !reflect.DeepEqual(again, first) {
		t.Errorf("%d inputs checked after a restart\n%+v\n%+v", n, again, first)
	}
	alter := func(name, from, to string) {
		t.Helper()
		text := string(fsys[name].Data)
		if !strings.Contains(text, from) {
			t.Fatalf("%s holds no %q", name, from)
		}
		fsys[name] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(text, from, to))}
	}
	alter("other/o.cue", `"other"`, `"another"`)
	if _, n := cached(t, dir, fsys); n != 1 {
		t.Errorf("%d inputs checked after one package was altered", n)
	}
	alter("lib/web/web.cue", "*2", "*4")
	if res, n := cached(t, dir, fsys); n != 2 || len(res.Resources) != 8 { // lib/web itself, and shop
		t.Errorf("%d inputs checked after a library was altered; %v", n, res.Findings)
	}
	alter("cue.mod/module.cue", "v0.9.0", "v0.9.2")
	if _, n := cached(t, dir, fsys); n != 4 { // all but YAML: the module file is part of each package
		t.Errorf("%d inputs checked after the module file was altered", n)
	}
}

// A tree that lies in a repository imports from beside it; its files are named
// from its own root.
func TestCUEOutside(t *testing.T) {
	all := fleet()
	all["lib/web/bad.cue"] = &fstest.MapFile{Data: []byte("package web\n\n#Web: process: spec: argv: [\"web\", ...string]\n#Web: process: spec: count: <=2\n")}
	sub, err := all.Sub("shop")
	if err != nil {
		t.Fatal(err)
	}
	res, err := New(Options{}).Compile(t.Context(), Declarations{FS: sub, Root: all, Path: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	if !res.Outside {
		t.Error("nothing from outside")
	}
	wantFindings(t, res, "web.cue:8:56: local.process/shop: spec.count: 3 does not fit <=2")
	delete(all, "lib/web/bad.cue")
	res, err = New(Options{}).Compile(t.Context(), Declarations{FS: sub, Root: all, Path: "shop"})
	if err != nil || len(res.Resources) != 6 {
		t.Fatalf("%v, %v, %v", names(res.Resources), res.Findings, err)
	}
	if at := find(t, res, "local.process", "shop").Pos.File; at != "web.cue" {
		t.Errorf("it is at %s", at)
	}
	if f := find(t, res, "local.file", "conf").Files; len(f) != 1 || f[0].Path != "conf.tmpl" {
		t.Errorf("files %+v", f)
	}
}

// A path stands for a file beside the one that it is written in, also as a
// default or put together; from outside of the tree it means the package's
// folder.
func TestCUEFiles(t *testing.T) {
	all := files("cue.mod/module.cue", fleetModule, "env/a.tmpl", "1", "env/b.tmpl", "1", "env/c.tmpl", "1", "env/lib/a.tmpl", "2", "env/lib/b.tmpl", "2", "lib/c.tmpl", "3",
		"env/lib/lib.cue", `package lib

import "aplomb.dev/schema/local"

#A: local.#File & {
	metadata: name: string
	spec: {path: metadata.name, template: *"./a.tmpl" | string}
}
#B: {
	apiVersion: "aplomb.dev/v1"
	kind:       "local.file"
	metadata: name: string
	spec: {path: metadata.name, template: "./\(metadata.name).tmpl"}
}
`, "lib/lib.cue", `package lib

#C: {
	apiVersion: "aplomb.dev/v1"
	kind:       "local.file"
	metadata: name: "c"
	spec: {path: "c", template: "c.tmpl"}
}
`, "env/env.cue", `package env

import (
	"example.org/fleet/env/lib"
	out "example.org/fleet/lib"
)

a:   lib.#A & {metadata: name: "a"}
own: lib.#A & {metadata: name: "own", spec: template: "a.tmpl"}
b:   lib.#B & {metadata: name: "b"}
c:   out.#C
`)
	sub, err := all.Sub("env")
	if err != nil {
		t.Fatal(err)
	}
	res, err := New(Options{}).Compile(t.Context(), Declarations{FS: sub, Root: all, Path: "env"})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": "lib/a.tmpl", "own": "a.tmpl", "b": "lib/b.tmpl", "c": "c.tmpl"} {
		r := find(t, res, "local.file", name)
		if len(r.Files) != 1 || r.Files[0].Path != want || !strings.Contains(string(r.Spec), `"`+want+`"`) {
			t.Errorf("%s: files %v, want %s; %s", name, r.Files, want, r.Spec)
		}
	}
}

// What is ignored declares nothing, and can be imported; test files and files
// that CUE hides are not read.
func TestCUEIgnored(t *testing.T) {
	bad := &fstest.MapFile{Data: []byte("package shop\n\nbad: 1 & 2\n")}
	fsys := fleet()
	fsys[IgnoreFile] = &fstest.MapFile{Data: []byte("lib/\nalone.cue\nshop/bad.cue\n")}
	for _, name := range []string{"shop/bad.cue", "shop/web_test.cue", "shop/web_tool.cue", "shop/_x.cue", "shop/.x.cue", "cue.mod/gen/x.cue"} {
		fsys[name] = bad
	}
	res := compileHere(t, fsys)
	if len(res.Resources) != 6 || res.Files != 2 {
		t.Errorf("%v, %d files, findings %v", names(res.Resources), res.Files, res.Findings)
	}
}

// What a package says above the folder of another is declared once.
func TestCUEAbove(t *testing.T) {
	head := "package shop\n\nimport \"aplomb.dev/schema/local\"\n\n"
	res := compileHere(t, files("top.cue", head+"common: local.#Port & {metadata: name: \"common\", metadata: labels: {team: who}}\nwho: *\"all\" | string\n",
		"a/a.cue", head+"a: local.#Port & {metadata: name: \"a\"}\n"))
	if got := names(res.Resources); !slices.Equal(got, []string{"local.port/a", "local.port/common"}) {
		t.Errorf("%v, %v", got, res.Findings)
	}
}

// Symbolic links are refused, also below what is imported.
func TestCUELinks(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	writeFile(t, outside, "far.cue", "package far\n\nx: 1\n")
	writeFile(t, dir, "cue.mod/module.cue", fleetModule)
	writeFile(t, dir, ".far/far.cue", "package far\n")
	writeFile(t, dir, "a.cue", "package a\n\nimport \"example.org/fleet/far\"\n\nx: far.x\n")
	for name, to := range map[string]string{"far": outside, "b.cue": "a.cue"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	res := compileFolder(t, dir)
	wantFindings(t, res, "b.cue:1:1: a symbolic link", "far:1:1: a symbolic link", "far:1:1: cannot be read: a symbolic link")
}

// A file that a spec names is data, whatever it looks like.
func TestCUEAsData(t *testing.T) {
	conf := "apiVersion: aplomb.dev/v1\nkind: local.file\nmetadata: {name: a}\nspec: {path: x, template: data/x.cue}\n"
	res := compileHere(t, files("a.yaml", conf, "data/x.cue", "{{ no CUE"))
	if len(res.Resources) != 1 {
		t.Errorf("findings %v", res.Findings)
	}
	res = compileHere(t, files("a.yaml", port("a"), "data/x.cue", "{{ no CUE"))
	wantFindings(t, res, "data/x.cue:1:7: expected label")
}

// Attributes in attributes lead the parser down to the end of the stack: a
// worker's, never this process's.
func TestCUEDeepAttributes(t *testing.T) {
	deep := strings.Repeat("@x(", DefaultFileBytes/3-10)
	p := worker.New(worker.Options{Command: testWorker, Limits: worker.Limits{Memory: 128 << 20}})
	defer func() { _ = p.Close() }()
	res := compileWith(t, Options{Workers: p}, files("cue.mod/module.cue", deep, "a.cue", deep, "b.cue", "import \"x.org/y\"\n"+deep, "large/a.cue", strings.Repeat("// x\n", 1<<20), "z.yaml", port("Z")))
	wantFindings(t, res, "a.cue:1:1: checking it needs more than 128 MiB", "b.cue:1:1: checking it needs more than 128 MiB",
		"large/a.cue:1:1: cannot be read: larger than 4096 KiB", "z.yaml:3:18: metadata.name")
}

// TestOrigin: a declaration belongs to the package that declares it, wherever
// its values were written; one that two packages hold is that one's in whose
// folder it stands.
func TestOrigin(t *testing.T) {
	thing := func(name string) string {
		return name + ": {apiVersion: \"aplomb.dev/v1\", kind: \"local.secret\", metadata: name: \"" + name + "\"}\n"
	}
	res := compileHere(t, files(
		"cue.mod/module.cue", fleetModule,
		"teams/all.cue", "package teams\n\n"+thing("shared"),
		"teams/pay/pay.cue", "package teams\n\n"+thing("pay"),
		"lib/lib.cue", "package lib\n\n#Things: {\n"+thing("lent")+"}\n",
		"teams/shop/shop.cue", "package shop\n\nimport \"example.org/fleet/lib\"\n\nlib.#Things\n"+thing("shop"),
	))
	for name, want := range map[string]string{
		"shared": "teams/all.cue", "pay": "teams/pay/pay.cue", "shop": "teams/shop/shop.cue", "lent": "teams/shop/shop.cue",
	} {
		r := find(t, res, "local.secret", name)
		if got := cmp.Or(r.Origin, r.Pos.File); got != want {
			t.Errorf("%s at %s is declared by %s, want %s", name, r.Pos, got, want)
		}
	}
}
