package forge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/aplomb-dev/aplomb/schema"
)

// maxAnswer bounds what a forge may answer; a page of a list has some 100 KiB.
const maxAnswer = 8 << 20

// transport is what the forges share: who we are, whom we speak to, how often,
// how long, how much, and what an answer means.
type transport struct {
	home       *url.URL
	credential Credential
	timeout    time.Duration
	slots      chan struct{}
	base       *trusting
	limits     limits
	cache      cache
}

var _ http.RoundTripper = (*transport)(nil)

// RoundTrip asks, and reads the whole answer.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	body := req.Body
	if body != nil {
		defer func() { _ = body.Close() }() // RoundTrip must, whatever comes
	}
	if !t.stays(req.URL) {
		return nil, elsewhere(req.URL)
	}
	ctx, cancel := context.WithTimeout(req.Context(), t.timeout)
	defer cancel()
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		return nil, t.broken(req.Context(), ctx.Err())
	}
	if at, wait := t.limits.at(time.Now()); wait {
		return nil, limited(at, "")
	}
	return t.ask(req, ctx)
}

// ask makes the request in ctx, which ends before that of req.
func (t *transport) ask(req *http.Request, ctx context.Context) (*http.Response, error) {
	asked := req.Clone(ctx)
	asked.Header.Set("User-Agent", "aplomb")
	asked.Header.Del("Authorization")
	var token schema.Secret
	if t.credential != nil {
		var err error
		if token, err = t.credential.Token(ctx); err != nil {
			return nil, err
		}
		asked.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	key := cacheKey(req)
	old, have := t.cache.get(key)
	if have {
		asked.Header.Set("If-None-Match", old.header.Get("ETag"))
	}
	got, err := t.exchange(asked)
	if err != nil {
		return nil, t.broken(req.Context(), err)
	}
	switch limit := t.limits.see(got, time.Now()); {
	case limit:
		at, _ := t.limits.at(time.Now())
		return nil, limited(at, said(got, token))
	case got.status == http.StatusNotModified && have:
		return old.response(req), nil
	case got.status == http.StatusUnauthorized:
		if r, ok := t.credential.(Rejectable); ok {
			r.Rejected(token)
		}
		return nil, judge(got, token)
	case got.status >= 400:
		return nil, judge(got, token)
	}
	t.cache.put(key, got)
	return got.response(req), nil
}

// exchange sends a request and reads a bounded answer.
func (t *transport) exchange(req *http.Request) (answer, error) {
	next, err := t.base.current()
	if err != nil {
		return answer{}, err
	}
	res, err := next.RoundTrip(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return answer{}, fmt.Errorf("read the answer: %w", err)
	}
	if len(b) > maxAnswer {
		return answer{}, &Error{Class: ErrRefused, Err: fmt.Errorf("the answer is larger than %d bytes", maxAnswer)}
	}
	if !linked(res.Header) {
		return answer{}, errors.New("the answer says malformed things about further pages")
	}
	return answer{status: res.StatusCode, header: res.Header, body: b}, nil
}

// linked says whether the links to other pages are such as the forges' clients
// expect: one of them falls over a parameter without a value. A link that is
// passed over would cut a list.
func linked(h http.Header) bool {
	for _, line := range h.Values("Link") {
		for link := range strings.SplitSeq(line, ",") {
			if _, parameters, more := strings.Cut(link, ";"); more {
				if first, _, _ := strings.Cut(parameters, ";"); !strings.Contains(first, "=") {
					return false
				}
			}
		}
	}
	return true
}

// broken is the error of an exchange that came to no answer. outer is the
// context of the caller, whose end is the caller's own doing.
func (t *transport) broken(outer context.Context, err error) error {
	if outer.Err() != nil {
		return outer.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %s", t.timeout)
	}
	if Class(err) != nil {
		return err
	}
	return &Error{Class: ErrUnreachable, Err: err}
}

// stays says whether an address is on the server: what goes there carries the
// token.
func (t *transport) stays(u *url.URL) bool {
	return u.Scheme == t.home.Scheme && strings.EqualFold(u.Host, t.home.Host) && u.User == nil
}

// redirect says whether to follow one, before anything is sent.
func (t *transport) redirect(req *http.Request, via []*http.Request) error {
	switch {
	case !t.stays(req.URL):
		return elsewhere(req.URL)
	case via[0].Method != http.MethodGet || req.Method != http.MethodGet:
		// net/http would turn it into a read, whose answer looks like success.
		return &Error{Class: ErrGone, Err: errors.New("the server redirects what was to be written"), Help: moved}
	case len(via) > 5:
		return &Error{Class: ErrRefused, Err: errors.New("the server redirects in circles")}
	}
	return nil
}

const moved = "if the repository moved, configure its new address"

func elsewhere(u *url.URL) error {
	return &Error{Class: ErrRefused, Err: fmt.Errorf("the server redirects to another host: %s", printable(u.Host, 253)), Help: moved}
}

func limited(at time.Time, why string) error {
	text := "asked too often; again at " + at.UTC().Format(time.TimeOnly) + " UTC"
	if why != "" {
		text += ": " + why
	}
	return &Error{Class: ErrLimited, Err: errors.New(text), At: at}
}

// judge gives an answer of 400 and above its class.
func judge(a answer, token schema.Secret) error {
	e := &Error{Class: ErrRefused, Err: errors.New(said(a, token))}
	switch {
	case a.status == http.StatusUnauthorized:
		e.Class, e.Help = ErrDenied, "the token is wrong, was withdrawn or has expired"
	case a.status == http.StatusForbidden || a.status == http.StatusUnavailableForLegalReasons:
		e.Class, e.Help = ErrDenied, "the token may not do this: see docs/forges.md for what it needs"
	case a.status == http.StatusNotFound || a.status == http.StatusGone:
		e.Class, e.Help = ErrGone, "it is not there, or the token may not see it: forges do not tell which"
	case a.status == http.StatusRequestTimeout || a.status >= 500:
		e.Class = ErrUnreachable
	}
	return e
}

// maxSaid bounds what is repeated of a server's own words.
const maxSaid = 300

// said is what the server gave as reason. It may repeat what it was sent.
func said(a answer, token schema.Secret) string {
	var body struct {
		Message any `json:"message"` // GitHub, Gitea: a text; GitLab: that, a list, or texts by field
		Error   any `json:"error"`   // GitLab
		Errors  any `json:"errors"`  // GitHub
	}
	text := "HTTP " + strconv.Itoa(a.status)
	if json.Unmarshal(a.body, &body) == nil {
		for _, v := range []any{body.Message, body.Error, body.Errors} {
			if s, ok := v.(string); ok && s != "" {
				text += ": " + s
			} else if b, err := json.Marshal(v); err == nil && v != nil && v != "" {
				text += ": " + string(b)
			}
		}
	}
	if plain := token.Reveal(); plain != "" {
		text = strings.ReplaceAll(text, plain, schema.Redacted)
	}
	return printable(text, maxSaid)
}

// printable is text from outside on one line, at most so many letters.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	return Clip(strings.Join(strings.Fields(s), " "), most)
}
