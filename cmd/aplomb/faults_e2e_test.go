//go:build e2e

package main

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/reconciler"
)

// TestHashistackFaults: between the daemon and its engines every sixth request
// goes wrong, one way or another, until it has gone wrong often enough. All
// converges, and nothing is made twice.
func TestHashistackFaults(t *testing.T) {
	proxies := map[string]*enginetest.Proxy{}
	s := newShop(t, func(engine, address string) string {
		proxies[engine] = enginetest.NewProxy(t, address)
		proxies[engine].Delay = 300 * time.Millisecond
		return proxies[engine].Address
	})
	s.change("network.yaml", "name: shop", "name: faulty")
	s.commit("faulty")
	var left atomic.Int64
	left.Store(80)
	met := map[string]*atomic.Int64{}
	faults := []enginetest.Fault{enginetest.Refuse, enginetest.Slow, enginetest.Busy, enginetest.Broken, enginetest.Cut, enginetest.Lost}
	for engine, p := range proxies {
		n := new(atomic.Int64)
		met[engine] = n
		p.Meddle(func(r *http.Request) enginetest.Fault {
			if strings.Contains(r.URL.Path, "/event/stream") || rand.N(6) > 0 || left.Add(-1) < 0 {
				return enginetest.Pass
			}
			n.Add(1)
			return faults[rand.N(len(faults))]
		})
	}
	s.start()
	s.converged()
	for job, n := range map[string]int{"api": 1, "web": 2, "worker": 1} {
		if got := s.running(job); got != n || s.version(job) != 0 {
			t.Errorf("%s: %d run, version %d: it was registered again", job, got, s.version(job))
		}
	}
	key, version := s.sessionKey()
	if version != 1 {
		t.Errorf("the session's key was made %d times", version)
	}
	var rules []struct{ AuthMethod string }
	if s.ask("GET", s.consul.Address+"/v1/acl/binding-rules", &rules); len(rules) != 1 {
		t.Errorf("there are %d binding rules", len(rules))
	}
	for engine, p := range proxies {
		p.Meddle(nil)
		if met[engine].Load() == 0 {
			t.Errorf("nothing went wrong on the way to %s: nothing is proven of it", engine)
		}
	}
	s.outage(proxies["consul"])
	s.remove()
	s.noLeak(key)
	s.noLeak(s.postgres.Password)
}

// outage: an engine that does not answer stops its own resources and what needs
// them; the rest of a commit goes on, and so does all of it once it answers.
func (s *shop) outage(consul *enginetest.Proxy) {
	s.Helper()
	consul.Meddle(func(*http.Request) enginetest.Fault { return enginetest.Refuse })
	s.change("network.yaml", "name: faulty", "name: alone")
	s.change("mesh.yaml", "Action: deny", "Action: allow")
	s.change("vault.yaml", `capabilities = ["read"]`, `capabilities = ["read", "list"]`)
	s.commit("without Consul")
	s.until("the rest goes on", func() bool {
		var p struct{ Data struct{ Policy string } }
		s.ask("GET", s.vault.Address+"/v1/sys/policies/acl/web", &p)
		return strings.Contains(p.Data.Policy, "list") && s.resource("tofu.stack/network").State == reconciler.Converged
	})
	if r := s.resource("consul.kv/network"); r.State != reconciler.Degraded || !strings.Contains(r.Reason, "out of reach") {
		s.Errorf("what lives in Consul is %s: %s", r.State, r.Reason)
	}
	if r := s.resource("nomad.job/web"); r.State != reconciler.Waiting {
		s.Errorf("what needs it is %s: %s", r.State, r.Reason)
	}
	consul.Meddle(nil)
	s.converged()
}
