//go:build e2e

package vault

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/schema"
)

func TestMain(m *testing.M) { os.Exit(enginetest.Main(m)) }

const env = "env-1"

// server is the real Vault, emptied, behind a proxy.
type server struct {
	*testing.T
	proxy *enginetest.Proxy
	root  *Driver // a client of its own, past the proxy
	token atomic.Pointer[schema.Secret]
	log   drivertest.Log
}

// fixtures are what every case finds: not what it made.
var fixtures = []string{"mount/secret", "mount/pki", "mount/transit", "mount/database", "auth/approle", "auth/userpass", "auth/jwt", "policy/reader", "password-policy/letters"}

func newServer(t *testing.T) *server {
	v := enginetest.Vault(t)
	s := &server{T: t, proxy: enginetest.NewProxy(t, v.Address)}
	root := schema.NewSecret(v.Token)
	s.token.Store(&root)
	s.root = &Driver{Env: "root", URL: v.Address, Token: func() (schema.Secret, error) { return root, nil }, Fingerprint: drivertest.Fingerprint}
	s.reset()
	return s
}

// driver is a new client of the engine.
func (s *server) driver() *Driver {
	return &Driver{Env: env, URL: s.proxy.Address, Token: func() (schema.Secret, error) { return *s.token.Load(), nil },
		Fingerprint: drivertest.Fingerprint, Log: s.log.Logger()}
}

// reset leaves nothing but KV version 2 at secret/, as Vault was at first.
func (s *server) reset() {
	ctx := context.Background()
	s.put("sys/leases/revoke-force/database", nil)
	all, err := s.root.List(ctx)
	drivertest.Must(s, err)
	for _, st := range all {
		path := strings.NewReplacer("mount/", "sys/mounts/", "auth/", "sys/auth/", "password-policy/", "sys/policies/password/", "policy/", "sys/policies/acl/").Replace(st.Handle)
		if st.Handle == "mount/secret" || strings.HasPrefix(st.Handle, "kv/") {
			continue
		}
		s.do(http.MethodDelete, path, nil)
	}
	paths, err := s.root.walk(ctx, "secret", "", 0)
	drivertest.Must(s, err)
	for _, p := range paths {
		s.do(http.MethodDelete, "secret/metadata/"+p, nil)
	}
}

// do makes a request behind the driver's back.
func (s *server) do(method, path string, body any) map[string]any {
	s.Helper()
	c := call{op: "test", method: method, path: path}
	if body != nil {
		js, err := json.Marshal(body)
		drivertest.Must(s, err)
		c.body = map[string]any{}
		drivertest.Must(s, json.Unmarshal(js, &c.body))
	}
	a, err := s.root.do(s.Context(), c)
	if status(err) == http.StatusNotFound {
		return nil
	}
	drivertest.Must(s, err)
	return a.Data
}

func (s *server) put(path string, body any) map[string]any {
	s.Helper()
	return s.do(http.MethodPost, path, body)
}

// listing is a driver whose List leaves out what the cases find there.
type listing struct{ *Driver }

func (l listing) List(ctx context.Context) ([]drivers.State, error) {
	all, err := l.Driver.List(ctx)
	return slices.DeleteFunc(all, func(s drivers.State) bool { return slices.Contains(fixtures, s.Handle) }), err
}

// engine are the hooks that all kinds share.
func (s *server) engine() *drivertest.Engine {
	reader := s.reader()
	root := *s.token.Load()
	return &drivertest.Engine{
		New: func(*testing.T) drivers.Driver { return listing{s.driver()} },
		Reach: func(reachable bool) {
			s.proxy.Meddle(nil)
			if !reachable {
				s.proxy.Meddle(func(*http.Request) enginetest.Fault { return enginetest.Refuse })
			}
		},
		Deny: func(denied bool) {
			s.token.Store(&root)
			if denied {
				s.token.Store(&reader)
			}
		},
		Log: s.log.String,
	}
}

// reader is a token that may write nothing.
func (s *server) reader() schema.Secret {
	s.put("sys/policies/acl/reader", map[string]any{"policy": `path "*" { capabilities = ["read", "list"] }`})
	a, err := s.root.do(s.Context(), call{method: http.MethodPost, path: "auth/token/create", body: map[string]any{"policies": []string{"reader"}}})
	drivertest.Must(s, err)
	return schema.NewSecret(a.Auth.ClientToken)
}
