package git

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// graft makes the tree that edits, by their paths below it, make of another;
// zero where nothing is left of it.
func (d *draft) graft(at string, tree plumbing.Hash, edits map[string]Edit) (plumbing.Hash, error) {
	here, below, err := split(at, edits)
	if err != nil {
		return tree, err
	}
	old := &object.Tree{}
	if !tree.IsZero() {
		if old, err = d.store.tree(tree); err != nil {
			return tree, err
		}
	}
	var next []object.TreeEntry
	for _, e := range old.Entries {
		name := path.Join(at, e.Name)
		edit, edited := here[e.Name]
		inside, deeper := below[e.Name]
		delete(here, e.Name)
		delete(below, e.Name)
		switch {
		case edited:
			if e, err = d.edit(name, e, edit); err != nil {
				return tree, err
			}
		case deeper && e.Mode != filemode.Dir:
			return tree, fmt.Errorf("%q is no folder", name)
		case deeper:
			if e.Hash, err = d.graft(name, e.Hash, inside); err != nil {
				return tree, err
			}
		}
		if !e.Hash.IsZero() {
			next = append(next, e)
		}
	}
	fresh, err := d.fresh(at, here, below)
	if err != nil {
		return tree, err
	}
	if next = append(next, fresh...); len(next) == 0 {
		return plumbing.ZeroHash, nil
	}
	return d.tree(next)
}

// split tells the edits of a folder's own files from those further down.
func split(at string, edits map[string]Edit) (map[string]Edit, map[string]map[string]Edit, error) {
	here, below := map[string]Edit{}, map[string]map[string]Edit{}
	for name, e := range edits {
		first, rest, deeper := strings.Cut(name, "/")
		if !deeper {
			here[first] = e
			continue
		}
		if below[first] == nil {
			below[first] = map[string]Edit{}
		}
		below[first][rest] = e
	}
	for name := range below {
		if _, both := here[name]; both {
			return nil, nil, fmt.Errorf("%q is edited, and something below it", path.Join(at, name))
		}
	}
	return here, below, nil
}

// edit is what an edit makes of an entry that is there; the zero entry where
// it is deleted.
func (d *draft) edit(name string, e object.TreeEntry, edit Edit) (object.TreeEntry, error) {
	switch {
	case e.Mode == filemode.Dir, e.Mode == filemode.Submodule:
		return e, fmt.Errorf("%q is no file", name)
	case edit.Delete:
		return object.TreeEntry{}, nil
	case edit.Mode == 0 && e.Mode == filemode.Symlink:
		return e, fmt.Errorf("%q is a symbolic link", name)
	case edit.Mode != 0:
		e.Mode = gitMode(edit.Mode)
	}
	var err error
	e.Hash, err = d.blob(edit.Data)
	return e, err
}

// fresh are the entries that edits add to a folder.
func (d *draft) fresh(at string, here map[string]Edit, below map[string]map[string]Edit) ([]object.TreeEntry, error) {
	var out []object.TreeEntry
	for name, edit := range here {
		if edit.Delete {
			return nil, fmt.Errorf("%q is not there to be deleted", path.Join(at, name))
		}
		h, err := d.blob(edit.Data)
		if err != nil {
			return nil, err
		}
		out = append(out, object.TreeEntry{Name: name, Mode: gitMode(edit.Mode), Hash: h})
	}
	for name, inside := range below {
		h, err := d.graft(path.Join(at, name), plumbing.ZeroHash, inside)
		if err != nil {
			return nil, err
		}
		if h.IsZero() {
			return nil, errors.New("a folder without a file")
		}
		out = append(out, object.TreeEntry{Name: name, Mode: filemode.Dir, Hash: h})
	}
	return out, nil
}

func gitMode(m fs.FileMode) filemode.FileMode {
	switch {
	case m&fs.ModeSymlink != 0:
		return filemode.Symlink
	case m&0o111 != 0:
		return filemode.Executable
	}
	return filemode.Regular
}

func (d *draft) blob(data []byte) (plumbing.Hash, error) {
	h, err := d.store.put(encoded(plumbing.BlobObject, data))
	if err == nil {
		d.made = append(d.made, h)
	}
	return h, err
}
