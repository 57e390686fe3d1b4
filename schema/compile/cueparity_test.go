package compile

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"gopkg.in/yaml.v3"

	"github.com/aplomb-dev/aplomb/schema"
)

// definitionOf are the definitions of kinds, as repositories import them.
func definitionOf(t *testing.T) map[string]string {
	t.Helper()
	defs := map[string]string{}
	re := regexp.MustCompile(`(?m)^#(\w+): \{\n\t@aplomb\(kind="([^"]+)"`)
	err := fs.WalkDir(schema.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := fs.ReadFile(schema.FS(), name)
		for _, m := range re.FindAllStringSubmatch(string(data), -1) {
			pkg, _, _ := strings.Cut(m[2], ".")
			defs[m[2]] = pkg + ".#" + m[1]
		}
		return err
	})
	if err != nil || len(defs) != len(schema.Kinds()) {
		t.Fatal(err, defs)
	}
	return defs
}

// TestCUEIsYAML: every document of the examples yields the same resource as YAML, as a
// plain struct of CUE, and unified with the schema of its kind, but for its
// place.
func TestCUEIsYAML(t *testing.T) {
	defs := definitionOf(t)
	kinds := map[string]bool{}
	for _, root := range []string{"../../examples/shop", "../../examples/hashistack/repo"} {
		tree := fstest.MapFS{}
		err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			data, err := os.ReadFile(name)
			rel, _ := filepath.Rel(root, name)
			tree[filepath.ToSlash(rel)] = &fstest.MapFile{Data: data, Mode: 0o644}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		want := resources(t, tree)
		plain, unified := fstest.MapFS{}, fstest.MapFS{}
		for name, f := range tree {
			if filepath.Ext(name) != ".yaml" || !declares(f.Data) {
				plain[name], unified[name] = f, f
				continue
			}
			to := strings.TrimSuffix(name, ".yaml") + ".cue"
			plain[to] = &fstest.MapFile{Data: []byte(rewritten(t, string(f.Data), nil))}
			unified[to] = &fstest.MapFile{Data: []byte(rewritten(t, string(f.Data), defs))}
		}
		for how, fsys := range map[string]fstest.MapFS{"plain": plain, "unified": unified} {
			got := resources(t, fsys)
			for id, r := range want {
				kinds[r.ID.Kind] = true
				if !reflect.DeepEqual(got[id], r) {
					t.Errorf("%s, %s: CUE makes\n%+v\nYAML makes\n%+v", id, how, got[id], r)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%s: %d resources, want %d", how, len(got), len(want))
			}
		}
	}
	if len(kinds) < 15 {
		t.Errorf("only %v were tried", kinds)
	}
}

// resources are what a tree declares, without places.
func resources(t *testing.T, fsys fstest.MapFS) map[string]schema.Resource {
	t.Helper()
	res := compileHere(t, fsys)
	if len(res.Findings) > 0 {
		t.Fatal(res.Findings)
	}
	all := map[string]schema.Resource{}
	for _, r := range res.Resources {
		r.Pos, r.Lines = schema.Pos{}, ""
		for i := range r.Refs {
			r.Refs[i].Pos = schema.Pos{}
		}
		for i := range r.Needs {
			r.Needs[i].Pos = schema.Pos{}
		}
		all[r.ID.String()+strings.Join(r.Targets, ",")] = r
	}
	return all
}

// rewritten is YAML as a file of CUE; with defs unified with the schemas.
func rewritten(t *testing.T, text string, defs map[string]string) string {
	t.Helper()
	var body strings.Builder
	imports := map[string]bool{}
	dec := yaml.NewDecoder(strings.NewReader(text))
	for i := 0; ; i++ {
		var doc map[string]any
		if dec.Decode(&doc) != nil {
			break
		}
		if doc == nil {
			continue
		}
		data, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		def := defs[doc["kind"].(string)]
		if def == "" {
			fmt.Fprintf(&body, "d%d: %s\n", i, data)
			continue
		}
		pkg, _, _ := strings.Cut(def, ".")
		imports[pkg] = true
		fmt.Fprintf(&body, "d%d: %s & %s\n", i, def, data)
	}
	var head strings.Builder
	for pkg := range imports {
		fmt.Fprintf(&head, "import \"aplomb.dev/schema/%s\"\n", pkg)
	}
	return head.String() + body.String()
}
