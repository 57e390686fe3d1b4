package dir

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// watched runs Watch and tells when it told; next waits until the folder's
// revision is another one, told by Watch.
type watched struct {
	t    *testing.T
	s    *Source
	told chan struct{}
	last string
}

// drain forgets what was told so far, once nothing is told for a while.
func (w *watched) drain() {
	quiet := time.NewTimer(200 * time.Millisecond)
	defer quiet.Stop()
	for {
		select {
		case <-w.told:
		case <-quiet.C:
			return
		}
	}
}

func watch(t *testing.T, s *Source) *watched {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watched{t: t, s: s, told: make(chan struct{}, 1)}
	done := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		close(started)
		done <- s.Watch(ctx, func() {
			select {
			case w.told <- struct{}{}:
			default:
			}
		})
	}()
	<-started
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

// settle writes until Watch tells: it is watching from then on.
func (w *watched) settle(root string) {
	w.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	end := time.After(20 * time.Second)
	for i := 0; ; i++ {
		write(w.t, root, "probe", time.Now().String())
		select {
		case <-w.told:
			w.last = head(w.t, w.s).ID
			return
		case <-tick.C:
		case <-end:
			w.t.Fatal("Watch never told")
		}
	}
}

func (w *watched) next(what string) {
	w.t.Helper()
	end := time.After(8 * time.Second) // less than Watch's own second look
	for {
		select {
		case <-w.told:
			id := "none"
			if rev, err := w.s.Head(w.t.Context()); err == nil {
				id = rev.ID
			}
			if id != w.last {
				w.last = id
				return
			}
		case <-end:
			w.t.Fatalf("%s: not told", what)
		}
	}
}

func TestWatch(t *testing.T) {
	base := t.TempDir()
	root := filepath.Join(base, "fleet")
	write(t, root, "a.yaml", "1")
	s := &Source{Path: root, Debounce: 5 * time.Millisecond}
	w := watch(t, s)
	w.settle(root)
	do := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		w.next(what)
	}
	write(t, root, "a.yaml", "2")
	w.next("written")
	write(t, root, ".a.yaml.new", "3")
	do("an editor's rename", os.Rename(filepath.Join(root, ".a.yaml.new"), filepath.Join(root, "a.yaml")))
	write(t, root, "later/deep/b.yaml", "1")
	w.next("a folder added")
	write(t, root, "later/deep/b.yaml", "2")
	w.next("written in a folder added")
	do("a folder moved away", os.Rename(filepath.Join(root, "later"), filepath.Join(base, "away")))
	write(t, root, "later/deep/b.yaml", "7")
	w.next("a folder made again under the name")
	write(t, root, "later/deep/b.yaml", "8")
	w.next("written in it")
	do("removed", os.Remove(filepath.Join(root, "a.yaml")))
	do("the root removed", os.RemoveAll(root))
	write(t, root, "a.yaml", "4")
	w.next("the root back")
	write(t, root, "a.yaml", "5")
	w.next("written after the root came back")
}

func TestWatchIgnores(t *testing.T) {
	root := t.TempDir()
	write(t, root, ".git/HEAD", "1")
	s := &Source{Path: root, Debounce: 5 * time.Millisecond}
	w := watch(t, s)
	w.settle(root)
	w.drain()
	for _, name := range []string{".git/HEAD", ".git/index", ".a.swp", "4913", "a~", ".aplomb/store"} {
		write(t, root, name, "x")
	}
	quiet := time.NewTimer(100 * time.Millisecond)
	defer quiet.Stop()
	select {
	case <-w.told:
		t.Fatal("told about files that do not count")
	case <-quiet.C:
	}
	write(t, root, "real", "y")
	w.next("a file that counts")
}
