package local

import (
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestSecretLives(t *testing.T) {
	d := newDriver(t)
	w := newWorld(t, d, Kind, "password", drivers.Desired{Spec: spec(t, map[string]any{"length": 24, "alphabet": "hex"})})
	s := w.settle(schema.Create)
	v, err := d.Reveal(t.Context(), w.item, "value")
	if err != nil {
		t.Fatal(err)
	}
	if got := fingerprint([]byte(v.Reveal())); got != s.Outputs["value"].Fingerprint || len(v.Reveal()) != 24 {
		t.Fatalf("revealed %d characters with fingerprint %s, told %s", len(v.Reveal()), got, s.Outputs["value"].Fingerprint)
	}
	w.item.Want = nil
	w.settle(schema.Delete)
}
