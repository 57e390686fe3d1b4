// Package pathwatch tells when any of many files may have changed, also such
// as do not exist yet or lie in folders that come and go. It watches folders
// through the system's own notifications, so that idling costs nothing, and
// knows nothing of what the files are. What it tells is a hint: it may be one
// too many, and where the system gives no notifications it is none.
package pathwatch

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/sirupsen/logrus"
)

// Settle is how long Run collects changes before it tells them.
const Settle = 10 * time.Millisecond

// Set is the files that are watched, each under the name that it is told by.
// The zero value is ready; all methods are safe for concurrent use.
type Set struct {
	Log logrus.FieldLogger // nil: silent; not changed after the first use

	mu      sync.Mutex
	paths   map[string]entry
	folders map[string]*folder // by path: those under watch
	watcher *fsnotify.Watcher  // nil: Run is not running
	limited bool               // the system's limit was told once
}

// folder is a folder under watch. Most of what happens in one concerns a
// single file in it, so those that wait for deeper folders stand apart.
type folder struct {
	paths  map[string]bool // all that wait there
	deeper map[string]bool // those of them that lie deeper
}

type entry struct {
	name   string
	folder string // nearest folder that exists; "" while nothing is watched
}

// Add watches a path, absolute and clean; a path that is watched already costs
// nothing.
func (s *Set) Add(path, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.paths[path]; ok && e.name == name {
		return
	}
	if s.paths == nil {
		s.paths, s.folders = map[string]entry{}, map[string]*folder{}
	}
	s.drop(path)
	s.paths[path] = entry{name: name}
	s.arm(path)
}

// Remove ends the watch of a path.
func (s *Set) Remove(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(path)
	delete(s.paths, path)
}

// Run tells the names of paths that may have changed, or none when it lost
// count, until ctx ends. Only one Run at a time.
func (s *Set) Run(ctx context.Context, changed func(names ...string)) (err error) {
	w, pending, err := s.start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop(w)) }()
	settle := time.NewTimer(Settle)
	defer settle.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.Events:
			if !ok {
				return errors.New("watch files: the watcher ended")
			}
			if len(pending) == 0 {
				settle.Reset(Settle)
			}
			s.touched(e, pending)
		case err, ok := <-w.Errors:
			if !ok {
				return errors.New("watch files: the watcher ended")
			}
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				changed()
				continue
			}
			return err
		case <-settle.C:
			if names := keys(pending); len(names) > 0 {
				changed(names...)
			}
			clear(pending)
		}
	}
}

func keys(m map[string]bool) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	return names
}

// start answers the names of what was added before: nobody was there to see it
// change since.
func (s *Set) start() (w *fsnotify.Watcher, unseen map[string]bool, err error) {
	if w, err = fsnotify.NewBufferedWatcher(256); err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watcher != nil {
		return nil, nil, errors.Join(errors.New("watch files: already running"), w.Close())
	}
	s.watcher = w
	unseen = map[string]bool{}
	for path, e := range s.paths {
		s.arm(path)
		unseen[e.name] = true
	}
	return w, unseen, nil
}

func (s *Set) stop(w *fsnotify.Watcher) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watcher = nil
	clear(s.folders)
	for path, e := range s.paths {
		e.folder = ""
		s.paths[path] = e
	}
	return w.Close()
}

// arm watches the nearest folder above path that exists. Between looking and
// watching a folder below may appear: it looks again until nothing moved.
func (s *Set) arm(path string) {
	for s.watcher != nil {
		folder := nearest(path)
		if !s.watch(folder) || nearest(path) == folder {
			s.place(path, folder)
			return
		}
		s.release(folder)
	}
}

func nearest(path string) string {
	for {
		above := filepath.Dir(path)
		if info, err := os.Stat(above); err == nil && info.IsDir() || above == path {
			return above
		}
		path = above
	}
}

func (s *Set) watch(folder string) bool {
	if s.folders[folder] != nil {
		return true
	}
	err := s.watcher.Add(folder)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if !s.limited && s.Log != nil {
		s.limited = true
		s.Log.WithError(err).WithField("resource", folder).Warn("a folder is not watched; changes in it are found by looking")
	}
	return false
}

func (s *Set) place(path, dir string) {
	e := s.paths[path]
	e.folder = dir
	s.paths[path] = e
	f := s.folders[dir]
	if f == nil {
		f = &folder{map[string]bool{}, map[string]bool{}}
		s.folders[dir] = f
	}
	f.paths[path] = true
	if filepath.Dir(path) != dir {
		f.deeper[path] = true
	}
}

// drop takes a path from the folder that it waits in.
func (s *Set) drop(path string) {
	e, ok := s.paths[path]
	if !ok || e.folder == "" {
		return
	}
	if f := s.folders[e.folder]; f != nil {
		delete(f.paths, path)
		delete(f.deeper, path)
	}
	s.release(e.folder)
	e.folder = ""
	s.paths[path] = e
}

// release ends the watch of a folder that nothing waits in.
func (s *Set) release(folder string) {
	if f := s.folders[folder]; f != nil && len(f.paths) > 0 || s.watcher == nil {
		return
	}
	delete(s.folders, folder)
	_ = s.watcher.Remove(folder) // gone with the folder, perhaps
}

// touched collects who is concerned by an event, and watches anew where
// folders came or went.
func (s *Set) touched(e fsnotify.Event, pending map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it, ok := s.paths[e.Name]; ok {
		pending[it.name] = true
	}
	const moved = fsnotify.Create | fsnotify.Remove | fsnotify.Rename
	if e.Op&moved == 0 {
		return
	}
	if f := s.folders[e.Name]; f != nil { // the folder itself
		for path := range f.paths {
			s.again(path, pending)
		}
	}
	if f := s.folders[filepath.Dir(e.Name)]; f != nil { // one in which deeper ones may now be
		for path := range f.deeper {
			if strings.HasPrefix(path, e.Name+"/") {
				s.again(path, pending)
			}
		}
	}
}

// again watches a path anew whose folders changed.
func (s *Set) again(path string, pending map[string]bool) {
	pending[s.paths[path].name] = true
	before := s.paths[path].folder
	if nearest(path) == before {
		if info, err := os.Stat(before); err == nil && info.IsDir() {
			_ = s.watcher.Add(before) // the folder may be a new one of the same name
		}
		return
	}
	s.drop(path)
	s.arm(path)
}
