// Command kinds writes what is generated from the schemas of the kinds:
// schema/kinds.json for programs, docs/kinds and docs/configuration.md for
// people. It is run by go generate in the schema folder. It must not know anything of a kind that its
// schema does not say.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
)

func main() {
	if err := run(".."); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// run writes below root, the folder of the repository.
func run(root string) error {
	kinds, err := compile.Kinds()
	if err != nil {
		return err
	}
	fields, doc, err := compile.ConfigFields()
	if err != nil {
		return err
	}
	for name, data := range outputs(kinds, configPage(fields, doc)) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, name), data, 0o644); err != nil {
			return err
		}
	}
	return removeStale(filepath.Join(root, "docs", "kinds"), kinds)
}

// outputs are the generated files, by path below the repository.
func outputs(kinds []schema.Kind, config string) map[string][]byte {
	files := map[string][]byte{
		"schema/kinds.json": encode(kinds), "docs/kinds/README.md": []byte(index(kinds)), "docs/configuration.md": []byte(config),
	}
	for _, k := range kinds {
		files["docs/kinds/"+k.Name+".md"] = []byte(page(k))
	}
	return files
}

func encode(kinds []schema.Kind) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "\t")
	if err := enc.Encode(kinds); err != nil {
		panic(err) // plain data always encodes
	}
	return buf.Bytes()
}

// removeStale deletes the pages of kinds that are no more.
func removeStale(dir string, kinds []schema.Kind) error {
	pages, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return err
	}
	keep := map[string]bool{"README": true}
	for _, k := range kinds {
		keep[k.Name] = true
	}
	for _, p := range pages {
		if !keep[strings.TrimSuffix(filepath.Base(p), ".md")] {
			if err := os.Remove(p); err != nil {
				return err
			}
		}
	}
	return nil
}
