//go:build e2e

package nomad

import (
	"context"
	"encoding/json"
	"io/fs"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// declared is a source whose revisions a test says.
type declared struct {
	mu  sync.Mutex
	rev int
	all []schema.Resource
}

func (d *declared) say(all ...schema.Resource) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rev++
	d.all = all
}

// Head implements sources.Source.
func (d *declared) Head(context.Context) (sources.Revision, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := strconv.Itoa(d.rev)
	return sources.Revision{ID: id, Tree: id}, nil
}

// Fetch implements sources.Source.
func (d *declared) Fetch(_ context.Context, r sources.Revision) (*sources.Snapshot, error) {
	return &sources.Snapshot{Revision: r, FS: fstest.MapFS{}, Close: func() error { return nil }}, nil
}

func (d *declared) compile(context.Context, fs.FS) (reconciler.Compiled, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return reconciler.Compiled{Resources: d.all, Files: 1}, nil
}

func resource(kind, name, spec string) schema.Resource {
	return schema.Resource{ID: schema.ID{Kind: kind, Name: name}, Spec: json.RawMessage(spec), Pos: schema.Pos{File: "a.yaml", Line: 1}}
}

// reconciled runs the reconciler over a driver made anew, until stop.
func reconciled(t *testing.T, b *bench, src *declared, path string) (r *reconciler.Reconciler, stop func()) {
	t.Helper()
	d := b.driver()
	reg, err := drivers.NewRegistry(drivers.Target{Name: "nomad", Engine: "nomad", Kinds: d.Kinds(), Driver: d, Identity: "nomad", Version: DriverVersion})
	drivertest.Must(t, err)
	st, err := store.Open(path, env)
	drivertest.Must(t, err)
	r, err = reconciler.New(t.Context(), reconciler.Config{
		ID: env, Name: "test", Source: src, Registry: reg, Store: st, Key: make([]byte, 32), Compile: src.compile,
		Gates: gate.Config{Unlimited: true}, Interval: time.Second, Log: b.log.Logger(),
	})
	drivertest.Must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			drivertest.Must(t, <-ended)
			drivertest.Must(t, st.Close())
		})
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Log(b.log)
		}
	})
	return r, stop
}

// converges waits until a revision is in force and everything is as it says.
func converges(t *testing.T, r *reconciler.Reconciler, src *declared) {
	t.Helper()
	want, _ := src.Head(t.Context())
	r.Kick()
	defer func() {
		for _, res := range r.Status().Resources {
			if t.Failed() {
				t.Logf("%s is %s (%s): %s; hint: %s", res.ID.Short(), res.State, res.Action, res.Reason, res.Hint)
			}
		}
	}()
	eventually(t, "revision "+want.ID, func() bool {
		s := r.Status()
		return s.Revision.ID == want.ID && s.Converged && s.Settled
	})
}

// TestReconciled: one commit that declares a namespace and what lives in it
// converges; while nothing happens nothing is asked; what Nomad forgets of a
// batch is not run again, over a restart too; and one commit removes it all.
func TestReconciled(t *testing.T) {
	b := newBench(t)
	src, path := &declared{}, filepath.Join(t.TempDir(), "store.db")
	in := func(spec string) string { return `{"namespace":"shop",` + spec[1:] }
	all := []schema.Resource{
		resource(KindJob, "once", in(batch("/bin/true", ""))), resource(KindJob, "web", in(sleeper("1", ""))),
		resource(KindVariable, "cfg", in(`{"items":{"a":"b"}}`)), resource(KindNamespace, "shop", `{"description":"","meta":{}}`),
		resource(KindNamespace, "other", `{"description":"stays: an empty tree is refused","meta":{}}`),
	}
	src.say(all...)
	r, stop := reconciled(t, b, src, path)
	converges(t, r, src)

	shop := &api.QueryOptions{Namespace: "shop"}
	eventually(t, "Nomad's forgetting", func() bool {
		drivertest.Must(t, b.api.System().GarbageCollect())
		_, _, err := b.api.Jobs().Info("once", shop)
		return isStatus(err, http.StatusNotFound)
	})
	b.quiet(t)
	converges(t, r, src)
	stop()
	r, stop = reconciled(t, b, src, path)
	converges(t, r, src)
	b.quiet(t)
	converges(t, r, src)
	if _, _, err := b.api.Jobs().Info("once", shop); !isStatus(err, http.StatusNotFound) {
		t.Errorf("the batch was registered again: %v", err)
	}
	if web, _, err := b.api.Jobs().Info("web", shop); err != nil || *web.Version != 0 {
		t.Errorf("the service was registered again: %v", err)
	}

	_, _, err := b.api.Jobs().Deregister("web", false, &api.WriteOptions{Namespace: "shop"})
	drivertest.Must(t, err)
	eventually(t, "its running again", func() bool {
		web, _, err := b.api.Jobs().Info("web", shop)
		return err == nil && !*web.Stop && *web.Version == 2
	})
	converges(t, r, src)

	src.say(all[4])
	converges(t, r, src)
	left, err := b.driver().List(t.Context())
	drivertest.Must(t, err)
	if len(left) != 1 || left[0].Handle != "namespace/other" {
		t.Errorf("left are %+v", left)
	}
	stop()
}

// quiet waits until, for a while, nothing is asked of Nomad but what waits for
// news.
func (b *bench) quiet(t *testing.T) {
	t.Helper()
	const while = 3 * time.Second
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for {
		b.proxy.Requests()
		pause := time.NewTimer(while)
		select {
		case <-limit.C:
			t.Fatalf("it goes on asking: %v", b.proxy.Requests())
		case <-pause.C:
		}
		busy := 0
		for path := range b.proxy.Requests() {
			if !strings.HasSuffix(path, "/v1/vars") && !strings.HasSuffix(path, "/v1/namespaces") { // blocking ones are asked again when they are answered
				busy++
			}
		}
		if busy == 0 {
			return
		}
	}
}
