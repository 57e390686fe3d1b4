package dir

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aplomb-dev/aplomb/sources"
)

// stamp is what changes when a file does: every write moves the ctime, which
// nobody can set back; the rest helps where clocks are coarse.
type stamp struct {
	size, mtime, ctime int64
	inode, device      uint64
	mode               fs.FileMode
}

type cached struct {
	stamp stamp
	read  time.Time // when its content was read
	hash  [sha256.Size]byte
}

// racy is how much older than its reading a file must be for its hash to be
// believed: within a clock's step a second write leaves the same times.
const racy = 50 * time.Millisecond

// item is one entry of a copy.
type item struct {
	name string // slash-separated below the root; "." is the root
	mode fs.FileMode
	time time.Time
	size int64
	hash [sha256.Size]byte
	data []byte // of a file, where it was kept; a link's target
}

// copied is one reading of a folder, sorted by name.
type copied struct {
	items []item
	sum   [sha256.Size]byte
	at    time.Time

	outer *copied // the CUE around the folder; nil: there is none that matters
	below string  // where the folder lies in that
}

// tree names the content of the folder, id that and the CUE around it.
func (c *copied) tree() string { return hex.EncodeToString(c.sum[:]) }

func (c *copied) id() string {
	if c.outer == nil {
		return c.tree()
	}
	sum := sha256.Sum256(append(c.sum[:], c.outer.sum[:]...))
	return hex.EncodeToString(sum[:])
}

func (c *copied) revision() sources.Revision {
	return sources.Revision{ID: c.id(), Tree: c.tree(), At: c.at}
}

// reader is one walk through the folder.
type reader struct {
	s     *Source
	root  *os.Root
	keep  bool
	bytes int64
	items []item
	next  map[string]cached
}

// read walks once. keep says whether to keep contents: only then is it made
// sure that they are of one state, since a hash of a state that never was finds
// no copy. errMoved: it was not one state.
func (s *Source) read(ctx context.Context, keep bool) (*copied, error) {
	root, err := s.root()
	if err != nil {
		return nil, err
	}
	defer root.Close()
	r := &reader{s: s, root: root, keep: keep, next: map[string]cached{}}
	if err := r.folder(ctx, root, ".", 0); err != nil {
		return nil, err
	}
	if keep {
		if err := r.verify(ctx); err != nil {
			return nil, err
		}
	}
	s.cache = r.next
	c := &copied{items: r.items, at: time.Now().UTC()}
	slices.SortFunc(c.items, func(a, b item) int { return strings.Compare(a.name, b.name) })
	h := sha256.New()
	for _, it := range c.items {
		fmt.Fprintf(h, "%o %d %s\x00", uint32(it.mode), len(it.name), it.name)
		h.Write(it.hash[:])
	}
	h.Sum(c.sum[:0])
	c.outer, c.below, err = s.around(ctx, c, keep)
	return c, err
}

// maxDepth is how deep folders may lie in folders.
const maxDepth = 100

// folder reads what is in dir, whose path is name. Everything is asked of the
// open folder, so that no path is walked twice.
func (r *reader) folder(ctx context.Context, dir *os.Root, name string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > maxDepth {
		return fmt.Errorf("%w: folders lie more than %d deep", sources.ErrTooLarge, maxDepth)
	}
	info, err := dir.Lstat(".")
	if err != nil {
		return moved(name, err)
	}
	r.items = append(r.items, item{name: name, mode: fs.ModeDir | 0o555, time: info.ModTime()})
	names, err := r.names(dir, name)
	if err != nil {
		return err
	}
	for _, base := range names {
		child := path.Join(name, base)
		if r.s.skip(child) {
			continue
		}
		if len(r.items) >= orElse(r.s.Entries, DefaultEntries) {
			return fmt.Errorf("%w: more than %d files and folders", sources.ErrTooLarge, len(r.items))
		}
		if err := r.entry(ctx, dir, base, child, depth); err != nil {
			return err
		}
	}
	return nil
}

// names lists a folder, sorted.
func (r *reader) names(dir *os.Root, name string) ([]string, error) {
	d, err := dir.Open(".")
	if err != nil {
		return nil, moved(name, err)
	}
	defer d.Close()
	limit := orElse(r.s.Entries, DefaultEntries)
	names, err := d.Readdirnames(limit + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, moved(name, err)
	}
	if len(names) > limit {
		return nil, fmt.Errorf("%w: more than %d files in %s", sources.ErrTooLarge, limit, name)
	}
	slices.Sort(names)
	return names, nil
}

func (r *reader) entry(ctx context.Context, dir *os.Root, base, name string, depth int) error {
	info, err := dir.Lstat(base)
	if err != nil {
		return moved(name, err)
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		below, err := dir.OpenRoot(base)
		if err != nil {
			return moved(name, err)
		}
		defer below.Close()
		return r.folder(ctx, below, name, depth+1)
	case fs.ModeSymlink:
		target, err := dir.Readlink(base)
		if err != nil {
			return moved(name, err)
		}
		r.items = append(r.items, item{name: name, mode: fs.ModeSymlink | 0o777, time: info.ModTime(),
			size: int64(len(target)), hash: sha256.Sum256([]byte(target)), data: []byte(target)})
		r.next[name] = cached{stamp: stampOf(info)}
		return nil
	case 0:
		return r.file(dir, base, name, info)
	}
	// A socket or a device is not content, but somebody put it there: it shows,
	// and cannot be read.
	r.items = append(r.items, item{name: name, mode: fs.ModeIrregular, time: info.ModTime()})
	return nil
}

func (r *reader) file(dir *os.Root, base, name string, info fs.FileInfo) error {
	it := item{name: name, mode: 0o444 | info.Mode()&0o100, time: info.ModTime(), size: info.Size()}
	if it.mode&0o100 != 0 {
		it.mode = 0o555
	}
	limit := orElse(r.s.MaxFile, DefaultMaxFile)
	if it.size > limit {
		return fmt.Errorf("%w: %s has %d bytes, %d are allowed", sources.ErrTooLarge, name, it.size, limit)
	}
	if r.bytes += it.size; r.bytes > orElse(r.s.MaxBytes, DefaultMaxBytes) {
		return fmt.Errorf("%w: more than %d bytes", sources.ErrTooLarge, orElse(r.s.MaxBytes, DefaultMaxBytes))
	}
	now := stampOf(info)
	old, ok := r.s.cache[name]
	if ok && old.stamp == now && !r.keep && old.read.Sub(time.Unix(0, max(now.mtime, now.ctime))) > racy {
		it.hash = old.hash
		r.items = append(r.items, it)
		r.next[name] = old
		return nil
	}
	started := time.Now()
	data, err := content(dir, base, now)
	if err != nil {
		return err
	}
	it.hash = sha256.Sum256(data)
	r.next[name] = cached{stamp: now, read: started, hash: it.hash}
	if r.keep {
		it.data = data
	}
	r.items = append(r.items, it)
	return nil
}

// content reads a file that must be the one that was looked at.
func content(dir *os.Root, name string, want stamp) ([]byte, error) {
	f, err := dir.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, moved(name, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || stampOf(info) != want {
		return nil, errMoved
	}
	data := make([]byte, want.size)
	if _, err := io.ReadFull(f, data); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return nil, errMoved
		}
		return nil, err
	}
	return data, nil
}

// verify looks at everything once more: only a second look without a
// difference makes the first one a state that existed.
func (r *reader) verify(ctx context.Context) error {
	for i, it := range r.items {
		if i%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		info, err := r.root.Lstat(it.name)
		if err != nil {
			return moved(it.name, err)
		}
		if it.mode.IsDir() {
			if !info.ModTime().Equal(it.time) {
				return errMoved
			}
			continue
		}
		if c, ok := r.next[it.name]; ok && c.stamp != stampOf(info) {
			return errMoved
		}
	}
	return nil
}

// moved turns what can only come of a change into errMoved.
func moved(name string, err error) error {
	if name != "." && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)) {
		return errMoved
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", sources.ErrGone, err)
	}
	return err
}
