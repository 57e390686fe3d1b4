package cueload

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
)

func tree(named ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(named); i += 2 {
		fsys[named[i]] = &fstest.MapFile{Data: []byte(named[i+1])}
	}
	return fsys
}

func bundle(t *testing.T, fsys fstest.MapFS, dir, pkg string) *Bundle {
	t.Helper()
	b, err := NewReader(fsys, 1<<20).Bundle(dir, pkg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func value(t *testing.T, b *Bundle) cue.Value {
	t.Helper()
	v, _, err := b.Build(cuecontext.New())
	if err == nil {
		err = v.Err()
	}
	if err != nil {
		t.Fatal(errors.Details(err, nil))
	}
	return v
}

func paths(b *Bundle) []string {
	var all []string
	for _, f := range b.Files {
		all = append(all, f.Path)
	}
	return all
}

// A package is its files, those of its name above it, what it imports of the
// tree, and the schemas; nothing else of the tree is read.
func TestBundle(t *testing.T) {
	fsys := tree(
		"cue.mod/module.cue", "module: \"example.org/fleet@v0\"\nlanguage: version: \"v0.9.0\"\n",
		"top.cue", "package shop\n#Tier: \"gold\"\n",
		"other.cue", "package other\nbad: 1 & 2\n",
		"teams/shop/web.cue", "package shop\nimport (\n\t\"aplomb.dev/schema/local\"\n\t\"example.org/fleet/lib/net\"\n\t\"example.com/far\"\n)\nweb: local.#Port & {metadata: name: net.name, metadata: labels: {tier: #Tier, x: far.x}}\n",
		"teams/shop/web_test.cue", "package shop\nweb: 1\n",
		"lib/net/net.cue", "package net\nname: \"web\"\n",
		"cue.mod/pkg/example.com/far/far.cue", "package far\nx: \"far\"\n",
	)
	b := bundle(t, fsys, "teams/shop", "shop")
	want := []string{"cue.mod/module.cue", "cue.mod/pkg/example.com/far/far.cue", "lib/net/net.cue", "teams/shop/web.cue", "top.cue"}
	if got := paths(b); !slices.Equal(got, want) {
		t.Errorf("it holds %v, want %v", got, want)
	}
	v := value(t, b)
	got, err := v.LookupPath(cue.ParsePath("web.metadata")).MarshalJSON()
	if err != nil || string(got) != `{"name":"web","labels":{"tier":"gold","x":"far"}}` {
		t.Errorf("%s, %v", got, err)
	}
	sum := b.Sum()
	fsys["other.cue"].Data = []byte("package other\n")
	if bundle(t, fsys, "teams/shop", "shop").Sum() != sum {
		t.Error("the sum depends on what is not in it")
	}
	fsys["lib/net/net.cue"].Data = []byte("package net\nname: \"wub\"\n")
	if bundle(t, fsys, "teams/shop", "shop").Sum() == sum {
		t.Error("the sum does not depend on what is imported")
	}
}

// Without a cue.mod the schemas can be imported, from files without a package
// clause too. Positions are from the root of the tree.
func TestPositions(t *testing.T) {
	for name, head := range map[string]string{"app": "package app\n\n", "": "\n\n"} {
		fsys := tree("a/b/x.cue", head+"import \"aplomb.dev/schema/local\"\n\np: local.#Port & {metadata: name: \"P!\"}\n")
		b, err := NewReader(fsys, 1<<20).FileBundle("a/b/x.cue")
		if name != "" {
			b, err = NewReader(fsys, 1<<20).Bundle("a/b", name)
		}
		if err != nil {
			t.Fatal(err)
		}
		v, _, err := b.Build(cuecontext.New())
		if err != nil {
			t.Fatal(err)
		}
		err = v.Validate()
		if err == nil {
			t.Fatal("no error")
		}
		var own, foreign bool
		for _, p := range errors.Positions(err) {
			own = own || p.Filename() == "a/b/x.cue" && p.Line() == 5
			foreign = foreign || strings.HasPrefix(p.Filename(), "aplomb.dev/schema/") && !Own(p.Filename())
		}
		if !own || !foreign {
			t.Errorf("%q: positions %v", name, errors.Positions(err))
		}
	}
}

// What does not lie in the tree is refused, and nothing is fetched.
func TestOffline(t *testing.T) {
	for name, module := range map[string]string{"unnamed": "", "dependency": "module: \"example.org/fleet@v0\"\nlanguage: version: \"v0.9.0\"\ndeps: \"example.com/far@v0\": v: \"v0.1.0\"\n"} {
		fsys := tree("x.cue", "package x\nimport \"example.com/far\"\ny: far.x\n")
		if module != "" {
			fsys["cue.mod/module.cue"] = &fstest.MapFile{Data: []byte(module)}
		}
		_, _, err := bundle(t, fsys, ".", "x").Build(cuecontext.New())
		if err == nil {
			t.Errorf("%s: it is loaded", name)
		}
		t.Log(name, err)
	}
}

// Every field of a kind that may hold a reference takes one in the module that
// is imported, and no other.
func TestReferences(t *testing.T) {
	fsys := tree("x.cue", `package x
import (
	"aplomb.dev/schema/local"
	"aplomb.dev/schema/nomad"
)
good: local.#Process & {
	metadata: name: "p"
	spec: {argv: ["a"], count: "@{local.port/p.port}", check: http: "@{local.port/p.url}", type: "@{x/y.z}"}
}
job: nomad.#Job & {
	metadata: name: "j"
	spec: job: TaskGroups: [{Count: "@{local.port/p.port}"}]
}
plain: local.#Process & {metadata: name: "q", spec: argv: ["a"]}
bad: local.#Process & {metadata: name: "p", spec: {argv: ["a"], id: "@{local.port/p.port}"}}
`)
	v, _, err := bundle(t, fsys, ".", "x").Build(cuecontext.New())
	if err != nil {
		t.Fatal(errors.Details(err, nil))
	}
	for _, name := range []string{"good", "job", "plain"} {
		if err := v.LookupPath(cue.ParsePath(name)).Validate(cue.Concrete(true)); err != nil {
			t.Errorf("%s: %s", name, errors.Details(err, nil))
		}
	}
	if n, err := v.LookupPath(cue.ParsePath("plain.spec.count")).Int64(); n != 1 || err != nil {
		t.Errorf("the default is %d, %v", n, err)
	}
	if err := v.LookupPath(cue.ParsePath("bad")).Validate(); err == nil {
		t.Error("an address takes a reference")
	}
}

// Every package of the module evaluates.
func TestModule(t *testing.T) {
	files, err := Module()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range files {
		dir, _, below := strings.Cut(f.Path, "/")
		if !below || seen[dir] {
			continue
		}
		seen[dir] = true
		value(t, bundle(t, tree("x.cue", "package x\nimport p \"aplomb.dev/schema/"+dir+"\"\nX: p\n"), ".", "x"))
	}
	if len(seen) < 5 {
		t.Errorf("packages %v", seen)
	}
}
