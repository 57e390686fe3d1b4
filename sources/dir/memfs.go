package dir

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// memFS is a copy of a folder: immutable, safe for concurrent use. A symbolic
// link is an entry of its own that is never followed.
type memFS struct {
	items map[string]*item
	below map[string][]fs.DirEntry
}

var (
	_ fs.ReadDirFS  = (*memFS)(nil)
	_ fs.ReadFileFS = (*memFS)(nil)
	_ fs.StatFS     = (*memFS)(nil)
	_ fs.ReadLinkFS = (*memFS)(nil)
)

func (c *copied) fs() *memFS {
	m := &memFS{items: make(map[string]*item, len(c.items)), below: map[string][]fs.DirEntry{}}
	for i := range c.items {
		it := &c.items[i]
		m.items[it.name] = it
		if it.name != "." {
			parent := path.Dir(it.name)
			m.below[parent] = append(m.below[parent], info{it})
		}
	}
	for _, list := range m.below {
		slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
	return m
}

// info is an item as a fs.FileInfo and a fs.DirEntry.
type info struct{ *item }

func (i info) Name() string               { return path.Base(i.name) }
func (i info) Size() int64                { return i.size }
func (i info) Mode() fs.FileMode          { return i.mode }
func (i info) Type() fs.FileMode          { return i.mode.Type() }
func (i info) ModTime() time.Time         { return i.time }
func (i info) IsDir() bool                { return i.mode.IsDir() }
func (i info) Sys() any                   { return nil }
func (i info) Info() (fs.FileInfo, error) { return i, nil }
func (i info) String() string             { return fs.FormatDirEntry(i) }

// ContentHash names the content: two files with the same hash hold the same
// bytes. Whoever keeps results by it need not read the file again.
func (i info) ContentHash() string { return hex.EncodeToString(i.hash[:]) }

func (m *memFS) find(op, name string) (*item, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	it, ok := m.items[name]
	if !ok {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return it, nil
}

// Open opens anything; only plain files can be read.
func (m *memFS) Open(name string) (fs.File, error) {
	it, err := m.find("open", name)
	if err != nil {
		return nil, err
	}
	if it.mode.IsDir() {
		return &folder{info: info{it}, list: m.below[name]}, nil
	}
	return &file{info: info{it}, Reader: bytes.NewReader(it.data)}, nil
}

// ReadFile reads a plain file.
func (m *memFS) ReadFile(name string) ([]byte, error) {
	it, err := m.find("read", name)
	if err != nil {
		return nil, err
	}
	if !it.mode.IsRegular() {
		return nil, unreadable(it)
	}
	return bytes.Clone(it.data), nil
}

func unreadable(it *item) error {
	why := "is not a plain file"
	switch it.mode.Type() {
	case fs.ModeDir:
		why = "is a folder"
	case fs.ModeSymlink:
		why = "is a symbolic link"
	}
	return &fs.PathError{Op: "read", Path: it.name, Err: errors.New(why)}
}

// ReadDir lists a folder, sorted by name.
func (m *memFS) ReadDir(name string) ([]fs.DirEntry, error) {
	it, err := m.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if !it.mode.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a folder")}
	}
	return slices.Clone(m.below[name]), nil
}

// Stat describes name; a symbolic link as itself.
func (m *memFS) Stat(name string) (fs.FileInfo, error) {
	it, err := m.find("stat", name)
	if err != nil {
		return nil, err
	}
	return info{it}, nil
}

// Lstat is Stat.
func (m *memFS) Lstat(name string) (fs.FileInfo, error) { return m.Stat(name) }

// ReadLink is the text of a symbolic link.
func (m *memFS) ReadLink(name string) (string, error) {
	it, err := m.find("readlink", name)
	if err != nil {
		return "", err
	}
	if it.mode.Type() != fs.ModeSymlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	return string(it.data), nil
}

type file struct {
	info
	*bytes.Reader
}

func (f *file) Size() int64                { return f.info.Size() }
func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

func (f *file) Read(p []byte) (int, error) {
	if !f.mode.IsRegular() {
		return 0, unreadable(f.item)
	}
	return f.Reader.Read(p)
}

type folder struct {
	info
	list []fs.DirEntry
}

func (d *folder) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *folder) Read([]byte) (int, error)   { return 0, unreadable(d.item) }
func (d *folder) Close() error               { return nil }

func (d *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n > 0 && len(d.list) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(d.list) {
		n = len(d.list)
	}
	out := slices.Clone(d.list[:n])
	d.list = d.list[n:]
	return out, nil
}
