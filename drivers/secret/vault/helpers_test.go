package vault

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
)

func wanted(spec string) drivers.Desired { return drivers.Desired{Spec: json.RawMessage(spec)} }

// nowhere fails the test where a text holds a plaintext, in any encoding.
func nowhere(t *testing.T, said, plain string) {
	t.Helper()
	for _, form := range forms(plain) {
		if strings.Contains(said, form) {
			t.Errorf("a plaintext is in %q", strings.ReplaceAll(said, form, "PLAINTEXT"))
		}
	}
}
