package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/internal/outbound"
	"github.com/aplomb-dev/aplomb/schema"
)

// Bounds of a call.
const (
	sendTimeout = 30 * time.Second
	maxAnswer   = 64 << 10 // of which nothing is read but that it came
	maxPatience = time.Hour
)

// SignatureHeader holds, as "sha256=HEX", the HMAC-SHA256 of the body with the
// receiver's secret.
const SignatureHeader = "X-Aplomb-Signature-256"

// DeliveryHeader holds the id of the message.
const DeliveryHeader = "X-Aplomb-Delivery"

// Receiver is who is told. Files are read at each message.
type Receiver struct {
	Slack  bool // it takes what Slack takes; else the Message itself
	URL    func() (schema.Secret, error)
	Secret func() (schema.Secret, error) // to sign with; nil: nothing is signed
	CAFile string                        // authorities beside the system's
}

// sendError is why a message was not taken.
type sendError struct {
	err     error
	refused bool          // it will never be
	after   time.Duration // not before that
}

func (e *sendError) Error() string { return e.err.Error() }
func (e *sendError) Unwrap() error { return e.err }

func refused(err error) bool {
	var e *sendError
	return errors.As(err, &e) && e.refused
}

func retryAfter(err error) time.Duration {
	var e *sendError
	if errors.As(err, &e) {
		return e.after
	}
	return 0
}

// Send sends a message once. Its errors hold nothing of the URL, which may be a
// secret, but the host.
func (r *Receiver) Send(ctx context.Context, m Message) error {
	address, err := r.URL()
	if err != nil {
		return fmt.Errorf("read the receiver's URL: %w", err)
	}
	u, err := CheckURL(address.Reveal())
	if err != nil {
		return err
	}
	body, err := json.Marshal(m)
	if r.Slack {
		body, err = m.slack()
	}
	if err != nil {
		return fmt.Errorf("write the message: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("send to %s: the URL cannot be used", u.Host)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "aplomb")
	req.Header.Set(DeliveryHeader, m.ID)
	if r.Secret != nil {
		secret, err := r.Secret()
		if err != nil {
			return fmt.Errorf("read the receiver's secret: %w", err)
		}
		req.Header.Set(SignatureHeader, Sign([]byte(secret.Reveal()), body))
	}
	return r.exchange(req, u)
}

// exchange makes the call. Redirects are not followed: what is told goes to
// whom the operator named.
func (r *Receiver) exchange(req *http.Request, u *url.URL) error {
	roots, err := authorities(r.CAFile)
	if err != nil {
		return err
	}
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: maxAnswer,
		DisableKeepAlives:      true, // messages are rare
	}
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req) // not a Client: its errors repeat the URL
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %s", sendTimeout)
		}
		return fmt.Errorf("send to %s: %w", u.Host, err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer)) // what it says does not matter
	return judge(res, u.Host)
}

// judge says what an answer means.
func judge(res *http.Response, host string) error {
	e := &sendError{err: fmt.Errorf("send to %s: HTTP %d", host, res.StatusCode)}
	switch code := res.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code >= 300 && code < 400:
		e.err = fmt.Errorf("send to %s: HTTP %d: redirects are not followed", host, code)
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge, code == http.StatusUnprocessableEntity:
		e.refused = true // of this message; another one may be taken
	}
	if seconds, err := strconv.ParseUint(strings.TrimSpace(res.Header.Get("Retry-After")), 10, 31); err == nil {
		e.after = min(time.Duration(seconds)*time.Second, maxPatience)
	}
	return e
}

// Sign is the value of SignatureHeader for a body.
func Sign(secret, body []byte) string {
	h := hmac.New(sha256.New, secret)
	_, _ = h.Write(body)
	return "sha256=" + hex.EncodeToString(h.Sum(nil))
}

// CheckURL says whether something may be told there: over TLS, or on this
// machine. Its error does not repeat the URL.
func CheckURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("the receiver's URL is not of the form https://HOST/PATH")
	case u.User != nil:
		return nil, errors.New("the receiver's URL holds a user or a password: credentials do not belong there")
	case u.Fragment != "":
		return nil, errors.New("the receiver's URL has a fragment, which is not sent")
	case u.Scheme == "http" && !outbound.Loopback(u.Hostname()):
		return nil, errors.New("the receiver's URL is plain http: what is told would pass over the network in plain text")
	}
	return u, nil
}

// authorities are the system's, and those of a file as it is now.
func authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the authorities: %w", err)
	}
	defer func() { _ = f.Close() }()
	pem, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read the authorities: %w", err)
	}
	if len(pem) == 0 { // a file that is named and empty trusts nobody
		return nil, fmt.Errorf("read the authorities: %s is empty", file)
	}
	pool, err := outbound.Authorities(pem)
	if err != nil {
		return nil, fmt.Errorf("read the authorities %s: %w", file, err)
	}
	return pool, nil
}
