//go:build e2e

package nomad

import (
	"testing"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/internal/reconcilertest"
	"github.com/aplomb-dev/aplomb/reconciler"
)

// TestNomadKilled: Nomad dies and comes back. What was declared meanwhile is
// made then, nothing is registered again, and the event stream is found again:
// drift is heard of long before the next resync.
func TestNomadKilled(t *testing.T) {
	n := enginetest.NewNomad(t)
	client, err := api.NewClient(&api.Config{Address: n.Address})
	drivertest.Must(t, err)
	d := &Driver{Env: env, URL: n.Address, Fingerprint: drivertest.Fingerprint}
	src := &reconcilertest.Source{}
	web := reconcilertest.Resource(KindJob, "web", sleeper("0", ""))
	src.Declare(web)
	r := reconcilertest.Start(t, reconcilertest.Config{
		ID: env, Source: src, Log: &drivertest.Log{}, Resync: time.Hour,
		Target: drivers.Target{Name: "nomad", Engine: "nomad", Kinds: d.Kinds(), Driver: d, Identity: "nomad", Version: DriverVersion},
	})
	r.Converges(t, 2*time.Minute, "convergence")
	n.Kill(t)
	src.Declare(web, reconcilertest.Resource(KindJob, "more", sleeper("0", "")))
	r.Until(t, 2*time.Minute, "that it is told to be out of reach", func(s reconciler.Status) bool {
		return len(s.Targets) == 1 && !s.Targets[0].OK
	})
	n.Start(t)
	r.Converges(t, 2*time.Minute, "convergence after a kill")
	job, _, err := client.Jobs().Info("web", nil)
	drivertest.Must(t, err)
	if *job.Version != 0 {
		t.Errorf("it was registered again: version %d", *job.Version)
	}
	// The watch begins anew with a pause that has grown meanwhile; once it has, a
	// stop is put right.
	r.Until(t, 2*time.Minute, "that drift is repaired after the restart", func(reconciler.Status) bool {
		job, _, err := client.Jobs().Info("web", nil)
		if err == nil && !*job.Stop && *job.Version == 0 {
			_, _, err = client.Jobs().Deregister("web", false, nil)
			drivertest.Must(t, err)
		}
		return err == nil && !*job.Stop && *job.Version > 0
	})
	r.Stop()
}
