package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// Login is how a driver gets a token of its own. There is one for each driver:
// it is renewed at two thirds of its time, and made again where Vault does not
// know it any more.
type Login struct {
	Method string                        // "jwt", "kubernetes" or "approle"; required
	Mount  string                        // of the auth method; empty: its name
	Role   string                        // the role, or an approle's role_id
	Secret func() (schema.Secret, error) // the JWT, or the secret_id: read at each login; required but for an approle without secret_id
}

// session is the driver's one login.
type session struct {
	free      chan struct{} // holds one entry while somebody works on it: waiting for it ends with a context
	token     schema.Secret
	number    int // counts logins
	lasts     time.Duration
	renewable bool
	renewAt   time.Time // zero: never
	expires   time.Time // zero: never
	refused   error     // what the last login was denied with
	refusedAt time.Time
	doubted   time.Time // when a refusal last made a new login without Vault having said that the token is unknown
}

// doubtEvery is how often a refusal that may mean a lost token may cost a
// login: elsewhere such logins have flooded Vault with leases.
const doubtEvery = time.Minute

// deniedFor is how long a denied login stands for those who ask next: of many
// requests at once only one logs in.
const deniedFor = 5 * time.Second

func (s *session) lock(ctx context.Context) error {
	select {
	case s.free <- struct{}{}:
		return nil
	case <-ctx.Done():
		return driverkit.FailHTTP("log in", "vault", 0, context.Cause(ctx))
	}
}

func (s *session) unlock() { <-s.free }

// token is what a request is made with, and the number of the login it is of.
func (d *Driver) token(ctx context.Context) (schema.Secret, int, error) {
	if d.Login == nil {
		if d.Token == nil {
			return schema.Secret{}, 0, nil
		}
		t, err := d.Token()
		if err != nil {
			return t, 0, &drivers.Error{Op: "read", Subject: "the token", Class: drivers.ErrDenied, Err: err}
		}
		return t, 0, nil
	}
	s := &d.session
	if err := s.lock(ctx); err != nil {
		return schema.Secret{}, 0, err
	}
	defer s.unlock()
	now := d.Now()
	alive := s.token.Reveal() != "" && (s.expires.IsZero() || now.Before(s.expires))
	switch {
	case !alive:
		if err := d.login(ctx); err != nil {
			return schema.Secret{}, 0, err
		}
	case !s.renewAt.IsZero() && !now.Before(s.renewAt):
		if err := d.renew(ctx); err != nil {
			s.renewAt = now.Add(s.expires.Sub(now) / 3) // the token is good for a while yet
			d.Log.WithError(err).WithField("target", d.URL).Warn("the login could not be renewed")
		}
	}
	return s.token, s.number, nil
}

// rejected judges a refused request that was made with the token of a login:
// whether there is a newer token to try with.
func (d *Driver) rejected(ctx context.Context, login int, refused error) (fresh bool, err error) {
	if d.Login == nil {
		return false, nil
	}
	s := &d.session
	if err := s.lock(ctx); err != nil {
		return false, err
	}
	defer s.unlock()
	if login != s.number {
		return true, nil // somebody has logged in meanwhile
	}
	if !says(refused, "invalid token") { // what OpenBao and older Vaults do not say
		if !s.doubted.IsZero() && d.Now().Sub(s.doubted) < doubtEvery {
			return false, nil
		}
		_, err := d.send(ctx, call{path: "auth/token/lookup-self"}, s.token)
		if status(err) != http.StatusForbidden {
			return false, nil
		}
		s.doubted = d.Now()
	}
	s.token = schema.Secret{}
	return true, d.login(ctx)
}

// renew asks for more time, and logs in anew where there is no more to be had.
func (d *Driver) renew(ctx context.Context) error {
	s := &d.session
	if !s.renewable {
		return d.login(ctx)
	}
	a, err := d.send(ctx, call{method: http.MethodPost, path: "auth/token/renew-self", body: map[string]any{}}, s.token)
	if code := status(err); code == http.StatusForbidden || code == http.StatusBadRequest {
		return d.login(ctx)
	}
	if err != nil {
		return err
	}
	if a.Auth == nil {
		return errors.New("the answer to a renewal holds no token")
	}
	s.take(a, s.token, d.Now())
	if s.lasts > 0 && time.Duration(a.Auth.LeaseDuration)*time.Second < s.lasts/2 {
		s.renewable = false // it nears its longest life
	}
	return nil
}

func (d *Driver) login(ctx context.Context) error {
	l, s := d.Login, &d.session
	if s.refused != nil && d.Now().Sub(s.refusedAt) < deniedFor {
		return s.refused
	}
	s.refused = nil
	c, err := l.call()
	if err != nil {
		return err
	}
	a, err := d.send(ctx, c, schema.Secret{})
	if err != nil {
		err = c.fail(err)
		var e *drivers.Error
		if code := status(err); errors.As(err, &e) && (code == http.StatusBadRequest || code == http.StatusForbidden) {
			e.Class, e.Hint = drivers.ErrDenied, "Vault does not take the login of this target: look at its role and at its "+l.Method
			s.refused, s.refusedAt = err, d.Now()
		}
		return err
	}
	if a.Auth == nil || a.Auth.ClientToken == "" {
		return &drivers.Error{Op: c.op, Subject: c.path, Class: drivers.ErrDenied, Err: errors.New("the answer holds no token")}
	}
	s.number++
	s.take(a, schema.NewSecret(a.Auth.ClientToken), d.Now())
	s.lasts = time.Duration(a.Auth.LeaseDuration) * time.Second
	return nil
}

// closeTime bounds the revocation of a login.
const closeTime = 5 * time.Second

// Close gives the login back, so that no token outlives who uses it: a driver is
// made anew whenever its target's configuration changes. It may be used again.
func (d *Driver) Close() error {
	d.setup()
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	s := &d.session
	if d.Login == nil || s.lock(ctx) != nil {
		return nil // nobody is logged in, or somebody waits for that still
	}
	defer s.unlock()
	if s.token.Reveal() == "" {
		return nil
	}
	_, err := d.send(ctx, call{method: http.MethodPost, path: "auth/token/revoke-self", body: map[string]any{}}, s.token)
	s.token = schema.Secret{}
	if err != nil {
		d.Log.WithError(err).WithField("target", d.URL).Warn("the login could not be given back; its token ends by itself")
	}
	return nil
}

// take notes a token and how long it lives from now.
func (s *session) take(a *answer, token schema.Secret, now time.Time) {
	s.token, s.renewable, s.renewAt, s.expires = token, a.Auth.Renewable, time.Time{}, time.Time{}
	if ttl := time.Duration(a.Auth.LeaseDuration) * time.Second; ttl > 0 {
		s.renewAt, s.expires = now.Add(ttl*2/3), now.Add(ttl)
	}
}

// call is the request that logs in.
func (l *Login) call() (call, error) {
	secret := schema.NewSecret("")
	if l.Secret != nil {
		var err error
		if secret, err = l.Secret(); err != nil {
			return call{}, &drivers.Error{Op: "read", Subject: "the " + l.Method + " of the login", Class: drivers.ErrDenied, Err: err}
		}
	}
	mount := l.Mount
	if mount == "" {
		mount = l.Method
	}
	c := call{op: "log in", method: http.MethodPost, path: "auth/" + mount + "/login", secrets: []schema.Secret{secret}}
	switch l.Method {
	case "jwt", "kubernetes":
		c.body = map[string]any{"role": l.Role, "jwt": secret.Reveal()}
	case "approle":
		c.body = map[string]any{"role_id": l.Role}
		if s := secret.Reveal(); s != "" {
			c.body["secret_id"] = s
		}
	default:
		return c, driverkit.Refuse("log in", "vault", fmt.Errorf("%q is no way to log in", l.Method), "jwt, kubernetes or approle")
	}
	return c, nil
}
