// Package examples tests that what users are shown to declare is right: the
// examples beside it, and the declarations in the documentation. It starts
// nothing that they declare.
package examples

import (
	"bytes"
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
	return orderWith(t, compile.Declarations{FS: tree})
}

func orderWith(t *testing.T, d compile.Declarations) []string {
	t.Helper()
	compiler := compile.New(compile.Options{})
	compiled, err := compiler.Compile(t.Context(), d)
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

// The same files are three teams' things on one machine, and on the engines.
func TestSelfService(t *testing.T) {
	ids := order(t, os.DirFS("selfservice"))
	if len(ids) != 12 {
		t.Fatalf("the teams declare %v, want 12 resources", ids)
	}
	if slices.Index(ids, "local.service/payments") > slices.Index(ids, "local.process/storefront") {
		t.Errorf("the storefront is not after the payments: %v", ids)
	}
	tree := fstest.MapFS{}
	for name, from := range map[string]string{
		"shop.yaml": "teams/shop/shop.yaml", "pay.yaml": "teams/pay/pay.yaml", "data.yaml": "teams/data/data.yaml",
		"platform.yaml": "hashistack/platform.yaml", "postgres/main.tf": "hashistack/postgres/main.tf",
	} {
		data, err := os.ReadFile(filepath.Join("selfservice", from))
		if err != nil {
			t.Fatal(err)
		}
		tree[name] = &fstest.MapFile{Data: data}
	}
	ids = orderWith(t, compile.Declarations{FS: tree, Values: map[string]json.RawMessage{
		"platform": json.RawMessage(`"hashistack"`), "driver": json.RawMessage(`"raw_exec"`), "after": json.RawMessage(`["vault.config/jwt-nomad", "vault.config/postgres"]`),
	}})
	for _, chain := range [][]string{
		{"vault.config/jwt-nomad", "vault.role/payments-workload", "nomad.job/payments", "nomad.job/storefront"},
		{"vault.config/postgres", "vault.role/ledger-database", "nomad.job/report"},
		{"vault.password-policy/shop-session-key", "vault.kv/shop", "nomad.job/storefront"},
	} {
		if !slices.IsSortedFunc(chain, func(a, b string) int { return slices.Index(ids, a) - slices.Index(ids, b) }) || !slices.Contains(ids, chain[len(chain)-1]) {
			t.Errorf("not in this order: %v\nin %v", chain, ids)
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

// The fleet in CUE, and the finding that its README promises.
func TestCUE(t *testing.T) {
	if ids := order(t, os.DirFS("cue")); len(ids) != 10 {
		t.Errorf("the fleet declares %v, want 10 resources", ids)
	}
	tree := fstest.MapFS{}
	err := fs.WalkDir(os.DirFS("cue"), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join("cue", name))
		tree[name] = &fstest.MapFile{Data: bytes.ReplaceAll(data, []byte("#count: 2"), []byte("#count: 5"))}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := compile.New(compile.Options{}).Compile(t.Context(), compile.Declarations{FS: tree})
	if err != nil {
		t.Fatal(err)
	}
	if len(compiled.Findings) == 0 || compiled.Findings[0].Pos.String() != "teams/shop.cue:10:20" || len(compiled.Findings[0].Also) == 0 {
		t.Errorf("findings %v", compiled.Findings)
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
