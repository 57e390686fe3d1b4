package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/aplomb-dev/aplomb/internal/driverkit"
)

// maxBody is how many bytes of an answer are read before the connection is
// given up.
const maxBody = 64 << 10

// minInterval keeps a declaration from making the driver do nothing else.
const minInterval = 100 * time.Millisecond

type checkSpec struct {
	HTTP     string `json:"http"`
	TCP      bool   `json:"tcp"`
	Interval string `json:"interval"`
	Timeout  string `json:"timeout"`
	Status   int    `json:"status"`
}

// probe is one check, ready to run. It is comparable: one that did not change
// keeps its results.
type probe struct {
	label    string // "http :8421/health", "tcp :8421"
	url      string // "" for tcp
	endpoint string
	status   int
	interval time.Duration
	timeout  time.Duration
}

func (s serviceSpec) probes() ([]probe, error) {
	var all []probe
	for i, c := range s.Checks {
		p, err := s.probe(c)
		if err != nil {
			return nil, fmt.Errorf("checks[%d]: %w", i, err)
		}
		all = append(all, p)
	}
	return all, nil
}

func (s serviceSpec) probe(c checkSpec) (p probe, err error) {
	p = probe{endpoint: s.endpoint(), status: c.Status}
	if p.status == 0 {
		p.status = http.StatusOK
	}
	if p.interval, err = duration(c.Interval, 5*time.Second); err != nil {
		return p, err
	}
	if p.timeout, err = duration(c.Timeout, 2*time.Second); err != nil {
		return p, err
	}
	p.interval = max(p.interval, minInterval)
	switch {
	case c.HTTP != "" && c.TCP:
		return p, errors.New("both http and tcp")
	case c.TCP:
		p.label = fmt.Sprintf("tcp :%d", s.Port)
		return p, nil
	case c.HTTP == "":
		return p, errors.New("neither http nor tcp")
	}
	return p, p.aim(c.HTTP, s.Port)
}

func duration(text string, fallback time.Duration) (time.Duration, error) {
	if text == "" {
		return fallback, nil
	}
	return driverkit.Duration(text)
}

// aim reads a path on the service's own endpoint, or a URL.
func (p *probe) aim(target string, port int) error {
	if strings.HasPrefix(target, "/") {
		u, err := url.Parse("http://" + p.endpoint + target)
		if err != nil {
			return errors.New("http is no path")
		}
		p.url, p.label = u.String(), fmt.Sprintf("http :%d%s", port, u.Path)
		return nil
	}
	u, err := url.Parse(target)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return errors.New("http is neither a path nor an http or https URL without credentials")
	}
	p.url, p.label = u.String(), u.Scheme+" "+u.Host+u.Path
	return nil
}

// newClient follows no redirect and keeps no connection: a service that
// answered once and accepts no more is not well.
func newClient() *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: maxBody},
	}
}

// run makes the check once and answers "" or why it does not pass.
func (p probe) run(ctx context.Context, client *http.Client) string {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	if p.url == "" {
		return p.dial(ctx)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return "not a request"
	}
	req.Header.Set("User-Agent", "aplomb-check")
	resp, err := client.Do(req)
	if err != nil {
		return reason(err)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxBody))
	err = errors.Join(err, resp.Body.Close())
	switch {
	case resp.StatusCode != p.status:
		return fmt.Sprintf("status %d, want %d", resp.StatusCode, p.status)
	case err != nil:
		return reason(err)
	default:
		return ""
	}
}

func (p probe) dial(ctx context.Context) string {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", p.endpoint)
	if err != nil {
		return reason(err)
	}
	if err := conn.Close(); err != nil {
		return reason(err)
	}
	return ""
}

// reason is short, and repeats nothing that the other end said.
func reason(err error) string {
	var dns *net.DNSError
	var errno syscall.Errno
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "stopped"
	case errors.As(err, &dns):
		return "no such host"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed"
	default:
		return "no proper answer"
	}
}
