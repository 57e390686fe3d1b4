package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

var _ reconciler.Control = (*Client)(nil)

// Client speaks to one environment of a daemon; it is a reconciler.Control.
// Methods of that interface which cannot return an error answer the zero value
// when the daemon does not answer, and Err says why: ask it after them. Safe
// for concurrent use.
type Client struct {
	*Daemon
	path string // of the environment's routes

	mu  sync.Mutex
	err error
}

// Err is why the last method without an error of its own had no answer, or nil.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *Client) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// plain makes a call for a method that has neither context nor error.
func (c *Client) plain(method, path string, out any) {
	ctx, cancel := context.WithTimeout(context.Background(), CallTimeout)
	defer cancel()
	c.failed(c.call(ctx, method, c.path+path, nil, nil, out))
}

// ask reads a route of the environment.
func (c *Client) ask(ctx context.Context, path string, q url.Values, out any) error {
	return c.get(ctx, c.path+path, q, out)
}

// Status answers how the environment is; see Err.
func (c *Client) Status() (v reconciler.Status) {
	c.plain(http.MethodGet, "/status", &v)
	return v
}

// Plan answers what would change; see Err.
func (c *Client) Plan() (v reconciler.PlanView) {
	c.plain(http.MethodGet, "/plan", &v)
	return v
}

// Graph answers the order of things; see Err.
func (c *Client) Graph() (v reconciler.GraphView) {
	c.plain(http.MethodGet, "/graph", &v)
	return v
}

// Kick asks for a turn; see Err.
func (c *Client) Kick() { c.plain(http.MethodPost, "/kick", nil) }

// Show answers everything known of one resource.
func (c *Client) Show(id schema.ID) (v reconciler.Detail, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), CallTimeout)
	defer cancel()
	path, q := resourcePath(id)
	return v, c.ask(ctx, path, q, &v)
}

func resourcePath(id schema.ID) (string, url.Values) {
	q := url.Values{}
	if id.Target != "" {
		q.Set("target", id.Target)
	}
	return "/resources/" + url.PathEscape(id.Kind) + "/" + url.PathEscape(id.Name), q
}

// History answers past records, newest first.
func (c *Client) History(ctx context.Context, limit int) (v []reconciler.Record, err error) {
	return v, c.ask(ctx, "/history", limitQuery(limit), &v)
}

// Audit answers the levers that were pulled, newest first.
func (c *Client) Audit(ctx context.Context, limit int) (v []reconciler.AuditEntry, err error) {
	return v, c.ask(ctx, "/audit", limitQuery(limit), &v)
}

// AuditLog answers entries of the audit after one, as they are kept.
func (c *Client) AuditLog(ctx context.Context, after uint64, limit int) (v []json.RawMessage, err error) {
	q := limitQuery(limit)
	q.Set("after", strconv.FormatUint(after, 10))
	return v, c.ask(ctx, "/audit/log", q, &v)
}

func limitQuery(limit int) url.Values {
	return url.Values{"limit": {strconv.Itoa(min(max(limit, 1), MaxLimit))}}
}

func (c *Client) pull(ctx context.Context, path string, l lever, out any) error {
	b, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	return c.call(ctx, http.MethodPost, c.path+path, nil, b, out)
}

// Approve lets pending changes run. For which owners somebody speaks the server
// finds out.
func (c *Client) Approve(ctx context.Context, by string, yes reconciler.Yes) (v []reconciler.PlannedChange, err error) {
	return v, c.pull(ctx, "/approve", lever{By: by, Digest: yes.Digest, Why: yes.Why, Override: yes.Overrides, Outside: yes.Outside}, &v)
}

// Suspend freezes the environment or one resource.
func (c *Client) Suspend(ctx context.Context, by string, id *schema.ID, why string) error {
	return c.pull(ctx, "/suspend", lever{By: by, ID: id, Why: why}, nil)
}

// Resume ends a suspension.
func (c *Client) Resume(ctx context.Context, by string, id *schema.ID, why string) error {
	return c.pull(ctx, "/resume", lever{By: by, ID: id, Why: why}, nil)
}

// Rollback quarantines the tip.
func (c *Client) Rollback(ctx context.Context, by, revision, why string) (v reconciler.Rollback, err error) {
	return v, c.pull(ctx, "/rollback", lever{By: by, Revision: revision, Why: why}, &v)
}

// Down deletes what the environment owns.
func (c *Client) Down(ctx context.Context, by string, also []schema.ID, why string) (v reconciler.Status, err error) {
	return v, c.pull(ctx, "/down", lever{By: by, Also: also, Why: why}, &v)
}

// Services answers the service catalog.
func (c *Client) Services(ctx context.Context) (v []Service, err error) {
	return v, c.ask(ctx, "/services", nil, &v)
}

// Wait blocks until ok says so of the status, or ctx ends. An environment that
// is started again meanwhile, with another configuration, is waited for.
func (c *Client) Wait(ctx context.Context, ok func(reconciler.Status) bool) (reconciler.Status, error) {
	var st reconciler.Status
	err := c.ask(ctx, "/status", nil, &st)
	for err == nil && !ok(st) {
		q := url.Values{"after": {strconv.FormatUint(st.Seq, 10)}}
		st = reconciler.Status{}
		for err = c.ask(ctx, "/status", q, &st); errors.Is(err, ErrNotOpen) && rest(ctx); {
			err = c.ask(ctx, "/status", nil, &st)
		}
	}
	return st, err
}

// rest waits a while before something is asked for again; false if ctx ended.
func rest(ctx context.Context) bool {
	timer := time.NewTimer(RetryEvents)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
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
	res, err := c.do(ctx, http.MethodGet, c.path+path+"/logs", q, nil, nil)
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
