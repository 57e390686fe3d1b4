package sandbox

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHosts: what is named and nothing like it.
func TestHosts(t *testing.T) {
	p := &proxy{hosts: []string{"api.example.org:443", "*.cloud.example:443", "192.0.2.1:8443"}}
	for target, want := range map[string]bool{
		"api.example.org:443": true, "API.example.org.:443": true, "api.example.org:80": false, "example.org:443": false, "xapi.example.org:443": false,
		"eu.cloud.example:443": true, "a.b.cloud.example:443": true, "cloud.example:443": false, "evilcloud.example:443": false, "*.cloud.example:443": false,
		"192.0.2.1:8443": true, "192.0.2.1:443": false, "": false, "api.example.org": false, "api.example.org:443@evil.example:443": false,
	} {
		if _, got := p.allowed(target); got != want {
			t.Errorf("%s: %v", target, got)
		}
	}
	for address, ok := range map[string]bool{"127.0.0.1:443": false, "[::1]:443": false, "169.254.169.254:80": false, "0.0.0.0:1": false, "192.0.2.1:443": true, "10.0.0.1:443": true} {
		if err := public(address); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
	p.hosts = []string{"localhost:1"} // a name that leads back
	if c, err := p.connect(t.Context(), "localhost:1", true); !errors.Is(err, errInward) {
		t.Errorf("%v %v", c, err)
	}
	for _, bad := range []string{"example.org", "example.org:", "example.org:0", "example.org:99999", "*.1.2.3.4:443", "*:443", "a*.example.org:443", "https://example.org:443", ":443"} {
		if CheckHost(bad) == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// FuzzProxy: whatever asks, only what is named is dialled.
func FuzzProxy(f *testing.F) {
	f.Add("CONNECT api.example.org:443 HTTP/1.1\r\nHost: api.example.org:443\r\n\r\n")
	f.Add("CONNECT evil.example:443 HTTP/1.1\r\nHost: api.example.org:443\r\n\r\n")
	f.Add("GET http://169.254.169.254/ HTTP/1.1\r\nHost: api.example.org:443\r\n\r\n")
	f.Fuzz(func(t *testing.T, request string) {
		p := &proxy{hosts: []string{"api.example.org:443"}, dial: func(_ context.Context, _, address string) (net.Conn, error) {
			if host := strings.ToLower(address); host != "api.example.org:443" && host != "api.example.org.:443" {
				t.Errorf("%q is dialled", address)
			}
			return nil, errors.New("not here")
		}}
		p.tunnels = make(chan struct{}, 1)
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(request)))
		if err != nil {
			return
		}
		p.ServeHTTP(httptest.NewRecorder(), r)
	})
}
