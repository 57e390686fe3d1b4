// Package records keeps small records, one JSON file each, in a folder of
// their own: written whole and durable, read again only when the file changed.
// People may look at the files, and delete one; what a record means, and what
// follows from its absence, is its user's affair.
package records

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aplomb-dev/aplomb/internal/atomicfile"
)

// MaxSize is the size in bytes of the largest record that is read.
const MaxSize = 1 << 20

// ErrCorrupt is in the error of a record that is there and cannot be read as
// one. It is neither deleted nor written over.
var ErrCorrupt = errors.New("the record is damaged")

const ext = ".json"

// Folder is a folder of records of type T. Its methods are safe for concurrent
// use, save that one record must not be written twice at once.
type Folder[T any] struct {
	Dir   string                        // made, readable by its owner alone, at the first write
	Check func(name string, v *T) error // refuses a record that makes no sense, and may normalise it; nil accepts all

	mu    sync.Mutex
	cache map[string]cached[T]
}

// Record is one record as it was read. Value is shared with other readers and
// must not be changed.
type Record[T any] struct {
	Value *T
	Token string // changes whenever the record does
}

type cached[T any] struct {
	stamp  Stamp
	record Record[T]
	err    error
}

// Stamp tells one state of a file from another without reading it.
type Stamp struct {
	size, mtime, ctime int64
	inode, device      uint64
	mode               fs.FileMode
}

// StampOf is the stamp in a file's metadata.
func StampOf(info fs.FileInfo) Stamp {
	s := Stamp{size: info.Size(), mtime: info.ModTime().UnixNano(), mode: info.Mode()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s.ctime, s.inode, s.device = ctime(st), st.Ino, uint64(st.Dev) //nolint:unconvert // the type differs by system
	}
	return s
}

// Settled says whether a file with this stamp, read at the time at, can no
// longer change without its stamp changing: clocks of file systems tick
// coarsely.
func (s Stamp) Settled(at time.Time) bool {
	const tick = int64(50 * time.Millisecond)
	return at.UnixNano()-max(s.mtime, s.ctime) > tick
}

// Path is the file of the record name.
func (f *Folder[T]) Path(name string) string { return filepath.Join(f.Dir, name+ext) }

// Get reads a record. One that is not there gives an error with
// fs.ErrNotExist, a damaged one ErrCorrupt.
func (f *Folder[T]) Get(name string) (Record[T], error) {
	info, err := os.Lstat(f.Path(name))
	if err != nil {
		return Record[T]{}, err
	}
	stamp := StampOf(info)
	f.mu.Lock()
	c, ok := f.cache[name]
	f.mu.Unlock()
	if ok && c.stamp == stamp {
		return c.record, c.err
	}
	at := time.Now()
	record, err := f.read(name)
	if err != nil && !errors.Is(err, ErrCorrupt) {
		return Record[T]{}, err
	}
	if !stamp.Settled(at) {
		return record, err
	}
	f.keep(name, cached[T]{stamp, record, err})
	return record, err
}

func (f *Folder[T]) keep(name string, c cached[T]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cache == nil {
		f.cache = map[string]cached[T]{}
	}
	f.cache[name] = c
}

func (f *Folder[T]) read(name string) (Record[T], error) {
	file, err := os.OpenFile(f.Path(name), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return Record[T]{}, err
	}
	data, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err := errors.Join(err, file.Close()); err != nil {
		return Record[T]{}, err
	}
	return f.parse(name, data)
}

func (f *Folder[T]) parse(name string, data []byte) (Record[T], error) {
	if len(data) > MaxSize {
		return Record[T]{}, fmt.Errorf("%w: more than %d bytes", ErrCorrupt, MaxSize)
	}
	v, err := decode[T](data)
	if err != nil {
		return Record[T]{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if f.Check != nil {
		if err := f.Check(name, v); err != nil {
			return Record[T]{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
	sum := sha256.Sum256(data)
	return Record[T]{v, hex.EncodeToString(sum[:16])}, nil
}

func decode[T any](data []byte) (*T, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	v := new(T)
	if err := d.Decode(v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the record")
	}
	return v, nil
}

// Create writes a new record; one that is there already stays and gives
// fs.ErrExist.
func (f *Folder[T]) Create(name string, v T) (Record[T], error) {
	return f.write(name, v, atomicfile.Create)
}

// Replace writes a record over whatever has its name.
func (f *Folder[T]) Replace(name string, v T) (Record[T], error) {
	return f.write(name, v, atomicfile.Replace)
}

type writer func(*os.Root, string, []byte, fs.FileMode) error

func (f *Folder[T]) write(name string, v T, write writer) (_ Record[T], err error) {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return Record[T]{}, err
	}
	record, err := f.parse(name, append(data, '\n'))
	if err != nil {
		return Record[T]{}, err
	}
	if err := MakeDir(f.Dir); err != nil {
		return Record[T]{}, err
	}
	root, err := os.OpenRoot(f.Dir)
	if err != nil {
		return Record[T]{}, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := write(root, name+ext, append(data, '\n'), 0o600); err != nil {
		return Record[T]{}, err
	}
	return record, nil
}

// MakeDir makes a folder that only its owner reads, and those above it, and
// makes the new names durable.
func MakeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	above := filepath.Dir(dir)
	if above != dir {
		if err := MakeDir(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(above)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Delete removes a record; one that is not there is no error.
func (f *Folder[T]) Delete(name string) error {
	err := os.Remove(f.Path(name))
	f.mu.Lock()
	delete(f.cache, name)
	f.mu.Unlock()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(f.Dir)
}

// Names lists the records by name, sorted; a folder that is not there has
// none. Files with other names are left out.
func (f *Folder[T]) Names() ([]string, error) {
	entries, err := os.ReadDir(f.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ext)
		if ok && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}
