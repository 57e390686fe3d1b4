package pathwatch

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func run(t *testing.T, s *Set) <-chan string {
	t.Helper()
	heard, ended := make(chan string, 10_000), make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		ended <- s.Run(ctx, func(names ...string) {
			for _, n := range names {
				heard <- n
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return heard
}

// expect does something again and again until the name is heard: Run may not
// have begun when the test does it first.
func expect(t *testing.T, heard <-chan string, name string, do func()) {
	t.Helper()
	limit, again := time.NewTimer(10*time.Second), time.NewTicker(100*time.Millisecond)
	defer limit.Stop()
	defer again.Stop()
	for do(); ; {
		select {
		case n := <-heard:
			if n == name {
				return
			}
		case <-again.C:
			do()
		case <-limit.C:
			t.Fatalf("nothing was heard of %s", name)
		}
	}
}

func drain(heard <-chan string) {
	for {
		select {
		case <-heard:
		default:
			return
		}
	}
}

func TestFoldersComeAndGo(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "f")
	s := &Set{}
	s.Add(path, "f")
	heard := run(t, s)
	for range 3 {
		expect(t, heard, "f", func() {
			must(t, os.MkdirAll(filepath.Dir(path), 0o755))
			must(t, os.WriteFile(path, []byte(time.Now().String()), 0o644))
		})
		drain(heard)
		must(t, os.RemoveAll(filepath.Join(dir, "a")))
		expect(t, heard, "f", func() {})
		drain(heard)
	}
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	expect(t, heard, "f", func() { must(t, os.WriteFile(path, nil, 0o644)) })
	must(t, os.Rename(filepath.Join(dir, "a", "b"), filepath.Join(dir, "a", "c")))
	drain(heard)
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	expect(t, heard, "f", func() { must(t, os.WriteFile(path, nil, 0o644)) })
}

func TestOthersAreNotTold(t *testing.T) {
	dir := t.TempDir()
	s := &Set{}
	s.Add(filepath.Join(dir, "f"), "f")
	s.Add(filepath.Join(dir, "gone"), "gone")
	s.Add(filepath.Join(dir, "renamed"), "before")
	s.Add(filepath.Join(dir, "renamed"), "renamed")
	s.Remove(filepath.Join(dir, "gone"))
	heard := run(t, s)
	touch := func(name string) { must(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644)) }
	expect(t, heard, "renamed", func() { touch("renamed") })
	drain(heard)
	for _, name := range []string{"other", "gone"} {
		touch(name)
	}
	touch("f") // after the others: when it is heard of, they would have been
	for n := range heard {
		if n == "f" {
			break
		}
		if n != "renamed" {
			t.Fatalf("heard of %s", n)
		}
	}
}

// What is added while Run runs is watched too, and a second Run is refused.
func TestAddWhileRunning(t *testing.T) {
	dir := t.TempDir()
	s := &Set{}
	s.Add(filepath.Join(dir, "first"), "first")
	heard := run(t, s)
	expect(t, heard, "first", func() { must(t, os.WriteFile(filepath.Join(dir, "first"), nil, 0o644)) })
	if err := s.Run(t.Context(), func(...string) {}); err == nil {
		t.Fatal("two ran at once")
	}
	late := filepath.Join(dir, "late", "f")
	s.Add(late, "late")
	expect(t, heard, "late", func() {
		must(t, os.MkdirAll(filepath.Dir(late), 0o755))
		must(t, os.WriteFile(late, nil, 0o644))
	})
}

// Run may end and begin again, as after an error.
func TestRunAgain(t *testing.T) {
	dir := t.TempDir()
	s := &Set{}
	s.Add(filepath.Join(dir, "f"), "f")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, s.Run(ctx, func(...string) {}))
	heard := run(t, s)
	expect(t, heard, "f", func() { must(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o644)) })
}

// What was added before Run is told at its start: nobody saw it change since.
func TestAddedBefore(t *testing.T) {
	s := &Set{}
	s.Add(filepath.Join(t.TempDir(), "f"), "f")
	expect(t, run(t, s), "f", func() {})
}
