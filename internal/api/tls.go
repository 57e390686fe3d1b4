package api

import (
	"crypto/tls"
	"net"
)

// TLS is l with TLS for each connection for which config, asked when it comes,
// is not nil. The handshake is made when a connection is read first, inside the
// server's time for a request's header, and one that fails is the caller's
// trouble: it is not written to the log, which anybody could fill.
func TLS(l net.Listener, config func() *tls.Config) net.Listener { return handshaking{l, config} }

type handshaking struct {
	net.Listener
	config func() *tls.Config
}

// Accept implements net.Listener.
func (h handshaking) Accept() (net.Conn, error) {
	c, err := h.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if config := h.config(); config != nil {
		return plain{tls.Server(c, config)}, nil
	}
	return c, nil
}

// plain hides from the server that a connection is one of TLS.
type plain struct{ net.Conn }
