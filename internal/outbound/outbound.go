// Package outbound is what everything that speaks to a server over HTTP has to
// know of whom it speaks to: whether the name is this machine's, and which
// authorities are trusted. It knows no protocol and opens no connection.
package outbound

import (
	"crypto/x509"
	"errors"
	"net"
)

// Loopback says whether a host, without a port, is this machine by itself: what
// is said there passes over no network.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Authorities are the system's, and those of a text in PEM. Without a text they
// are nil, which means the system's, too.
func Authorities(pem []byte) (*x509.CertPool, error) {
	if len(pem) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in it")
	}
	return pool, nil
}
