package compile

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/aplomb-dev/aplomb/schema"
)

// loader reads the files that specs name, each once.
type loader struct {
	fsys     fs.FS
	limits   Limits
	files    map[string]loaded
	plain    map[string]error // folders and files that were looked at: nil, or why not
	total    int64
	findings []schema.Diagnostic
}

type loaded struct {
	file schema.File
	err  error
}

func newLoader(fsys fs.FS, limits Limits) *loader {
	return &loader{fsys: fsys, limits: limits, files: map[string]loaded{}, plain: map[string]error{}}
}

// load answers the named file; where it cannot, there is a finding at the
// place that names it.
func (l *loader) load(u fileUse) (schema.File, bool) {
	got, ok := l.files[u.File]
	if !ok {
		got.file, got.err = l.read(u.File)
		l.files[u.File] = got
	}
	if got.err != nil {
		at := "/spec" + u.Path
		l.findings = append(l.findings, schema.Diagnostic{Pos: u.Pos, Subject: u.Subject, Path: at,
			Message: fmt.Sprintf("%s: the file %s: %s", at, shorten(u.File), cause(got.err))})
	}
	return got.file, got.err == nil
}

var (
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
		return schema.File{}, errors.New("there is no such file")
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
		err = errors.New("there is no such file")
	}
	l.plain[name] = err
	return err
}
