package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	dialTime   = 20 * time.Second
	headerTime = 10 * time.Second
	maxTunnels = 128
)

// proxy is all the network that there is within: it joins connections to the
// hosts that are named, and resolves their names out here. What passes through
// is for the two ends to secure.
type proxy struct {
	hosts   []string
	tunnels chan struct{}
	dial    func(ctx context.Context, network, address string) (net.Conn, error) // tests have their own; nil: the network's
}

// serve answers on l until ctx ends, and waits for what is open.
func (p *proxy) serve(ctx context.Context, l net.Listener) {
	p.tunnels = make(chan struct{}, maxTunnels)
	defer func() {
		for range maxTunnels {
			p.tunnels <- struct{}{} // none is open, and no more will be
		}
	}()
	srv := &http.Server{Handler: p, ReadHeaderTimeout: headerTime, MaxHeaderBytes: 16 << 10, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	_ = srv.Serve(l) // it ends with ctx
}

// ServeHTTP takes CONNECT alone.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "this proxy takes CONNECT alone", http.StatusMethodNotAllowed)
		return
	}
	named, ok := p.allowed(r.Host)
	if !ok {
		http.Error(w, "this host is not among those that are allowed", http.StatusForbidden)
		return
	}
	select {
	case p.tunnels <- struct{}{}:
		defer func() { <-p.tunnels }()
	default:
		http.Error(w, "too many connections", http.StatusServiceUnavailable)
		return
	}
	out, err := p.connect(r.Context(), r.Host, named)
	if err != nil {
		http.Error(w, "the host cannot be reached", http.StatusBadGateway)
		return
	}
	h, ok := w.(http.Hijacker)
	if !ok {
		_ = out.Close()
		return
	}
	in, buf, err := h.Hijack()
	if err != nil {
		_ = out.Close()
		return
	}
	if _, err = io.WriteString(in, "HTTP/1.1 200 Connection established\r\n\r\n"); err == nil {
		join(r.Context(), in, buf, out)
	}
	_ = in.Close()
	_ = out.Close()
}

// join passes bytes both ways until both ends are done or ctx ends.
func join(ctx context.Context, in net.Conn, buffered io.Reader, out net.Conn) {
	defer context.AfterFunc(ctx, func() {
		_ = in.Close()
		_ = out.Close()
	})()
	var ways sync.WaitGroup
	pass := func(to net.Conn, from io.Reader) {
		_, _ = io.Copy(to, from) // an end that closes is an end
		if c, ok := to.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
	}
	ways.Go(func() { pass(out, buffered) })
	ways.Go(func() { pass(in, out) })
	ways.Wait()
}

// allowed says whether a host may be reached, and whether it is named as such
// rather than by its domain.
func (p *proxy) allowed(target string) (named, ok bool) {
	host, port, err := net.SplitHostPort(target)
	if err != nil || CheckHost(target) != nil || strings.HasPrefix(host, "*") {
		return false, false
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, entry := range p.hosts {
		want, wantPort, err := net.SplitHostPort(strings.ToLower(entry))
		if err != nil || wantPort != port {
			continue
		}
		if want == host {
			return true, true
		}
		if domain, ok := strings.CutPrefix(want, "*"); ok && strings.HasSuffix(host, domain) && len(host) > len(domain) {
			return false, true
		}
	}
	return false, false
}

// connect opens a connection. A name that resolves to this machine, or to what
// only this machine can reach, is refused: only an address that is written as
// such means that.
func (p *proxy) connect(ctx context.Context, target string, named bool) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	if p.dial != nil {
		return p.dial(ctx, "tcp", target)
	}
	host, _, _ := net.SplitHostPort(target) // it was taken apart before
	d := net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
		if named && net.ParseIP(host) != nil {
			return nil
		}
		return public(address)
	}}
	return d.DialContext(ctx, "tcp", target)
}

var errInward = errors.New("the name leads back to this machine")

// metadata are addresses beside the link-local ones at which clouds tell a machine
// its credentials.
var metadata = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd20:ce::254"), netip.MustParseAddr("100.100.100.200"),
	netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("192.0.0.192"),
}

// public refuses an address that is this machine, or that answers to it alone.
func public(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := at.Addr().Unmap().WithZone("")
	own, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	mine := slices.ContainsFunc(own, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(ip.AsSlice())
	})
	if mine || slices.Contains(metadata, ip) || ip.IsLoopback() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast() {
		return fmt.Errorf("%s: %w", ip, errInward)
	}
	return nil
}
