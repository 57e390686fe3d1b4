package dir

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/sources"
)

// Around finds the whole that a folder is a part of: the nearest folder, the
// folder itself or one above it, that holds .git or cue.mod. below is where the
// folder lies in it, slash-separated, "" where it is the whole; root is ""
// where there is no such folder. Symbolic links on the way are followed first.
func Around(folder string) (root, below string) {
	real, err := filepath.Abs(folder)
	if err != nil {
		return "", ""
	}
	if real, err = filepath.EvalSymlinks(real); err != nil {
		return "", ""
	}
	for at := real; ; at = filepath.Dir(at) {
		for _, mark := range []string{".git", "cue.mod"} {
			if _, err := os.Lstat(filepath.Join(at, mark)); err != nil {
				continue
			}
			rel, err := filepath.Rel(at, real)
			if err != nil {
				return "", ""
			}
			if rel == "." {
				rel = ""
			}
			return at, filepath.ToSlash(rel)
		}
		if at == filepath.Dir(at) {
			return "", ""
		}
	}
}

// imported says whether a file is one that CUE can import, the only ones that
// matter outside of the folder.
func imported(name string) bool { return path.Ext(name) == ".cue" }

// around reads what lies around the folder and may have a part in it: where the
// folder holds CUE, the CUE of the whole that it is a part of. It costs a
// listing of each folder, and a look at each CUE file. nil: there is nothing.
//
// A folder that may not be read is passed over, unlike one that is followed:
// an import that finds nothing is a finding, it never makes something
// undeclared.
func (s *Source) around(ctx context.Context, inner *copied, keep bool) (*copied, string, error) {
	if !slices.ContainsFunc(inner.items, func(it item) bool { return it.mode.IsRegular() && imported(it.name) }) {
		return nil, "", nil
	}
	at, below := Around(s.Path)
	if at == "" || below == "" {
		return nil, "", nil
	}
	root, err := os.OpenRoot(at)
	if err != nil {
		return nil, "", moved(".", err)
	}
	defer root.Close()
	w := &outside{s: s, below: below, keep: keep, next: map[string]cached{}}
	if err := w.folder(ctx, root, ".", 0); err != nil {
		if errors.Is(err, sources.ErrTooLarge) {
			err = fmt.Errorf("what lies around it, in %s: %w; a folder cue.mod nearer to it bounds that", at, err)
		}
		return nil, "", err
	}
	s.outer = w.next
	c := &copied{items: w.items, at: inner.at}
	slices.SortFunc(c.items, func(a, b item) int { return strings.Compare(a.name, b.name) })
	h := sha256.New()
	for _, it := range c.items {
		if it.mode.IsRegular() {
			_, _ = fmt.Fprintf(h, "%d %s\x00", len(it.name), it.name)
			_, _ = h.Write(it.hash[:])
		}
	}
	h.Sum(c.sum[:0])
	return c, below, nil
}

// outside is one walk through what lies around the folder.
type outside struct {
	s       *Source
	below   string // the folder itself, which was read already
	keep    bool
	entries int
	bytes   int64
	items   []item
	next    map[string]cached
}

func (w *outside) folder(ctx context.Context, dir *os.Root, name string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if name == w.below || depth > maxDepth {
		return nil
	}
	info, err := dir.Lstat(".")
	if err != nil {
		return nil // gone again
	}
	w.items = append(w.items, item{name: name, mode: fs.ModeDir | 0o555, time: info.ModTime()})
	d, err := dir.Open(".")
	if err != nil {
		return nil // not to be read
	}
	defer d.Close()
	limit := orElse(w.s.Entries, DefaultEntries)
	for w.entries <= limit {
		list, err := d.ReadDir(1024)
		w.entries += len(list)
		for _, e := range list {
			if err := w.entry(ctx, dir, e, path.Join(name, e.Name()), depth); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || err != nil || len(list) == 0 {
			return nil
		}
	}
	return fmt.Errorf("%w: more than %d files and folders", sources.ErrTooLarge, limit)
}

func (w *outside) entry(ctx context.Context, dir *os.Root, e fs.DirEntry, name string, depth int) error {
	base := e.Name()
	switch {
	case strings.HasPrefix(base, ".") || editors(base):
		return nil
	case e.IsDir():
		below, err := dir.OpenRoot(base)
		if err != nil {
			return nil // gone again, or not to be read
		}
		defer below.Close()
		return w.folder(ctx, below, name, depth+1)
	case e.Type().IsRegular() && imported(base):
		return w.file(dir, base, name)
	}
	return nil
}

func (w *outside) file(dir *os.Root, base, name string) error {
	info, err := dir.Lstat(base)
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	if limit := orElse(w.s.MaxFile, DefaultMaxFile); info.Size() > limit {
		return nil // nothing that could be imported
	}
	if w.bytes += info.Size(); w.bytes > orElse(w.s.MaxBytes, DefaultMaxBytes) {
		return fmt.Errorf("%w: more than %d bytes of CUE", sources.ErrTooLarge, orElse(w.s.MaxBytes, DefaultMaxBytes))
	}
	it := item{name: name, mode: 0o444, time: info.ModTime(), size: info.Size()}
	now := stampOf(info)
	old, ok := w.s.outer[name]
	if ok && old.stamp == now && !w.keep && old.read.Sub(time.Unix(0, max(now.mtime, now.ctime))) > racy {
		it.hash = old.hash
		w.items, w.next[name] = append(w.items, it), old
		return nil
	}
	started := time.Now()
	data, err := content(dir, base, now)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	it.hash = sha256.Sum256(data)
	w.next[name] = cached{stamp: now, read: started, hash: it.hash}
	if w.keep {
		it.data = data
	}
	w.items = append(w.items, it)
	return nil
}

// whole is the folder in what lies around it.
func (c *copied) whole() *memFS {
	all := slices.Clone(c.outer.items)
	for _, it := range c.items {
		it.name = path.Join(c.below, it.name)
		all = append(all, it)
	}
	return (&copied{items: all}).fs()
}
