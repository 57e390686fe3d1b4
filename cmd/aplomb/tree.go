package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/dir"
)

// tree is the files of a folder as they lie there now, for validate; where only
// is not "", only that one is listed, and the others can be opened by those that
// name them.
func tree(path, only string) (fs.FS, io.Closer, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, nil, fmt.Errorf("read declarations: %w", err)
	}
	if only == "" {
		return root.FS(), root, nil
	}
	return oneFile{root.FS(), only}, root, nil
}

// lying is tree with the repository that the folder is a part of, until c
// closes.
func lying(path, only string, c *closers) (*sources.Snapshot, error) {
	fsys, closer, err := tree(path, only)
	if err != nil {
		return nil, err
	}
	c.add(closer.Close)
	s := &sources.Snapshot{FS: fsys}
	if whole, below := dir.Around(path); below != "" {
		if s.Root, closer, err = tree(whole, ""); err != nil {
			return nil, err
		}
		c.add(closer.Close)
		s.Path = below
	}
	return s, nil
}

// oneFile is a file system whose root lists one file.
type oneFile struct {
	fs.FS
	name string
}

// ReadDir implements fs.ReadDirFS.
func (o oneFile) ReadDir(name string) ([]fs.DirEntry, error) {
	if name != "." {
		return nil, nil
	}
	st, err := fs.Stat(o.FS, o.name)
	if err != nil {
		return nil, err
	}
	return []fs.DirEntry{fs.FileInfoToDirEntry(st)}, nil
}
