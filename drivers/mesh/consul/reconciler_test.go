//go:build e2e

package consul

import (
	"context"
	"encoding/json"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// declared is a source whose revisions a test says.
type declared struct {
	mu  sync.Mutex
	rev int
	all []schema.Resource
}

func (d *declared) say(all ...schema.Resource) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rev++
	d.all = all
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
	return &sources.Snapshot{Revision: d.revision(), FS: fstest.MapFS{}, Close: func() error { return nil }}, nil
}

func (d *declared) compile(context.Context, fs.FS) (reconciler.Compiled, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return reconciler.Compiled{Resources: d.all, Files: 1}, nil
}

func resource(kind, name, spec string) schema.Resource {
	return schema.Resource{ID: schema.ID{Kind: kind, Name: name}, Spec: json.RawMessage(spec), Pos: schema.Pos{File: "a.yaml", Line: 1}}
}

// reconciled runs the reconciler over the driver.
func reconciled(t *testing.T, d *Driver, src *declared) *reconciler.Reconciler {
	t.Helper()
	reg, err := drivers.NewRegistry(drivers.Target{Name: "consul", Engine: "consul", Kinds: d.Kinds(), Driver: d, Identity: d.URL, Version: DriverVersion})
	drivertest.Must(t, err)
	st, err := store.Open(filepath.Join(t.TempDir(), "store.db"), testEnv)
	drivertest.Must(t, err)
	log := &drivertest.Log{}
	r, err := reconciler.New(t.Context(), reconciler.Config{
		ID: testEnv, Name: "test", Source: src, Registry: reg, Store: st, Key: make([]byte, 32), Compile: src.compile,
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
		if token, err := d.token(); err != nil || token != "" && strings.Contains(log.String(), token) {
			t.Errorf("the token is in the log: %v", err)
		}
		if t.Failed() {
			t.Log(log)
		}
	})
	return r
}

// token is the one that the driver uses.
func (d *Driver) token() (string, error) {
	if d.Token == nil {
		return "", nil
	}
	s, err := d.Token()
	return s.Reveal(), err
}

// converges waits until a revision is in force and everything is as it says.
func converges(t *testing.T, r *reconciler.Reconciler, src *declared, within time.Duration) bool {
	t.Helper()
	limit := time.NewTimer(within)
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	want, _ := src.Head(t.Context())
	r.Kick()
	for {
		s := r.Status()
		if s.Revision.ID == want.ID && s.Converged && s.Settled {
			return true
		}
		select {
		case <-tick.C:
		case <-limit.C:
			for _, res := range s.Resources {
				t.Logf("%s is %s (%s): %s; hint: %s", res.ID.Short(), res.State, res.Action, res.Reason, res.Hint)
			}
			return false
		}
	}
}

// TestReconciledInOneGo: a commit that declares everything converges, and one
// that removes it does; the driver's order holds in both.
func TestReconciledInOneGo(t *testing.T) {
	b := newBare(t)
	b.empty()
	src := &declared{}
	all := []schema.Resource{
		resource(KindIntentions, "web", l7), resource(KindResolver, "web", webResolver), resource(KindDefaults, "web", httpDefaults),
		resource(KindResolver, "api", `{"Redirect":{"Service":"web","ServiceSubset":"v1"}}`), resource(KindDefaults, "api", httpDefaults),
		resource(KindKV, "settings", `{"Key":"config/web","JSON":{"a":1}}`),
		resource(KindService, "db", `{"Node":"node-db","Address":"10.0.0.9","Service":{"Port":5432}}`),
		resource(KindService, "db-admin", `{"Node":"node-db","Service":{"Port":5433}}`),
		resource(KindAuthMethod, "nomad-workloads", string(drivertest.JSON(t, map[string]any{"Type": "jwt", "Config": map[string]any{"JWTValidationPubKeys": []string{jwksPEM}}}))),
		resource(KindPolicy, "tasks", `{"Rules":"key_prefix \"config/\" { policy = \"read\" }"}`),
		resource(KindRole, "nomad-default-tasks", `{"Policies":[{"Name":"tasks"}]}`),
		resource(KindRule, "tasks", `{"AuthMethod":"nomad-workloads","BindType":"role","BindName":"nomad-default-tasks"}`),
	}
	src.say(all...)
	p := enginetest.NewProxy(t, b.address)
	d := b.driver()
	d.URL = p.Address
	r := reconciled(t, d, src)
	if !converges(t, r, src, 30*time.Second) {
		t.Fatal("declared at once, it does not converge")
	}
	src.say(all[5]) // one stays: an empty tree is refused
	if !converges(t, r, src, 30*time.Second) {
		t.Fatal("removed at once, it does not converge")
	}
	left, err := b.direct.List(t.Context())
	drivertest.Must(t, err)
	if len(left) != 1 {
		t.Errorf("left are %+v", left)
	}
	if n, _, err := b.client().Catalog().Node("node-db", nil); err != nil || n != nil {
		t.Errorf("the node is left: %+v, %v", n, err)
	}
}

// TestReconciledProtocolChange: a protocol of L4 while the intention of L7 goes
// is possible in one order alone: the intention first.
func TestReconciledProtocolChange(t *testing.T) {
	b := newBare(t)
	b.empty()
	src := &declared{}
	src.say(resource(KindIntentions, "web", l7), resource(KindDefaults, "web", httpDefaults))
	r := reconciled(t, b.driver(), src)
	if !converges(t, r, src, 30*time.Second) {
		t.Fatal("it does not converge")
	}
	src.say(resource(KindIntentions, "web", l4), resource(KindDefaults, "web", tcpDefaults))
	if !converges(t, r, src, 10*time.Second) {
		t.Error("an intention of L4 and tcp do not converge")
	}
	src.say(resource(KindIntentions, "web", l7), resource(KindDefaults, "web", httpDefaults))
	if !converges(t, r, src, 30*time.Second) {
		t.Fatal("it does not converge")
	}
	src.say(resource(KindDefaults, "web", tcpDefaults))
	if !converges(t, r, src, 10*time.Second) {
		t.Error("the intention gone and tcp do not converge")
	}
}
