package local

import (
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestServiceLives(t *testing.T) {
	d := newDriver(t)
	w := newWorld(t, d, Kind, "web", drivers.Desired{Spec: spec(t, map[string]any{"address": "127.0.0.1", "port": 8421, "tags": []string{}, "checks": []any{}})})
	s := w.settle(schema.Create)
	if got := string(s.Outputs["endpoint"].Value); got != `"127.0.0.1:8421"` {
		t.Fatalf("endpoint %s", got)
	}
	w.item.Want = nil
	w.settle(schema.Delete)
}
