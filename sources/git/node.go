package git

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// node is one entry of a tree: as a fs.DirEntry, and with its size as a
// fs.FileInfo.
type node struct {
	t    *tree
	e    entry
	path string
	size int64
}

func (n *node) Name() string       { return n.e.name }
func (n *node) IsDir() bool        { return n.e.mode.IsDir() }
func (n *node) Type() fs.FileMode  { return n.e.mode.Type() }
func (n *node) Mode() fs.FileMode  { return n.e.mode }
func (n *node) ModTime() time.Time { return n.t.at }
func (n *node) Sys() any           { return nil }
func (n *node) Size() int64        { return n.size }
func (n *node) String() string     { return fs.FormatDirEntry(n) }

// ContentHash names the content: two entries with the same hash hold the same
// bytes. Whoever keeps results by it need not read the file again.
func (n *node) ContentHash() string { return n.e.hash.String() }

// Info asks for the size, which costs a look at the object.
func (n *node) Info() (fs.FileInfo, error) {
	out := *n
	if n.e.mode.IsDir() || n.e.mode.Type() == Submodule {
		return &out, nil
	}
	size, err := n.t.store.size(n.e.hash)
	if err != nil {
		return nil, n.fail("stat", gone(err))
	}
	out.size = size
	return &out, nil
}

func (n *node) fail(op string, err error) error {
	return &fs.PathError{Op: op, Path: n.path, Err: err}
}

func (n *node) read() ([]byte, error) {
	switch n.e.mode.Type() {
	case 0:
	case fs.ModeDir:
		return nil, n.fail("read", errors.New("is a folder"))
	case fs.ModeSymlink:
		return nil, n.fail("read", errors.New("is a symbolic link"))
	default:
		return nil, n.fail("read", errors.New("is a submodule"))
	}
	if n.t.closed.Load() {
		return nil, n.fail("read", fs.ErrClosed)
	}
	b, err := n.t.store.read(plumbing.BlobObject, n.e.hash, n.t.maxFile)
	if err != nil {
		return nil, n.fail("read", gone(err))
	}
	return b, nil
}

// file is an open file. Like any fs.File it is for one goroutine.
type file struct {
	*node
	r      *bytes.Reader
	closed bool
}

func (f *file) Stat() (fs.FileInfo, error) {
	if f.closed {
		return nil, f.fail("stat", fs.ErrClosed)
	}
	return f.Info()
}

func (f *file) Read(p []byte) (int, error) {
	if err := f.load("read"); err != nil {
		return 0, err
	}
	return f.r.Read(p)
}

func (f *file) Seek(offset int64, whence int) (int64, error) {
	if err := f.load("seek"); err != nil {
		return 0, err
	}
	return f.r.Seek(offset, whence)
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.load("read"); err != nil {
		return 0, err
	}
	return f.r.ReadAt(p, off)
}

func (f *file) load(op string) error {
	if f.closed {
		return f.fail(op, fs.ErrClosed)
	}
	if f.r != nil {
		return nil
	}
	b, err := f.node.read()
	if err != nil {
		return err
	}
	f.r = bytes.NewReader(b)
	return nil
}

func (f *file) Close() error {
	if f.closed {
		return f.fail("close", fs.ErrClosed)
	}
	f.closed = true
	return nil
}

// folder is an open folder.
type folder struct {
	*node
	next   int
	closed bool
}

func (d *folder) Stat() (fs.FileInfo, error) { return d.Info() }
func (d *folder) Read([]byte) (int, error)   { return 0, d.fail("read", errors.New("is a folder")) }

func (d *folder) Close() error {
	if d.closed {
		return d.fail("close", fs.ErrClosed)
	}
	d.closed = true
	return nil
}

func (d *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	if d.closed {
		return nil, d.fail("readdir", fs.ErrClosed)
	}
	list, err := d.t.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	list = list[min(d.next, len(list)):]
	if n > 0 && len(list) == 0 {
		return nil, io.EOF
	}
	if n > 0 && len(list) > n {
		list = list[:n]
	}
	d.next += len(list)
	return list, nil
}
