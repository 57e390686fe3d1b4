package git

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"

	"github.com/aplomb-dev/aplomb/internal/gittest"
)

// mirrored is an empty mirror.
func mirrored(t testing.TB) *store {
	t.Helper()
	s := openMirror(filepath.Join(t.TempDir(), "mirror.git"), DefaultMaxFile)
	t.Cleanup(s.close)
	return s
}

// packOf is a pack of all that a small repository holds, with deltas.
func packOf(t testing.TB) []byte {
	t.Helper()
	r := gittest.New(t)
	text := strings.Repeat("a line of a file that is long enough\n", 20)
	r.Commit("one", "a", text, "d/b", "1")
	r.Commit("two", "a", text+"more\n")
	r.Git("tag", "-a", "-m", "x", "v1")
	cmd := exec.Command("git", "pack-objects", "--all", "--stdout", "-q")
	cmd.Dir, cmd.Stdin = r.Dir, strings.NewReader("")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// FuzzPack: what a server sends is taken in as objects that are what their names
// say, or not at all, and what did not go in leaves nothing behind.
func FuzzPack(f *testing.F) {
	whole := packOf(f)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x00"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, pack []byte) {
		s := mirrored(t)
		taken := s.addPack(&bounded{r: bytes.NewReader(pack), left: 1 << 20}) == nil
		if bytes.Equal(pack, whole) && !taken {
			t.Fatal("a good pack is refused")
		}
		if left, _ := filepath.Glob(filepath.Join(s.path, "incoming-*")); len(left) > 0 {
			t.Fatalf("left behind: %v", left)
		}
		err := filepath.WalkDir(filepath.Join(s.path, "objects"), func(name string, e fs.DirEntry, err error) error {
			id := filepath.Base(filepath.Dir(name)) + e.Name()
			if err != nil || e.IsDir() || len(id) != 40 {
				return err
			}
			return s.with(func() error {
				o, err := s.object(plumbing.NewHash(id))
				if err != nil {
					return err
				}
				b, err := content(o)
				if err == nil && plumbing.ComputeHash(o.Type(), b).String() != id {
					err = fmt.Errorf("%s is another object", id)
				}
				return err
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzTree: whatever a tree object holds, a snapshot shows names that stay in
// their folder, each once, or refuses all of it.
func FuzzTree(f *testing.F) {
	id := strings.Repeat("\x01", 20)
	f.Add([]byte("100644 a\x00" + id + "40000 b\x00" + id))
	f.Add([]byte("100644 ../a\x00" + id))
	f.Add([]byte("100644 a\x00" + id + "120000 a\x00" + id))
	f.Add([]byte("40000 .GIT\x00" + id))
	f.Add([]byte("160000 sub\x00" + id[:10]))
	s := mirrored(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := s.put(encoded(plumbing.TreeObject, raw))
		if err != nil {
			t.Fatal(err)
		}
		list, err := newTree(s, h, time.Time{}, 1<<20, 1000).ReadDir(".")
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, e := range list {
			name := e.Name()
			if name == "" || name == "." || name == ".." || strings.EqualFold(name, ".git") || strings.ContainsAny(name, "/\x00") || seen[name] {
				t.Fatalf("%q stands in a folder of %q", name, raw)
			}
			seen[name] = true
		}
	})
}

// woods are trees of a few files, from bytes: for each of these paths what it
// holds, if anything. A file where a folder stands is left out.
func woods(t testing.TB, s *store, from []byte) (plumbing.Hash, map[string]string) {
	t.Helper()
	files := map[string]string{}
	for i, name := range []string{"a", "b", "d", "d/x", "d/y", "d/e/z"} {
		if i >= len(from) || from[i]%4 == 0 {
			continue
		}
		if _, file := files["d"]; file && strings.HasPrefix(name, "d/") {
			continue
		}
		files[name] = string('0' + rune(from[i]%4))
	}
	d := &draft{store: s}
	raw := map[string][]byte{}
	for name, text := range files {
		raw[name] = []byte(text)
	}
	if len(raw) == 0 {
		return plumbing.ZeroHash, files
	}
	h, err := d.folder(raw)
	if err != nil {
		t.Fatal(err)
	}
	return h, files
}

// flat merges path by path: what the merge of trees must never contradict.
func flat(base, ours, theirs map[string]string) (files map[string]string, clean bool) {
	files, clean = map[string]string{}, true
	names := maps.Clone(base)
	maps.Copy(names, ours)
	maps.Copy(names, theirs)
	for name := range names {
		b, o, t := base[name], ours[name], theirs[name]
		switch {
		case o == t, b == t:
			files[name] = o
		case b == o:
			files[name] = t
		default:
			clean = false
		}
		if files[name] == "" {
			delete(files, name)
		}
	}
	return files, clean
}

// FuzzMerge: a merge of trees says what a merge of each path says, or that there
// is a conflict; it is the same from both sides; and one side alone wins.
func FuzzMerge(f *testing.F) {
	f.Add([]byte("111111"), []byte("121111"), []byte("112111"))
	f.Add([]byte("110111"), []byte("120222"), []byte("111000"))
	f.Add([]byte("000111"), []byte("000000"), []byte("000121"))
	s := mirrored(f)
	f.Fuzz(func(t *testing.T, base, ours, theirs []byte) {
		b, bf := woods(t, s, base)
		o, of := woods(t, s, ours)
		h, tf := woods(t, s, theirs)
		join := func(b, o, h plumbing.Hash) (map[string]string, []string) {
			j := &joining{tree: newTree(s, plumbing.ZeroHash, time.Time{}, 1<<20, 1000)}
			root, err := j.folders("", b, o, h)
			if err != nil {
				t.Fatal(err)
			}
			j.tree.root = root
			if root.IsZero() || len(j.conflicts) > 0 {
				return map[string]string{}, j.conflicts
			}
			return contents(t, j.tree), nil
		}
		got, conflicts := join(b, o, h)
		mirror, other := join(b, h, o)
		if !maps.Equal(got, mirror) || !slices.Equal(conflicts, other) {
			t.Fatalf("from one side %v %v, from the other %v %v", got, conflicts, mirror, other)
		}
		want, clean := flat(bf, of, tf)
		if len(conflicts) == 0 && (!clean || !maps.Equal(got, want)) {
			t.Fatalf("%v, %v and %v became %v, not %v", bf, of, tf, got, want)
		}
		if alone, conflicts := join(b, b, h); len(conflicts) > 0 || !maps.Equal(alone, tf) {
			t.Fatalf("where only one changed: %v, conflicts %v, not %v", alone, conflicts, tf)
		}
	})
}

// FuzzTag: whatever a tag object holds, it is told only where its signature is
// one of the list over what is told.
func FuzzTag(f *testing.F) {
	key, public := sshKey(f, "ana", "-t", "ed25519")
	r := gittest.New(f)
	signs(r, key)
	r.Commit("one", "a", "1")
	r.Git("tag", "-s", "-m", "aplomb approve 0123456789ab", "aplomb/approve/x")
	good := []byte(r.Git("cat-file", "tag", "aplomb/approve/x") + "\n")
	commit := r.Head()
	f.Add(good)
	f.Add(bytes.Replace(good, []byte("0123456789ab"), []byte("ffffffffffff"), 1))
	f.Add(append(bytes.Clone(good), good[bytes.Index(good, []byte("-----BEGIN")):]...))
	f.Add(append(bytes.Clone(good), "\naplomb approve ffffffffffff\n"...))
	f.Add(bytes.Replace(good, []byte("tagger "), []byte("tag other\ntagger "), 1))
	s := open(f, Config{URL: r.Dir})
	list := []string{write(f, filepath.Join(f.TempDir(), "allowed"), "ana "+public+"\n")}
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := s.store.put(encoded(plumbing.TagObject, raw))
		if err != nil {
			t.Fatal(err)
		}
		tag, err := s.Tag(h.String(), list)
		if err != nil {
			if bytes.Equal(raw, good) {
				t.Fatal(err)
			}
			return
		}
		// The signature is over the very bytes before it: nothing else passes.
		if payload, _ := unsignTag(raw); !bytes.HasPrefix(good, payload) {
			t.Fatalf("%q passes", raw)
		}
		if tag.Name != "aplomb/approve/x" || tag.Commit != commit || strings.TrimSpace(tag.Message) != "aplomb approve 0123456789ab" {
			t.Fatalf("%+v", tag)
		}
	})
}

// FuzzFormat: a repository is opened only where everything that its
// configuration asks for is understood.
func FuzzFormat(f *testing.F) {
	f.Add("[core]\n\trepositoryformatversion = 0\n")
	f.Add("[extensions]\n\tobjectFormat = sha256\n")
	f.Add("[Extensions]\nRefStorage=reftable")
	f.Add("[extensions \"x\"]\n\tobjectFormat = sha256\n")
	file := filepath.Join(f.TempDir(), "config")
	f.Fuzz(func(t *testing.T, text string) {
		if os.WriteFile(file, []byte(text), 0o600) != nil || checkFormat(file) != nil {
			return
		}
		out, err := exec.Command("git", "config", "--file", file, "--get", "extensions.objectformat").Output()
		if got := strings.TrimSpace(string(out)); err == nil && got != "" && !strings.EqualFold(got, "sha1") {
			t.Fatalf("objects named by %q are taken for sha1: %q", got, text)
		}
	})
}

// FuzzAdvertised: what a server says of its refs is read within what was asked
// for, and names that Git would not take are none.
func FuzzAdvertised(f *testing.F) {
	h := strings.Repeat("1", 40)
	line := func(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }
	f.Add([]byte(line(h+" HEAD\x00symref=HEAD:refs/heads/main agent=x\n") + line(h+" refs/heads/main\n") + "0000"))
	f.Add([]byte(line(h+" refs/heads/p/../x\x00\n") + line(h+" refs/heads/p/a.lock\n") + "0000"))
	f.Add([]byte("0000"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		adv := packp.NewAdvRefs()
		if adv.Decode(bytes.NewReader(raw)) != nil {
			return
		}
		if head := headOf(adv); head != "" && !slices.Contains(adv.Capabilities.Get(capability.SymRef), "HEAD:refs/heads/"+head) {
			t.Fatalf("HEAD is %q", head)
		}
		for name := range adv.References {
			if !named(name, []string{"refs/heads/p/"}) {
				continue
			}
			if !strings.HasPrefix(name, "refs/heads/p/") || !fs.ValidPath(name) && strings.Contains(name, "..") || strings.HasSuffix(name, ".lock") {
				t.Fatalf("%q is taken", name)
			}
		}
	})
}

// FuzzPages: whatever somebody else put into the folder of pages, reading it
// gives paths that can be written back, and writing them back is no change.
func FuzzPages(f *testing.F) {
	f.Add("a.md", "b", "x")
	f.Add("..", ".git", "x")
	f.Add("a\nb", "a", "")
	s := mirrored(f)
	f.Fuzz(func(t *testing.T, one, two, text string) {
		d := &draft{store: s}
		blob, err := d.blob([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		put := func(entries ...object.TreeEntry) plumbing.Hash {
			h, err := d.tree(entries)
			if err != nil {
				t.Skip() // no tree at all
			}
			return h
		}
		inner := put(object.TreeEntry{Name: two, Mode: filemode.Regular, Hash: blob})
		files, err := s.files(put(object.TreeEntry{Name: one, Mode: filemode.Dir, Hash: inner}))
		if err != nil {
			return
		}
		keep := func(map[string][]byte) error { return nil }
		folder, err := d.folder(files)
		if err != nil {
			t.Fatal(err)
		}
		old := []object.TreeEntry{{Name: PagesFolder, Mode: filemode.Dir, Hash: folder}}
		if len(files) == 0 {
			old = nil
		}
		next, err := d.revised(old, "prod", keep)
		if err != nil || !slices.Equal(next, old) {
			t.Fatalf("%q: %v, %v, not %v", files, next, err, old)
		}
	})
}

// FuzzInForce: what was in force is what the file says, or an error; only a file
// that speaks of another branch means that nothing was.
func FuzzInForce(f *testing.F) {
	h := strings.Repeat("1a", 20)
	f.Add("refs/heads/main " + h + "\n")
	f.Add("refs/heads/other " + h)
	f.Add("refs/heads/main ")
	f.Add("")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Open(Config{URL: dir, Branch: "main", Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(s.forceFile(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := s.inForce()
		name, id, _ := strings.Cut(strings.TrimRight(text, "\r\n"), " ")
		switch {
		case err != nil && name == "refs/heads/main" && len(id) == 40 && strings.Trim(id, "0123456789abcdef") == "":
			t.Fatalf("%q: %v", text, err)
		case err == nil && got.IsZero() && name == "refs/heads/main" && strings.Trim(id, "0") != "":
			t.Fatalf("%q is forgotten", text)
		case err == nil && !got.IsZero() && !strings.EqualFold("refs/heads/main "+got.String(), name+" "+id):
			t.Fatalf("%q is %s", text, got)
		}
	})
}
