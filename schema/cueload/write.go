package cueload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Write writes what this program brings, Module and the shipped templates, into
// the repository whose root is dir, where CUE's own tools find it: below
// cue.mod/pkg, in place of what was there. A module file is written where there
// is none. It answers the files that were written.
func Write(dir string) ([]string, error) {
	var written []string
	write := func(name string, data []byte) error {
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err == nil {
			err = os.WriteFile(name, data, 0o644)
		}
		if err != nil {
			return fmt.Errorf("write the schemas: %w", err)
		}
		written = append(written, name)
		return nil
	}
	module := filepath.Join(dir, filepath.FromSlash(moduleFile))
	if _, err := os.Lstat(module); errors.Is(err, fs.ErrNotExist) {
		if err := write(module, []byte(moduleText(dir))); err != nil {
			return nil, err
		}
	}
	for _, m := range []struct {
		path  string
		files func() ([]File, error)
	}{{ModulePath, Module}, {TemplatesPath, shippedTemplates}} {
		files, err := m.files()
		root := filepath.Join(dir, "cue.mod", "pkg", filepath.FromSlash(m.path))
		if err == nil {
			err = os.RemoveAll(root)
		}
		if err != nil {
			return written, fmt.Errorf("write the schemas: %w", err)
		}
		for _, f := range files {
			if err := write(filepath.Join(root, filepath.FromSlash(f.Path)), f.Data); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

var notInModules = regexp.MustCompile(`[^a-z0-9-]+`)

// moduleText is the module file of a repository that has none: named after its
// folder, for people to rename.
func moduleText(dir string) string {
	name := ""
	if abs, err := filepath.Abs(dir); err == nil {
		name = strings.Trim(notInModules.ReplaceAllString(strings.ToLower(filepath.Base(abs)), "-"), "-")
	}
	if name == "" {
		name = "repository"
	}
	return fmt.Sprintf("module: \"example.org/%s@v0\"\nlanguage: version: \"v0.9.0\"\n", name)
}
