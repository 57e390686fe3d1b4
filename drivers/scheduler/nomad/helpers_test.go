package nomad

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hashicorp/nomad/api"
)

// newServer answers on loopback until the test ends.
func newServer(t testing.TB, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}

// decodeJob reads the API's structure.
func decodeJob(raw json.RawMessage) (*api.Job, error) {
	w, err := (&Driver{}).fromStructure(raw)
	return w.job, err
}
