//go:build e2e

package consul

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/internal/reconcilertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// everything is one resource of each kind that needs nothing else.
func everything() []schema.Resource {
	return []schema.Resource{
		reconcilertest.Resource(KindDefaults, "web", httpDefaults), reconcilertest.Resource(KindResolver, "web", webResolver), reconcilertest.Resource(KindIntentions, "web", l7),
		reconcilertest.Resource(KindKV, "settings", `{"Key":"config/web/settings","JSON":{"a":1}}`), reconcilertest.Resource(KindKV, "top", `{"Value":"x"}`),
		reconcilertest.Resource(KindService, "db", `{"Node":"node-db","Address":"10.0.0.9","Service":{"Port":5432},"Checks":[{"CheckID":"c","Name":"c","Status":"passing"}]}`),
		reconcilertest.Resource(KindPolicy, "tasks", `{"Rules":"key_prefix \"config/\" { policy = \"read\" }"}`),
		reconcilertest.Resource(KindRole, "tasks", `{"Policies":[{"Name":"tasks"}]}`),
		reconcilertest.Resource(KindAuthMethod, "nomad", `{"Type":"jwt","Config":{"JWTValidationPubKeys":["`+jwksKey+`"]}}`),
		reconcilertest.Resource(KindRule, "tasks", `{"AuthMethod":"nomad","BindType":"role","BindName":"tasks"}`),
	}
}

// TestQuietAndPushed: once converged nothing is asked but by queries that block,
// and what a foreign hand alters or deletes is put right at once, long before
// anything would be looked at again.
func TestQuietAndPushed(t *testing.T) {
	b := newBare(t)
	b.empty()
	src := &reconcilertest.Source{}
	src.Declare(everything()...)
	p := enginetest.NewProxy(t, b.address)
	d := b.driver()
	d.URL = p.Address
	r := reconciled(t, d, src)
	r.Converges(t, 30*time.Second, "convergence")
	for len(p.Requests()) > 0 { // until the watches have found their feet
		wait(t, 700*time.Millisecond)
	}
	wait(t, 3*time.Second) // three looks at the source
	if n := p.Requests(); len(n) > 0 {
		t.Errorf("with nothing to do: %v", n)
	}
	for handle, edit := range map[string]func(){
		"kv/config/web/settings": func() { b.put(KindKV, "kv/config/web/settings", `{"Value":"theirs"}`, testEnv) },
		"kv/top":                 func() { b.delete(KindKV, "kv/top") },
		"service-intentions/web": func() { b.put(KindIntentions, "service-intentions/web", l4, testEnv) },
		"service-resolver/web":   func() { b.delete(KindResolver, "service-resolver/web") },
		"service/node-db/db": func() {
			b.put(KindService, "service/node-db/db", `{"Node":"node-db","Address":"10.0.0.9","Service":{"Service":"db","Port":1}}`, testEnv)
		},
		"acl-policy/tasks": func() { b.put(KindPolicy, "acl-policy/tasks", `{"Name":"tasks","Rules":""}`, testEnv) },
	} {
		t.Run(handle, func(t *testing.T) {
			before := version(t, b, handle)
			edit()
			until(t, "the repair of "+handle, func() bool { now := version(t, b, handle); return now != "" && now != before })
		})
	}
	r.Converges(t, 10*time.Second, "convergence again")
}

// version is what lives at a handle, "" while it differs from what everything
// declares of it.
func version(t *testing.T, b *bare, handle string) string {
	t.Helper()
	for _, res := range everything() {
		r := drivertest.NewResource(t, b.direct, res.ID.Kind, res.ID.Name, spec(string(res.Spec)))
		if r.Item.Handle != handle {
			continue
		}
		if c := r.Plan(); c.Action != schema.None {
			return ""
		}
		return r.Observe().Version
	}
	t.Fatalf("nothing at %s", handle)
	return ""
}

func wait(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

func until(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for range 100 {
		if yes() {
			return
		}
		wait(t, 100*time.Millisecond)
	}
	t.Fatalf("%s did not come about", what)
}

// TestWatchTellsWhatMoved: the handles that moved, and those that are gone,
// which no list names; not what the driver did itself.
func TestWatchTellsWhatMoved(t *testing.T) {
	b := newBare(t)
	b.empty()
	d := b.driver()
	var mu sync.Mutex
	heard := map[string]int{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	var rs []*drivertest.Resource
	for i := range 5 {
		rs = append(rs,
			drivertest.NewResource(t, d, KindKV, fmt.Sprintf("k%d", i), spec(fmt.Sprintf(`{"Key":"a/b/k%d","Value":"x"}`, i))),
			drivertest.NewResource(t, d, KindDefaults, fmt.Sprintf("d%d", i), spec(`{"Protocol":"tcp"}`)))
	}
	for _, r := range rs {
		r.Observe()
	}
	go func() {
		ended <- d.Watch(ctx, func(handles ...string) {
			mu.Lock()
			defer mu.Unlock()
			for _, h := range handles {
				heard[h]++
			}
		})
	}()
	for _, r := range rs {
		r.Settle(schema.Create)
	}
	wait(t, time.Second)
	mu.Lock()
	if len(heard) > 0 {
		t.Errorf("heard of what the driver did itself: %v", heard)
	}
	mu.Unlock()
	for _, r := range rs[4:8] {
		b.delete(r.Item.ID.Kind, r.Item.Handle)
	}
	b.put(KindKV, "kv/a/b/k0", `{"Value":"theirs"}`, "")
	b.put(KindKV, "kv/a/b/nobody", `{"Value":"theirs"}`, "")
	b.put(KindDefaults, "service-defaults/d0", `{"Protocol":"http"}`, "")
	want := []string{"kv/a/b/k0", "service-defaults/d0", rs[4].Item.Handle, rs[5].Item.Handle, rs[6].Item.Handle, rs[7].Item.Handle}
	until(t, strings.Join(want, " "), func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, h := range want {
			if heard[h] == 0 {
				return false
			}
		}
		return true
	})
	mu.Lock()
	if len(heard) != len(want) {
		t.Errorf("heard %v, want %v", heard, want)
	}
	mu.Unlock()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
