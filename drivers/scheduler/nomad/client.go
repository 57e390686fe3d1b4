package nomad

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/nomad/api"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
)

// streams is how many connections stay open to hear of changes: the events,
// the namespaces, the variables.
const streams = 4

// callTime bounds one request that is no blocking one.
const callTime = time.Minute

func (d *Driver) dial(conns int) (*api.Client, error) {
	if d.URL == "" {
		return nil, driverkit.Refuse("reach", "nomad", errors.New("no address is configured"), "")
	}
	client := &http.Client{Transport: driverkit.Transport(conns, d.TLS), CheckRedirect: driverkit.NoRedirects}
	c, err := api.NewClient(&api.Config{Address: d.URL, Region: d.Region, HttpClient: client})
	if err != nil {
		return nil, driverkit.Refuse("reach", d.URL, err, "")
	}
	return c, nil
}

// query is how one read is made; namespace may be api.AllNamespacesNamespace.
func (d *Driver) query(ctx context.Context, namespace string) (*api.QueryOptions, error) {
	token, err := d.token()
	if err != nil {
		return nil, err
	}
	return (&api.QueryOptions{Namespace: namespace, AuthToken: token}).WithContext(ctx), nil
}

// write is how one write is made.
func (d *Driver) write(ctx context.Context, namespace string) (*api.WriteOptions, error) {
	token, err := d.token()
	if err != nil {
		return nil, err
	}
	return (&api.WriteOptions{Namespace: namespace, AuthToken: token}).WithContext(ctx), nil
}

func (d *Driver) token() (string, error) {
	if err := d.setup(); err != nil {
		return "", err
	}
	if d.Token == nil {
		return "", nil
	}
	s, err := d.Token()
	if err != nil {
		return "", &drivers.Error{Op: "read token", Subject: d.URL, Class: drivers.ErrDenied, Err: err}
	}
	return s.Reveal(), nil
}

// bounded is ctx with an end.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, callTime)
}

// enforced begins Nomad's answer to a registration with another index.
const enforced = "Enforcing job modify index"

// lasting are answers with status 500 that will be the same again: Nomad
// codes few of its refusals.
var lasting = regexp.MustCompile(`(?i)errors? occurred:|error in job mutator|validation|invalid|cannot update|can't|missing|must be|nonexistent|does not exist|not allowed|unsupported|not supported|read-only|failed to parse`)

// passing are answers with status 500 that will pass, whatever else they say.
var passing = regexp.MustCompile(`(?i)no cluster leader|no path to region|rpc error: (eof|failed to|rpc)|leadership|timeout|timed out|connection|context deadline|not ready|broken`)

// fail classes the failure of a request; nil stays nil.
func fail(op, subject string, err error) error {
	if err == nil {
		return nil
	}
	var known *drivers.Error
	if errors.As(err, &known) {
		return err
	}
	var conflict api.ErrCASConflict
	if errors.As(err, &conflict) {
		return driverkit.Stale(op, subject)
	}
	var answer api.UnexpectedResponseError
	if !errors.As(err, &answer) || !answer.HasStatusCode() {
		return driverkit.FailHTTP(op, subject, 0, unwrapURL(err))
	}
	status, body := answer.StatusCode(), strings.TrimSpace(answer.Body())
	said := errors.New(orElse(clip(body), http.StatusText(status)))
	switch {
	case strings.Contains(body, enforced):
		return &drivers.Error{Op: op, Subject: subject, Class: drivers.ErrStale, Err: said, Answered: true}
	case status == http.StatusInternalServerError && !passing.MatchString(body) && lasting.MatchString(body):
		return &drivers.Error{Op: op, Subject: subject, Class: drivers.ErrPermanent, Err: said, Answered: true}
	}
	return driverkit.FailHTTP(op, subject, status, said)
}

// isStatus says whether err is an answer with this status.
func isStatus(err error, status int) bool {
	var answer api.UnexpectedResponseError
	return errors.As(err, &answer) && answer.StatusCode() == status
}

// unwrapURL drops the query from what net/http says of a failed request.
func unwrapURL(err error) error {
	return &quoted{clip(strings.TrimSpace(queryRE.ReplaceAllString(err.Error(), ""))), err}
}

// quoted is an error in other words.
type quoted struct {
	text string
	err  error
}

func (q *quoted) Error() string { return q.text }

func (q *quoted) Unwrap() error { return q.err }

var queryRE = regexp.MustCompile(`\?[^\s"]*`)

// clip bounds what is repeated of a text.
func clip(s string) string { return driverkit.Clip(s, 2000) }
