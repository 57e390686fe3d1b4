package nomad

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// newServer answers on loopback until the test ends.
func newServer(t testing.TB, f http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	return s.URL
}
