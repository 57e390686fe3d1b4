//go:build e2e

package vault

import (
	"context"
	"io/fs"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema/compile"
	"github.com/aplomb-dev/aplomb/sources"
)

// declared is a source whose revisions a test says.
type declared struct {
	mu   sync.Mutex
	rev  int
	tree fstest.MapFS
}

func (d *declared) say(yaml string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rev++
	d.tree = fstest.MapFS{"a.yaml": {Data: []byte(yaml), Mode: 0o644},
		"web.hcl": {Data: []byte("path \"shop/data/web\" {\n  capabilities = [\"read\"]\n}\n"), Mode: 0o644}}
}

func (d *declared) revision() sources.Revision {
	id := strconv.Itoa(d.rev)
	return sources.Revision{ID: id, Tree: id}
}

// Head implements sources.Source.
func (d *declared) Head(context.Context) (sources.Revision, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.revision(), nil
}

// Fetch implements sources.Source.
func (d *declared) Fetch(context.Context, sources.Revision) (*sources.Snapshot, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &sources.Snapshot{Revision: d.revision(), FS: d.tree, Close: func() error { return nil }}, nil
}

// reconciled runs the reconciler over the driver; declarations go through the
// schemas.
func reconciled(t *testing.T, d *Driver, src *declared) (*reconciler.Reconciler, *drivertest.Log) {
	t.Helper()
	reg, err := drivers.NewRegistry(drivers.Target{Name: "vault", Engine: "vault", Kinds: d.Kinds(), Driver: d, Identity: d.URL, Version: DriverVersion})
	drivertest.Must(t, err)
	dir := t.TempDir()
	st, err := store.Open(filepath.Join(dir, "store.db"), env)
	drivertest.Must(t, err)
	c := compile.New(compile.Options{})
	log := &drivertest.Log{}
	r, err := reconciler.New(t.Context(), reconciler.Config{
		ID: env, Name: "test", Source: src, Registry: reg, Store: st, Key: make([]byte, 32),
		Compile: func(ctx context.Context, tree fs.FS) (reconciler.Compiled, error) {
			got, err := c.Compile(ctx, tree)
			return reconciler.Compiled{Resources: got.Resources, Findings: got.Findings, Seen: got.Seen, Files: got.Files}, err
		},
		Gates: gate.Config{Unlimited: true}, Interval: time.Second, Log: log.Logger(),
	})
	drivertest.Must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		drivertest.Must(t, st.Close())
		if t.Failed() {
			t.Log(log)
		}
	})
	return r, log
}

// converges waits until a revision is in force and everything is as it says.
func converges(t *testing.T, r *reconciler.Reconciler, src *declared) {
	t.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	want, _ := src.Head(t.Context())
	r.Kick()
	for {
		s := r.Status()
		if s.Revision.ID == want.ID && s.Converged && s.Settled {
			return
		}
		select {
		case <-tick.C:
		case <-limit.C:
			for _, res := range s.Resources {
				t.Logf("%s is %s (%s): %s; hint: %s", res.ID.Short(), res.State, res.Action, res.Reason, res.Hint)
			}
			t.Fatal("it does not converge")
		}
	}
}

// approve waits until a resource is held, and agrees.
func approve(t *testing.T, r *reconciler.Reconciler, name string) {
	t.Helper()
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	r.Kick()
	for {
		for _, res := range r.Status().Resources {
			if res.ID.Short() == name && res.State == reconciler.Held {
				_, err := r.Approve(t.Context(), "ana", res.Digest, "it is not wanted any more")
				drivertest.Must(t, err)
				return
			}
		}
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("%s is not held: %+v", name, r.Status().Resources)
		}
	}
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
	src := &declared{}
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
	src.say(strings.Replace(shop, "GENERATION", "1", 1) + shopMount)
	r, log := reconciled(t, d, src)
	converges(t, r, src)
	login()
	s.proxy.Requests()
	r.Kick()
	converges(t, r, src)
	if n := len(s.proxy.Requests()); n > 0 {
		t.Errorf("%d requests for nothing between resyncs", n)
	}
	src.say(strings.Replace(shop, "GENERATION", "2", 1) + shopMount)
	converges(t, r, src)
	login()
	if plains[0] == plains[1] {
		t.Error("a new generation kept the value")
	}
	src.say(shopMount)
	approve(t, r, "vault.kv/web")
	converges(t, r, src)
	left, err := listing{s.driver()}.List(t.Context())
	drivertest.Must(t, err)
	if len(left) != 1 || left[0].Handle != "mount/shop" {
		t.Errorf("left are %+v", left)
	}
	for _, plain := range plains {
		nowhere(t, string(drivertest.JSON(t, r.Status()))+log.String()+s.log.String(), plain)
	}
}
