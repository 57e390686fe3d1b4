package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

// module is the prefix of the module's own import paths.
const module = "github.com/aplomb-dev/aplomb"

// tree is the source of a module.
type tree struct {
	files []*file         // Go, ordered by path
	texts []text          // everything in words, Go included, ordered by path
	paths map[string]bool // every file and folder
}

// file is one parsed Go file.
type file struct {
	path string // from the module's root, with slashes
	dir  string // "." for the root
	test bool
	src  []byte
	ast  *ast.File
	fset *token.FileSet
}

// text is one file that people read.
type text struct {
	path string
	data string
}

// finding is one place where a rule is broken.
type finding string

// at names a place in f.
func (f *file) at(pos token.Pos, format string, args ...any) finding {
	return finding(fmt.Sprintf("%s:%d: %s", f.path, f.fset.Position(pos).Line, fmt.Sprintf(format, args...)))
}

// imports are the file's import paths; the module's own begin with "./".
func (f *file) imports() map[string]token.Pos {
	all := map[string]token.Pos{}
	for _, spec := range f.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the compiler says so
		}
		if p == module {
			p = "."
		} else if rest, ok := strings.CutPrefix(p, module+"/"); ok {
			p = "./" + rest
		}
		all[p] = spec.Pos()
	}
	return all
}

// inTests says whether the file is made for tests: _test.go, or part of a
// package whose name ends in test, such as drivertest.
func (f *file) inTests() bool { return f.test || strings.HasSuffix(f.ast.Name.Name, "test") }

// wordy are the endings of files that are read by people.
var wordy = []string{".go", ".md", ".cue", ".sh", ".yaml", ".yml", ".json", ".txt", ".txtar", ".tmpl", "Makefile", "run"}

// load reads the tree below fsys. Hidden folders other than .ci, build output
// and testdata's Go files are left out.
func load(fsys fs.FS) (*tree, error) {
	t := &tree{paths: map[string]bool{}}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		base := path.Base(name)
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && name != ".ci" && (strings.HasPrefix(base, ".") || name == "bin"):
			return fs.SkipDir
		}
		t.paths[name] = true
		if !d.Type().IsRegular() || !slices.ContainsFunc(wordy, func(s string) bool { return strings.HasSuffix(base, s) }) {
			return nil
		}
		return t.add(fsys, name)
	})
	return t, err
}

func (t *tree) add(fsys fs.FS, name string) error {
	const most = 1 << 20 // no text that people write is larger
	if info, err := fs.Stat(fsys, name); err != nil || info.Size() > most {
		return err
	}
	src, err := fs.ReadFile(fsys, name)
	if err != nil {
		return err
	}
	t.texts = append(t.texts, text{path: name, data: string(src)})
	if !strings.HasSuffix(name, ".go") || strings.Contains(name, "testdata/") {
		return nil
	}
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	t.files = append(t.files, &file{
		path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"), src: src, ast: parsed, fset: fset,
	})
	return nil
}

// packages groups the files that are not tests by folder.
func (t *tree) packages() map[string][]*file {
	all := map[string][]*file{}
	for _, f := range t.files {
		if !f.test {
			all[f.dir] = append(all[f.dir], f)
		}
	}
	return all
}

// rule finds where a tree breaks it.
type rule func(*tree) []finding

// loaded is the module itself, read once for all tests.
var loaded = sync.OnceValues(func() (*tree, error) { return load(os.DirFS("../..")) })

// house runs a rule on the module itself.
func house(t *testing.T, r rule) {
	t.Helper()
	all, err := loaded()
	if err != nil {
		t.Fatalf("read the module: %v", err)
	}
	if len(all.files) < 10 {
		t.Fatalf("only %d Go files found: the tests look at the wrong folder", len(all.files))
	}
	for _, f := range r(all) {
		t.Errorf("%s", f)
	}
}

// broken runs a rule on files that break it, and wants exactly these findings:
// each is the beginning of one.
func broken(t *testing.T, r rule, files map[string]string, want ...string) {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, data := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(data)}
	}
	small, err := load(fsys)
	if err != nil {
		t.Fatalf("read the example: %v", err)
	}
	got := r(small)
	slices.Sort(got)
	slices.Sort(want)
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("not found: %s", want[i])
		case i >= len(want):
			t.Errorf("found, but is right: %s", got[i])
		case !strings.HasPrefix(string(got[i]), want[i]):
			t.Errorf("found %q, want %q", got[i], want[i])
		}
	}
}
