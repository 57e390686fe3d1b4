package tofu

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/aplomb-dev/aplomb/drivers"
)

// health: the last apply went well, the outputs are there, and what is checked
// holds.
func (d *Driver) health(s *stack, rec *record) (drivers.Health, error) {
	sp, err := specOf(s.handle, &drivers.Desired{Spec: rec.Applied})
	if err != nil {
		return drivers.Health{}, err
	}
	if rec.Failed != "" {
		return drivers.Health{Status: drivers.Unhealthy, Reason: "the last apply failed: " + rec.Failed}, nil
	}
	for _, name := range slices.Sorted(maps.Keys(sp.Outputs)) {
		if _, ok := rec.Outputs[name]; !ok {
			return drivers.Health{Status: drivers.Unhealthy, Reason: fmt.Sprintf("the output %s is missing, or is no %s", name, sp.Outputs[name].Type)}, nil
		}
	}
	checks := rec.Checks
	if seen, ok := d.checks.get(s.handle); ok {
		checks = seen
	}
	if len(checks) > 0 {
		return drivers.Health{Status: drivers.Unhealthy, Reason: clip(strings.Join(checks, "; "))}, nil
	}
	return drivers.Health{Status: drivers.Healthy}, nil
}

// checkCache is what the last plan said of a stack's checks.
type checkCache struct {
	mu   sync.Mutex
	seen map[string][]string // by handle
}

func (c *checkCache) note(handle string, failed []string, hide *scrubber) {
	for i := range failed {
		failed[i] = hide.scrub(failed[i])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = map[string][]string{}
	}
	c.seen[handle] = failed
}

func (c *checkCache) get(handle string) ([]string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	failed, ok := c.seen[handle]
	return failed, ok
}

func (c *checkCache) forget(handle string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.seen, handle)
}
