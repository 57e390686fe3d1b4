package cueload

import (
	"errors"
	"io/fs"
	"path"
	"strings"
)

// Unread says of an entry of a tree that is no folder why it is left out, though
// its name says that it is CUE or it may lead to some: whoever must not miss a
// package refuses the tree then. nil is that nothing is missed.
func Unread(root fs.FS, name string, e fs.DirEntry) error {
	base := e.Name()
	if e.Type().IsRegular() || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return nil
	}
	if e.Type()&fs.ModeSymlink == 0 {
		if path.Ext(base) == ".cue" {
			return errors.New("not a regular file")
		}
		return nil
	}
	if info, err := fs.Stat(root, name); path.Ext(base) != ".cue" && err == nil && info.Mode().IsRegular() {
		return nil
	}
	return errors.New("a symbolic link: links are not followed")
}
