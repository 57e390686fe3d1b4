package git

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"

	"github.com/aplomb-dev/aplomb/sources"
)

// Limits of single objects that are not files, in bytes.
const (
	maxCommit = 4 << 20
	maxTree   = 64 << 20
	cacheSize = 16 << 20
	maxPacks  = 64 // files of packs kept open
)

// store is a repository on this machine's disk. The library's storage is not
// safe for concurrent use, so one lock guards it. Somebody else may repack the
// repository, move it away and put it back: what is not found is looked for
// once more with everything opened again.
type store struct {
	path    string
	create  bool // a mirror: made when it is missing
	maxFile int64

	mu  sync.Mutex
	lay layout
	own *filesystem.Storage   // nil: not open
	all []*filesystem.Storage // own, then what it borrows from
}

func openStore(path string, maxFile int64) *store { return &store{path: path, maxFile: maxFile} }

func openMirror(path string, maxFile int64) *store {
	return &store{path: path, maxFile: maxFile, create: true}
}

// with runs fn on the open repository, and once more on the repository opened
// anew where fn misses something. Nobody else writes objects to a mirror.
func (s *store) with(fn func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := s.own == nil
	if err := s.open(); err != nil {
		return err
	}
	err := fn()
	if err == nil || fresh || !isMissing(err) || s.create && errors.Is(err, plumbing.ErrObjectNotFound) {
		return err
	}
	s.shut()
	if err := s.open(); err != nil {
		return err
	}
	return fn()
}

func isMissing(err error) bool {
	return errors.Is(err, plumbing.ErrObjectNotFound) || errors.Is(err, plumbing.ErrReferenceNotFound) ||
		errors.Is(err, dotgit.ErrPackfileNotFound) || errors.Is(err, idxfile.ErrMalformedIdxFile) ||
		errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF)
}

func (s *store) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut()
}

// errDamaged is an object whose content is not what its name says.
var errDamaged = errors.New("the object is damaged")

// isDamaged says whether an error of reading commits and trees can only come
// of what is on disk, and not of this process or its machine.
func isDamaged(err error) bool {
	var sys *fs.PathError
	switch {
	case err == nil, errors.Is(err, sources.ErrTooLarge), errors.Is(err, errNotFolder):
		return false
	case errors.As(err, &sys):
		return errors.Is(err, os.ErrNotExist)
	}
	return true
}

// discard removes a mirror: it can be had again.
func (s *store) discard() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut()
	if !s.create {
		return nil // somebody's own repository
	}
	return os.RemoveAll(s.path)
}

func (s *store) shut() {
	for _, st := range s.all {
		_ = st.Close() // only read from
	}
	s.own, s.all = nil, nil
}

func (s *store) open() error {
	if s.own != nil {
		return nil
	}
	if s.create {
		if err := initBare(s.path); err != nil {
			return err
		}
	}
	lay, err := discover(s.path)
	if err != nil {
		return err
	}
	if err := checkFormat(filepath.Join(lay.common, "config")); err != nil {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	borrowed, err := alternates(filepath.Join(lay.common, "objects"))
	if err != nil {
		return fmt.Errorf("alternates of %s: %w", s.path, err)
	}
	s.lay = lay
	s.own = s.storage(lay)
	s.all = []*filesystem.Storage{s.own}
	for _, dir := range borrowed {
		s.all = append(s.all, s.storage(layout{git: filepath.Dir(dir), common: filepath.Dir(dir)}))
	}
	return nil
}

func (s *store) storage(lay layout) *filesystem.Storage {
	fsys := osfs.New(lay.git)
	if lay.common != lay.git {
		fsys = dotgit.NewRepositoryFilesystem(osfs.New(lay.git), osfs.New(lay.common))
	}
	return filesystem.NewStorageWithOptions(fsys, cache.NewObjectLRU(cacheSize), filesystem.Options{
		MaxOpenDescriptors:   maxPacks,
		LargeObjectThreshold: max(s.maxFile, maxTree),
	})
}

// holder is the storage that has h. The lock is held.
func (s *store) holder(h plumbing.Hash) (*filesystem.Storage, error) {
	for _, st := range s.all {
		err := st.HasEncodedObject(h)
		if err == nil {
			return st, nil
		}
		if !errors.Is(err, plumbing.ErrObjectNotFound) {
			return nil, err
		}
	}
	return nil, plumbing.ErrObjectNotFound
}

// has says whether the object is there.
func (s *store) has(h plumbing.Hash) (bool, error) {
	err := s.with(func() error { _, err := s.holder(h); return err })
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return false, nil
	}
	return err == nil, err
}

// errType is an object that is not what it was taken for.
var errType = errors.New("another type of object")

// read returns an object's content, of at most limit bytes.
func (s *store) read(t plumbing.ObjectType, h plumbing.Hash, limit int64) ([]byte, error) {
	var out []byte
	err := s.with(func() error {
		obj, err := s.object(h)
		if err != nil {
			return err
		}
		if obj.Type() != t {
			return fmt.Errorf("%w: %s", errType, obj.Type())
		}
		if obj.Size() > limit {
			return fmt.Errorf("%w: %d bytes, %d are allowed", sources.ErrTooLarge, obj.Size(), limit)
		}
		out, err = content(obj)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read %s %s: %w", t, h, err)
	}
	return out, nil
}

// object opens an object. The lock is held. The library is asked about one
// storage at a time: what it does by itself about those that a repository
// borrows from reads all their indexes for each object.
func (s *store) object(h plumbing.Hash) (plumbing.EncodedObject, error) {
	if len(s.all) == 1 {
		return s.own.EncodedObject(plumbing.AnyObject, h)
	}
	st, err := s.holder(h)
	if err != nil {
		return nil, err
	}
	return st.EncodedObject(plumbing.AnyObject, h)
}

func content(obj plumbing.EncodedObject) ([]byte, error) {
	r, err := obj.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, obj.Size())
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	return b, nil
}

// size is that of a file's content, without reading it.
func (s *store) size(h plumbing.Hash) (n int64, err error) {
	err = s.with(func() error {
		st, err := s.holder(h)
		if err != nil {
			return err
		}
		n, err = st.EncodedObjectSize(h)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", h, err)
	}
	return n, nil
}

// commit reads a commit; an annotated tag is followed to what it names.
func (s *store) commit(h plumbing.Hash) (*object.Commit, error) {
	b, err := s.read(plumbing.CommitObject, h, maxCommit)
	if err != nil {
		return nil, err
	}
	c := &object.Commit{}
	if err := c.Decode(encoded(plumbing.CommitObject, b)); err != nil {
		return nil, fmt.Errorf("commit %s: %w", h, err)
	}
	if c.Hash != h {
		return nil, fmt.Errorf("commit %s: %w", h, errDamaged)
	}
	return c, nil
}

// peel follows annotated tags, at most a few, to the commit.
func (s *store) peel(h plumbing.Hash) (plumbing.Hash, error) {
	for range 8 {
		b, err := s.read(plumbing.TagObject, h, maxCommit)
		if errors.Is(err, errType) {
			return h, nil // what is no commit either fails where it is read as one
		}
		if err != nil {
			return plumbing.ZeroHash, err
		}
		tag := &object.Tag{}
		if err := tag.Decode(encoded(plumbing.TagObject, b)); err != nil {
			return plumbing.ZeroHash, fmt.Errorf("tag %s: %w", h, err)
		}
		h = tag.Target
	}
	return plumbing.ZeroHash, errors.New("tags name tags without end")
}

func (s *store) tree(h plumbing.Hash) (*object.Tree, error) {
	b, err := s.read(plumbing.TreeObject, h, maxTree)
	if err != nil {
		return nil, err
	}
	t := &object.Tree{}
	if err := t.Decode(encoded(plumbing.TreeObject, b)); err != nil {
		return nil, fmt.Errorf("tree %s: %w", h, err)
	}
	if t.Hash != h {
		return nil, fmt.Errorf("tree %s: %w", h, errDamaged)
	}
	return t, nil
}

func encoded(t plumbing.ObjectType, b []byte) plumbing.EncodedObject {
	o := &plumbing.MemoryObject{}
	o.SetType(t)
	_, _ = o.Write(b) // memory: never fails
	return o
}
