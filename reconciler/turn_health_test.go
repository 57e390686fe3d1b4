package reconciler

import (
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
)

// TestTurnHealth is what a thing that was applied and is not well counts as,
// at once and once its deadline has passed.
func TestTurnHealth(t *testing.T) {
	for _, c := range []struct {
		status      drivers.HealthStatus
		first, late string
	}{
		{drivers.Progressing, "progressing: why", "degraded: why"},
		{drivers.Unhealthy, "progressing: why", "degraded: why"},
		{drivers.Failed, "degraded: why", "degraded: why"},
		{drivers.Healthy, "converged: ", "converged: "},
		{"", "converged: ", "converged: "},
	} {
		t.Run(string(c.status), func(t *testing.T) {
			d := newDesk(t, "mem")
			d.eng["mem"].SetHealth("memory.thing/a", &drivers.Health{Status: c.status, Reason: "why"})
			d.declare(decl("a", `{}`))
			d.steps()
			d.states(map[string]string{"a": c.first})
			d.pass(DefaultDeadline + time.Second)
			d.steps()
			d.states(map[string]string{"a": c.late})
		})
	}
}
