package cueload

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/parser"
)

// Limits of a Bundle.
const (
	maxFiles = 2000
	maxBytes = 32 << 20
)

// maxRead bounds, in bytes, what one Reader reads.
const maxRead = 256 << 20

// maxHead bounds, in bytes, what is parsed outside of a worker: the parser
// follows attributes within attributes down to the end of the stack, which
// nothing recovers from. A package clause and imports end long before.
const maxHead = 64 << 10

// vendored are where a module keeps packages of other modules.
var vendored = []string{"cue.mod/gen", "cue.mod/usr", "cue.mod/pkg"}

// Reader gathers Bundles from one tree, reading each file once. It is used by
// one goroutine at a time.
type Reader struct {
	// Skip says which files are no part of the packages that are asked for.
	// Who imports their package finds them. nil is none.
	Skip func(name string) bool

	root      fs.FS
	fileBytes int64
	files     map[string]*file
	folders   map[string][]string // the .cue files in them
	modules   map[string]module   // by root
	plain     map[string]error    // folders: nil, or why they are not looked into
	total     int64               // bytes read
}

// file is a .cue file as far as gathering looks into it.
type file struct {
	data    []byte
	sum     [sha256.Size]byte
	pkg     string
	imports []string
	err     error
}

// module is where a module begins and what it calls itself; "" is one without a
// name.
type module struct{ root, path string }

// NewReader reads from root, files of at most fileBytes bytes.
func NewReader(root fs.FS, fileBytes int64) *Reader {
	return &Reader{root: root, fileBytes: fileBytes, files: map[string]*file{}, folders: map[string][]string{}, modules: map[string]module{}, plain: map[string]error{}}
}

// Package is the name in the package clause of a file; "" is none. An error is
// that the file cannot be read.
func (r *Reader) Package(name string) (string, error) {
	f := r.file(name)
	return f.pkg, f.err
}

// Packages are the packages in a folder, by name, with their files; files
// without a package clause are below "". An error is about the folder.
func (r *Reader) Packages(dir string) (map[string][]string, error) {
	names, err := r.folder(dir)
	if err != nil {
		return nil, err
	}
	all := map[string][]string{}
	for _, name := range names {
		f := r.file(name)
		all[f.pkg] = append(all[f.pkg], name)
	}
	return all, nil
}

// folder lists the .cue files of a folder that make up packages: without those
// for tests and tools, and those whose name hides them.
func (r *Reader) folder(dir string) ([]string, error) {
	if names, ok := r.folders[dir]; ok {
		return names, nil
	}
	if err := r.straight(dir); err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(r.root, dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if IsSource(e.Name()) && e.Type().IsRegular() {
			names = append(names, path.Join(dir, e.Name()))
		}
	}
	r.folders[dir] = names
	return names, nil
}

// IsSource says of the name of a file whether it is part of a CUE package.
func IsSource(name string) bool {
	return path.Ext(name) == ".cue" && !strings.HasPrefix(name, ".") && !strings.HasPrefix(name, "_") &&
		!strings.HasSuffix(name, "_test.cue") && !strings.HasSuffix(name, "_tool.cue")
}

func (r *Reader) file(name string) *file {
	f := r.files[name]
	if f == nil {
		f = &file{}
		if f.data, f.err = r.read(name); f.err == nil {
			f.sum = sha256.Sum256(f.data)
			f.pkg, f.imports = header(name, f.data)
		}
		r.files[name] = f
	}
	return f
}

// errLink is why nothing below a symbolic link is read.
var errLink = errors.New("a symbolic link, or below one: links are not followed")

// straight refuses a folder that is a symbolic link, or lies below one: it may
// lead out of the tree.
func (r *Reader) straight(dir string) error {
	if dir == "." {
		return nil
	}
	err, known := r.plain[dir]
	if known {
		return err
	}
	if err = r.straight(path.Dir(dir)); err == nil {
		var info fs.FileInfo
		if info, err = fs.Lstat(r.root, dir); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			err = errLink
		}
	}
	r.plain[dir] = err
	return err
}

func (r *Reader) read(name string) ([]byte, error) {
	if err := r.straight(path.Dir(name)); err != nil {
		return nil, err
	}
	if info, err := fs.Lstat(r.root, name); err == nil && !info.Mode().IsRegular() {
		return nil, errLink
	}
	f, err := r.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, r.fileBytes+1))
	if int64(len(data)) > r.fileBytes {
		return nil, fmt.Errorf("larger than %d KiB", r.fileBytes>>10)
	}
	if r.total += int64(len(data)); r.total > maxRead {
		return nil, fmt.Errorf("with it the CUE that is read is larger than %d MiB", maxRead>>20)
	}
	return data, err
}

// header is the package of a file and what it imports, as far as it can be
// parsed: what is wrong with it is for Build to say.
func header(name string, data []byte) (pkg string, imports []string) {
	defer func() { _ = recover() }() // a fault of the parser shows again in Build, in a worker
	f, _ := parser.ParseFile(name, data[:min(len(data), maxHead)], parser.ImportsOnly)
	if f == nil {
		return "", nil
	}
	pkg = f.PackageName()
	for spec := range f.ImportSpecs() {
		if at, err := literal.Unquote(spec.Path.Value); err == nil {
			imports = append(imports, at)
		}
	}
	return pkg, imports
}

// module finds the module that a folder belongs to: the nearest cue.mod above
// it, or else the whole tree.
func (r *Reader) module(dir string) module {
	for at := dir; ; at = path.Dir(at) {
		if m, ok := r.modules[at]; ok {
			return m
		}
		if info, err := fs.Stat(r.root, path.Join(at, "cue.mod")); err == nil && info.IsDir() || at == "." {
			m := module{root: at, path: r.modulePath(at)}
			r.modules[at] = m
			return m
		}
	}
}

// moduleFile is what a module says of itself.
const moduleFile = "cue.mod/module.cue"

func (r *Reader) modulePath(root string) string {
	f := r.file(path.Join(root, moduleFile))
	if f.err != nil {
		return ""
	}
	return moduleName(f.data)
}

// moduleName is what a module file calls its module, without the version; ""
// where it does not say.
func moduleName(data []byte) string {
	if len(data) > maxHead {
		return ""
	}
	parsed, err := parser.ParseFile(moduleFile, data)
	if err != nil {
		return ""
	}
	for _, decl := range parsed.Decls {
		field, ok := decl.(*ast.Field)
		if !ok {
			continue
		}
		name, _, err := ast.LabelName(field.Label)
		lit, isLit := field.Value.(*ast.BasicLit)
		if err != nil || name != "module" || !isLit {
			continue
		}
		at, err := literal.Unquote(lit.Value)
		if err != nil {
			return ""
		}
		at, _, _ = strings.Cut(at, "@")
		return at
	}
	return ""
}

// Bundle gathers the package pkg of a folder. An error is about its extent, or
// that a file of it cannot be read; what is wrong within the files is for Build
// to find.
func (r *Reader) Bundle(dir, pkg string) (*Bundle, error) {
	return r.gather(&Bundle{Dir: dir, Package: pkg}, func(g *gathering) error { return g.add(dir, pkg, r.Skip) })
}

// FileBundle gathers a file without a package clause, which stands alone.
func (r *Reader) FileBundle(name string) (*Bundle, error) {
	return r.gather(&Bundle{Dir: path.Dir(name), File: name}, func(g *gathering) error { return g.addFile(name) })
}

func (r *Reader) gather(b *Bundle, add func(*gathering) error) (*Bundle, error) {
	g := &gathering{Reader: r, module: r.module(b.Dir), seen: map[string]bool{}}
	b.Module = g.module.root
	if err := add(g); err != nil {
		return nil, err
	}
	if _, err := fs.Stat(r.root, path.Join(b.Module, moduleFile)); err == nil {
		if err := g.take(path.Join(b.Module, moduleFile)); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(g.files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	b.Files = g.files
	return b, nil
}

// gathering is one Bundle in the making.
type gathering struct {
	*Reader
	module module
	seen   map[string]bool // folders with the package that is taken from them, and files
	files  []File
	bytes  int
}

// add takes the package pkg of a folder, what is of it in the folders above,
// and what they import; without what skip, which may be nil, names.
func (g *gathering) add(dir, pkg string, skip func(string) bool) error {
	key := dir + ":" + pkg
	if g.seen[key] {
		return nil
	}
	g.seen[key] = true
	for at := dir; ; at = path.Dir(at) {
		names, err := g.folder(at)
		if err != nil && at == dir && !errors.Is(err, fs.ErrNotExist) {
			return &FileError{Path: dir, Err: err}
		}
		for _, name := range names {
			if skip != nil && skip(name) {
				continue
			}
			if f := g.file(name); f.pkg == pkg || f.err != nil {
				if err := g.addFile(name); err != nil {
					return err
				}
			}
		}
		if at == g.module.root || at == "." {
			return nil
		}
	}
}

// addFile takes a file and what it imports.
func (g *gathering) addFile(name string) error {
	if err := g.take(name); err != nil {
		return err
	}
	for _, imported := range g.file(name).imports {
		if err := g.resolve(imported); err != nil {
			return err
		}
	}
	return nil
}

func (g *gathering) take(name string) error {
	if g.seen[name] {
		return nil
	}
	g.seen[name] = true
	f := g.file(name)
	if f.err != nil {
		return &FileError{Path: name, Err: f.err}
	}
	if g.bytes += len(f.data); g.bytes > maxBytes || len(g.files) == maxFiles {
		return &FileError{Path: name, Err: fmt.Errorf("with it a package and what it imports is more than %d files or %d MiB", maxFiles, maxBytes>>20)}
	}
	g.files = append(g.files, File{Path: name, Data: f.data, sum: f.sum})
	return nil
}

// resolve takes an imported package, if it lies in the tree.
func (g *gathering) resolve(imported string) error {
	at := ast.ParseImportPath(imported)
	if at.Path == ModulePath || strings.HasPrefix(at.Path, ModulePath+"/") || at.Path == TemplatesPath {
		return nil // of this program
	}
	below, ok := "", at.Path == g.module.path
	if !ok {
		below, ok = strings.CutPrefix(at.Path, g.module.path+"/")
	}
	if ok && g.module.path != "" {
		return g.add(path.Join(g.module.root, below), at.Qualifier, nil)
	}
	for _, dir := range vendored {
		if err := g.add(path.Join(g.module.root, dir, at.Path), at.Qualifier, nil); err != nil {
			return err
		}
	}
	return nil
}

// FileError is a file or folder that cannot be part of a Bundle.
type FileError struct {
	Path string
	Err  error
}

func (e *FileError) Error() string { return e.Path + ": " + e.Err.Error() }
func (e *FileError) Unwrap() error { return e.Err }
