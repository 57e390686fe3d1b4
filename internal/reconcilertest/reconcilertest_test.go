package reconcilertest_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/internal/reconcilertest"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

const (
	env    = "env-1"
	within = 30 * time.Second
)

func config(e *memory.Engine, src *reconcilertest.Source) reconcilertest.Config {
	return reconcilertest.Config{ID: env, Source: src, Log: &drivertest.Log{}, Target: drivers.Target{
		Name: "mem", Engine: "memory", Kinds: memory.Kinds(), Identity: "mem-1", Driver: &memory.Driver{Engine: e, Env: env, Fingerprint: drivertest.Fingerprint},
	}}
}

// TestRun: a revision converges; the next one is put in force by a process that
// finds the first one's store; what is held waits for a person.
func TestRun(t *testing.T) {
	e, src := &memory.Engine{}, &reconcilertest.Source{}
	c := config(e, src)
	c.Path = filepath.Join(t.TempDir(), "store.db")
	a, b := reconcilertest.Resource(memory.KindThing, "a", `{"size":1}`), reconcilertest.Resource(memory.KindThing, "b", `{}`)
	b.Data = true
	src.Declare(a, b)
	r := reconcilertest.Start(t, c)
	r.Converges(t, within, "two things")
	r.Stop()
	if n := len(e.Objects()); n != 2 {
		t.Fatalf("%d live", n)
	}
	src.Declare(a)
	r = reconcilertest.Start(t, c)
	held := r.Held(t, within, schema.Delete, "memory.thing/b")
	if n := len(e.Objects()); n != 2 {
		t.Errorf("%d live before anybody agreed", n)
	}
	_, err := r.Approve(t.Context(), "ana", reconciler.Yes{Digest: held.Digest, Why: "it is not needed"})
	drivertest.Must(t, err)
	r.Converges(t, within, "one thing")
	if n := len(e.Objects()); n != 1 {
		t.Errorf("%d live", n)
	}
}

// TestFilesNeedACompiler: a revision of files is refused where nothing reads
// them; it does not stand for one that declares nothing.
func TestFilesNeedACompiler(t *testing.T) {
	src := &reconcilertest.Source{}
	src.Commit(fstest.MapFS{"a.yaml": {Data: []byte("kind: memory.thing")}})
	r := reconcilertest.Start(t, config(&memory.Engine{}, src))
	r.Until(t, within, "a failure of the source", func(s reconciler.Status) bool { return s.Source.Error != "" || s.Refused != nil })
}

// TestFetch: an older revision is what it was, and one that nobody said is gone.
func TestFetch(t *testing.T) {
	src := &reconcilertest.Source{}
	src.Commit(fstest.MapFS{"a": {Data: []byte("one")}})
	first := src.Tip()
	src.Commit(fstest.MapFS{"a": {Data: []byte("two")}})
	snap, err := src.Fetch(t.Context(), first)
	drivertest.Must(t, err)
	if data, err := fs.ReadFile(snap.FS, "a"); err != nil || string(data) != "one" || snap.Revision != first {
		t.Errorf("%s of %v, %v", data, snap.Revision, err)
	}
	if _, err := src.Fetch(t.Context(), sources.Revision{ID: "3"}); !errors.Is(err, sources.ErrGone) {
		t.Errorf("a revision that nobody said: %v", err)
	}
}
