package git

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/aplomb-dev/aplomb/sources"
)

// draft makes the objects of one commit and remembers which.
type draft struct {
	store *store
	made  []plumbing.Hash
}

// commit gives the commit that puts rep on top of base, or zero where that
// would change nothing.
func (d *draft) commit(base plumbing.Hash, rep sources.Report, by object.Signature) (plumbing.Hash, error) {
	c := &object.Commit{Author: by, Committer: by, Message: printable(rep.Title, maxTitle) + "\n"}
	root := &object.Tree{}
	if !base.IsZero() {
		old, err := d.store.commit(base)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		if root, err = d.store.tree(old.TreeHash); err != nil {
			return plumbing.ZeroHash, err
		}
		c.ParentHashes = []plumbing.Hash{base}
	}
	folder, err := d.folder(rep.Files)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	next := []object.TreeEntry{{Name: rep.Environment, Mode: filemode.Dir, Hash: folder}}
	for _, e := range root.Entries {
		if e.Name != rep.Environment {
			next = append(next, e)
		} else if e == next[0] {
			return plumbing.ZeroHash, nil
		}
	}
	if c.TreeHash, err = d.tree(next); err != nil {
		return plumbing.ZeroHash, err
	}
	return d.put(plumbing.CommitObject, c)
}

// folder makes the tree of files, by slash-separated path.
func (d *draft) folder(files map[string][]byte) (plumbing.Hash, error) {
	var entries []object.TreeEntry
	below := map[string]map[string][]byte{}
	for name, data := range files {
		first, rest, deeper := strings.Cut(name, "/")
		if deeper {
			if below[first] == nil {
				below[first] = map[string][]byte{}
			}
			below[first][rest] = data
			continue
		}
		h, err := d.blob(data)
		if err != nil {
			return h, err
		}
		entries = append(entries, object.TreeEntry{Name: name, Mode: filemode.Regular, Hash: h})
	}
	for name, files := range below {
		h, err := d.folder(files)
		if err != nil {
			return h, err
		}
		entries = append(entries, object.TreeEntry{Name: name, Mode: filemode.Dir, Hash: h})
	}
	return d.tree(entries)
}

func (d *draft) tree(entries []object.TreeEntry) (plumbing.Hash, error) {
	sort.Sort(object.TreeEntrySorter(entries))
	return d.put(plumbing.TreeObject, &object.Tree{Entries: entries})
}

func (d *draft) put(t plumbing.ObjectType, o interface {
	Encode(plumbing.EncodedObject) error
}) (plumbing.Hash, error) {
	m := &plumbing.MemoryObject{}
	if err := o.Encode(m); err != nil {
		return plumbing.ZeroHash, fmt.Errorf("make a %s: %w", t, err)
	}
	h, err := d.store.put(m)
	if err == nil {
		d.made = append(d.made, h)
	}
	return h, err
}

// put writes an object, unless it is there.
func (s *store) put(o plumbing.EncodedObject) (plumbing.Hash, error) {
	h := o.Hash()
	err := s.with(func() error {
		_, err := s.holder(h)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			_, err = s.own.SetEncodedObject(o)
		}
		return err
	})
	if err != nil {
		return h, fmt.Errorf("write %s %s: %w", o.Type(), h, err)
	}
	return h, nil
}

// swap moves a branch from old to next, if it still is at old, under the lock
// that git itself takes.
func (s *store) swap(ref plumbing.ReferenceName, old, next plumbing.Hash) error {
	if err := s.checkedOut(ref); err != nil {
		return err
	}
	s.mu.Lock()
	file := filepath.Join(s.lay.common, filepath.FromSlash(ref.String()))
	s.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return fmt.Errorf("move %s: %w", ref, err)
	}
	lock, err := os.OpenFile(file+".lock", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, os.ErrExist) {
		return withHint(fmt.Errorf("%w: %s is locked", errRaced, ref),
			"if no git command is running, one was interrupted: remove "+file+".lock")
	}
	if err != nil {
		return fmt.Errorf("move %s: %w", ref, err)
	}
	err = errors.Join(s.moveLocked(lock, ref, old, next), lock.Close())
	if err == nil {
		err = os.Rename(lock.Name(), file)
	}
	if err != nil { // once renamed, a lock of this name is somebody else's
		return fmt.Errorf("move %s: %w", ref, errors.Join(err, os.Remove(lock.Name())))
	}
	return nil
}

// moveLocked writes next into the lock of a branch that is at old.
func (s *store) moveLocked(lock *os.File, ref plumbing.ReferenceName, old, next plumbing.Hash) error {
	now, err := s.ref(ref)
	if err != nil && !isAbsent(err) {
		return err
	}
	if now != old {
		return errRaced
	}
	if _, err := io.WriteString(lock, next.String()+"\n"); err != nil {
		return err
	}
	return lock.Sync()
}

// checkedOut refuses to move a branch under a work tree.
func (s *store) checkedOut(ref plumbing.ReferenceName) error {
	if err := s.with(func() error { return nil }); err != nil {
		return err
	}
	heads, _ := filepath.Glob(filepath.Join(s.lay.common, "worktrees", "*", "HEAD")) // the pattern is well-formed
	for _, name := range append(heads, filepath.Join(s.lay.common, "HEAD")) {
		text, err := readSmall(name)
		if err == nil && strings.TrimPrefix(text, "ref: ") == ref.String() {
			return withHint(fmt.Errorf("%s is checked out", ref.Short()), "switch that work tree to another branch")
		}
	}
	return nil
}
