package compile

import (
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aplomb-dev/aplomb/schema/worker"
)

// cached compiles with a cache on the disk, counting the files that had to be
// checked.
func cached(t *testing.T, dir string, fsys fstest.MapFS) (Result, int) {
	t.Helper()
	n := 0
	c := New(Options{CacheDir: dir, Workers: worker.New(worker.Options{Services: worker.Services{Service: func() worker.Handler { return counting{NewHandler(), &n} }}})})
	res, err := c.Compile(t.Context(), Declarations{FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	return res, n
}

type counting struct {
	worker.Handler
	n *int
}

func (c counting) Handle(item []byte) any {
	*c.n++
	return c.Handler.Handle(item)
}

func TestCacheOverRestarts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	fsys := files("a.yaml", port("a"), "b.yaml", shop, "conf.yaml", "x", "c.yaml", port("c"))
	first, n := cached(t, dir, fsys)
	if n != 4 || len(first.Resources) != 6 {
		t.Fatalf("%d files checked, %d resources, %v", n, len(first.Resources), first.Findings)
	}
	again, n := cached(t, dir, fsys)
	if n != 0 || !reflect.DeepEqual(again, first) {
		t.Errorf("%d files checked after a restart\n%+v\n%+v", n, again, first)
	}
	fsys["c.yaml"] = &fstest.MapFile{Data: []byte(port("changed"))}
	if _, n := cached(t, dir, fsys); n != 1 {
		t.Errorf("%d files checked after one was altered", n)
	}
	fsys["conf.yaml"] = &fstest.MapFile{Data: []byte("y")}
	res, n := cached(t, dir, fsys)
	if n != 1 || string(res.Resources[3].Files[0].Data) != "y" {
		t.Errorf("%d files checked after a named file was altered; %+v", n, res.Resources[3].Files)
	}
	fsys["moved.yaml"] = fsys["a.yaml"]
	delete(fsys, "a.yaml")
	if res, n := cached(t, dir, fsys); n != 1 || res.Resources[len(res.Resources)-1].Pos.File != "moved.yaml" {
		t.Errorf("%d files checked after one was moved: %+v", n, res.Resources)
	}
	info, err := os.Stat(filepath.Join(dir, cacheFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the cache: %v, %v", info.Mode(), err)
	}
}

// Findings are kept too: they follow from the content.
func TestCacheKeepsFindings(t *testing.T) {
	dir := t.TempDir()
	fsys := files("a.yaml", port("A"))
	first, _ := cached(t, dir, fsys)
	again, n := cached(t, dir, fsys)
	if n != 0 || len(first.Findings) != 1 || !reflect.DeepEqual(first, again) {
		t.Errorf("%d files checked; %v then %v", n, first.Findings, again.Findings)
	}
}

// Whatever happens to the file, the answer stays the same and the file heals.
func TestCacheDamaged(t *testing.T) {
	fsys := files("a.yaml", port("a"), "b.yaml", shop, "conf.yaml", "x", "c.yaml", port("c"))
	dir := t.TempDir()
	want, _ := cached(t, dir, fsys)
	path := filepath.Join(dir, cacheFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(good); at += 151 {
		flipped := append([]byte(nil), good...)
		flipped[at] ^= 0x41
		for name, data := range map[string][]byte{"flipped": flipped, "cut": good[:at]} {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			res, _ := cached(t, dir, fsys)
			if !reflect.DeepEqual(res, want) {
				t.Fatalf("%s at %d: %+v", name, at, res)
			}
		}
	}
	if _, n := cached(t, dir, fsys); n != 0 {
		t.Errorf("%d files checked after the cache was written again", n)
	}
}

// What nobody asks for is forgotten, in memory and on the disk.
func TestCacheIsPruned(t *testing.T) {
	dir := t.TempDir()
	c := New(Options{CacheDir: dir})
	long := strings.Repeat("x", 16_000)
	for i := range 250 {
		fsys := files("a.yaml", port("a")+"spec: {number: "+strconv.Itoa(i+1)+", host: "+long+"}\n")
		if _, err := c.Compile(t.Context(), Declarations{FS: fsys}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.cache.entries); n > keepRounds+1 {
		t.Errorf("%d entries are kept in memory", n)
	}
	info, err := os.Stat(filepath.Join(dir, cacheFile))
	if err != nil || info.Size() > slack+(64<<10) {
		t.Errorf("the cache is %d bytes, %v", info.Size(), err)
	}
}

// A cache that cannot be written costs nothing but time.
func TestCacheCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if res, n := cached(t, dir, files("a.yaml", port("a"))); n != 1 || len(res.Resources) != 1 {
		t.Errorf("%d files, %+v", n, res)
	}
}

// That a worker was ended says nothing about the file for ever.
func TestCacheForgetsEndedWorkers(t *testing.T) {
	dir := t.TempDir()
	fsys := files("a.yaml", port("a"))
	impatient := worker.New(worker.Options{Command: testWorker, Limits: worker.Limits{Deadline: time.Nanosecond}})
	defer func() { _ = impatient.Close() }()
	bad := New(Options{CacheDir: dir, Workers: impatient})
	if res, err := bad.Compile(t.Context(), Declarations{FS: fsys}); err != nil || len(res.Findings) != 1 {
		t.Fatal(res, err)
	}
	if res, n := cached(t, dir, fsys); n != 1 || len(res.Findings) > 0 {
		t.Errorf("%d files checked, %v", n, res.Findings)
	}
}
