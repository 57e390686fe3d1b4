//go:build e2e

package vault

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/schema"
)

// declare settles a new resource and answers it.
func (s *server) declare(kind, name string, spec any, secrets map[schema.Path]string) *drivertest.Resource {
	s.Helper()
	d := s.driver()
	w := drivers.Desired{Spec: drivertest.JSON(s, spec), Secrets: map[schema.Path]string{}}
	r := drivertest.NewResource(s, d, kind, name, w)
	drivertest.Must(s, d.Check(kind, name, w))
	r.Secrets = map[schema.Path]schema.Secret{}
	for at, plain := range secrets {
		w.Secrets[at], r.Secrets[at] = "@{test.kind/other.secret}", schema.NewSecret(plain)
	}
	r.Settle(schema.Create)
	return r
}

type fields = map[string]any

// TestDatabase: a connection to the real PostgreSQL, with a password by
// reference, and a role that gives credentials. What Vault rotated is not
// undone by repairing something else.
func TestDatabase(t *testing.T) {
	s := newServer(t)
	pg := enginetest.Postgres(t)
	s.declare(Mount, "database", fields{"type": "database"}, nil)
	url := fmt.Sprintf("postgresql://{{username}}:{{password}}@%s/postgres?sslmode=disable", net.JoinHostPort(pg.Host, pg.Port))
	connection := func(name, user, password string) *drivertest.Resource {
		return s.declare(Config, name, fields{
			"path":    "database/config/" + name,
			"fields":  fields{"plugin_name": "postgresql-database-plugin", "connection_url": url, "username": user, "allowed_roles": "*", "password_authentication": "password"},
			"secrets": fields{"password": schema.Token(drivertest.Fingerprint([]byte(password)))},
		}, map[schema.Path]string{"/secrets/password": password})
	}
	connection("root", pg.User, pg.Password)
	s.declare(Role, "admin", fields{"mount": "database", "fields": fields{
		"db_name": "root", "default_ttl": "1h", "max_ttl": "24h",
		"creation_statements": "CREATE ROLE \"{{name}}\" WITH SUPERUSER LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"}}, nil)
	creds := s.do(http.MethodGet, "database/creds/admin", nil)
	user, password := text(creds["username"]), text(creds["password"])
	if user == "" || password == "" {
		t.Fatal("the role gives no credentials")
	}

	r := connection("shop", user, password)
	web := s.declare(Role, "web", fields{"mount": "database", "fields": fields{
		"db_name": "shop", "default_ttl": "1h", "max_ttl": "1d",
		"creation_statements": []string{"CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}';"}}}, nil)
	s.put("database/rotate-root/shop", fields{})
	s.put("database/config/shop", fields{"allowed_roles": []string{"theirs"}})
	r.Driver = s.driver()
	c := r.Plan()
	if c.Action != schema.Update || len(c.Diff) != 1 || c.Diff[0].Path != "/fields/allowed_roles" {
		t.Fatalf("drift of the allowed roles is planned as %s %+v", c.Action, c.Diff)
	}
	r.Settle(schema.Update)
	if again := s.do(http.MethodGet, "database/creds/web", nil); text(again["username"]) == "" {
		t.Error("after the repair the connection gives no credentials")
	}
	// A role takes back what it gave out before it goes: without its connection
	// Vault could not, and would not unmount.
	web.Item.Want = nil
	web.Settle(schema.Delete)
	if left := s.do("LIST", "sys/leases/lookup/database/creds/web", nil); len(left) > 0 {
		t.Errorf("the role is gone, and leases of it are left: %v", left)
	}
	r.Item.Want = nil
	r.Settle(schema.Delete)
}

// TestPKI: a root is made once, found again by its issuer's name, and made anew
// only for a new name; a role hands out certificates of it.
func TestPKI(t *testing.T) {
	s := newServer(t)
	s.declare(Mount, "pki", fields{"type": "pki", "config": fields{"max_lease_ttl": "87600h"}}, nil)
	spec := func(name string) fields {
		return fields{"path": "pki/" + newRoot, "fields": fields{"issuer_name": name, "common_name": "a root", "ttl": "8760h", "key_type": "ec"}}
	}
	s.once(enginetest.Lost, func(q *http.Request) bool { return q.Method == http.MethodPost })
	r := drivertest.NewResource(t, s.driver(), Config, "root", drivers.Desired{Spec: drivertest.JSON(t, spec("root-1"))})
	s.stubborn(r)
	if issuers, err := s.root.list(t.Context(), "pki/issuers"); err != nil || len(issuers) != 1 {
		t.Fatalf("%d roots were made, %v", len(issuers), err)
	}
	urls := s.declare(Config, "urls", fields{"path": "pki/config/urls", "fields": fields{"issuing_certificates": "https://vault.example/v1/pki/ca"}}, nil)
	s.declare(Role, "web", fields{"mount": "pki", "fields": fields{"allowed_domains": []string{"shop.example"}, "allow_subdomains": true, "max_ttl": "72h", "issuer_ref": "root-1"}}, nil)
	if got := s.put("pki/issue/web", fields{"common_name": "a.shop.example"}); !strings.Contains(text(got["certificate"]), "BEGIN CERTIFICATE") {
		t.Error("the role hands out no certificate")
	}
	second := s.declare(Config, "root-2", spec("root-2"), nil)
	second.Item.Want = nil
	second.Settle(schema.Delete)
	issuers, err := s.root.list(t.Context(), "pki/issuers")
	keys, keysErr := s.root.list(t.Context(), "pki/keys")
	if err != nil || keysErr != nil || len(issuers) != 1 || len(keys) != 2 {
		t.Errorf("%d roots are left, and %d keys, want 1 and 2; %v, %v", len(issuers), len(keys), err, keysErr)
	}
	w := spec("root-1")
	w["fields"].(fields)["common_name"] = "another"
	r.Item.Want = &drivers.Desired{Spec: drivertest.JSON(t, w)}
	if c := r.Plan(); c.Action != schema.Replace {
		t.Errorf("another name in the certificate is planned as %s", c.Action)
	}
	urls.Item.Want = nil // cannot be deleted: it goes with its mount
	if c := urls.Plan(); c.Action != schema.None {
		t.Errorf("what cannot be deleted is planned as %s", c.Action)
	}
}

// TestJWT: what Nomad's workload identities need, with keys instead of Nomad.
func TestJWT(t *testing.T) {
	s := newServer(t)
	s.declare(Auth, "jwt-nomad", fields{"type": "jwt", "description": "Nomad's workloads"}, nil)
	_, public := signingKey(t)
	config := s.declare(Config, "jwt-nomad", fields{"path": "auth/jwt-nomad/config", "type": "jwt", "fields": fields{
		"jwt_validation_pubkeys": public, "jwt_supported_algs": "ES256", "default_role": "workloads"}}, nil)
	s.put("auth/jwt-nomad/config", fields{"jwt_validation_pubkeys": public, "default_role": "theirs"})
	config.Settle(schema.Update)
	s.declare(Role, "workloads", fields{"mount": "auth/jwt-nomad", "type": "jwt", "fields": fields{
		"role_type": "jwt", "bound_audiences": "vault.io", "user_claim": "/nomad_job_id", "user_claim_json_pointer": true,
		"claim_mappings": fields{"nomad_namespace": "nomad_namespace"}, "token_type": "service", "token_period": "30m", "token_policies": []string{"Nomad"}}}, nil)
}

// TestErrorEcho: Vault's errors repeat what they were sent; the driver's do not.
func TestErrorEcho(t *testing.T) {
	s := newServer(t)
	s.put("sys/mounts/pki", fields{"type": "pki"})
	for _, plain := range []string{`c4n4ry "k&y" <a/b+c>=é%`, "c4n4ry-without-special-letters"} {
		w := drivers.Desired{Spec: drivertest.JSON(t, fields{"mount": "pki", "fields": fields{}, "secrets": fields{"key_type": schema.Token("t")}})}
		r := drivertest.NewResource(t, s.driver(), Role, "web", w)
		r.Secrets = map[schema.Path]schema.Secret{"/secrets/key_type": schema.NewSecret(plain)}
		_, err := r.Apply(r.Plan())
		if drivers.Class(err) != drivers.ErrPermanent || !says(err, "unknown key type") {
			t.Errorf("it answers %v", err)
		}
		nowhere(t, fmt.Sprintf("%v %+v %#v %s", err, err, err, s.log.String()), plain)
	}
}

// TestObserveInBulk: a thousand mounts are one request, and what is absent of
// many policies is no request of its own.
func TestObserveInBulk(t *testing.T) {
	s := newServer(t)
	d := s.driver()
	var items []drivers.Item
	for i := range 300 {
		for kind, handle := range map[string]string{Mount: "mount/m%d", Auth: "auth/m%d", Policy: "policy/p%d"} {
			items = append(items, drivers.Item{ID: schema.ID{Kind: kind}, Handle: fmt.Sprintf(handle, i)})
		}
	}
	if _, err := d.Observe(context.Background(), items); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, count := range s.proxy.Requests() {
		n += count
	}
	if n != 3 {
		t.Errorf("%d requests for nothing in three tables", n)
	}
}

// TestUndeletable: a path that Vault does not delete is let go.
func TestUndeletable(t *testing.T) {
	s := newServer(t)
	_, public := signingKey(t)
	s.put("sys/auth/nomad", fields{"type": "jwt"})
	r := s.declare(Config, "nomad", fields{"path": "auth/nomad/config", "fields": fields{"jwt_validation_pubkeys": public}}, nil)
	r.Item.Want = nil
	if _, err := r.Apply(r.Plan()); err != nil {
		t.Fatal(err)
	}
	if c := r.Plan(); c.Action != schema.None {
		t.Errorf("let go, it is planned as %s", c.Action)
	}
}

// TestTransitKeepsItsKeys: a key of transit keeps its ciphertexts where Vault is told not
// to delete it.
func TestTransitKeepsItsKeys(t *testing.T) {
	s := newServer(t)
	s.put("sys/mounts/transit", fields{"type": "transit"})
	r := s.declare(Role, "app", fields{"mount": "transit", "fields": fields{"type": "aes256-gcm96"}}, nil)
	kept := r.Item
	r.Item.Want = nil
	if _, err := r.Apply(r.Plan()); drivers.Class(err) != drivers.ErrPermanent {
		t.Errorf("the deletion of a key that may not be deleted answers %v", err)
	}
	r.Item = kept
	r.Item.Want = &drivers.Desired{Spec: drivertest.JSON(t, fields{"mount": "transit", "fields": fields{"type": "aes256-gcm96", "deletion_allowed": true}})}
	r.Settle(schema.Update)
	r.Item.Want = nil
	r.Settle(schema.Delete)
}

// TestDocumentedPolicy: what docs/engines/vault.md says that a token must be
// allowed is enough.
func TestDocumentedPolicy(t *testing.T) {
	s := newServer(t)
	doc, err := os.ReadFile("../../../docs/engines/vault.md")
	drivertest.Must(t, err)
	_, policy, _ := strings.Cut(string(doc), "```hcl\n")
	policy, _, ok := strings.Cut(policy, "```")
	if !ok {
		t.Fatal("the page has no policy")
	}
	s.put("sys/policies/acl/reader", fields{"policy": policy})
	a, err := s.root.do(t.Context(), call{method: http.MethodPost, path: "auth/token/create", body: fields{"policies": []string{"reader"}}})
	drivertest.Must(t, err)
	token := schema.NewSecret(a.Auth.ClientToken)
	s.token.Store(&token)
	_, public := signingKey(t)
	var all []*drivertest.Resource
	for _, c := range []struct {
		kind         string
		spec, change fields
	}{
		{Mount, fields{"type": "transit"}, fields{"type": "transit", "config": fields{"max_lease_ttl": "24h", "listing_visibility": "hidden", "audit_non_hmac_request_keys": "a,b"}}},
		{Auth, fields{"type": "jwt", "path": "jwt-nomad"}, fields{"type": "jwt", "path": "jwt-nomad", "config": fields{"max_lease_ttl": "24h", "listing_visibility": "hidden"}}},
		{Policy, fields{"policy": "path \"a\" { capabilities = [\"read\"] }"}, fields{"policy": "path \"b\" { capabilities = [\"read\"] }"}},
		{PasswordPolicy, fields{"policy": "length = 20\nrule \"charset\" { charset = \"abcdef\" }"}, fields{"policy": "length = 30\nrule \"charset\" { charset = \"abcdef\" }"}},
		{KV, fields{"mount": "secret", "values": fields{"a": fields{"generate": "thing"}}}, fields{"mount": "secret", "values": fields{"a": fields{"generate": "thing"}, "b": fields{"value": "c"}}}},
		{Config, fields{"path": "auth/jwt-nomad/config", "type": "jwt", "fields": fields{"jwt_validation_pubkeys": public}}, fields{"path": "auth/jwt-nomad/config", "type": "jwt", "fields": fields{"jwt_validation_pubkeys": public, "bound_issuer": "x"}}},
		{Role, fields{"mount": "auth/jwt-nomad", "fields": fields{"role_type": "jwt", "user_claim": "sub", "bound_audiences": "a"}}, fields{"mount": "auth/jwt-nomad", "fields": fields{"role_type": "jwt", "user_claim": "sub", "bound_audiences": "b"}}},
	} {
		r := s.declare(c.kind, "thing", c.spec, nil)
		r.Item.Want = &drivers.Desired{Spec: drivertest.JSON(t, c.change)}
		r.Settle(schema.Update)
		all = append(all, r)
	}
	for _, r := range slices.Backward(all) {
		if r.Item.Want = nil; r.Item.ID.Kind != Config { // which cannot be deleted
			r.Settle(schema.Delete)
		}
	}
}
