package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newRoot(t testing.TB) (*os.Root, string) {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	must(t, err)
	t.Cleanup(func() { must(t, root.Close()) })
	return root, dir
}

func entries(t testing.TB, dir string) []string {
	t.Helper()
	all, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

func read(t testing.TB, parts ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	must(t, err)
	return string(b)
}

func TestCreateAndReplace(t *testing.T) {
	root, dir := newRoot(t)
	must(t, Create(root, "f", []byte("one"), 0o640))
	if err := Create(root, "f", []byte("two"), 0o640); !errors.Is(err, fs.ErrExist) || read(t, dir, "f") != "one" {
		t.Fatalf("created over a file: %v, %q", err, read(t, dir, "f"))
	}
	must(t, Replace(root, "f", []byte("three"), 0o604))
	info, err := os.Stat(filepath.Join(dir, "f"))
	must(t, err)
	if read(t, dir, "f") != "three" || info.Mode().Perm() != 0o604 {
		t.Fatalf("%q with mode %v", read(t, dir, "f"), info.Mode())
	}
	if names := entries(t, dir); !slices.Equal(names, []string{"f"}) {
		t.Fatalf("the folder holds %q", names)
	}
}

// A name that is taken is never taken away.
func TestTakenNames(t *testing.T) {
	root, dir := newRoot(t)
	for i := range 50 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte("theirs"), 0o600))
		if err := Create(root, fmt.Sprint(i), []byte("ours"), 0o600); !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
}

// A leftover of a crash is taken over, even where it is a link to somebody's file.
func TestLeftovers(t *testing.T) {
	root, dir := newRoot(t)
	must(t, os.WriteFile(filepath.Join(dir, "theirs"), []byte("theirs"), 0o600))
	must(t, os.Symlink("theirs", filepath.Join(dir, tempName("f"))))
	must(t, Create(root, "f", []byte("ours"), 0o600))
	if read(t, dir, "theirs") != "theirs" || read(t, dir, "f") != "ours" {
		t.Fatal("the leftover was followed")
	}
	must(t, os.WriteFile(filepath.Join(dir, tempName("f")), []byte("half"), 0o600))
	must(t, Clean(root, "f"))
	must(t, Clean(root, "f"))
	if names := entries(t, dir); !slices.Equal(names, []string{"f", "theirs"}) {
		t.Fatalf("the folder holds %q", names)
	}
}

func TestReplaceDoesNotFollowLinks(t *testing.T) {
	root, dir := newRoot(t)
	must(t, os.WriteFile(filepath.Join(dir, "theirs"), []byte("theirs"), 0o600))
	must(t, os.Symlink("theirs", filepath.Join(dir, "f")))
	must(t, Replace(root, "f", []byte("ours"), 0o600))
	if read(t, dir, "theirs") != "theirs" || read(t, dir, "f") != "ours" {
		t.Fatal("the link was followed")
	}
}

// What fails leaves nothing behind and what was there as it was.
func TestFailures(t *testing.T) {
	root, dir := newRoot(t)
	must(t, os.Mkdir(filepath.Join(dir, "folder"), 0o755))
	outside := t.TempDir()
	must(t, os.Symlink(outside, filepath.Join(dir, "out")))
	for _, name := range []string{"folder", "missing/f", "out/f", "../f"} {
		if err := Replace(root, name, []byte("x"), 0o600); err == nil {
			t.Errorf("%s was written", name)
		}
		if err := Create(root, name, []byte("x"), 0o600); err == nil {
			t.Errorf("%s was made", name)
		}
	}
	if names := entries(t, dir); !slices.Equal(names, []string{"folder", "out"}) || len(entries(t, outside)) > 0 {
		t.Fatalf("the folder holds %q, the one outside %q", names, entries(t, outside))
	}
}

func TestLongName(t *testing.T) {
	root, dir := newRoot(t)
	name := strings.Repeat("n", 255)
	must(t, Create(root, name, []byte("x"), 0o600))
	if read(t, dir, name) != "x" {
		t.Fatal("not written")
	}
}

func TestMkdirAll(t *testing.T) {
	root, dir := newRoot(t)
	must(t, os.Mkdir(filepath.Join(dir, "a"), 0o755))
	made, err := MkdirAll(root, "a/b/c", 0o755)
	must(t, err)
	if !slices.Equal(made, []string{"a/b", "a/b/c"}) {
		t.Fatalf("made %q", made)
	}
	if made, err := MkdirAll(root, "a/b", 0o755); err != nil || made != nil {
		t.Fatalf("made %q, %v", made, err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "f"), nil, 0o600))
	if _, err := MkdirAll(root, "f", 0o755); !errors.Is(err, syscall.ENOTDIR) {
		t.Fatalf("a file is no folder: %v", err)
	}
	made, err = MkdirAll(root, "n/m/../../f/x", 0o755)
	if err == nil {
		t.Fatalf("made %q below a file", made)
	}
}
