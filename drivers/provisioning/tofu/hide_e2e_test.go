//go:build e2e

package tofu

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// TestMadeSecretIsHidden: a secret that is made in an apply, and repeated by
// what fails later in the same one, is told by nobody: not then, and not by a
// driver that is made anew and takes the run in.
func TestMadeSecretIsHidden(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.driver(t.TempDir())
	r := drivertest.NewResource(t, d, Kind, "made", w.things(t, thingsVars{Names: names(1), Content: "one"}, `
resource "aplombtest_thing" "first" {
  name = "first"
}

resource "aplombtest_thing" "second" {
  name        = "second"
  secret      = aplombtest_thing.first.token
  fail_create = true
}
`))
	_, err := r.Apply(r.Plan())
	if err == nil || !strings.Contains(err.Error(), "Told to fail") || !strings.Contains(err.Error(), schema.Redacted) {
		t.Fatalf("%v", err)
	}
	data, readErr := os.ReadFile(filepath.Join(w.folder, "first.json"))
	drivertest.Must(t, readErr)
	var first map[string]any
	drivertest.Must(t, json.Unmarshal(data, &first))
	token, _ := first["token"].(string)
	if token == "" {
		t.Fatalf("the provider made no token: %s", data)
	}
	s := r.Observe()
	s.Raw = nil
	if text := fmt.Sprintf("%v %+v %s", err, err, drivertest.JSON(t, s)); strings.Contains(text, token) {
		t.Error("the token is told")
	}
	drivertest.Nowhere(t, d.Dir, token)
}
