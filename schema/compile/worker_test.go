package compile

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aplomb-dev/aplomb/schema/worker"
)

func port(name string) string {
	return "apiVersion: aplomb.dev/v1\nkind: local.port\nmetadata: {name: " + name + "}\n"
}

func compileWith(t *testing.T, o Options, fsys fstest.MapFS) Result {
	t.Helper()
	c := New(o)
	res, err := c.Compile(t.Context(), Declarations{FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// A worker process answers what this process answers.
func TestWorkerAnswersTheSame(t *testing.T) {
	fsys := files("shop/web.yaml", shop, "shop/conf.yaml", "port: {{.PORT}}\n")
	for i := range 200 {
		name := fmt.Sprintf("p%d", i)
		fsys[name+".yaml"] = &fstest.MapFile{Data: []byte(port(name))}
	}
	want := compileHere(t, fsys)
	got := compileWith(t, Options{Workers: testPool(t)}, fsys)
	if len(want.Findings) > 0 || len(want.Resources) != 204 {
		t.Fatalf("%d resources, %v", len(want.Resources), want.Findings)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("a worker says %+v\nthis process says %+v", got, want)
	}
	fsys["bad.yaml"] = &fstest.MapFile{Data: []byte(port("Bad") + "---\na: [")}
	want, got = compileHere(t, fsys), compileWith(t, Options{Workers: testPool(t)}, fsys)
	if len(want.Findings) != 2 || !reflect.DeepEqual(got, want) {
		t.Errorf("a worker finds %v\nthis process finds %v", got.Findings, want.Findings)
	}
}

// A file over which a worker ends is a finding, and the rest is checked.
func TestWorkerIsEnded(t *testing.T) {
	p := worker.New(worker.Options{Command: testWorker, Limits: worker.Limits{Deadline: time.Millisecond}})
	defer func() { _ = p.Close() }()
	var text strings.Builder
	for i := range 5_000 { // a second of work
		text.WriteString(sample(4*i + 3))
	}
	res := compileWith(t, Options{Workers: p}, files("a.yaml", text.String()))
	wantFindings(t, res, "a.yaml:1:1: checking it takes longer than 1ms")
}

// Compiles run side by side and share what they know.
func TestCompileConcurrently(t *testing.T) {
	c := New(Options{Workers: testPool(t), CacheDir: t.TempDir()})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			fsys := files("shop/web.yaml", shop, "shop/conf.yaml", "x", "own.yaml", port(fmt.Sprintf("own%d", i%3)))
			res, err := c.Compile(t.Context(), Declarations{FS: fsys})
			if err != nil || len(res.Resources) != 5 || res.Resources[0].ID.Name != fmt.Sprintf("own%d", i%3) {
				t.Errorf("%d: %v, %v", i, res, err)
			}
		})
	}
	wg.Wait()
}
