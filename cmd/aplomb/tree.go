package main

import (
	"fmt"
	"io/fs"
	"os"

	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/dir"
)

// tree is the files of a folder as they lie there now, with the repository that
// it is a part of, for validate; where only is not "", only that one is listed,
// and the others can be opened by those that name them.
func tree(path, only string, c *closers) (*sources.Snapshot, error) {
	s := &sources.Snapshot{}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("read declarations: %w", err)
	}
	c.add(root.Close)
	s.FS = root.FS()
	if whole, below := dir.Around(path); below != "" {
		around, err := os.OpenRoot(whole)
		if err != nil {
			return nil, fmt.Errorf("read declarations: %w", err)
		}
		c.add(around.Close)
		s.Root, s.Path = around.FS(), below
	}
	if only != "" {
		s.FS = oneFile{s.FS, only}
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
