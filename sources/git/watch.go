package git

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long a local repository must be quiet before Watch tells.
const settle = 50 * time.Millisecond

// Watch calls changed every Interval, give or take a tenth. For a local
// repository it also does so when its refs are written. Refs are a hint: where
// they cannot be watched the interval alone remains.
func (s *Source) Watch(ctx context.Context, changed func()) error {
	var events <-chan fsnotify.Event
	var failures <-chan error
	var watcher *fsnotify.Watcher
	if s.wire == nil {
		var err error
		if watcher, err = fsnotify.NewWatcher(); err != nil {
			s.log.WithError(err).Warn("refs are not watched, only the interval is kept")
		} else {
			defer watcher.Close()
			events, failures = watcher.Events, watcher.Errors
			s.watchRefs(watcher)
		}
	}
	tick := time.NewTimer(jitter(s.cfg.Interval))
	defer tick.Stop()
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			tick.Reset(jitter(s.cfg.Interval))
			if watcher != nil {
				s.watchRefs(watcher)
			}
			changed()
		case e := <-events:
			if telling(e.Name) {
				quiet.Reset(settle)
			}
		case err := <-failures: // events were lost: look
			s.log.WithError(err).Debug("watching refs failed")
			quiet.Reset(settle)
		case <-quiet.C:
			s.watchRefs(watcher)
			changed()
		}
	}
}

// jitter spreads sources that started together.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// telling says whether a file that was written is a ref, and not one of the
// files with which Git prepares it.
func telling(name string) bool {
	base := filepath.Base(name)
	if strings.HasSuffix(base, ".lock") {
		return false
	}
	return base == "HEAD" || base == "packed-refs" || strings.Contains(filepath.ToSlash(name), "/refs")
}

// watchRefs watches the folders in which the followed ref may be written. It
// is called again and again: folders come and go.
func (s *Source) watchRefs(w *fsnotify.Watcher) {
	lay, err := discover(s.at.path)
	if err != nil {
		_ = w.Add(filepath.Dir(s.at.path)) // the repository may come back there
		return
	}
	dirs := []string{lay.git, lay.common, filepath.Join(lay.common, "refs")}
	ref := s.cfg.ref().String()
	if ref == "HEAD" {
		if branch, err := s.store.headBranch(); err == nil && branch != "" {
			ref = "refs/heads/" + branch
		}
	}
	for dir := path.Dir(ref); dir != "." && dir != "refs"; dir = path.Dir(dir) {
		dirs = append(dirs, filepath.Join(lay.common, filepath.FromSlash(dir)))
	}
	for _, dir := range dirs {
		if err := w.Add(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.log.WithError(err).Debug("a folder of refs is not watched")
		}
	}
}
