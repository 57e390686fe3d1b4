package driverkit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
)

// MaxAnswer is the size in bytes of the largest answer that is read of an
// engine: a list of some 100,000 things.
const MaxAnswer = 256 << 20

// errTooLarge is an answer of more than MaxAnswer.
var errTooLarge = fmt.Errorf("the answer is larger than %d MiB", MaxAnswer>>20)

// Transport is how a driver reaches an HTTP engine: at most conns connections
// (engines refuse floods with 429), which are kept, answers within bounds, and
// no proxy that the environment names. conns zero means
// drivers.DefaultConcurrency; config nil means the system's roots.
func Transport(conns int, config *tls.Config) http.RoundTripper {
	if conns == 0 {
		conns = drivers.DefaultConcurrency
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return bounded{&http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: config, TLSHandshakeTimeout: 10 * time.Second,
		MaxConnsPerHost: conns, MaxIdleConnsPerHost: conns, MaxIdleConns: conns, IdleConnTimeout: 90 * time.Second,
		ForceAttemptHTTP2: true,
	}}
}

// bounded refuses to read more than MaxAnswer of an answer.
type bounded struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		res.Body = &bounding{ReadCloser: res.Body, left: MaxAnswer}
	}
	return res, err
}

type bounding struct {
	io.ReadCloser
	left int64
}

func (b *bounding) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}

// NoRedirects lets a client answer a redirect instead of following it: a token
// does not go where an answer points to.
func NoRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// FailHTTP wraps the failure of a request to an engine in a drivers.Error.
// status is that of the answer, 0 where there was none. err says what the
// engine said; the caller has taken out of it whatever the request held that
// is secret. A drivers.Error passes unchanged, nil too.
func FailHTTP(op, subject string, status int, err error) error {
	var known *drivers.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	e := &drivers.Error{Op: op, Subject: subject, Err: err, Class: classOf(status), Answered: status != 0}
	switch {
	case errors.Is(err, errTooLarge):
		e.Class = drivers.ErrPermanent
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e.Class = drivers.ErrRetryable
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		e.Hint = "the token of this target does not allow it"
	}
	return e
}

// classOf says what to do next of an answer's status.
func classOf(status int) error {
	switch {
	case status == 0:
		return drivers.ErrUnreachable
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return drivers.ErrDenied
	case status == http.StatusConflict, status == http.StatusPreconditionFailed:
		return drivers.ErrStale
	case status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return drivers.ErrUnreachable
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= 500:
		return drivers.ErrRetryable
	case status >= 400:
		return drivers.ErrPermanent
	default:
		return drivers.ErrRetryable
	}
}
