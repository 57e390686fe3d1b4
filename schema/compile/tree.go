package compile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"strings"
	"sync"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/cueload"
)

// Hashed is a directory entry that knows a hash of its file's content without
// reading it, such as one of a Git tree. Compile then reads only what it does
// not know.
type Hashed interface {
	ContentHash() string
}

// listed is a declaration file as it was listed.
type listed struct {
	path string
	hash string // "" where the file system knows none
}

// input is one file to check.
type input struct {
	Path   string `json:"path"`
	Data   []byte `json:"data"`
	Config string `json:"config,omitempty"` // the definition of a configuration, not declarations

	Bundle *cueload.Bundle `json:"bundle,omitempty"` // a CUE package, instead of Data; Path is its first file
	Tree   string          `json:"tree,omitempty"`   // of a Bundle: where the tree lies in what its files are named from

	// Use is a use of a template, of a file that was checked before: Data is
	// nil.
	Use *templateUse `json:"use,omitempty"`

	key cacheKey
	hit *fileResult // what is known of it already; Data is nil then
}

// tree is what a file system declares.
type tree struct {
	fsys     fs.FS
	limits   Limits
	ignored  ignore
	files    []listed
	cue      []string // the .cue files
	findings []schema.Diagnostic
	part     bool // it is not all that there is
	holes    bool // something that may hold declarations could not be read
}

func (t *tree) find(name, hint, format string, args ...any) {
	t.holes = true
	t.findings = append(t.findings, schema.Diagnostic{
		Pos: schema.Pos{File: name, Line: 1, Col: 1}, Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}

var extensions = map[string]bool{".yaml": true, ".yml": true, ".json": true}

// scan lists the declaration files, in lexical order.
func scan(ctx context.Context, fsys fs.FS, limits Limits) (*tree, error) {
	t := &tree{fsys: fsys, limits: limits}
	t.ignored = t.readIgnore()
	err := fs.WalkDir(fsys, ".", func(name string, e fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			t.find(name, "", "cannot be read: %s", cause(err))
			if e != nil && e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if name == "." {
			return nil
		}
		if strings.HasPrefix(e.Name(), ".") || e.IsDir() && e.Name() == "cue.mod" || t.ignored.match(name, e.IsDir()) {
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		return t.visit(name, e)
	})
	if err != nil && !errors.Is(err, errTooMany) {
		return nil, err
	}
	return t, nil
}

var errTooMany = errors.New("too many files")

func (t *tree) visit(name string, e fs.DirEntry) error {
	ext := strings.ToLower(path.Ext(name))
	switch {
	case e.IsDir():
	case e.Type()&fs.ModeSymlink != 0:
		t.find(name, "put the file itself here, or list the link in "+IgnoreFile, "a symbolic link: links are not followed")
	case !extensions[ext] && !cueload.IsSource(e.Name()):
	case !e.Type().IsRegular():
		t.find(name, "", "not a regular file")
	case len(t.files)+len(t.cue) == t.limits.Files:
		t.find(name, "list what is no declaration in "+IgnoreFile, "more than %d declaration files", t.limits.Files)
		return errTooMany
	case ext == ".cue":
		t.cue = append(t.cue, name)
	default:
		f := listed{path: name}
		if h, ok := e.(Hashed); ok {
			f.hash = h.ContentHash()
		}
		t.files = append(t.files, f)
	}
	return nil
}

func (t *tree) readIgnore() ignore {
	info, err := fs.Lstat(t.fsys, IgnoreFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.Mode().IsRegular() {
		err = errIrregular
	}
	var data []byte
	if err == nil {
		data, err = readBounded(t.fsys, IgnoreFile, maxIgnoreBytes)
	}
	if err != nil {
		t.find(IgnoreFile, "", "cannot be read: %s", cause(err))
		return nil
	}
	ig, findings := parseIgnore(string(data))
	t.findings = append(t.findings, findings...)
	return ig
}

// read loads the declaration files that known does not know already; those
// have no Data.
func (t *tree) read(ctx context.Context, known func(cacheKey) *fileResult) ([]input, error) {
	inputs := make([]input, len(t.files))
	errs := make([]error, len(t.files))
	var wg sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), len(t.files))
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(t.files) && ctx.Err() == nil; i += workers {
				inputs[i], errs[i] = t.readOne(t.files[i], known)
			}
		})
	}
	wg.Wait()
	good := inputs[:0]
	var total int64
	for i, in := range inputs {
		if errs[i] != nil {
			t.find(t.files[i].path, "list it in "+IgnoreFile+" if it is no declaration", "cannot be read: %s", cause(errs[i]))
			continue
		}
		if total += int64(len(in.Data)); total > t.limits.TreeBytes {
			t.find(in.Path, "", "the declarations are larger than %d MiB together", t.limits.TreeBytes>>20)
			break
		}
		good = append(good, in)
	}
	return good, ctx.Err()
}

func (t *tree) readOne(f listed, known func(cacheKey) *fileResult) (input, error) {
	name := f.path
	if f.hash != "" {
		key := keyOf("hash", name, []byte(f.hash))
		if hit := known(key); hit != nil {
			return input{Path: name, key: key, hit: hit}, nil
		}
		data, err := readBounded(t.fsys, name, t.limits.FileBytes)
		return input{Path: name, Data: data, key: key}, err
	}
	buf := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buf)
	data, err := appendFile((*buf)[:0], t.fsys, name, t.limits.FileBytes)
	if err != nil {
		return input{}, err
	}
	if cap(data) <= maxReadBuffer {
		*buf = data
	}
	in := input{Path: name, key: keyOf("content", name, data)}
	if in.hit = known(in.key); in.hit == nil {
		in.Data = bytes.Clone(data)
	}
	return in, nil
}

// readBuffers are reused, since most files are known already: they are read
// only to be hashed.
var readBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4<<10); return &b }}

const maxReadBuffer = 256 << 10

type tooLargeError int64

func (e tooLargeError) Error() string { return fmt.Sprintf("larger than %d KiB", int64(e)>>10) }

// readBounded reads a file of at most limit bytes.
func readBounded(fsys fs.FS, name string, limit int64) ([]byte, error) {
	return appendFile(nil, fsys, name, limit)
}

// appendFile reads a file into buf, without asking for its size first: that
// would be a quarter of the work for files that are small and many.
func appendFile(buf []byte, fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return buf, err
	}
	defer func() { _ = f.Close() }()
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, make([]byte, max(len(buf), 512))...)[:len(buf)]
		}
		n, err := f.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > limit:
			return buf, tooLargeError(limit)
		case err == io.EOF:
			return buf, nil
		case err != nil:
			return buf, err
		}
	}
}

// cause is an error without the path, which the finding has already.
func cause(err error) string {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}
