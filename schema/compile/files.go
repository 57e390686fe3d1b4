package compile

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/schema"
)

// loader reads the files and folders that specs name, each once.
type loader struct {
	fsys     fs.FS
	limits   Limits
	ignored  ignore
	files    map[string]loaded
	folders  map[string]loadedFolder
	plain    map[string]error // folders and files that were looked at: nil, or why not
	total    int64
	findings []schema.Diagnostic
}

type loaded struct {
	file schema.File
	err  error
}

type loadedFolder struct {
	tree schema.Tree
	err  error
}

func newLoader(t *tree) *loader {
	return &loader{fsys: t.fsys, limits: t.limits, ignored: t.ignored,
		files: map[string]loaded{}, folders: map[string]loadedFolder{}, plain: map[string]error{}}
}

// load answers the named file, or all that lies in the named folder; where it
// cannot, there is a finding at the place that names it.
func (l *loader) load(u fileUse) (schema.Tree, bool) {
	what, tree, err := "file", schema.Tree(nil), error(nil)
	if u.Folder {
		what = "folder"
		tree, err = l.wholeFolder(u.File)
	} else {
		var f schema.File
		f, err = l.one(u.File)
		tree = schema.Tree{f}
	}
	if err != nil {
		at := "/spec" + u.Path
		l.findings = append(l.findings, schema.Diagnostic{Pos: u.Pos, Subject: u.Subject, Path: at,
			Message: fmt.Sprintf("%s: the %s %s: %s", at, what, shorten(u.File), cause(err))})
	}
	return tree, err == nil
}

func (l *loader) one(name string) (schema.File, error) {
	got, ok := l.files[name]
	if !ok {
		got.file, got.err = l.read(name)
		l.files[name] = got
	}
	return got.file, got.err
}

// wholeFolder reads every file of a folder, in order, but for what lies in
// folders whose name begins with a dot, which tools keep their own things in,
// and what IgnoreFile lists.
func (l *loader) wholeFolder(name string) (schema.Tree, error) {
	got, ok := l.folders[name]
	if !ok {
		got.tree, got.err = l.readFolder(name)
		l.folders[name] = got
	}
	return got.tree, got.err
}

func (l *loader) readFolder(root string) (tree schema.Tree, err error) {
	for i, c := range root + "/" {
		if c == '/' {
			if err := l.folder(root[:i]); err != nil {
				return nil, err
			}
		}
	}
	err = fs.WalkDir(l.fsys, root, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == root:
			return nil
		case l.ignored.match(name, e.IsDir()) || e.IsDir() && strings.HasPrefix(e.Name(), "."):
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		case e.IsDir():
			return nil
		case len(tree) == maxFolderFiles:
			return fmt.Errorf("it holds more than %d files", maxFolderFiles)
		}
		f, err := l.one(name)
		if err != nil {
			return fmt.Errorf("%s: %w", shorten(strings.TrimPrefix(name, root+"/")), errors.New(cause(err)))
		}
		tree = append(tree, f)
		return nil
	})
	if err == nil && len(tree) == 0 {
		err = errors.New("there is no file in it")
	}
	slices.SortFunc(tree, func(a, b schema.File) int { return strings.Compare(a.Path, b.Path) })
	return tree, err
}

// maxFolderFiles bounds what a folder that a spec names may hold.
const maxFolderFiles = 5000

var (
	errMissing   = errors.New("there is no such file")
	errLink      = errors.New("a symbolic link, or below one: links are not followed")
	errIrregular = errors.New("not a regular file")
)

func (l *loader) read(name string) (schema.File, error) {
	for i, c := range name {
		if c == '/' {
			if err := l.folder(name[:i]); err != nil {
				return schema.File{}, err
			}
		}
	}
	info, err := fs.Lstat(l.fsys, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return schema.File{}, errMissing
	case err != nil:
		return schema.File{}, err
	case info.Mode()&fs.ModeSymlink != 0:
		return schema.File{}, errLink
	case !info.Mode().IsRegular():
		return schema.File{}, errIrregular
	}
	data, err := readBounded(l.fsys, name, l.limits.FileBytes)
	if err != nil {
		return schema.File{}, err
	}
	if schema.ForgesToken(string(data)) {
		return schema.File{}, errors.New("it holds [secret: which stands for a secret's value on screens")
	}
	if l.total += int64(len(data)); l.total > l.limits.TreeBytes {
		return schema.File{}, fmt.Errorf("with it the files that specs name are larger than %d MiB together", l.limits.TreeBytes>>20)
	}
	return schema.File{Path: name, Exec: info.Mode()&0o111 != 0, Data: data}, nil
}

// folder refuses a folder that is a symbolic link.
func (l *loader) folder(name string) error {
	if err, seen := l.plain[name]; seen {
		return err
	}
	info, err := fs.Lstat(l.fsys, name)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		err = errLink
	}
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		err = errMissing
	}
	l.plain[name] = err
	return err
}
