//go:build e2e

package vault

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/reconcilertest"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/compile"
)

// shopFiles is a tree with these declarations, and the file that they name.
func shopFiles(yaml string) fstest.MapFS {
	return fstest.MapFS{"a.yaml": {Data: []byte(yaml), Mode: 0o644},
		"web.hcl": {Data: []byte("path \"shop/data/web\" {\n  capabilities = [\"read\"]\n}\n"), Mode: 0o644}}
}

// reconciled runs the reconciler over the driver; declarations go through the
// schemas.
func reconciled(t *testing.T, d *Driver, src *reconcilertest.Source, log *drivertest.Log) *reconcilertest.Running {
	t.Helper()
	c := compile.New(compile.Options{})
	return reconcilertest.Start(t, reconcilertest.Config{
		ID: env, Source: src, Log: log,
		Target: drivers.Target{Name: "vault", Engine: "vault", Kinds: d.Kinds(), Driver: d, Identity: d.URL, Version: DriverVersion},
		Compile: func(ctx context.Context, all reconciler.Snapshots) (reconciler.Compiled, error) {
			got, err := c.Compile(ctx, compile.Declarations{FS: all.Declarations.FS})
			return reconciler.Compiled{Resources: got.Resources, Findings: got.Findings, Seen: got.Seen, Files: got.Files}, err
		},
	})
}

const shop = `
apiVersion: aplomb.dev/v1
kind: vault.config
metadata: {name: web-user}
spec:
  path: auth/users/users/web
  type: userpass
  fields: {token_ttl: 1h, token_policies: ["@{vault.policy/web.name}"]}
  secrets: {password: "@{vault.kv/web.password}"}
---
apiVersion: aplomb.dev/v1
kind: vault.role
metadata: {name: web}
spec: {mount: auth/jobs, type: approle, fields: {token_policies: web, token_ttl: 30m}}
---
apiVersion: aplomb.dev/v1
kind: vault.kv
metadata: {name: web}
spec:
  mount: shop
  generation: GENERATION
  values:
    password: {generate: letters}
    user: {value: web}
---
apiVersion: aplomb.dev/v1
kind: vault.policy
metadata: {name: web}
spec: {file: ./web.hcl}
---
apiVersion: aplomb.dev/v1
kind: vault.password-policy
metadata: {name: letters}
spec:
  policy: |
    length = 24
    rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" }
---
apiVersion: aplomb.dev/v1
kind: vault.auth
metadata: {name: users}
spec: {type: userpass, description: People}
---
apiVersion: aplomb.dev/v1
kind: vault.auth
metadata: {name: jobs}
spec: {type: approle}
---
`

const shopMount = `
apiVersion: aplomb.dev/v1
kind: vault.mount
metadata: {name: shop}
spec: {type: kv, options: {version: "2"}, config: {max_lease_ttl: 24h}}
`

// TestReconciled: one commit from nothing, in the order that the driver knows;
// a rotation reaches whoever takes the value; what is no longer declared goes,
// once a person agrees where it holds
// data; and no plaintext is in the status or in the log.
func TestReconciled(t *testing.T) {
	s := newServer(t)
	src, log := &reconcilertest.Source{}, &drivertest.Log{}
	d := s.driver()
	var plains []string
	login := func() {
		t.Helper()
		data, _ := s.do(http.MethodGet, "shop/data/web", nil)["data"].(map[string]any)
		plain := text(data["password"])
		plains = append(plains, plain)
		a, err := s.root.send(t.Context(), call{method: http.MethodPost, path: "auth/users/login/web", body: map[string]any{"password": plain}}, *s.token.Load())
		if err != nil || a.Auth == nil {
			t.Fatalf("the user's password is not that of the secret: %v", err)
		}
	}
	src.Commit(shopFiles(strings.Replace(shop, "GENERATION", "1", 1) + shopMount))
	r := reconciled(t, d, src, log)
	const within = 2 * time.Minute
	r.Converges(t, within, "one commit from nothing")
	login()
	s.proxy.Requests()
	r.Kick()
	r.Converges(t, within, "convergence after nothing")
	if n := len(s.proxy.Requests()); n > 0 {
		t.Errorf("%d requests for nothing between resyncs", n)
	}
	src.Commit(shopFiles(strings.Replace(shop, "GENERATION", "2", 1) + shopMount))
	r.Converges(t, within, "a new generation")
	login()
	if plains[0] == plains[1] {
		t.Error("a new generation kept the value")
	}
	src.Commit(shopFiles(shopMount))
	_, err := r.Approve(t.Context(), "ana", reconciler.Yes{Digest: r.Held(t, within, schema.Delete, "vault.kv/web").Digest, Why: "it is not wanted any more"})
	drivertest.Must(t, err)
	r.Converges(t, within, "what is left")
	left, err := listing{s.driver()}.List(t.Context())
	drivertest.Must(t, err)
	if len(left) != 1 || left[0].Handle != "mount/shop" {
		t.Errorf("left are %+v", left)
	}
	for _, plain := range plains {
		nowhere(t, string(drivertest.JSON(t, r.Status()))+log.String()+s.log.String(), plain)
	}
}
