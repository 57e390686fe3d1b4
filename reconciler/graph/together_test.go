package graph_test

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/aplomb-dev/aplomb/drivers"
	mesh "github.com/aplomb-dev/aplomb/drivers/mesh/local"
	provisioning "github.com/aplomb-dev/aplomb/drivers/provisioning/local"
	scheduler "github.com/aplomb-dev/aplomb/drivers/scheduler/local"
	secret "github.com/aplomb-dev/aplomb/drivers/secret/local"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
)

// embedded is one machine with all four layers.
func embedded(t *testing.T) *drivers.Registry {
	t.Helper()
	dir := t.TempDir()
	prov := &provisioning.Driver{Env: "env", Root: filepath.Join(dir, "root"), Dir: filepath.Join(dir, "prov")}
	mux := drivers.Mux{
		"local.file": prov, "local.port": prov,
		"local.secret":  &secret.Driver{Env: "env", Dir: filepath.Join(dir, "secret")},
		"local.service": &mesh.Driver{Env: "env", Dir: filepath.Join(dir, "mesh")},
		"local.process": &scheduler.Driver{Env: "env", Root: prov.Root, Dir: filepath.Join(dir, "run")},
	}
	local := drivers.Target{Name: "local", Driver: mux}
	for kind := range mux {
		local.Kinds = append(local.Kinds, kind)
	}
	reg, err := drivers.NewRegistry(local)
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// TestTogether: a tree with one of every kind of mistake has all of them found
// at once, and nothing is found that is none. A file that does not parse may
// declare anything, so what dangles is only found without one.
func TestTogether(t *testing.T) {
	for _, name := range []string{"together", "torn"} {
		t.Run(name, func(t *testing.T) { together(t, filepath.Join("testdata", name+".txtar")) })
	}
}

func together(t *testing.T, path string) {
	ar, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tree, want := fstest.MapFS{}, ""
	for _, f := range ar.Files {
		if f.Name == "findings" {
			want = string(f.Data)
			continue
		}
		tree[f.Name] = &fstest.MapFile{Data: f.Data, Mode: 0o644}
	}
	compiler := compile.New(compile.Options{})
	got, err := compiler.Compile(t.Context(), compile.Declarations{FS: tree})
	if err != nil {
		t.Fatal(err)
	}
	if got.Resources != nil {
		t.Error("resources in spite of findings")
	}
	reg := embedded(t)
	var b strings.Builder
	for _, d := range schema.SortDiagnostics(append(got.Findings, graph.Check(got.Seen, reg)...)) {
		b.WriteString(d.String() + "\n")
	}
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}
