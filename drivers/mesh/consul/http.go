package consul

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// client makes requests to Consul's API. It takes the API's types from
// Consul's own package, and nothing from the environment.
type client struct {
	base  *url.URL
	token func() (schema.Secret, error)
	http  *http.Client
}

// request is one of them.
type request struct {
	op, subject string // for errors: "read", "kv/a"
	method      string
	path        string // below /v1, escaped
	query       url.Values
	body        any   // []byte goes as it is, anything else as JSON
	also        []int // statuses other than 200 that are no failure
}

// answer is what came back, whole.
type answer struct {
	status int
	index  uint64 // of a blocking query
	hidden bool   // the token may not see all of what was asked for: what is missing may be there
	body   []byte
}

// newClient checks an address.
func newClient(address string, token func() (schema.Secret, error), transport http.RoundTripper) (*client, error) {
	base, err := url.Parse(strings.TrimSuffix(address, "/"))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, driverkit.Refuse("reach", "Consul", errors.New("the address is no http:// or https:// URL"), "")
	}
	return &client{base: base, token: token, http: &http.Client{Transport: transport, CheckRedirect: driverkit.NoRedirects}}, nil
}

// do makes a request. What Consul refuses is an error that says what to do.
func (c *client) do(ctx context.Context, r request) (answer, error) {
	req, token, err := c.build(ctx, r)
	if err != nil {
		return answer{}, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, driverkit.FailHTTP(r.op, r.subject, 0, scrub(cause(err), token))
	}
	defer func() { _ = res.Body.Close() }() // it was read
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, brokeOff(r, scrub(err, token))
	}
	a := answer{status: res.StatusCode, hidden: res.Header.Get("X-Consul-Results-Filtered-By-ACLs") == "true", body: body}
	a.index, _ = strconv.ParseUint(res.Header.Get("X-Consul-Index"), 10, 64) // only blocking queries have one
	if a.status != http.StatusOK && !slices.Contains(r.also, a.status) {
		return a, refusal(r.op, r.subject, a.status, scrub(errors.New(said(body)), token))
	}
	return a, nil
}

// unseen is what is not in an answer that the token may not see all of: it is
// never taken for gone.
func unseen(op, handle string) error {
	return &drivers.Error{Op: op, Subject: handle, Class: drivers.ErrDenied, Err: errors.New("some of what was asked for is hidden by Consul"), Hint: "the token of this target may not read it", Answered: true}
}

// brokeOff is an answer that ended in its middle: Consul is within reach, and
// asking again may do.
func brokeOff(r request, err error) error {
	err = driverkit.FailHTTP(r.op, r.subject, 0, fmt.Errorf("the answer broke off: %w", err))
	var e *drivers.Error
	if errors.As(err, &e) && errors.Is(e.Class, drivers.ErrUnreachable) {
		e.Class = drivers.ErrRetryable
	}
	return err
}

// build makes the request itself, and answers the token that it carries.
func (c *client) build(ctx context.Context, r request) (*http.Request, string, error) {
	u := *c.base
	u.RawPath = u.EscapedPath() + "/v1/" + r.path
	plain, err := url.PathUnescape(u.RawPath)
	if err != nil {
		return nil, "", driverkit.Refuse(r.op, r.subject, errors.New("no path of Consul"), "")
	}
	u.Path, u.RawQuery = plain, r.query.Encode()
	var body io.Reader
	switch b := r.body.(type) {
	case nil:
	case []byte:
		body = bytes.NewReader(b)
	default:
		text, err := driverkit.Text(b)
		if err != nil {
			return nil, "", driverkit.Refuse(r.op, r.subject, err, "")
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), body)
	if err != nil {
		return nil, "", driverkit.Refuse(r.op, r.subject, cause(err), "")
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token == nil {
		return req, "", nil
	}
	token, err := c.token()
	if err != nil {
		return nil, "", &drivers.Error{Op: "read the token for", Subject: r.subject, Class: drivers.ErrDenied, Err: err, Hint: "see the target's token file"}
	}
	if token.Reveal() != "" {
		req.Header.Set("X-Consul-Token", token.Reveal())
	}
	return req, token.Reveal(), nil
}

// get reads JSON. A 404 is no error where r.also allows it; v is then left as
// it was.
func (c *client) get(ctx context.Context, r request, v any) (answer, error) {
	r.method = http.MethodGet
	a, err := c.do(ctx, r)
	if err != nil || a.status != http.StatusOK {
		return a, err
	}
	return a, decode(r, a.body, v)
}

// decode reads an answer.
func decode(r request, body []byte, v any) error {
	if err := json.Unmarshal(body, v); err != nil {
		return &drivers.Error{Op: r.op, Subject: r.subject, Class: drivers.ErrRetryable, Err: fmt.Errorf("what Consul answers is not understood: %w", err), Answered: true}
	}
	return nil
}

// mostSaid is how many bytes of a refusal are told.
const mostSaid = 1 << 10

// said is the text of a refusal, on one line.
func said(body []byte) string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(body), "")), " ")
	if len(text) > mostSaid {
		text = strings.ToValidUTF8(text[:mostSaid], "") + "…"
	}
	if text == "" {
		return "Consul says no more"
	}
	return text
}

// cause drops the URL that an error of net/http begins with.
func cause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// scrubbed is an error whose text held the token.
type scrubbed string

func (s scrubbed) Error() string { return string(s) }

// scrub takes the token out of an error's text, in whatever form.
func scrub(err error, token string) error {
	text := driverkit.NewScrubber(schema.NewSecret(token)).Scrub(err.Error())
	if text == err.Error() {
		return err
	}
	return scrubbed(text)
}
