package dir

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// again is how often Watch looks whether all folders are watched: events can
// be lost, and a folder can be made between two of its parent's.
const again = 10 * time.Second

// Watch calls changed once the folder was quiet for Debounce after a change,
// and at least every ten times Debounce while it is not. It also tells when
// the folder goes away and when it comes back.
func (s *Source) Watch(ctx context.Context, changed func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch folder %s: %w", s.Path, err)
	}
	defer w.Close()
	root, err := filepath.Abs(s.Path)
	if err != nil {
		return fmt.Errorf("watch folder %s: %w", s.Path, err)
	}
	l := &loop{s: s, w: w, root: root, wait: orElse(s.Debounce, DefaultDebounce), changed: changed}
	l.add(root)
	return l.run(ctx)
}

type loop struct {
	s       *Source
	w       *fsnotify.Watcher
	root    string
	wait    time.Duration
	changed func()
	first   time.Time // of the events not told yet
}

func (l *loop) run(ctx context.Context) error {
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	defer quiet.Stop()
	tick := time.NewTicker(again)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-l.w.Events:
			if l.concerns(e) {
				l.soon(quiet)
			}
		case err := <-l.w.Errors: // events were lost
			l.s.log().WithError(err).Debug("watching a folder failed")
			l.add(l.root)
			l.soon(quiet)
		case <-tick.C:
			if l.add(l.root) {
				l.soon(quiet)
			}
		case <-quiet.C:
			l.first = time.Time{}
			l.add(l.root) // what was made before its parent was watched
			l.changed()
		}
	}
}

// soon tells after a while of quiet, but does not wait for ever for it.
func (l *loop) soon(quiet *time.Timer) {
	now := time.Now()
	if l.first.IsZero() {
		l.first = now
	}
	quiet.Reset(max(0, min(l.wait, l.first.Add(10*l.wait).Sub(now))))
}

// concerns says whether an event is about content, and watches new folders.
func (l *loop) concerns(e fsnotify.Event) bool {
	if e.Name != l.root && strings.HasPrefix(l.root, strings.TrimSuffix(e.Name, "/")+"/") {
		l.add(l.root) // a folder above came or went
		return true
	}
	rel, err := filepath.Rel(l.root, e.Name)
	if err != nil || !filepath.IsLocal(rel) {
		return false // beside the folder
	}
	if rel != "." {
		for dir := filepath.ToSlash(rel); dir != "."; dir = filepath.ToSlash(filepath.Dir(dir)) {
			if l.s.skip(dir) {
				return false
			}
		}
	}
	if e.Has(fsnotify.Create) {
		l.add(e.Name)
	}
	return e.Op != 0
}

// add watches a folder and those below it, and says whether one was new. Where
// the root is missing the nearest folder above it is watched instead.
func (l *loop) add(from string) bool {
	known := map[string]bool{}
	for _, name := range l.w.WatchList() {
		known[name] = true
	}
	news := false
	// The slash at the end makes a root that is a symbolic link a folder.
	err := filepath.WalkDir(from+string(filepath.Separator), func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // gone again, or not a folder
		}
		name = filepath.Clean(name)
		if rel, err := filepath.Rel(l.root, name); err == nil && rel != "." && l.s.skip(filepath.ToSlash(rel)) {
			return fs.SkipDir
		}
		// Also where the name is known: another folder may have it now.
		if err := l.w.Add(name); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				l.s.log().WithError(err).Warn("a folder is not watched")
			}
			return nil
		}
		news = news || !known[name]
		return nil
	})
	if err != nil {
		l.s.log().WithError(err).Debug("walking a folder failed")
	}
	l.above()
	return news
}

// above watches the nearest existing folder above the root, in which the root
// may go away and come back.
func (l *loop) above() {
	for dir := filepath.Dir(l.root); l.w.Add(dir) != nil && dir != filepath.Dir(dir); {
		dir = filepath.Dir(dir)
	}
}
