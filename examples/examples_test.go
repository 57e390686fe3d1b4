// Package examples tests that what users are shown to declare is right: the
// examples beside it, and the declarations in the documentation. It starts
// nothing that they declare.
package examples

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
)

// named is a driver that is asked for addresses only.
type named struct{ drivers.Driver }

func (named) Address(kind, name string, _ json.RawMessage) (string, error) {
	return kind + "/" + name, nil
}

// order compiles a tree and answers its resources, needs first.
func order(t *testing.T, tree fs.FS) []string {
	t.Helper()
	compiler := compile.New(compile.Options{})
	compiled, err := compiler.Compile(t.Context(), compile.Declarations{FS: tree})
	if err != nil {
		t.Fatal(err)
	}
	kinds, err := compile.Kinds()
	if err != nil {
		t.Fatal(err)
	}
	local := drivers.Target{Name: "local", Driver: named{}}
	for _, k := range kinds {
		local.Kinds = append(local.Kinds, k.Name)
	}
	targets, err := drivers.NewRegistry(local)
	if err != nil {
		t.Fatal(err)
	}
	nodes, findings := graph.Build(compiled.Resources, targets)
	for _, d := range slices.Concat(compiled.Findings, findings) {
		t.Error(d)
	}
	var ids []string
	for _, n := range nodes {
		ids = append(ids, n.ID.Short())
	}
	return ids
}

func TestShop(t *testing.T) {
	ids := order(t, os.DirFS("shop"))
	if len(ids) != 6 {
		t.Fatalf("the shop declares %v, want 6 resources", ids)
	}
	// Each line of README.md's picture: the one comes before the other.
	for _, chain := range [][]string{
		{"local.port/web", "local.file/web-config", "local.process/web", "local.service/web", "local.process/worker"},
		{"local.secret/db", "local.process/web"},
	} {
		last := -1
		for _, id := range chain {
			at := slices.Index(ids, id)
			if at <= last {
				t.Errorf("%s comes too early in %v", id, ids)
			}
			last = at
		}
	}
}

// A secret that leaked into an argument would be a finding: the example shows
// the right way, and this shows that the wrong one is refused.
func TestShopSecretElsewhere(t *testing.T) {
	web, err := os.ReadFile("shop/web.yaml")
	if err != nil {
		t.Fatal(err)
	}
	leaky := regexp.MustCompile(`argv: \[shop, web,`).ReplaceAll(web, []byte(`argv: [shop, "@{local.secret/db.value}",`))
	tree := fstest.MapFS{"web.yaml": {Data: leaky}, "web.json.tmpl": {Data: []byte("{}")}}
	for _, name := range []string{"network.yaml", "worker.yaml"} {
		data, err := os.ReadFile(filepath.Join("shop", name))
		if err != nil {
			t.Fatal(err)
		}
		tree[name] = &fstest.MapFile{Data: data}
	}
	compiler := compile.New(compile.Options{})
	compiled, err := compiler.Compile(t.Context(), compile.Declarations{FS: tree})
	if err != nil {
		t.Fatal(err)
	}
	if len(compiled.Findings) != 1 || compiled.Findings[0].Pos.File != "web.yaml" {
		t.Errorf("a secret in argv gives %v, want one finding in web.yaml", compiled.Findings)
	}
}

var (
	fence    = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
	declares = regexp.MustCompile(`(?m)^apiVersion: ` + regexp.QuoteMeta(schema.APIVersion) + `$`)
)

// Every declaration in the documentation compiles as it stands there.
func TestDocumentation(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range append(pages, "../README.md") {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fence.FindAllSubmatch(data, -1) {
			if !declares.Match(m[1]) {
				continue
			}
			found++
			t.Run(filepath.Base(page), func(t *testing.T) { order(t, fstest.MapFS{"example.yaml": {Data: m[1]}}) })
		}
	}
	if found == 0 {
		t.Error("no declaration was found: the pages have no such block any more")
	}
}
