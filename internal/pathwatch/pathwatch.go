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
	folders map[string]map[string]bool // folder under watch -> paths that wait there
	watcher *fsnotify.Watcher          // nil: Run is not running
	limited bool                       // the system's limit was told once
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
		s.paths, s.folders = map[string]entry{}, map[string]map[string]bool{}
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
	w, err := s.start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop(w)) }()
	settle := time.NewTimer(time.Hour)
	settle.Stop()
	defer settle.Stop()
	pending := map[string]bool{}
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

func (s *Set) start() (*fsnotify.Watcher, error) {
	w, err := fsnotify.NewBufferedWatcher(256)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watcher != nil {
		return nil, errors.Join(errors.New("watch files: already running"), w.Close())
	}
	s.watcher = w
	for path := range s.paths {
		s.arm(path)
	}
	return w, nil
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
	if len(s.folders[folder]) > 0 {
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

func (s *Set) place(path, folder string) {
	e := s.paths[path]
	e.folder = folder
	s.paths[path] = e
	if s.folders[folder] == nil {
		s.folders[folder] = map[string]bool{}
	}
	s.folders[folder][path] = true
}

// drop takes a path from the folder that it waits in.
func (s *Set) drop(path string) {
	e, ok := s.paths[path]
	if !ok || e.folder == "" {
		return
	}
	folder := e.folder
	delete(s.folders[folder], path)
	e.folder = ""
	s.paths[path] = e
	s.release(folder)
}

// release ends the watch of a folder that nothing waits in.
func (s *Set) release(folder string) {
	if len(s.folders[folder]) > 0 || s.watcher == nil {
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
	for _, folder := range []string{e.Name, filepath.Dir(e.Name)} {
		for path := range s.folders[folder] {
			if within(path, e.Name) {
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

func within(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != "." && filepath.IsLocal(rel)
}
