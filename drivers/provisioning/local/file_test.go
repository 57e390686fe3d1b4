package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/atomicfile"
	"github.com/aplomb-dev/aplomb/schema"
)

func content(t testing.TB, path, text, mode string) drivers.Desired {
	return drivers.Desired{Spec: drivertest.JSON(t, map[string]any{"path": path, "content": text, "mode": mode, "vars": map[string]any{}})}
}

func readFile(t testing.TB, parts ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(parts...))
	drivertest.Must(t, err)
	return string(b)
}

func TestFileLives(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, FileKind, "motd", content(t, "etc/deep/motd", "hello", "0640"))
	r.Settle(schema.Create)
	if got := readFile(t, d.Root, "etc/deep/motd"); got != "hello" {
		t.Fatalf("content %q", got)
	}
	next := content(t, "etc/deep/motd", "", "0600")
	r.Item.Want = &next
	r.Settle(schema.Update)
	if got := readFile(t, d.Root, "etc/deep/motd"); got != "" {
		t.Fatalf("content %q", got)
	}
	r.Item.Want = nil
	r.Settle(schema.Delete)
	if left, err := filepath.Glob(filepath.Join(d.Root, "*")); err != nil || len(left) > 0 {
		t.Fatalf("left behind: %q %v", left, err)
	}
}

func TestFoldersOfOthersStay(t *testing.T) {
	d := newDriver(t)
	drivertest.Must(t, os.MkdirAll(filepath.Join(d.Root, "theirs"), 0o755))
	r := drivertest.NewResource(t, d, FileKind, "f", content(t, "theirs/ours/f", "x", "0644"))
	r.Settle(schema.Create)
	drivertest.Must(t, os.WriteFile(filepath.Join(d.Root, "theirs/ours/extra"), nil, 0o644))
	r.Item.Want = nil
	r.Settle(schema.Delete)
	if _, err := os.Stat(filepath.Join(d.Root, "theirs/ours/extra")); err != nil {
		t.Fatalf("somebody's file went with the folder: %v", err)
	}
	drivertest.Must(t, os.Remove(filepath.Join(d.Root, "theirs/ours/extra")))
	again := drivertest.NewResource(t, d, FileKind, "f", content(t, "theirs/ours/f", "x", "0644"))
	again.Settle(schema.Create)
	again.Item.Want = nil
	again.Settle(schema.Delete)
	if _, err := os.Stat(filepath.Join(d.Root, "theirs/ours")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("our folder stayed: %v", err)
	}
	if _, err := os.Stat(filepath.Join(d.Root, "theirs")); err != nil {
		t.Fatalf("somebody's folder went: %v", err)
	}
}

// Not parallel: the umask is the process's.
func TestModeIsExactWhateverTheUmask(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	d := newDriver(t)
	for _, mode := range []string{"0666", "0777", "0400", "0000"} {
		r := drivertest.NewResource(t, d, FileKind, "m", content(t, "m"+mode, "x", mode))
		r.Settle(schema.Create)
		info, err := os.Stat(filepath.Join(d.Root, "m"+mode))
		drivertest.Must(t, err)
		if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != mode {
			t.Errorf("mode %s, want %s", got, mode)
		}
	}
}

func TestAppearedAfterPlan(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, FileKind, "f", content(t, "f", "ours", "0644"))
	c := r.Plan()
	drivertest.Must(t, os.MkdirAll(d.Root, 0o755))
	drivertest.Must(t, os.WriteFile(filepath.Join(d.Root, "f"), []byte("theirs"), 0o644))
	if _, err := r.Apply(c); !errors.Is(err, drivers.ErrStale) {
		t.Fatalf("apply over a file that appeared: %v", err)
	}
	if got := readFile(t, d.Root, "f"); got != "theirs" {
		t.Fatalf("it was overwritten: %q", got)
	}
	r.Item.Nonce = drivertest.Nonce
	if c := r.Plan(); c.Action != schema.Adopt {
		t.Fatalf("planned %s of a file that is not ours", c.Action)
	}
}

// Even between the last look and the write, what appeared is not replaced.
func TestCreateNeverReplaces(t *testing.T) {
	d := newDriver(t)
	drivertest.Must(t, os.MkdirAll(d.Root, 0o755))
	drivertest.Must(t, os.WriteFile(filepath.Join(d.Root, "f"), []byte("theirs"), 0o644))
	root, err := os.OpenRoot(d.Root)
	drivertest.Must(t, err)
	defer func() { drivertest.Must(t, root.Close()) }()
	d.setup()
	err = d.write(root, place{d.Root, "f"}, job{data: []byte("ours"), mode: "0644"}, false)
	if !errors.Is(err, drivers.ErrStale) || readFile(t, d.Root, "f") != "theirs" {
		t.Fatalf("%v, and the file holds %q", err, readFile(t, d.Root, "f"))
	}
	if left, _ := filepath.Glob(filepath.Join(d.Root, atomicfile.TempPrefix+"*")); len(left) > 0 {
		t.Fatalf("left behind: %q", left)
	}
}

func TestForeignContentIsNotShown(t *testing.T) {
	d := newDriver(t)
	drivertest.Must(t, os.MkdirAll(d.Root, 0o755))
	drivertest.Must(t, os.WriteFile(filepath.Join(d.Root, "id_rsa"), []byte("a private key"), 0o600))
	r := drivertest.NewResource(t, d, FileKind, "spy", content(t, "id_rsa", "x", "0644"))
	s, c := r.Observe(), r.Plan()
	for _, text := range []string{string(s.Spec), text(t, c.Diff), string(c.Before)} {
		if strings.Contains(text, "private") {
			t.Fatalf("declaring a path tells what others keep there: %s", text)
		}
	}
	if c.Action != schema.Adopt {
		t.Fatalf("planned %s", c.Action)
	}
}

func TestPaths(t *testing.T) {
	d := newDriver(t)
	allowed := t.TempDir()
	d.Allow, d.Deny = []string{allowed, filepath.Join(allowed, "more")}, []string{filepath.Join(d.Root, "private")}
	for path, want := range map[string]string{
		"a/../b//c":                   "file/b/c",
		d.Root + "/x":                 "file/x",
		allowed + "/x":                "file/" + allowed + "/x",
		"private/x":                   "",
		"private":                     "",
		d.Dir + "/ports/x.json":       "",
		"":                            "",
		".":                           "",
		"/":                           "",
		"..":                          "",
		"../x":                        "",
		"a/../../x":                   "",
		"/etc/passwd":                 "",
		allowed:                       "",
		allowed + "/../x":             "",
		allowed + "x":                 "",
		"a\x00b":                      "",
		"a\nb":                        "",
		"a/":                          "",
		"@{local.port/x.port}":        "",
		atomicfile.TempPrefix + "abc": "",
		strings.Repeat("a", 256):      "",
		strings.Repeat("a/", 600):     "",
	} {
		got, err := d.Address(FileKind, "f", drivertest.JSON(t, map[string]any{"path": path}))
		if got != want || (err == nil) != (want != "") {
			t.Errorf("path %q: handle %q, error %v; want %q", path, got, err, want)
		}
		if err != nil && drivers.Class(err) != drivers.ErrPermanent {
			t.Errorf("path %q: %v is of class %v", path, err, drivers.Class(err))
		}
	}
}

func TestLinksLeadNowhere(t *testing.T) {
	d := newDriver(t)
	outside := t.TempDir()
	drivertest.Must(t, os.WriteFile(filepath.Join(outside, "f"), []byte("outside"), 0o644))
	drivertest.Must(t, os.MkdirAll(d.Root, 0o755))
	drivertest.Must(t, os.Symlink(outside, filepath.Join(d.Root, "absolute")))
	drivertest.Must(t, os.Symlink("../"+filepath.Base(outside), filepath.Join(d.Root, "relative")))
	for _, path := range []string{"absolute/f", "absolute/new", "relative/f", "relative/new/deeper"} {
		r := drivertest.NewResource(t, d, FileKind, "f", content(t, path, "inside", "0644"))
		states, err := d.Observe(t.Context(), []drivers.Item{r.Item})
		drivertest.Must(t, err)
		c, planErr := d.Plan(t.Context(), r.Item, states[0])
		if planErr != nil {
			continue // seen while observing
		}
		if _, err := d.Apply(t.Context(), c); err == nil || drivers.Class(err) != drivers.ErrPermanent {
			t.Errorf("%s: applied through a link that leads out: %v", path, err)
		}
	}
	if got := readFile(t, outside, "f"); got != "outside" {
		t.Fatalf("written through a link: %q", got)
	}
	if all, _ := filepath.Glob(filepath.Join(outside, "*")); len(all) != 1 {
		t.Fatalf("made outside: %q", all)
	}
}

// A link at the very path is replaced, and what it names stays.
func TestLinkInPlaceOfFile(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, FileKind, "f", content(t, "f", "ours", "0644"))
	r.Settle(schema.Create)
	target := filepath.Join(t.TempDir(), "target")
	drivertest.Must(t, os.WriteFile(target, []byte("theirs"), 0o600))
	drivertest.Must(t, os.Remove(filepath.Join(d.Root, "f")))
	drivertest.Must(t, os.Symlink(target, filepath.Join(d.Root, "f")))
	if c := r.Plan(); len(c.Diff) == 0 || c.Diff[0].Path != typePath {
		t.Fatalf("the diff does not say that it is a link: %+v", c.Diff)
	}
	r.Settle(schema.Update)
	if readFile(t, target) != "theirs" || readFile(t, d.Root, "f") != "ours" {
		t.Fatal("the link was followed")
	}
}

// What would block a careless reader is told as what it is.
func TestPipeInPlaceOfFile(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, FileKind, "f", content(t, "f", "ours", "0644"))
	r.Settle(schema.Create)
	drivertest.Must(t, os.Remove(filepath.Join(d.Root, "f")))
	drivertest.Must(t, syscall.Mkfifo(filepath.Join(d.Root, "f"), 0o644))
	r.Settle(schema.Update)
}

func TestFolderInPlaceOfFile(t *testing.T) {
	d := newDriver(t)
	drivertest.Must(t, os.MkdirAll(filepath.Join(d.Root, "f"), 0o755))
	r := drivertest.NewResource(t, d, FileKind, "f", content(t, "f", "ours", "0644"))
	if _, err := d.Plan(t.Context(), r.Item, r.Observe()); drivers.Class(err) != drivers.ErrPermanent || drivers.HintOf(err) == "" {
		t.Fatalf("planned over a folder: %v", err)
	}
	under := drivertest.NewResource(t, d, FileKind, "g", content(t, "g/below", "x", "0644"))
	drivertest.Must(t, os.WriteFile(filepath.Join(d.Root, "g"), nil, 0o644))
	if _, err := under.Apply(under.Plan()); drivers.Class(err) != drivers.ErrPermanent {
		t.Fatalf("applied below a file: %v", err)
	}
}

func TestLargeContent(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, FileKind, "f", content(t, "f", strings.Repeat("a", MaxShown+1), "0644"))
	r.Settle(schema.Create)
	next := content(t, "f", strings.Repeat("b", MaxShown+1), "0644")
	r.Item.Want = &next
	c := r.Plan()
	if len(c.Diff) != 1 || len(c.Diff[0].Before)+len(c.Diff[0].After) > 1000 || string(c.Diff[0].Before) == string(c.Diff[0].After) {
		t.Fatalf("the diff holds %d bytes", len(text(t, c.Diff)))
	}
	r.Settle(schema.Update)
	over := content(t, "f", strings.Repeat("c", MaxFile+1), "0644")
	r.Item.Want = &over
	if _, err := d.Plan(t.Context(), r.Item, r.Observe()); drivers.Class(err) != drivers.ErrPermanent {
		t.Fatalf("more than MaxFile: %v", err)
	}
}

// A change within one tick of the file system's clock, to the same size, is
// seen all the same.
func TestQuickChangeIsSeen(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, FileKind, "f", content(t, "f", "aaaa", "0644"))
	r.Settle(schema.Create)
	for i := range 50 {
		text := fmt.Sprintf("%04d", i)
		meddle(t, filepath.Join(d.Root, "f"), text, "0644")
		if got := contentOf(r.Observe().Spec); got != text {
			t.Fatalf("observed %q, the file holds %q", got, text)
		}
	}
}
