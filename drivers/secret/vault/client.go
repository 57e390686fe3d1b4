package vault

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// call is one request.
type call struct {
	op      string // for errors: "read", "write"
	method  string // empty: GET
	path    string // below /v1/
	query   string
	body    map[string]any
	secrets []schema.Secret // that body holds: nothing of them is in an error
}

// answer is what Vault says.
type answer struct {
	Data map[string]any `json:"data"`
	Auth *struct {
		ClientToken   string `json:"client_token"`
		LeaseDuration int64  `json:"lease_duration"`
		Renewable     bool   `json:"renewable"`
	} `json:"auth"`
	Errors []string `json:"errors"`
}

// refusal is an answer that is an error.
type refusal struct {
	status int
	text   string // scrubbed
}

func (r *refusal) Error() string {
	if r.text == "" {
		return fmt.Sprintf("Vault answered %d", r.status)
	}
	return fmt.Sprintf("Vault answered %d: %s", r.status, r.text)
}

// says tells whether err is an answer of Vault that holds one of these texts.
func says(err error, texts ...string) bool {
	var r *refusal
	if !errors.As(err, &r) {
		return false
	}
	for _, t := range texts {
		if strings.Contains(r.text, t) {
			return true
		}
	}
	return false
}

func status(err error) int {
	var r *refusal
	if errors.As(err, &r) {
		return r.status
	}
	return 0
}

// do makes a request with the driver's token. A token that Vault does not know
// any more is replaced once by a new login.
func (d *Driver) do(ctx context.Context, c call) (*answer, error) {
	d.setup()
	for again := false; ; again = true {
		token, login, err := d.token(ctx)
		if err != nil {
			return nil, err
		}
		a, err := d.send(ctx, c, token)
		if status(err) == http.StatusForbidden && !again {
			fresh, lost := d.rejected(ctx, login, err)
			if lost != nil {
				return nil, lost
			}
			if fresh {
				continue
			}
		}
		return a, c.fail(err)
	}
}

// get reads a path; nil where nothing is there.
func (d *Driver) get(ctx context.Context, path string) (map[string]any, error) {
	a, err := d.do(ctx, call{op: "read", path: path})
	if status(err) == http.StatusNotFound && !says(err, unsupported) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return a.Data, nil
}

// list answers the keys below a path; none where nothing is there.
func (d *Driver) list(ctx context.Context, path string) ([]string, error) {
	a, err := d.do(ctx, call{op: "list", path: path, query: "list=true"})
	if status(err) == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return texts(a.Data["keys"]), nil
}

func (d *Driver) write(ctx context.Context, path string, body map[string]any, secrets ...schema.Secret) (*answer, error) {
	return d.do(ctx, call{op: "write", method: http.MethodPost, path: path, body: body, secrets: secrets})
}

func (d *Driver) erase(ctx context.Context, path string) error {
	_, err := d.do(ctx, call{op: "delete", method: http.MethodDelete, path: path})
	if status(err) == http.StatusNotFound {
		return nil
	}
	return err
}

// send makes one request. Its error is a refusal, or the network's without the
// URL.
func (d *Driver) send(ctx context.Context, c call, token schema.Secret) (*answer, error) {
	var body io.Reader
	if c.body != nil {
		text, err := driverkit.Text(c.body)
		if err != nil {
			return nil, errors.New("the fields cannot be written as JSON")
		}
		body = bytes.NewReader(text)
	}
	if d.base == nil {
		return nil, errors.New("the address of this target is no URL")
	}
	u := *d.base
	u.Path, u.RawQuery = u.Path+c.path, c.query
	method := c.method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, errors.New("the path makes no URL")
	}
	req.Header.Set("X-Vault-Request", "true")
	if t := token.Reveal(); t != "" {
		req.Header.Set("X-Vault-Token", t)
	}
	if d.Namespace != "" {
		req.Header.Set("X-Vault-Namespace", d.Namespace)
	}
	res, err := d.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, err
	}
	return c.read(res)
}

// read takes an answer to its end, so that the connection is used again.
func (c call) read(res *http.Response) (*answer, error) {
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("the answer broke off: %w", err)
	}
	var a answer
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	bad := len(bytes.TrimSpace(text)) > 0 && dec.Decode(&a) != nil
	switch {
	case res.StatusCode >= 300:
		said := strings.Join(a.Errors, "; ")
		if bad {
			said = "" // a proxy's page: it says nothing of Vault
		}
		return nil, &refusal{res.StatusCode, scrub(said, c.secrets)}
	case bad:
		return nil, errors.New("the answer is no JSON")
	}
	return &a, nil
}

// What Vault says, where its status does not tell enough.
const (
	unsupported = "unsupported path"
	noRoute     = "no handler for route"
	upgrading   = "Upgrading from non-versioned"
	casMismatch = "check-and-set parameter did not match"
)

// fail wraps an error with its class and a hint.
func (c call) fail(err error) error {
	err = driverkit.FailHTTP(c.op, c.path, status(err), err)
	var e *drivers.Error
	if !errors.As(err, &e) || e.Err == nil {
		return err
	}
	switch s := status(err); {
	case says(err, upgrading):
		e.Class = drivers.ErrWaiting
	case says(err, casMismatch, "path is already in use", "issuer name already in use"):
		e.Class = drivers.ErrStale
	case says(err, "failed to revoke"):
		e.Class, e.Hint = drivers.ErrRetryable, "credentials that were given out cannot be taken back: see vault lease revoke -force -prefix"
	case says(err, noRoute):
		e.Class, e.Hint = drivers.ErrRetryable, "nothing is mounted there: declare the mount, and let this need it"
	case says(err, unsupported):
		e.Class, e.Hint = drivers.ErrPermanent, "the mount has no such path; a role says by its type whose role it is"
	case s == http.StatusBadRequest && says(err, "verifying connection", "dial tcp", "connection refused", "i/o timeout", "checking jwks URL", "checking oidc discovery URL"):
		e.Class = drivers.ErrRetryable // it asked another server, which may come up
	case s == http.StatusPreconditionFailed:
		e.Class = drivers.ErrRetryable // a standby that lags behind
	case s == 472, s == 473:
		e.Class, e.Hint = drivers.ErrUnreachable, "this Vault is a standby that takes no writes"
	case s >= 300 && s < 400:
		e.Class, e.Hint = drivers.ErrUnreachable, "it redirects, and a token does not follow: name the active node, or a load balancer"
	}
	return err
}

// texts reads a list of strings.
func texts(v any) []string {
	var all []string
	list, _ := v.([]any)
	for _, e := range list {
		if s, ok := e.(string); ok {
			all = append(all, s)
		}
	}
	return all
}

func text(v any) string {
	s, _ := v.(string)
	return s
}
