package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

var _ reconciler.Control = (*Client)(nil)

// CallTimeout bounds a call of the Client whose method takes no context.
const CallTimeout = 30 * time.Second

// Client speaks to a Server; it is a reconciler.Control. Methods of that
// interface which cannot return an error answer the zero value when the daemon
// does not answer, and Err says why: ask it after them. Safe for concurrent
// use.
type Client struct {
	http *http.Client

	mu  sync.Mutex
	err error
}

// Dial connects to the socket at path and asks who answers. The error is
// ErrNotRunning where nothing listens there.
func Dial(ctx context.Context, path string) (*Client, Info, error) {
	dialer := net.Dialer{Timeout: DialTimeout}
	c := &Client{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		},
		MaxIdleConns: 4, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
	}}}
	var info Info
	ctx, cancel := context.WithTimeout(ctx, CallTimeout)
	defer cancel()
	if err := c.get(ctx, "/v1/info", nil, &info); err != nil {
		c.Close()
		return nil, Info{}, err
	}
	return c, info, nil
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Err is why the last method without an error of its own had no answer, or nil.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// plain makes a call for a method that has neither context nor error.
func (c *Client) plain(method, path string, out any) {
	ctx, cancel := context.WithTimeout(context.Background(), CallTimeout)
	defer cancel()
	err := c.call(ctx, method, path, nil, nil, out)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// Status answers how the environment is; see Err.
func (c *Client) Status() (v reconciler.Status) {
	c.plain(http.MethodGet, "/v1/status", &v)
	return v
}

// Plan answers what would change; see Err.
func (c *Client) Plan() (v reconciler.PlanView) {
	c.plain(http.MethodGet, "/v1/plan", &v)
	return v
}

// Graph answers the order of things; see Err.
func (c *Client) Graph() (v reconciler.GraphView) {
	c.plain(http.MethodGet, "/v1/graph", &v)
	return v
}

// Kick asks for a turn; see Err.
func (c *Client) Kick() { c.plain(http.MethodPost, "/v1/kick", nil) }

// Show answers everything known of one resource.
func (c *Client) Show(id schema.ID) (v reconciler.Detail, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), CallTimeout)
	defer cancel()
	path, q := resourcePath(id)
	return v, c.get(ctx, path, q, &v)
}

func resourcePath(id schema.ID) (string, url.Values) {
	q := url.Values{}
	if id.Target != "" {
		q.Set("target", id.Target)
	}
	return "/v1/resources/" + url.PathEscape(id.Kind) + "/" + url.PathEscape(id.Name), q
}

// History answers past records, newest first.
func (c *Client) History(ctx context.Context, limit int) (v []reconciler.Record, err error) {
	return v, c.get(ctx, "/v1/history", limitQuery(limit), &v)
}

// Audit answers the levers that were pulled, newest first.
func (c *Client) Audit(ctx context.Context, limit int) (v []reconciler.AuditEntry, err error) {
	return v, c.get(ctx, "/v1/audit", limitQuery(limit), &v)
}

func limitQuery(limit int) url.Values {
	return url.Values{"limit": {strconv.Itoa(min(max(limit, 1), MaxLimit))}}
}

// Approve lets pending changes run.
func (c *Client) Approve(ctx context.Context, by, digest, why string) (v []reconciler.PlannedChange, err error) {
	return v, c.post(ctx, "/v1/approve", lever{By: by, Digest: digest, Why: why}, &v)
}

// Suspend freezes the environment or one resource.
func (c *Client) Suspend(ctx context.Context, by string, id *schema.ID, why string) error {
	return c.post(ctx, "/v1/suspend", lever{By: by, ID: id, Why: why}, nil)
}

// Resume ends a suspension.
func (c *Client) Resume(ctx context.Context, by string, id *schema.ID, why string) error {
	return c.post(ctx, "/v1/resume", lever{By: by, ID: id, Why: why}, nil)
}

// Rollback quarantines the tip.
func (c *Client) Rollback(ctx context.Context, by, revision, why string) (v reconciler.Rollback, err error) {
	return v, c.post(ctx, "/v1/rollback", lever{By: by, Revision: revision, Why: why}, &v)
}

// Down deletes what the environment owns.
func (c *Client) Down(ctx context.Context, by string, also []schema.ID, why string) (v reconciler.Status, err error) {
	return v, c.post(ctx, "/v1/down", lever{By: by, Also: also, Why: why}, &v)
}

// Services answers the service catalog.
func (c *Client) Services(ctx context.Context) (v []Service, err error) {
	return v, c.get(ctx, "/v1/services", nil, &v)
}

// Wait blocks until ok says so of the status, or ctx ends.
func (c *Client) Wait(ctx context.Context, ok func(reconciler.Status) bool) (reconciler.Status, error) {
	var st reconciler.Status
	err := c.get(ctx, "/v1/status", nil, &st)
	for err == nil && !ok(st) {
		after := strconv.FormatUint(st.Seq, 10)
		st = reconciler.Status{}
		err = c.get(ctx, "/v1/status", url.Values{"after": {after}}, &st)
	}
	return st, err
}

// Logs copies what a LogsQuery asks for to w, until the stream or ctx ends.
func (c *Client) Logs(ctx context.Context, lq LogsQuery, w io.Writer) error {
	path, q := resourcePath(lq.ID)
	if lq.Instance != nil {
		q.Set("instance", strconv.Itoa(*lq.Instance))
	}
	q.Set("lines", strconv.Itoa(lq.Lines))
	q.Set("follow", strconv.FormatBool(lq.Follow))
	if lq.JSON {
		q.Set("format", "json")
	}
	res, err := c.do(ctx, http.MethodGet, path+"/logs", q, nil, nil)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(w, res.Body); err != nil {
		return fmt.Errorf("read logs: %w", err)
	}
	if t := res.Trailer.Get(logTrailer); t != "" {
		e := &Error{}
		if json.Unmarshal([]byte(t), e) == nil {
			return e
		}
	}
	return nil
}

func (c *Client) get(ctx context.Context, path string, q url.Values, out any) error {
	return c.call(ctx, http.MethodGet, path, q, nil, out)
}

func (c *Client) post(ctx context.Context, path string, l lever, out any) error {
	b, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	return c.call(ctx, http.MethodPost, path, nil, b, out)
}

func (c *Client) call(ctx context.Context, method, path string, q url.Values, body []byte, out any) error {
	res, err := c.do(ctx, method, path, q, nil, body)
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
func (c *Client) do(ctx context.Context, method, path string, q url.Values, h http.Header, body []byte) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: "aplomb", Path: path, RawQuery: q.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	for k, v := range h {
		req.Header[k] = v
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
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
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("%w: %w", ErrNotRunning, err)
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
