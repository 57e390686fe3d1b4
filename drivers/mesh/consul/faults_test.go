//go:build e2e

package consul

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/schema"
)

var faults = map[string]enginetest.Fault{
	"refused": enginetest.Refuse, "slow": enginetest.Slow, "busy": enginetest.Busy, "broken": enginetest.Broken, "cut": enginetest.Cut, "lost": enginetest.Lost,
}

// through drives a resource to where it is declared, through whatever goes
// wrong, as the reconciler does: after each failure it looks again.
func through(t *testing.T, r *drivertest.Resource) {
	t.Helper()
	for range 20 {
		states, err := r.Driver.Observe(t.Context(), []drivers.Item{r.Item})
		if err == nil {
			err = states[0].Err
		}
		if err != nil {
			passes(t, err)
			continue
		}
		if states[0].Handle != "" {
			r.Item.Handle = states[0].Handle
		}
		c, err := r.Driver.Plan(t.Context(), r.Item, states[0])
		drivertest.Must(t, err)
		if c.Action == schema.None {
			return
		}
		if _, err = r.Apply(c); err != nil {
			passes(t, err)
		}
	}
	t.Fatal("it does not converge")
}

// passes fails the test where an error is of a class that a person must mend.
func passes(t *testing.T, err error) {
	t.Helper()
	if class := drivers.Class(err); class == drivers.ErrPermanent || class == drivers.ErrDenied {
		t.Fatalf("of class %v: %v", class, err)
	}
	if strings.Contains(err.Error(), "5e9b1bd8") {
		t.Fatalf("the token is told: %v", err)
	}
}

// indices are CreateIndex and ModifyIndex of what a handle names.
func (b *bare) indices(kind, handle string) (made, moved uint64) {
	b.t.Helper()
	var o struct{ CreateIndex, ModifyIndex uint64 }
	_, name, _ := strings.Cut(handle, "/")
	switch kind {
	case KindDefaults, KindResolver, KindIntentions:
		b.call("GET", "config/"+handle, nil, &o)
	case KindKV:
		pair, _, err := b.client().KV().Get(name, nil)
		drivertest.Must(b.t, err)
		return pair.CreateIndex, pair.ModifyIndex
	case KindService:
		at, err := placeOf(handle)
		drivertest.Must(b.t, err)
		n, _, err := b.client().Catalog().NodeServiceList(at.node, nil)
		drivertest.Must(b.t, err)
		return n.Services[0].CreateIndex, n.Services[0].ModifyIndex
	default:
		b.call("GET", sorts[kind].find(name), nil, &o)
	}
	return o.CreateIndex, o.ModifyIndex
}

var sorts = map[string]aclSort{KindPolicy: policies{}, KindRole: roles{}, KindAuthMethod: methods{}, KindRule: rules{}}

// TestFaults: every request of a life, in turn, is refused, slow, answered 429
// or 500, cut off, or made and its answer lost: it converges, and nothing is
// written twice.
func TestFaults(t *testing.T) {
	b := newBare(t)
	for _, s := range samples {
		for name, fault := range faults {
			t.Run(s.Kind+"/"+name, func(t *testing.T) {
				for at := range int64(8) {
					faultAt(t, b.in(t), s.prepare, s.Sample, fault, at)
				}
			})
		}
	}
}

func faultAt(t *testing.T, b *bare, prepare func(*bare), s drivertest.Sample, fault enginetest.Fault, at int64) {
	t.Helper()
	b.empty()
	if prepare != nil {
		prepare(b)
	}
	p := enginetest.NewProxy(t, b.address)
	p.Delay = 50 * time.Millisecond
	var n atomic.Int64
	p.Meddle(func(*http.Request) enginetest.Fault {
		if n.Add(1) == at+1 {
			return fault
		}
		return enginetest.Pass
	})
	d := b.driver()
	d.URL = p.Address
	spec := strings.ReplaceAll(s.A, "$NAME", "sample")
	r := drivertest.NewResource(t, d, s.Kind, "sample", drivers.Desired{Spec: json.RawMessage(spec)})
	r.Item.Nonce = drivertest.Nonce
	through(t, r)
	r.Item.Nonce = ""
	made, moved := b.indices(s.Kind, r.Item.Handle)
	if made == 0 || made != moved {
		t.Errorf("request %d: made at %d, and written again at %d", at, made, moved)
	}
	r.Item.Want.Spec = json.RawMessage(strings.ReplaceAll(s.B, "$NAME", "sample"))
	n.Store(0)
	through(t, r)
	r.Item.Want = nil
	n.Store(0)
	through(t, r)
	if left, err := b.direct.List(t.Context()); err != nil || len(left) > 0 {
		t.Errorf("request %d: left are %+v, %v", at, left, err)
	}
}

// TestConcurrentWritesInOneTransaction: of many keys that are written at once,
// one whose compare-and-set fails does not hold up the others.
func TestConcurrentWritesInOneTransaction(t *testing.T) {
	b := newBare(t)
	b.empty()
	p := enginetest.NewProxy(t, b.address)
	d := b.driver()
	d.URL = p.Address
	const many = 60
	changes := make([]drivers.Change, many)
	for i := range changes {
		r := drivertest.NewResource(t, d, KindKV, fmt.Sprintf("key-%d", i), drivers.Desired{Spec: json.RawMessage(`{"Value":"x"}`)})
		changes[i] = r.Plan()
	}
	b.put(KindKV, "kv/key-7", `{"Value":"theirs"}`, "")
	p.Requests()
	errs := make([]error, many)
	done := make(chan struct{})
	for i := range changes {
		go func() {
			_, errs[i] = d.Apply(t.Context(), changes[i])
			done <- struct{}{}
		}()
	}
	for range many {
		<-done
	}
	for i, err := range errs {
		if stale := errors.Is(err, drivers.ErrStale); stale != (i == 7) || err != nil && !stale {
			t.Errorf("key-%d: %v", i, err)
		}
	}
	if n := p.Requests()["PUT /v1/txn"]; n > many/3 {
		t.Errorf("%d transactions for %d keys", n, many)
	}
	pairs, _, err := b.client().KV().List("key-", nil)
	drivertest.Must(t, err)
	if len(pairs) != many {
		t.Errorf("%d keys", len(pairs))
	}
}
