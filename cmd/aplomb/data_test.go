package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/aplomb-dev/aplomb/schema"
)

// TestMakeFolder: of many that make one folder at once, all get the same
// environment and the same key, which only this user can read.
func TestMakeFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".aplomb")
	const many = 8
	var group sync.WaitGroup
	ids, keys := make([]string, many), make([][]byte, many)
	for i := range many {
		group.Go(func() {
			f, err := makeFolder(path, "")
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = f.ID
			if keys[i], err = f.key(); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for i := range many {
		if ids[i] != ids[0] || !bytes.Equal(keys[i], keys[0]) {
			t.Fatalf("environments %s and %s", ids[0], ids[i])
		}
	}
	for name, want := range map[string]os.FileMode{"": 0o700, keyFile: 0o600, recordFile: 0o600} {
		if st, err := os.Stat(filepath.Join(path, name)); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v, %v", name, st.Mode().Perm(), want, err)
		}
	}
	f, err := openFolder(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Source = follow{Dir: "/srv/env"}
	if err := f.save(); err != nil {
		t.Fatal(err)
	}
	if again, err := openFolder(path); err != nil || !reflect.DeepEqual(again.record, f.record) {
		t.Errorf("%+v became %+v, %v", f.record, again.record, err)
	}
}

func TestBadRecords(t *testing.T) {
	const id = `"id":"00112233445566778899aabbccddeeff"`
	for _, text := range []string{``, `{}`, `{"format":2,` + id + `,"name":"local"}`, `{"format":1,"id":"xyz","name":"local"}`, `{"format":1,` + id + `,"name":"../x"}`, `{"format":1,` + id} {
		path := filepath.Join(t.TempDir(), recordFile)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openFolder(filepath.Dir(path)); err == nil || errors.Is(err, errNoData) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestChoose(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []string{"plain", "work/.git", "bare.git/objects", "bare.git/refs"} {
		if err := os.MkdirAll(filepath.Join(dir, p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"bare.git/HEAD", "file"} {
		if err := os.WriteFile(filepath.Join(dir, p), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for arg, want := range map[string]follow{
		"https://git.example.org/a.git": {Git: "https://git.example.org/a.git"},
		"git@git.example.org:a/b.git":   {Git: "git@git.example.org:a/b.git"},
		"file:///srv/a.git":             {Git: "file:///srv/a.git"},
		dir + "/plain":                  {Dir: dir + "/plain"},
		dir + "/work":                   {Git: dir + "/work"},
		dir + "/bare.git":               {Git: dir + "/bare.git"},
	} {
		if got, err := choose(arg); err != nil || got != want {
			t.Errorf("%s: %+v, want %+v, %v", arg, got, want, err)
		}
	}
	for _, arg := range []string{dir + "/missing", dir + "/file"} {
		if got, err := choose(arg); err == nil {
			t.Errorf("%s: %+v", arg, got)
		}
	}
}

// TestSame: a source is the same by whatever spelling it is named.
func TestSame(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(dir, dir+"-link"); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		a, b follow
		want bool
	}{
		{follow{Dir: dir}, follow{Dir: dir + "-link"}, true},
		{follow{Git: "https://git.example.org/a"}, follow{Git: "https://git.example.org/a/"}, true},
		{follow{Git: "https://git.example.org/a", Interval: "3s"}, follow{Git: "https://git.example.org/a"}, true},
		{follow{Git: "https://git.example.org/a"}, follow{Git: "https://git.example.org/b"}, false},
		{follow{Git: "/a", Branch: "main"}, follow{Git: "/a"}, false},
		{follow{Git: "/a", Path: "x"}, follow{Git: "/a", Path: "y"}, false},
		{follow{Git: dir}, follow{Dir: dir}, false},
	} {
		if got := tc.a.same(tc.b); got != tc.want {
			t.Errorf("%s and %s: %v", tc.a, tc.b, got)
		}
	}
}

func TestInside(t *testing.T) {
	for _, tc := range []struct{ path, data, want string }{
		{"/a", "/a/data", "data"}, {"/a", "/a/b/data", "b/data"}, {"/a", "/ab", ""}, {"/a", "/a", ""}, {"/a/b", "/a", ""},
	} {
		if got := inside(tc.path, tc.data); got != tc.want {
			t.Errorf("%s in %s: %q, want %q", tc.data, tc.path, got, tc.want)
		}
	}
	var said []string
	for _, data := range []string{"/src/.aplomb", "/src/.hidden/data", "/elsewhere", "/src/data"} {
		warnInside(follow{Dir: "/src"}, &folder{path: data}, func(s string) { said = append(said, s) })
	}
	if len(said) != 1 || !strings.Contains(said[0], "data folder data lies in /src") {
		t.Errorf("%q", said)
	}
}

// TestFindField: every field of every kind is found by the name that the
// screens give it.
func TestFindField(t *testing.T) {
	for _, k := range schema.Kinds() {
		found, rest, err := findKind(k.Name + ".spec.x")
		if err != nil || found.Name != k.Name || rest != "spec.x" {
			t.Errorf("%s: %v, %s, %v", k.Name, found, rest, err)
		}
		for _, f := range k.Fields {
			got, err := findField(&k, strings.Join(f.Path.Steps(), "."))
			if err != nil || got.Path != f.Path {
				t.Errorf("%s%s: %+v, %v", k.Name, f.Path, got, err)
			}
		}
	}
}

// TestFingerprint: tokens tell equal secrets, and differ from environment to
// environment and from purpose to purpose.
func TestFingerprint(t *testing.T) {
	one, two := bytes.Repeat([]byte{1}, keySize), bytes.Repeat([]byte{2}, keySize)
	a, b := fingerprinter(derive(one, "fingerprint")), fingerprinter(derive(two, "fingerprint"))
	other := fingerprinter(derive(one, "other"))
	if first, again := a([]byte("x")), a([]byte("x")); first != again || first == a([]byte("y")) {
		t.Error("a token does not tell whether secrets are equal")
	}
	if a([]byte("x")) == b([]byte("x")) || a([]byte("x")) == other([]byte("x")) {
		t.Error("a token is the same with another key")
	}
}
