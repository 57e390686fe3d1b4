package outbound

import (
	"net/http/httptest"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/gittest"
)

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true,
		"": false, "localhost.example.org": false, "10.0.0.1": false, "0.0.0.0": false, "127.0.0.1:80": false, "[::1]": false,
	} {
		if got := Loopback(host); got != want {
			t.Errorf("%q: %t", host, got)
		}
	}
}

func TestAuthorities(t *testing.T) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	if pool, err := Authorities(nil); pool != nil || err != nil {
		t.Errorf("none: %v, %v", pool, err)
	}
	if _, err := Authorities([]byte("no certificate")); err == nil {
		t.Error("a text without a certificate is trusted")
	}
	system, err := Authorities([]byte(gittest.CertificatePEM(s.Certificate())))
	if err != nil || system == nil {
		t.Fatalf("%v, %v", system, err)
	}
}
