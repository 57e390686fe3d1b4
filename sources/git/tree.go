package git

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/aplomb-dev/aplomb/sources"
)

// Submodule is how a submodule's entry shows in a snapshot: neither a file nor
// a folder, with nothing to read.
const Submodule = fs.ModeIrregular

// tree is one commit's tree as a file system. Folders are read once and kept,
// files are read each time they are asked for. A symbolic link is an entry of
// its own: it can be listed and its target asked for, it is never followed. In
// a repository opened in place somebody may remove the commit's objects: what
// is missing then is sources.ErrGone.
type tree struct {
	store   *store
	root    plumbing.Hash
	at      time.Time
	maxFile int64
	max     int
	closed  atomic.Bool

	mu    sync.Mutex
	dirs  map[plumbing.Hash][]entry
	count int
}

var (
	_ fs.ReadDirFS  = (*tree)(nil)
	_ fs.ReadFileFS = (*tree)(nil)
	_ fs.StatFS     = (*tree)(nil)
	_ fs.ReadLinkFS = (*tree)(nil)
)

type entry struct {
	name string
	mode fs.FileMode
	hash plumbing.Hash
}

// folder says whether an entry is a folder, or nothing.
func (e entry) folder() bool { return e.name == "" || e.mode.IsDir() }

func newTree(s *store, root plumbing.Hash, at time.Time, maxFile int64, entries int) *tree {
	return &tree{store: s, root: root, at: at, maxFile: maxFile, max: entries, dirs: map[plumbing.Hash][]entry{}}
}

func (t *tree) close() error {
	t.closed.Store(true)
	return nil
}

func (t *tree) dir(h plumbing.Hash) ([]entry, error) {
	t.mu.Lock()
	list, ok := t.dirs[h]
	t.mu.Unlock()
	if ok {
		return list, nil
	}
	obj, err := t.store.tree(h)
	if err != nil {
		return nil, gone(err)
	}
	for _, e := range obj.Entries {
		if !validName(e.Name) {
			return nil, fmt.Errorf("tree %s holds an entry that no file system takes: %q", h, e.Name)
		}
		list = append(list, entry{e.Name, modeOf(e.Mode), e.Hash})
	}
	slices.SortFunc(list, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(list); i++ {
		if list[i].name == list[i-1].name {
			return nil, fmt.Errorf("tree %s holds %q twice", h, list[i].name)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.dirs[h]; !ok {
		if t.count += len(list); t.count > t.max {
			return nil, fmt.Errorf("%w: more than %d files and folders", sources.ErrTooLarge, t.max)
		}
		t.dirs[h] = list
	}
	return list, nil
}

// maxPath bounds the path of a file, in bytes, and with that how deep folders
// lie in each other: each object of a chain of folders costs a proposal next to
// nothing, and whoever walks down holds the path of each. Git goes 2,048 deep.
const maxPath = 4096

func checkLength(name string) error {
	if len(name) > maxPath {
		return fmt.Errorf("%w: a path of more than %d bytes begins with %q", sources.ErrTooLarge, maxPath, printable(name, 64))
	}
	return nil
}

func validName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.EqualFold(name, ".git") && !strings.ContainsAny(name, "/\x00")
}

func modeOf(m filemode.FileMode) fs.FileMode {
	switch m {
	case filemode.Dir:
		return fs.ModeDir | 0o555
	case filemode.Symlink:
		return fs.ModeSymlink | 0o777
	case filemode.Submodule:
		return Submodule
	case filemode.Executable:
		return 0o555
	}
	return 0o444
}

func gone(err error) error {
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return fmt.Errorf("%w: %w", sources.ErrGone, err)
	}
	return err
}

// find walks to name. Nothing lies below a symbolic link.
func (t *tree) find(op, name string) (entry, error) {
	fail := func(err error) (entry, error) { return entry{}, &fs.PathError{Op: op, Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	if t.closed.Load() {
		return fail(fs.ErrClosed)
	}
	if err := checkLength(name); err != nil {
		return entry{}, err // without the path: that is what is wrong with it
	}
	at := entry{".", fs.ModeDir | 0o555, t.root}
	if name == "." {
		return at, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		if !at.mode.IsDir() {
			return fail(fs.ErrNotExist)
		}
		list, err := t.dir(at.hash)
		if err != nil {
			return fail(err)
		}
		i, ok := slices.BinarySearchFunc(list, part, func(e entry, n string) int { return strings.Compare(e.name, n) })
		if !ok {
			return fail(fs.ErrNotExist)
		}
		at = list[i]
	}
	return at, nil
}

// Open gives a file whose content is read at the first Read. Reading what is
// not a plain file fails.
func (t *tree) Open(name string) (fs.File, error) {
	e, err := t.find("open", name)
	if err != nil {
		return nil, err
	}
	n := &node{t: t, e: e, path: name}
	if e.mode.IsDir() {
		return &folder{node: n}, nil
	}
	return &file{node: n}, nil
}

// ReadFile reads a plain file of at most Config.MaxFile bytes.
func (t *tree) ReadFile(name string) ([]byte, error) {
	e, err := t.find("read", name)
	if err != nil {
		return nil, err
	}
	return (&node{t: t, e: e, path: name}).read()
}

// ReadDir lists a folder, sorted by name.
func (t *tree) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := t.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if !e.mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a folder")}
	}
	list, err := t.dir(e.hash)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	out := make([]fs.DirEntry, len(list))
	for i := range list {
		out[i] = &node{t: t, e: list[i], path: path.Join(name, list[i].name)}
	}
	return out, nil
}

// Stat describes name; a symbolic link as itself.
func (t *tree) Stat(name string) (fs.FileInfo, error) {
	e, err := t.find("stat", name)
	if err != nil {
		return nil, err
	}
	return (&node{t: t, e: e, path: name}).Info()
}

// Lstat is Stat.
func (t *tree) Lstat(name string) (fs.FileInfo, error) { return t.Stat(name) }

// ReadLink is the text of a symbolic link.
func (t *tree) ReadLink(name string) (string, error) {
	e, err := t.find("readlink", name)
	if err != nil {
		return "", err
	}
	if e.mode.Type() != fs.ModeSymlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	b, err := t.store.read(plumbing.BlobObject, e.hash, maxSmall)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: gone(err)}
	}
	return string(b), nil
}
