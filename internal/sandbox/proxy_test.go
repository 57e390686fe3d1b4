package sandbox

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
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
	for address, ok := range map[string]bool{"127.0.0.1:443": false, "[::1]:443": false, "169.254.169.254:80": false, "0.0.0.0:1": false, "192.0.2.1:443": true, "[2001:db8::1]:443": true,
		"[::ffff:127.0.0.1]:443": false, "[fe80::1%1]:443": false, "[fd00:ec2::254]:80": false, "[::ffff:168.63.129.16]:80": false, "100.100.100.200:80": false,
	} {
		if err := public(address); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
	own, err := net.InterfaceAddrs()
	must(t, err)
	for _, a := range own { // whichever they are
		if n, ok := a.(*net.IPNet); ok && public(net.JoinHostPort(n.IP.String(), "443")) == nil {
			t.Errorf("%s is this machine", a)
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

// slow is a connection that takes a while to come, and tells when it is closed.
type slow struct {
	net.Conn
	closed chan struct{}
}

func (s *slow) Close() error {
	close(s.closed)
	return s.Conn.Close()
}

// TestProxyEnds: when the proxy has ended nothing that it opened is open, not even
// what was about to be.
func TestProxyEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	here, there := net.Pipe()
	defer func() { _ = there.Close() }()
	out := &slow{here, make(chan struct{})}
	p := &proxy{hosts: []string{"api.example.org:443"}, dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		cancel()
		for range 1000 {
			runtime.Gosched()
		}
		return out, nil
	}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.serve(ctx, l)
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	defer func() { _ = c.Close() }()
	_, err = c.Write([]byte("CONNECT api.example.org:443 HTTP/1.1\r\nHost: api.example.org:443\r\n\r\n"))
	must(t, err)
	<-ended
	select {
	case <-out.closed:
	default:
		t.Error("a connection outlives the proxy")
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

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
