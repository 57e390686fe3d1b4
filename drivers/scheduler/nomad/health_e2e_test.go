//go:build e2e

package nomad

import (
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// TestUnplaceable tells why.
func TestUnplaceable(t *testing.T) {
	b := newBench(t)
	for name, c := range map[string]struct{ spec, why string }{
		"memory":     {strings.Replace(sleeper("1", ""), `"MemoryMB":10`, `"MemoryMB":99999999`, 1), "web cannot be placed: memory exhausted on 1 node"},
		"constraint": {sleeper("1", `,"Constraints":[{"LTarget":"${attr.kernel.name}","Operand":"=","RTarget":"plan9"}]`), `web cannot be placed: the constraint "${attr.kernel.name} = plan9" leaves out 1 node`},
		"batch":      {strings.Replace(batch("/bin/true", ""), `"CPU":10`, `"CPU":99999999`, 1), "cpu exhausted on 1 node"},
		"system":     {`{"job":{"Type":"system",` + strings.Replace(without("1", ""), `"MemoryMB":10`, `"MemoryMB":99999999`, 1)[len(`{"job":{`):], "memory exhausted on 1 node"},
	} {
		j := b.job(t, name, c.spec)
		j.Settle(schema.Create)
		eventually(t, name+": the reason "+c.why, func() bool {
			h := j.Observe().Health
			return h.Status == drivers.Progressing && strings.Contains(h.Reason, c.why)
		})
		j.record()
	}
}

// crashing is a service whose task ends at once.
func crashing(more string) string {
	s := strings.Replace(sleeper("1", ""), `"command":"/bin/sleep"`, `"command":"/bin/false"`, 1)
	s = strings.Replace(s, `"Name":"web"`, `"RestartPolicy":{"Attempts":0,"Mode":"fail"},"ReschedulePolicy":{"Attempts":0,"Unlimited":false},"Name":"web"`, 1)
	return strings.Replace(s, `"Update":{"HealthyDeadline":"20s","MinHealthyTime":"10ms","ProgressDeadline":"30s"`, `"Update":{"HealthyDeadline":"2s","MinHealthyTime":"1s","ProgressDeadline":"3s"`+more, 1)
}

// TestFailedDeployment is told as failed, and not deployed again.
func TestFailedDeployment(t *testing.T) {
	b := newBench(t)
	j := b.job(t, "web", crashing(""))
	j.Settle(schema.Create)
	if why := j.becomes(drivers.Failed); !strings.Contains(why, "the deployment of version 0 has failed") {
		t.Errorf("it says %q", why)
	}
	j.record()
	if v := *j.live().Version; v != 0 {
		t.Errorf("version %d", v)
	}
}

// TestAutoRevert: what Nomad went back from is failed, not drift; another
// declaration is a change again.
func TestAutoRevert(t *testing.T) {
	b := newBench(t)
	good := strings.Replace(sleeper("1", ""), `"Update":{`, `"Update":{"AutoRevert":true,`, 1)
	j := b.job(t, "web", good)
	j.Settle(schema.Create)
	j.becomes(drivers.Healthy)
	j.want(crashing(`,"AutoRevert":true`))
	j.Settle(schema.Update)
	eventually(t, "its going back", func() bool { return *j.live().Version == 2 })
	for range 3 {
		s := j.record()
		if s.Health.Status != drivers.Failed || parseVersion(s.Version).state != vReverted {
			t.Fatalf("%+v, version %q", s.Health, s.Version)
		}
		j.Driver = b.driver()
	}
	if v := *j.live().Version; v != 2 {
		t.Errorf("version %d", v)
	}
	j.want(strings.Replace(good, `"Count":1`, `"Count":2`, 1))
	j.Settle(schema.Update)
	j.becomes(drivers.Healthy)
}
