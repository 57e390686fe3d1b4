//go:build e2e

package vault

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// clock is a time that tests move.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time       { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) pass(d time.Duration) { c.ahead.Add(int64(d)) }

// approle makes a role of which a login lives that long, and a driver that logs
// in by it.
func (s *server) approle(role map[string]any) (*Driver, *clock) {
	s.Helper()
	s.put("sys/auth/approle", map[string]any{"type": "approle"})
	s.put("sys/policies/acl/aplomb", map[string]any{"policy": `path "*" { capabilities = ["create", "read", "update", "delete", "list", "sudo"] }
path "secret/*" { capabilities = ["deny"] }`})
	role["token_policies"] = []string{"aplomb"}
	s.put("auth/approle/role/aplomb", role)
	id := text(s.do(http.MethodGet, "auth/approle/role/aplomb/role-id", nil)["role_id"])
	secret := schema.NewSecret(text(s.put("auth/approle/role/aplomb/secret-id", map[string]any{})["secret_id"]))
	c, d := &clock{}, s.driver()
	d.Token, d.Now = nil, c.now
	d.Login = &Login{Method: "approle", Role: id, Secret: func() (schema.Secret, error) { return secret, nil }}
	return d, c
}

// look makes n requests at once, all of which must be answered.
func (s *server) look(d *Driver, n int) {
	s.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if _, err := d.Observe(context.Background(), []drivers.Item{{ID: schema.ID{Kind: Policy}, Handle: "policy/none"}}); err != nil {
				s.Error(err)
			}
		})
	}
	wg.Wait()
}

// logins and renewals are counted since the last time.
func (s *server) counted(wantLogins, wantRenewals int) {
	s.Helper()
	logins, renewals := 0, 0
	for request, n := range s.proxy.Requests() {
		switch {
		case strings.HasSuffix(request, "/login"):
			logins += n
		case strings.HasSuffix(request, "/renew-self"):
			renewals += n
		}
	}
	if logins != wantLogins || renewals != wantRenewals {
		s.Errorf("%d logins and %d renewals, want %d and %d", logins, renewals, wantLogins, wantRenewals)
	}
}

// TestLogin: one login for all, renewed at two thirds of its time, and made
// anew where it is revoked or has ended.
func TestLogin(t *testing.T) {
	s := newServer(t)
	d, c := s.approle(map[string]any{"token_period": "1h"})
	s.look(d, 30)
	s.counted(1, 0)
	c.pass(39 * time.Minute)
	s.look(d, 30)
	s.counted(0, 0)
	c.pass(2 * time.Minute)
	s.look(d, 30)
	s.counted(0, 1)
	s.put("auth/token/revoke", map[string]any{"token": d.session.token.Reveal()})
	s.look(d, 30)
	s.counted(1, 0)
	c.pass(2 * time.Hour)
	s.look(d, 30)
	s.counted(1, 0)
	s.put("auth/token/revoke", map[string]any{"token": d.session.token.Reveal()})
	c.pass(45 * time.Minute)
	s.look(d, 1) // it is due for renewal, and cannot be renewed
	s.counted(1, 1)
	token := d.session.token.Reveal()
	nowhere(t, s.log.String(), token)
}

// TestLoginNearsItsEnd: a token that cannot be renewed any longer gives way to
// a new one before it ends.
func TestLoginNearsItsEnd(t *testing.T) {
	s := newServer(t)
	d, c := s.approle(map[string]any{"token_ttl": "1h", "token_max_ttl": "70m", "token_type": "batch"})
	s.look(d, 5)
	s.counted(1, 0)
	c.pass(41 * time.Minute)
	s.look(d, 5)
	s.counted(1, 0)
}

// TestLoginIsDenied: what the token may not do costs no logins, and a login
// that is refused says so without its secret.
func TestLoginIsDenied(t *testing.T) {
	s := newServer(t)
	d, _ := s.approle(map[string]any{"token_ttl": "1h"})
	for range 5 {
		states, err := d.Observe(t.Context(), []drivers.Item{{ID: schema.ID{Kind: KV}, Handle: "kv/secret/data/web"}})
		if err != nil || !errors.Is(states[0].Err, drivers.ErrDenied) {
			t.Fatalf("%v %v", states, err)
		}
	}
	s.counted(1, 0)
	token := d.session.token
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if _, err := d.send(t.Context(), call{path: "auth/token/lookup-self"}, token); status(err) != http.StatusForbidden {
		t.Errorf("the token of a login that was given back: %v", err)
	}
	const wrong = "c4n4ry-secret-id"
	bad := s.driver()
	bad.Token, bad.Login = nil, &Login{Method: "approle", Role: d.Login.Role, Secret: func() (schema.Secret, error) { return schema.NewSecret(wrong), nil }}
	many := make([]drivers.Item, 50)
	for i := range many {
		many[i] = drivers.Item{ID: schema.ID{Kind: Policy}, Handle: fmt.Sprintf("policy/p%d", i)}
	}
	if states, err := bad.Observe(t.Context(), many); err == nil && !errors.Is(states[49].Err, drivers.ErrDenied) {
		t.Errorf("a refused login of many answers %v", states[49].Err)
	}
	s.counted(1, 0) // one for all of them
	_, err := bad.Observe(t.Context(), []drivers.Item{{ID: schema.ID{Kind: Mount}, Handle: "mount/x"}})
	if !errors.Is(err, drivers.ErrDenied) || drivers.HintOf(err) == "" {
		t.Errorf("a refused login answers %v", err)
	}
	nowhere(t, fmt.Sprintf("%v %+v %#v", err, err, err)+s.log.String(), wrong)
}

// TestLoginByJWT: with a token that is read at each login.
func TestLoginByJWT(t *testing.T) {
	s := newServer(t)
	key, public := signingKey(t)
	s.put("sys/auth/jwt", map[string]any{"type": "jwt"})
	s.put("auth/jwt/config", map[string]any{"jwt_validation_pubkeys": public})
	s.put("sys/policies/acl/aplomb", map[string]any{"policy": `path "*" { capabilities = ["read", "list"] }`})
	s.put("auth/jwt/role/aplomb", map[string]any{"role_type": "jwt", "user_claim": "sub", "bound_audiences": "vault.io", "token_policies": "aplomb"})
	d := s.driver()
	d.Token, d.Login = nil, &Login{Method: "jwt", Role: "aplomb", Secret: func() (schema.Secret, error) { return sign(t, key), nil }}
	s.look(d, 10)
	s.counted(1, 0)
}

func signingKey(t *testing.T) (*ecdsa.PrivateKey, string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	drivertest.Must(t, err)
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	drivertest.Must(t, err)
	return key, strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
}

// sign makes a JWT.
func sign(t *testing.T, key *ecdsa.PrivateKey) schema.Secret {
	part := func(v any) string {
		js, err := json.Marshal(v)
		drivertest.Must(t, err)
		return base64.RawURLEncoding.EncodeToString(js)
	}
	now := time.Now().Unix()
	body := part(map[string]any{"alg": "ES256"}) + "." + part(map[string]any{"sub": "aplomb", "aud": "vault.io", "iat": now, "nbf": now - 5, "exp": now + 300})
	sum := sha256.Sum256([]byte(body))
	r, w, err := ecdsa.Sign(rand.Reader, key, sum[:])
	drivertest.Must(t, err)
	signature := append(r.FillBytes(make([]byte, 32)), w.FillBytes(make([]byte, 32))...)
	return schema.NewSecret(body + "." + base64.RawURLEncoding.EncodeToString(signature))
}
