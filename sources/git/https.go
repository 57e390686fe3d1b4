package git

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"github.com/aplomb-dev/aplomb/internal/outbound"
	"github.com/aplomb-dev/aplomb/schema"
)

// httpWire speaks to one server over https. A redirect is followed within that
// server only: whoever can answer for one host gets no credentials, and no
// request, of another.
type httpWire struct {
	at    location
	auth  Auth
	limit int64

	mu     sync.Mutex
	ca     string // the authorities that client trusts
	client *http.Client
}

func newHTTPWire(at location, auth Auth, limit int64) (*httpWire, error) {
	w := &httpWire{at: at, auth: auth, limit: limit}
	_, err := w.current()
	return w, err
}

// current is the client, made anew where the authorities changed.
func (w *httpWire) current() (*http.Client, error) {
	var ca string
	if w.auth.CAFile != "" {
		var err error
		if ca, err = readSmall(w.auth.CAFile); err != nil {
			return nil, fmt.Errorf("read the authorities: %w", err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.client != nil && ca == w.ca {
		return w.client, nil
	}
	roots, err := outbound.Authorities([]byte(ca))
	if err != nil {
		return nil, fmt.Errorf("read the authorities %s: %w", w.auth.CAFile, err)
	}
	dialer := &net.Dialer{Timeout: 30 * time.Second}
	w.client = &http.Client{
		Transport: &guard{limit: w.limit, next: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           dialer.DialContext,
			ForceAttemptHTTP2:     true,
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
			TLSHandshakeTimeout:   30 * time.Second,
			ResponseHeaderTimeout: time.Minute,
			MaxIdleConns:          2,
			IdleConnTimeout:       90 * time.Second,
		}},
		CheckRedirect: stayHome,
	}
	w.ca = ca
	return w.client, nil
}

var errElsewhere = errors.New("the server redirects to another host")

// stayHome refuses a redirect before anything is sent to where it leads.
func stayHome(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	if req.URL.Scheme != first.Scheme || !strings.EqualFold(req.URL.Host, first.Host) || req.URL.User != nil {
		return withHint(fmt.Errorf("%w: %s", errElsewhere, printable(req.URL.Host, 253)), "if the repository moved, configure its new address")
	}
	return nil
}

func (w *httpWire) open() (transport.Transport, *transport.Endpoint, transport.AuthMethod, error) {
	client, err := w.current()
	if err != nil {
		return nil, nil, nil, err
	}
	token, err := w.auth.token()
	if err != nil {
		return nil, nil, nil, err
	}
	host := w.at.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	ep := &transport.Endpoint{Protocol: w.at.scheme, Host: host, Port: w.at.port, Path: strings.TrimRight(w.at.path, "/")}
	t := githttp.NewClient(client)
	if w.auth.TokenFile == "" {
		return t, ep, nil, nil
	}
	return t, ep, &bearer{user: firstOf(w.auth.Username, w.at.user, "git"), token: token}, nil
}

func firstOf(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

func (w *httpWire) upload(context.Context) (transport.UploadPackSession, error) {
	t, ep, auth, err := w.open()
	if err != nil {
		return nil, err
	}
	return t.NewUploadPackSession(ep, auth)
}

func (w *httpWire) receive(context.Context) (transport.ReceivePackSession, error) {
	t, ep, auth, err := w.open()
	if err != nil {
		return nil, err
	}
	return t.NewReceivePackSession(ep, auth)
}

// bearer adds the token to a request, as the password of basic authentication:
// that is what every forge takes.
type bearer struct {
	user  string
	token schema.Secret
}

func (*bearer) Name() string                { return "token" }
func (*bearer) String() string              { return schema.Redacted }
func (b *bearer) SetAuth(req *http.Request) { req.SetBasicAuth(b.user, b.token.Reveal()) }

// guard bounds what a server may answer: so many bytes of a good answer, a
// line of an error.
type guard struct {
	limit int64
	next  http.RoundTripper
}

const maxComplaint = 512

func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		// Side bands and the listing of refs come on top of the pack.
		res.Body = body{&bounded{r: res.Body, left: g.limit + g.limit/8 + 16<<20}, res.Body}
		return res, nil
	}
	said, _ := io.ReadAll(io.LimitReader(res.Body, maxComplaint)) // best effort
	text := printable(strings.Join(strings.Fields(string(said)), " "), maxComplaint)
	res.Body = body{bytes.NewReader([]byte(text)), res.Body}
	return res, nil
}

type body struct {
	io.Reader
	io.Closer
}
