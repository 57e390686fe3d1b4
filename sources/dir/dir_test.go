package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aplomb-dev/aplomb/sources"
)

func write(t testing.TB, root, name, content string) {
	t.Helper()
	file := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func head(t testing.TB, s *Source) sources.Revision {
	t.Helper()
	rev, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func fetch(t testing.TB, s *Source) *sources.Snapshot {
	t.Helper()
	snap, err := s.Fetch(t.Context(), head(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func TestSnapshot(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a.yaml", "a: 1\n")
	write(t, root, "sub/b.yaml", "b: 1\n")
	write(t, root, ".git/config", "x")
	write(t, root, ".aplomb/store", "x")
	write(t, root, ".hidden.yaml", "x")
	write(t, root, ".aplombignore", "x")
	write(t, root, "sub/.aplombignore", "x")
	write(t, root, "a.yaml~", "x")
	write(t, root, ".a.yaml.swp", "x")
	write(t, root, "run.sh", "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(root, "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	s := &Source{Path: root}
	snap := fetch(t, s)
	if err := fstest.TestFS(snap.FS, "a.yaml", "sub/b.yaml", "run.sh", "link", ".aplombignore"); err != nil {
		t.Fatal(err)
	}
	var names []string
	err := fs.WalkDir(snap.FS, ".", func(name string, _ fs.DirEntry, err error) error {
		names = append(names, name)
		return err
	})
	if err != nil || len(names) != 7 {
		t.Fatalf("%v, %v", names, err)
	}
	info, err := fs.Stat(snap.FS, "link")
	if err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Fatalf("link is %v, %v", info, err)
	}
	if b, err := fs.ReadFile(snap.FS, "link"); err == nil {
		t.Fatalf("the link was read: %q", b)
	}
	if target, err := fs.ReadLink(snap.FS, "link"); err != nil || target != "/etc/passwd" {
		t.Fatalf("target %q, %v", target, err)
	}
	write(t, root, "a.yaml", "a: 2\n")
	if b, err := fs.ReadFile(snap.FS, "a.yaml"); err != nil || string(b) != "a: 1\n" {
		t.Fatalf("the snapshot changed: %q, %v", b, err)
	}
}

func TestRevisionFollowsContent(t *testing.T) {
	root := t.TempDir()
	s := &Source{Path: root}
	seen := map[string]string{}
	step := func(what string, do func() error) {
		t.Helper()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		id := head(t, s).ID
		if id != head(t, s).ID {
			t.Fatalf("%s: two answers", what)
		}
		if fresh := head(t, &Source{Path: root}).ID; fresh != id {
			t.Fatalf("%s: the cache says %s, a fresh look %s", what, id, fresh)
		}
		if before, ok := seen[id]; ok {
			t.Fatalf("%s gives the revision of %s", what, before)
		}
		seen[id] = what
	}
	file := filepath.Join(root, "a")
	step("empty", func() error { return nil })
	step("a file", func() error { return os.WriteFile(file, []byte("1"), 0o644) })
	step("same size", func() error { return os.WriteFile(file, []byte("2"), 0o644) })
	step("same size and time", func() error {
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte("3"), 0o644); err != nil {
			return err
		}
		return os.Chtimes(file, info.ModTime(), info.ModTime())
	})
	step("replaced", func() error {
		if err := os.WriteFile(file+".swp", []byte("4"), 0o644); err != nil {
			return err
		}
		return os.Rename(file+".swp", file)
	})
	step("executable", func() error { return os.Chmod(file, 0o755) })
	step("renamed", func() error { return os.Rename(file, filepath.Join(root, "b")) })
	step("a folder", func() error { return os.Mkdir(filepath.Join(root, "sub"), 0o755) })
	step("a link", func() error { return os.Symlink("b", filepath.Join(root, "l")) })
	step("another link", func() error {
		if err := os.Remove(filepath.Join(root, "l")); err != nil {
			return err
		}
		return os.Symlink("c", filepath.Join(root, "l"))
	})
}

func TestLimits(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a", "12345")
	write(t, root, "b", "12345")
	for _, s := range []*Source{{Path: root, MaxFile: 4}, {Path: root, MaxBytes: 9}, {Path: root, Entries: 1}} {
		if _, err := s.Head(t.Context()); !errors.Is(err, sources.ErrTooLarge) {
			t.Errorf("%d %d %d: %v", s.MaxFile, s.MaxBytes, s.Entries, err)
		}
	}
	deep := t.TempDir()
	write(t, deep, strings.Repeat("d/", maxDepth+1)+"x", "")
	if _, err := (&Source{Path: deep}).Head(t.Context()); !errors.Is(err, sources.ErrTooLarge) {
		t.Errorf("deep: %v", err)
	}
	s := &Source{Path: filepath.Join(root, "none")}
	if _, err := s.Head(t.Context()); !errors.Is(err, sources.ErrGone) {
		t.Errorf("missing folder: %v", err)
	}
	old := head(t, &Source{Path: root})
	write(t, root, "a", "x")
	if _, err := (&Source{Path: root}).Fetch(t.Context(), old); !errors.Is(err, sources.ErrGone) {
		t.Errorf("a revision that is gone: %v", err)
	}
}

func TestReporter(t *testing.T) {
	root := filepath.Join(t.TempDir(), "data")
	r := Reporter{Root: root}
	rep := sources.Report{Environment: "prod", Title: "x", Files: map[string][]byte{"README.md": []byte("# prod"), "status.json": []byte("{}")}}
	if err := r.Report(t.Context(), rep); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "prod", "status.json")
	past := time.Unix(1_000_000_000, 0)
	if err := os.Chtimes(file, past, past); err != nil {
		t.Fatal(err)
	}
	rep.Files["README.md"] = []byte("# other")
	if err := r.Report(t.Context(), rep); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || !info.ModTime().Equal(past) {
		t.Fatalf("equal content was written again: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(root, "prod", "README.md")); err != nil || string(b) != "# other" {
		t.Fatalf("%q, %v", b, err)
	}
	left, err := os.ReadDir(filepath.Join(root, "prod"))
	if err != nil || len(left) != 2 {
		t.Fatalf("left: %v, %v", left, err)
	}
	for _, bad := range []sources.Report{
		{Environment: "../x"}, {Environment: ""}, {Environment: "."}, {Environment: "a/b"},
		{Environment: "x", Files: map[string][]byte{"../../y": nil}},
	} {
		if err := r.Report(t.Context(), bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

// A folder that never rests: whatever is fetched is one state, and its own
// revision.
func TestRestless(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a", "0")
	write(t, root, "b", "0")
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			for _, name := range []string{"a", "b"} {
				file := filepath.Join(root, name)
				if err := os.WriteFile(file+".swp", []byte(strconv.Itoa(i)), 0o644); err != nil {
					return
				}
				_ = os.Rename(file+".swp", file)
			}
		}
	}()
	s := &Source{Path: root}
	good := 0
	for range 300 {
		rev, err := s.Head(t.Context())
		if err != nil {
			continue // it moved too often, which is said
		}
		snap, err := s.Fetch(t.Context(), rev)
		if err != nil {
			continue
		}
		good++
		copied := t.TempDir()
		for _, name := range []string{"a", "b"} {
			b, err := fs.ReadFile(snap.FS, name)
			if err != nil || len(b) == 0 {
				t.Fatalf("%q, %v", b, err)
			}
			write(t, copied, name, string(b))
		}
		if id := head(t, &Source{Path: copied}).ID; id != snap.Revision.ID || id != rev.ID {
			t.Fatalf("asked for %s, got %s, which holds %s", rev.ID, snap.Revision.ID, id)
		}
	}
	close(stop)
	<-done
	snap := fetch(t, s)
	t.Logf("%d of 300 while it moved", good)
	if b, err := fs.ReadFile(snap.FS, "a"); err != nil || len(b) == 0 {
		t.Fatalf("at rest: %q, %v", b, err)
	}
}

func TestConcurrent(t *testing.T) {
	root := t.TempDir()
	write(t, root, "a", "1")
	s := &Source{Path: root}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			rev, err := s.Head(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			snap, err := s.Fetch(t.Context(), rev)
			if err != nil {
				t.Error(err)
				return
			}
			if b, err := fs.ReadFile(snap.FS, "a"); err != nil || string(b) != "1" {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
	wg.Wait()
}

func TestRootIsALink(t *testing.T) {
	real := t.TempDir()
	write(t, real, "a", "1")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	s := &Source{Path: link, Debounce: time.Millisecond}
	if b, err := fs.ReadFile(fetch(t, s).FS, "a"); err != nil || string(b) != "1" {
		t.Fatalf("%q, %v", b, err)
	}
	w := watch(t, s)
	w.settle(real)
	write(t, real, "a", "2")
	w.next("written behind the link")
}

func BenchmarkHead(b *testing.B) {
	root := b.TempDir()
	for i := range 10_000 {
		write(b, root, fmt.Sprintf("d%d/f%d.yaml", i%100, i), fmt.Sprintf("kind: local.file\nmetadata: {name: f%d}\n", i))
	}
	s := &Source{Path: root}
	head(b, s)
	b.Run("unchanged", func(b *testing.B) {
		for b.Loop() {
			head(b, s)
		}
	})
	b.Run("copy", func(b *testing.B) {
		for b.Loop() {
			s.taken = nil
			fetch(b, s)
		}
	})
}
