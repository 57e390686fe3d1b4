package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/aplomb-dev/aplomb/internal/outbound"
	"github.com/aplomb-dev/aplomb/schema"
)

// CallTimeout bounds a call of a Client whose method takes no context.
const CallTimeout = 30 * time.Second

// Address is where a daemon answers: at a unix socket, or at a URL.
type Address struct {
	Socket string                        // path
	URL    string                        // https://host:port; plain http to a loopback address only
	Token  func() (schema.Secret, error) // with a URL, read for each request; nil: none
	TLS    *tls.Config                   // with a URL; nil: the system's roots
}

// Daemon speaks to a Server. It is safe for concurrent use; Close it.
type Daemon struct {
	http  *http.Client
	base  url.URL
	token func() (schema.Secret, error)
}

// Dial connects to a daemon and asks who answers. The error is ErrNotRunning
// where nothing listens there.
func Dial(ctx context.Context, at Address) (*Daemon, Info, error) {
	d, err := newDaemon(at)
	if err != nil {
		return nil, Info{}, err
	}
	var info Info
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	if err := d.get(ctx, "/v1/info", nil, &info); err != nil {
		d.Close()
		return nil, Info{}, err
	}
	return d, info, nil
}

func newDaemon(at Address) (*Daemon, error) {
	dialer := net.Dialer{Timeout: DialTimeout}
	t := &http.Transport{DialContext: dialer.DialContext, MaxIdleConns: 4, IdleConnTimeout: 30 * time.Second, DisableCompression: true}
	d := &Daemon{
		http:  &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		base:  url.URL{Scheme: "http", Host: "aplomb"},
		token: at.Token,
	}
	if at.URL == "" {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", at.Socket)
		}
		return d, nil
	}
	u, err := url.Parse(at.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("%w: the server is no URL such as https://aplomb.example.org:7717", ErrRequest)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%w: the server's URL holds more than where it is", ErrRequest)
	case u.Scheme == "http" && !outbound.Loopback(u.Hostname()):
		return nil, denied{fmt.Errorf("%w: a token does not go over plain http to another machine", ErrRequest), "use https"}
	}
	dialer.Timeout = 10 * time.Second
	t.TLSClientConfig, t.TLSHandshakeTimeout = at.TLS, 10*time.Second
	d.base = url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(u.Path, "/")}
	return d, nil
}

// Close drops idle connections.
func (d *Daemon) Close() { d.http.CloseIdleConnections() }

// Environments answers every environment in short, by name.
func (d *Daemon) Environments(ctx context.Context) (v []EnvironmentInfo, err error) {
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	return v, d.get(ctx, environments, nil, &v)
}

// Environment is a client of one environment.
func (d *Daemon) Environment(name string) *Client {
	return &Client{Daemon: d, path: environments + "/" + url.PathEscape(name)}
}

func (d *Daemon) get(ctx context.Context, path string, q url.Values, out any) error {
	return d.call(ctx, http.MethodGet, path, q, nil, out)
}

func (d *Daemon) call(ctx context.Context, method, path string, q url.Values, body []byte, out any) error {
	res, err := d.do(ctx, method, path, q, nil, body)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, MaxResponse+1))
	if err != nil {
		return fmt.Errorf("%s %s: read answer: %w", method, path, err)
	}
	if len(b) > MaxResponse {
		return fmt.Errorf("%s %s: the answer is larger than %d bytes", method, path, MaxResponse)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s %s: the answer is not understood: %w", method, path, err)
	}
	return nil
}

// do sends a request; the response it answers has status 200.
func (d *Daemon) do(ctx context.Context, method, path string, q url.Values, h http.Header, body []byte) (*http.Response, error) {
	u := d.base
	u.Path, u.RawQuery = u.Path+path, q.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	for k, v := range h {
		req.Header[k] = v
	}
	req.Header.Set("Content-Type", "application/json")
	if d.token != nil {
		token, err := d.token()
		if err != nil {
			return nil, fmt.Errorf("ask the daemon: %w", err)
		}
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	res, err := d.http.Do(req)
	if err != nil {
		return nil, notRunning(err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	return nil, readError(res)
}

// notRunning tells "nobody is there" from every other failure.
func notRunning(err error) error {
	var untrusted x509.UnknownAuthorityError
	switch {
	case errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED):
		return denied{fmt.Errorf("%w: %w", ErrNotRunning, err), "is it running, and does its api.listen say that address? --server and APLOMB_SERVER name it"}
	case errors.As(err, &untrusted):
		return denied{fmt.Errorf("ask the daemon: %w", err), "name the file of the authority that signed its certificate: --ca-file"}
	}
	return fmt.Errorf("ask the daemon: %w", err)
}

func readError(res *http.Response) error {
	var body errorBody
	b, err := io.ReadAll(io.LimitReader(res.Body, MaxRequest))
	if err == nil && json.Unmarshal(b, &body) == nil && body.Error != nil && body.Error.Message != "" {
		return body.Error
	}
	return fmt.Errorf("the daemon answered %s", strings.TrimSpace(res.Status))
}
