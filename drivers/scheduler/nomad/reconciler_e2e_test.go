//go:build e2e

package nomad

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/reconcilertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// reconciled runs the reconciler over a driver made anew.
func reconciled(t *testing.T, b *bench, src *reconcilertest.Source, path string) *reconcilertest.Running {
	t.Helper()
	d := b.driver()
	return reconcilertest.Start(t, reconcilertest.Config{
		ID: env, Source: src, Path: path, Log: b.log,
		Target: drivers.Target{Name: "nomad", Engine: "nomad", Kinds: d.Kinds(), Driver: d, Identity: "nomad", Version: DriverVersion},
	})
}

// TestReconciled: one commit that declares a namespace and what lives in it
// converges; while nothing happens nothing is asked; what Nomad forgets of a
// batch is not run again, over a restart too; and one commit removes it all.
func TestReconciled(t *testing.T) {
	b := newBench(t)
	src, path := &reconcilertest.Source{}, filepath.Join(t.TempDir(), "store.db")
	in := func(spec string) string { return `{"namespace":"shop",` + spec[1:] }
	all := []schema.Resource{
		reconcilertest.Resource(KindJob, "once", in(batch("/bin/true", ""))), reconcilertest.Resource(KindJob, "web", in(sleeper("1", ""))),
		reconcilertest.Resource(KindVariable, "cfg", in(`{"items":{"a":"b"}}`)), reconcilertest.Resource(KindNamespace, "shop", `{"description":"","meta":{}}`),
		reconcilertest.Resource(KindNamespace, "other", `{"description":"stays: an empty tree is refused","meta":{}}`),
	}
	src.Declare(all...)
	r := reconciled(t, b, src, path)
	r.Converges(t, 2*time.Minute, "one commit that declares everything")

	shop := &api.QueryOptions{Namespace: "shop"}
	eventually(t, "Nomad's forgetting", func() bool {
		drivertest.Must(t, b.api.System().GarbageCollect())
		_, _, err := b.api.Jobs().Info("once", shop)
		return isStatus(err, http.StatusNotFound)
	})
	b.quiet(t)
	r.Converges(t, 2*time.Minute, "convergence after the forgetting")
	r.Stop()
	r = reconciled(t, b, src, path)
	r.Converges(t, 2*time.Minute, "convergence after a restart")
	b.quiet(t)
	r.Converges(t, 2*time.Minute, "convergence after a quiet while")
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
	r.Converges(t, 2*time.Minute, "convergence after the running again")

	src.Declare(all[4])
	r.Converges(t, 2*time.Minute, "one commit that removes it all")
	left, err := b.driver().List(t.Context())
	drivertest.Must(t, err)
	if len(left) != 1 || left[0].Handle != "namespace/other" {
		t.Errorf("left are %+v", left)
	}
	r.Stop()
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
