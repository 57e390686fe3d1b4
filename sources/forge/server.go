package forge

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aplomb-dev/aplomb/internal/outbound"
	"github.com/aplomb-dev/aplomb/schema"
)

// Credential says who we are. Token is asked at each request and may be asked
// concurrently; it is sent as bearer.
type Credential interface {
	Token(ctx context.Context) (schema.Secret, error)
}

// Rejectable is a Credential that keeps tokens. Rejected says that the server
// does not know one any more.
type Rejectable interface {
	Rejected(token schema.Secret)
}

// TokenFile is a Credential in a file of one line, read at each use, so that it
// can be replaced while the daemon runs.
type TokenFile string

// Token reads the file.
func (f TokenFile) Token(context.Context) (schema.Secret, error) {
	text, err := ReadSmall(string(f))
	if err != nil {
		return schema.Secret{}, &Error{Class: ErrDenied, Err: fmt.Errorf("read the token: %w", err), Help: "the token's file must be readable by the daemon"}
	}
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < '!' || r > '~' }) {
		return schema.Secret{}, &Error{Class: ErrDenied, Err: fmt.Errorf("read the token: %s does not hold one line", string(f))}
	}
	return schema.NewSecret(text), nil
}

// ReadSmall reads a file of at most 64 KiB, without white space around it.
func ReadSmall(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	const most = 64 << 10
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return "", err
	}
	if len(b) > most {
		return "", fmt.Errorf("%s is larger than %d bytes", name, most)
	}
	return strings.TrimSpace(string(b)), nil
}

// Server is how to reach a forge.
type Server struct {
	URL         string        // of its API; https, or http on loopback
	CAFile      string        // authorities beside the system's; read again when it changes
	Credential  Credential    // nil: nobody
	Concurrency int           // requests at once; 0: 4
	Timeout     time.Duration // of a request with its whole answer; 0: 30 s
}

// Client makes the one HTTP client for s. All that speaks to the server in the
// same account should share it: the limits are the account's.
//
// Its errors have a class already, answers of 400 and above included: they
// never reach the forge's own client library. Redirects stay on the server, and
// are followed for reads only.
func (s Server) Client() (*http.Client, error) {
	u, err := url.Parse(s.URL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, Refuse("use the forge's address", s.printable(), "it is not of the form https://HOST[:PORT][/PATH]", "")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !outbound.Loopback(u.Hostname())) {
		return nil, Refuse("use the forge's address", s.printable(), "credentials are not sent over plain http", "use https")
	}
	t := &transport{
		home: u, credential: s.Credential, timeout: s.Timeout, base: &trusting{caFile: s.CAFile},
		slots: make(chan struct{}, max(s.Concurrency, 1)),
	}
	if s.Concurrency == 0 {
		t.slots = make(chan struct{}, 4)
	}
	if s.Timeout <= 0 {
		t.timeout = 30 * time.Second
	}
	if _, err := t.base.current(); err != nil {
		return nil, err
	}
	return &http.Client{Transport: t, CheckRedirect: t.redirect}, nil
}

// printable is the address without what may be a secret in it.
func (s Server) printable() string {
	u, err := url.Parse(s.URL)
	if err != nil {
		return "(unreadable)"
	}
	return u.Redacted()
}

// trusting is a transport that trusts the authorities of a file, as it is now.
type trusting struct {
	caFile string

	mu   sync.Mutex
	ca   string
	next *http.Transport
}

func (t *trusting) current() (http.RoundTripper, error) {
	var ca string
	if t.caFile != "" {
		var err error
		if ca, err = ReadSmall(t.caFile); err != nil {
			return nil, &Error{Class: ErrUnreachable, Err: fmt.Errorf("read the authorities: %w", err)}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next != nil && ca == t.ca {
		return t.next, nil
	}
	roots, err := outbound.Authorities([]byte(ca))
	if err != nil {
		return nil, &Error{Class: ErrUnreachable, Err: fmt.Errorf("read the authorities %s: %w", t.caFile, err)}
	}
	if t.next != nil {
		t.next.CloseIdleConnections()
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	t.ca, t.next = ca, &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		ForceAttemptHTTP2:   true,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     90 * time.Second,

		MaxResponseHeaderBytes: 256 << 10,
	}
	return t.next, nil
}
