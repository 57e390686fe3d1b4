//go:build e2e

package nomad

import (
	"net/http"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// a batch job that ends at once, well or badly.
func batch(command, more string) string {
	return `{"job":{"Type":"batch","Datacenters":["*"],"TaskGroups":[{"Name":"once","Count":1,"RestartPolicy":{"Attempts":0,"Mode":"fail"},"ReschedulePolicy":{"Attempts":0,"Unlimited":false},` +
		`"Tasks":[{"Name":"t","Driver":"raw_exec","Config":{"command":"` + command + `"},"Resources":{"CPU":10,"MemoryMB":10}}]}]` + more + `}}`
}

// TestBatchRunsOnce: a batch that ran does not run again, whether Nomad still
// has it or not, until it is declared otherwise.
func TestBatchRunsOnce(t *testing.T) {
	for name, c := range map[string]struct {
		command string
		health  drivers.HealthStatus
		state   string
	}{"well": {"/bin/true", drivers.Healthy, vFinished}, "badly": {"/bin/false", drivers.Failed, vSpent}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			j := b.job(t, "once", batch(c.command, ""))
			j.Settle(schema.Create)
			j.becomes(c.health)
			if v := parseVersion(j.record().Version); v.state != c.state {
				t.Fatalf("its version is %q", v)
			}
			j.collect()
			for range 2 {
				s := j.Observe()
				if !s.Exists || s.Health.Status != c.health || !strings.Contains(s.Health.Reason, "no longer keeps it") {
					t.Fatalf("%+v", s)
				}
				j.record()
				j.Driver = b.driver() // also after a restart
			}
			j.want(batch(c.command, `,"Meta":{"run":"2"}`))
			again := j.Plan()
			if again.Action != schema.Update || len(again.Diff) != 1 || again.Diff[0].Path != "/job/Meta" {
				t.Fatalf("%s, %+v", again.Action, again.Diff)
			}
			_, err := j.Apply(again)
			drivertest.Must(t, err)
			j.becomes(c.health)
			j.record()
			j.collect()
			j.Item.Want = nil
			if s := j.Observe(); s.Exists {
				t.Errorf("nobody wants it, and it is there: %+v", s)
			}
		})
	}
}

// collect has Nomad forget what has ended.
func (j *job) collect() {
	j.T.Helper()
	id := *j.live().ID
	eventually(j.T, id+" being forgotten", func() bool {
		drivertest.Must(j.T, j.b.api.System().GarbageCollect())
		_, _, err := j.b.api.Jobs().Info(id, nil)
		return isStatus(err, http.StatusNotFound)
	})
}

// TestBatchThatNobodySawEnd is not run again either.
func TestBatchThatNobodySawEnd(t *testing.T) {
	b := newBench(t)
	j := b.job(t, "once", batch("/bin/true", ""))
	j.Settle(schema.Create)
	eventually(t, "its end", func() bool { return *j.live().Status == "dead" })
	j.collect()
	if s := j.Observe(); !s.Exists || s.Health.Status != drivers.Failed {
		t.Errorf("%+v", s)
	}
	j.record()
	last := j.Item.Last
	j.Item.Last = &drivers.Applied{} // an intent whose call never landed
	if c := j.Plan(); c.Action != schema.Create {
		t.Errorf("what never ran is planned as %s", c.Action)
	}
	j.Item.Last = last
}

// TestStoppedBatch: a batch that is stopped before its end is drift; one that is
// stopped after it is not.
func TestStoppedBatch(t *testing.T) {
	b := newBench(t)
	j := b.job(t, "once", batch("/bin/true", ""))
	j.Settle(schema.Create)
	j.becomes(drivers.Healthy)
	j.record()
	_, _, err := b.api.Jobs().Deregister("once", false, nil)
	drivertest.Must(t, err)
	eventually(t, "its stop", func() bool { return *j.live().Stop })
	if s := j.record(); s.Health.Status != drivers.Healthy {
		t.Errorf("%+v", s.Health)
	}
	long := b.job(t, "long", `{"job":{"Type":"batch",`+without("1", "")[len(`{"job":{`):])
	long.Settle(schema.Create)
	_, _, err = b.api.Jobs().Deregister("long", false, nil)
	drivertest.Must(t, err)
	long.Settle(schema.Update)
}
