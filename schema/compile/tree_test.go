package compile

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"github.com/aplomb-dev/aplomb/schema"
)

// wantFindings checks that res has exactly these findings, as far as each is
// spelled out.
func wantFindings(t *testing.T, res Result, want ...string) {
	t.Helper()
	if len(res.Findings) != len(want) {
		t.Errorf("findings %v, want %q", res.Findings, want)
		return
	}
	for i, d := range res.Findings {
		if !strings.HasPrefix(d.String(), want[i]) {
			t.Errorf("finding %s, want %s", d, want[i])
		}
	}
}

func compileFolder(t *testing.T, dir string) Result {
	t.Helper()
	c := New(Options{})
	res, err := c.Compile(t.Context(), Declarations{FS: os.DirFS(dir)})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestSymbolicLinks(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	writeFile(t, outside, "secret.txt", "outside")
	writeFile(t, dir, "a.yaml", port("a"))
	writeFile(t, dir, "file.yaml", `{apiVersion: aplomb.dev/v1, kind: local.file, metadata: {name: a}, spec: {path: x, template: .data/link}}
---
{apiVersion: aplomb.dev/v1, kind: local.file, metadata: {name: b}, spec: {path: y, template: .data/folder/secret.txt}}
`)
	if err := os.Mkdir(filepath.Join(dir, ".data"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"b.yaml": "a.yaml", "out": outside, "dangling": "nowhere",
		".data/link": filepath.Join(outside, "secret.txt"), ".data/folder": outside,
	} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	wantFindings(t, compileFolder(t, dir),
		"b.yaml:1:1: a symbolic link", "dangling:1:1: a symbolic link",
		"file.yaml:1:94: local.file/a: spec.template: the file .data/link: a symbolic link",
		"file.yaml:3:94: local.file/b: spec.template: the file .data/folder/secret.txt: a symbolic link",
		"out:1:1: a symbolic link")
	writeFile(t, dir, IgnoreFile, "dangling\nout\nb.*\nfile.yaml\n")
	if res := compileFolder(t, dir); len(res.Resources) != 1 {
		t.Errorf("with all listed: %v", res.Findings)
	}
}

// denied is a file system that refuses what is named in it.
type denied struct {
	fstest.MapFS
	names []string
}

func (d denied) Open(name string) (fs.File, error) {
	if slices.Contains(d.names, name) {
		return nil, &fs.PathError{Op: "open", Path: "/somewhere/" + name, Err: fs.ErrPermission}
	}
	return d.MapFS.Open(name)
}

func (d denied) ReadDir(name string) ([]fs.DirEntry, error) {
	if slices.Contains(d.names, name) {
		return nil, &fs.PathError{Op: "readdir", Path: "/somewhere/" + name, Err: fs.ErrPermission}
	}
	return d.MapFS.ReadDir(name)
}

func TestUnreadable(t *testing.T) {
	named := "apiVersion: aplomb.dev/v1\nkind: local.file\nmetadata: {name: f}\nspec: {path: x, template: t.txt}\n"
	c := New(Options{})
	res, err := c.Compile(t.Context(), Declarations{FS: denied{files("a.yaml", port("a"), "b.yaml", port("b"), "closed/c.yaml", port("c"),
		"f.yaml", named, "t.txt", "x", IgnoreFile, "x"), []string{"b.yaml", "closed", "t.txt", IgnoreFile}}})
	if err != nil {
		t.Fatal(err)
	}
	wantFindings(t, res, ".aplombignore:1:1: cannot be read: permission denied", "b.yaml:1:1: cannot be read: permission denied",
		"closed:1:1: cannot be read: permission denied", "f.yaml:4:27: local.file/f: spec.template: the file t.txt: permission denied")
}

func TestWhichFiles(t *testing.T) {
	res := compileHere(t, files(
		"a.yaml", port("a"), "b/c/d.yml", port("b"), "e.json", `{"apiVersion":"aplomb.dev/v1","kind":"local.port","metadata":{"name":"e"}}`,
		"UPPER.YAML", port("upper"), ".hidden.yaml", "[", ".git/x.yaml", "[", "README.md", "[", "no", "[",
		"skip/x.yaml", "[", "deep/skip/x.yaml", "[", "only/root.yaml", "[", "deep/only/root.yaml", port("deep"),
		"gen/1/2/x.yaml", "[", "folder.yaml/x.yaml", port("f"), "empty.yaml", "# nothing\n", "bom.yaml", "\ufeff"+port("bom"),
		IgnoreFile, "# comment\n\nskip/\n/only/root.yaml\ngen/**/x.yaml\nempty.yaml/\n"))
	wantFindings(t, res)
	var names []string
	for _, r := range res.Resources {
		names = append(names, r.ID.Name)
	}
	if got := strings.Join(names, " "); got != "upper a b bom deep e f" {
		t.Errorf("read: %s", got)
	}
	if res.Files != 8 {
		t.Errorf("%d files", res.Files)
	}
}

func TestIgnorePatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		folder, want  bool
	}{
		{"a", "a", false, true}, {"a", "b/a", false, true}, {"a", "ab", false, false},
		{"/a", "b/a", false, false}, {"/a", "a", false, true},
		{"a/b", "a/b", false, true}, {"a/b", "x/a/b", false, false},
		{"a/", "a", false, false}, {"a/", "a", true, true}, {"a/", "x/a", true, true},
		{"*.json", "x/y.json", false, true}, {"a*c", "abc", false, true}, {"a*c", "a/c", false, false},
		{"a?c", "abc", false, true}, {"[ab].yaml", "b.yaml", false, true},
		{"**/x", "x", false, true}, {"**/x", "a/b/x", false, true}, {"a/**", "a/b/c", false, true},
		{"a/**/z", "a/z", false, true}, {"a/**/z", "a/b/c/z", false, true}, {"a/**/z", "b/z", false, false},
	} {
		ig, bad := parseIgnore(c.pattern)
		if len(bad) > 0 || ig.match(c.name, c.folder) != c.want {
			t.Errorf("%s over %s (folder %t): want %t; %v", c.pattern, c.name, c.folder, c.want, bad)
		}
	}
	if _, bad := parseIgnore(strings.Repeat("x\n", maxPatterns+10)); len(bad) != 1 {
		t.Errorf("too many patterns: %v", bad)
	}
}

// A file that a resource names is that resource's data, whatever it looks like;
// unless it declares something itself.
func TestNamedFilesAreData(t *testing.T) {
	file := func(template string) string {
		return "apiVersion: aplomb.dev/v1\nkind: local.file\nmetadata: {name: f}\nspec: {path: x, template: " + template + "}\n"
	}
	for name, content := range map[string]string{"values.yaml": "a: 1\n", "broken.yaml": "{{ .A }}: [\n", "list.json": "[1,"} {
		res := compileHere(t, files("a.yaml", file(name), name, content))
		if len(res.Resources) != 1 || string(res.Resources[0].Files[0].Data) != content {
			t.Errorf("%s: %+v", name, res)
		}
	}
	wantFindings(t, compileHere(t, files("a.yaml", file("broken.yaml"), "broken.yaml", "apiVersion: aplomb.dev/v1\nkind: [")), "broken.yaml:2:1: not YAML")
	wantFindings(t, compileHere(t, files("a.yaml", file("b.yaml"), "b.yaml", port("b")+"---\na: 1\n")), "b.yaml:5:1: missing field apiVersion")
	res := compileHere(t, files("a.yaml", file("b.yaml"), "b.yaml", port("b")))
	if len(res.Resources) != 2 {
		t.Errorf("a declaration that is data too: %v", res.Findings)
	}
}

func TestLimits(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	text := "a: &a " + strings.Repeat("x", 1<<20) + "\nb: [" + strings.Repeat("*a,", 100) + "]\n"
	deepAlias := "a: &a " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "\nb: " + strings.Repeat("[", 40) + "*a" + strings.Repeat("]", 40) + "\n"
	for name, c := range map[string]struct {
		content string
		want    []string // beside that it is no declaration
	}{
		"bomb.yaml":   {bomb, []string{"bomb.yaml:5:4: more than 100000 values", "bomb.yaml:10:4: more than"}},
		"text.yaml":   {text, []string{"text.yaml:2:4: more than 100000 values or 16 MiB of text"}},
		"deep.yaml":   {strings.Repeat("[", 5000) + strings.Repeat("]", 5000), []string{"deep.yaml:1:65: nested deeper than 64"}},
		"deep.json":   {strings.Repeat("[", 5000) + strings.Repeat("]", 5000), []string{"deep.json:1:65: nested deeper than 64"}},
		"alias.yaml":  {deepAlias, []string{"alias.yaml:2:44: nested deeper than 64"}},
		"blocks.yaml": {strings.Repeat("- ", 20_000), []string{"blocks.yaml:1:"}},
		"nul.yaml":    {"a: b\nc: d\x00\n", []string{"nul.yaml:2:5: a NUL byte"}},
		"utf8.yaml":   {"a: b\n\xff: d\n", []string{"utf8.yaml:2:1: not UTF-8"}},
		"utf16.yaml":  {"\xff\xfea\x00", []string{"utf16.yaml:1:1: not UTF-8"}},
		"nul.json":    {"{\"a\": \x00}", []string{"nul.json:1:7: a NUL byte"}},
		"huge.yaml":   {strings.Repeat("#", DefaultFileBytes+1), []string{"huge.yaml:1:1: cannot be read: larger than 4096 KiB"}},
	} {
		res := compileHere(t, files(name, c.content))
		res.Findings = slices.DeleteFunc(res.Findings, func(d schema.Diagnostic) bool {
			return d.Message == "missing field apiVersion" || strings.Contains(d.Message, "is not a declaration")
		})
		wantFindings(t, res, c.want...)
	}
	small := New(Options{Limits: Limits{Files: 2, TreeBytes: 100}})
	res, err := small.Compile(t.Context(), Declarations{FS: files("a.yaml", port("a"), "b.yaml", port("b"), "c.yaml", port("c"))})
	if err != nil {
		t.Fatal(err)
	}
	wantFindings(t, res, "b.yaml:1:1: the declarations are larger than", "c.yaml:1:1: more than 2 declaration files")
	bad := strings.Repeat("---\nx: 1\n", 3*maxFindings)
	if res := compileHere(t, files("a.yaml", bad)); len(res.Findings) != maxFindings+1 {
		t.Errorf("%d findings of one file", len(res.Findings))
	}
}

// hashed is a file system that knows its hashes, and counts what is read.
type hashed struct {
	fstest.MapFS
	hashes map[string]string
	reads  *atomic.Int64
}

func (h hashed) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := h.MapFS.ReadDir(name)
	for i, e := range entries {
		entries[i] = hashedEntry{e, h.hashes[e.Name()]}
	}
	return entries, err
}

type hashedEntry struct {
	fs.DirEntry
	hash string
}

func (e hashedEntry) ContentHash() string { return e.hash }

func (h hashed) Open(name string) (fs.File, error) {
	if strings.HasSuffix(name, ".yaml") {
		h.reads.Add(1)
	}
	return h.MapFS.Open(name)
}

// A source that knows its hashes is not read again.
func TestHashes(t *testing.T) {
	var reads atomic.Int64
	fsys := hashed{files("a.yaml", port("a"), "b.yaml", port("b")), map[string]string{"a.yaml": "1", "b.yaml": "2"}, &reads}
	c := New(Options{})
	for i, want := range []int64{2, 2, 3} {
		if i == 2 {
			fsys.hashes["b.yaml"] = "3"
		}
		res, err := c.Compile(t.Context(), Declarations{FS: fsys})
		if err != nil || len(res.Resources) != 2 {
			t.Fatal(res, err)
		}
		if reads.Load() != want {
			t.Errorf("compile %d: %d files were read, want %d", i, reads.Load(), want)
		}
	}
}
