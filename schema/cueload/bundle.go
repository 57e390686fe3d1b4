package cueload

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/load"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/mod/modconfig"
	"cuelang.org/go/mod/modfile"
	cuemodule "cuelang.org/go/mod/module"
)

// Bundle is one CUE package with all that loading it takes.
type Bundle struct {
	Dir     string `json:"dir"`     // of the package, from the root of the tree
	Package string `json:"package"` // its name; "" for a file without a package clause
	File    string `json:"file"`    // that file, from the root of the tree; "" otherwise
	Module  string `json:"module"`  // the root of its module, from the root of the tree
	Files   []File `json:"files"`   // by path
}

// File is one file of a Bundle.
type File struct {
	Path string `json:"path"` // from the root of the tree
	Data []byte `json:"data"`

	sum [sha256.Size]byte // of Data; zero is not known
}

// hash is the SHA-256 of Data. A file that many packages import is hashed once.
func (f *File) hash() [sha256.Size]byte {
	if f.sum == ([sha256.Size]byte{}) {
		return sha256.Sum256(f.Data)
	}
	return f.sum
}

// Sum stands for all that the Bundle holds.
func (b *Bundle) Sum() [sha256.Size]byte {
	h := sha256.New()
	part := func(data []byte) {
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(data))))
		_, _ = h.Write(data)
	}
	for _, text := range []string{b.Dir, b.Package, b.File, b.Module} {
		part([]byte(text))
	}
	for _, f := range b.Files {
		part([]byte(f.Path))
		sum := f.hash()
		_, _ = h.Write(sum[:])
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// Own says of a file, as positions name it, whether it is part of the tree, and
// not of what this program brings.
func Own(file string) bool {
	return file != "" && !strings.HasPrefix(file, modulePrefix) && !strings.HasPrefix(file, TemplatesPath+"/")
}

// modulePrefix is what the names of this program's own files begin with, in
// positions.
const modulePrefix = ModulePath + "/"

// Load reads the package into an instance of its own, parsed and with what it
// imports. Its files are named from the root of the tree. It evaluates nothing
// yet, but belongs into a worker process as Build does. An error is of CUE: it
// has positions.
func (b *Bundle) Load() (*build.Instance, error) {
	overlay, err := b.overlay()
	if err != nil {
		return nil, err
	}
	what := "."
	if b.File != "" {
		what = "./" + path.Base(b.File)
	}
	inst := load.Instances([]string{what}, &load.Config{
		Dir: path.Join(nowhere, b.Dir), ModuleRoot: path.Join(nowhere, b.Module), Package: b.Package, AcceptLegacyModules: true,
		Overlay: overlay, Registry: offline{}, Env: []string{},
		ParseFile: func(name string, src any, c parser.Config) (*ast.File, error) {
			return parser.ParseFile(b.shown(name), src, c)
		},
	})
	if len(inst) != 1 {
		return nil, fmt.Errorf("load %s: %d packages", b.Dir, len(inst))
	}
	if inst[0].Err != nil {
		return inst[0], inst[0].Err
	}
	return inst[0], nil
}

// nowhere is the folder that the tree seems to lie in: one that there is not,
// so that nothing of this machine is read. (CUE finds vendored packages in the
// file system of the machine only, which an overlay stands for.)
const nowhere = "/nonexistent/aplomb"

// overlay is the tree as CUE sees it: the files of the Bundle, a module file
// where there is none, and the schemas, vendored.
func (b *Bundle) overlay() (map[string]load.Source, error) {
	module, err := Module()
	if err != nil {
		return nil, err
	}
	shipped, err := shippedTemplates()
	if err != nil {
		return nil, err
	}
	all := map[string]load.Source{path.Join(nowhere, b.Module, moduleFile): load.FromString(unnamedModule)}
	for _, f := range b.Files {
		if !fs.ValidPath(f.Path) {
			return nil, fmt.Errorf("load %s: %q is not a path", b.Dir, f.Path)
		}
		if !strings.HasPrefix(f.Path, b.vendor(ModulePath)+"/") && !strings.HasPrefix(f.Path, b.vendor(TemplatesPath)+"/") { // this program's own are the truth
			all[path.Join(nowhere, f.Path)] = load.FromBytes(f.Data)
		}
	}
	for _, f := range module {
		all[path.Join(nowhere, b.vendor(ModulePath), f.Path)] = load.FromBytes(f.Data)
	}
	for _, f := range shipped {
		all[path.Join(nowhere, b.vendor(TemplatesPath), f.Path)] = load.FromBytes(f.Data)
	}
	return all, nil
}

// vendor is where what this program brings lies, from the root of the tree.
func (b *Bundle) vendor(module string) string { return path.Join(b.Module, "cue.mod/pkg", module) }

// shown is the name of a file in positions.
func (b *Bundle) shown(name string) string {
	name = strings.TrimPrefix(name, nowhere+"/")
	for _, own := range []string{ModulePath, TemplatesPath} {
		if below, ok := strings.CutPrefix(name, b.vendor(own)+"/"); ok {
			return own + "/" + below
		}
	}
	return name
}

// Build evaluates the package. An error is of CUE: it has positions. The value
// may have errors within, which are for the caller to look for.
func (b *Bundle) Build(cctx *cue.Context) (cue.Value, *build.Instance, error) {
	inst, err := b.Load()
	if err != nil {
		return cue.Value{}, inst, err
	}
	v := cctx.BuildInstance(inst)
	return v, inst, nil
}

// unnamedModule is the module file of a tree that has none.
const unnamedModule = "module: \"tree.invalid@v0\"\nlanguage: version: \"v0.9.0\"\n"

// offline is a registry that has nothing: a repository never makes this
// program open a connection.
type offline struct{}

var _ modconfig.Registry = offline{}

var errOffline = errors.New("modules are not fetched: put it below cue.mod/pkg")

func (offline) ModFile(_ context.Context, m cuemodule.Version) (*modfile.File, error) {
	return nil, fmt.Errorf("module %s: %w", m, errOffline)
}

func (offline) Fetch(_ context.Context, m cuemodule.Version) (cuemodule.SourceLoc, error) {
	return cuemodule.SourceLoc{}, fmt.Errorf("module %s: %w", m, errOffline)
}

func (offline) ModuleVersions(_ context.Context, at string) ([]string, error) {
	return nil, fmt.Errorf("module %s: %w", at, errOffline)
}
