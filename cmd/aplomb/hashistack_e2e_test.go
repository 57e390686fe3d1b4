//go:build e2e

package main

import (
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

var jobs = []string{"api", "web", "worker"}

// version is how often a job was registered with a difference, -1 where there
// is none.
func (s *shop) version(job string) int {
	s.Helper()
	var j struct {
		Version int
		Stop    bool
	}
	if s.ask("GET", s.nomad.Address+"/v1/job/"+job, &j) != 200 {
		return -1
	}
	return j.Version
}

// running is how many allocations of a job run.
func (s *shop) running(job string) int {
	s.Helper()
	var allocs []struct{ ClientStatus, DesiredStatus string }
	s.ask("GET", s.nomad.Address+"/v1/job/"+job+"/allocations", &allocs)
	n := 0
	for _, a := range allocs {
		if a.ClientStatus == "running" && a.DesiredStatus == "run" {
			n++
		}
	}
	return n
}

// sessionKey is the value that Vault generated, and its version.
func (s *shop) sessionKey() (string, int) {
	s.Helper()
	var kv struct {
		Data struct {
			Data     map[string]string
			Metadata struct{ Version int }
		}
	}
	s.ask("GET", s.vault.Address+"/v1/shop/data/session", &kv)
	return kv.Data.Data["key"], kv.Data.Metadata.Version
}

// remove takes everything out of the repository but one key, and approves that
// it goes.
func (s *shop) remove() {
	s.Helper()
	for _, f := range []string{"jobs.yaml", "mesh.yaml", "identity.yaml", "vault.yaml", "network.yaml"} {
		s.must(os.Remove(s.path("shop.git/" + f)))
	}
	s.write("shop.git/left.yaml", "apiVersion: aplomb.dev/v1\nkind: consul.kv\nmetadata: {name: left}\nspec: {Value: something}\n")
	s.commit("remove")
	tip := s.git("rev-parse", "HEAD")
	approved := ""
	s.until("gone", func() bool {
		st := s.status()
		if st == nil || st.Revision.ID != tip {
			return false
		}
		if st.Counts[reconciler.Held] > 0 && st.Settled && st.PlanDigest != approved {
			approved = st.PlanDigest
			if text, code := s.aplomb("approve", approved, "--why", "the shop is closed"); code != codeGood {
				s.Logf("approve: %d %s", code, text)
			}
		}
		return st.Converged
	})
}

// TestHashistack: one commit brings a shop up from four empty engines, a second
// moves exactly what depends on it, drift is repaired, a failure stops its
// dependents only, and one commit removes it all in reverse. No secret is
// anywhere but in Vault and in the tasks.
func TestHashistack(t *testing.T) {
	s := newShop(t, nil)
	s.judged()

	plan, code := s.aplomb("plan", "-c", "aplomb.yaml", "--init", "--full")
	if code != codeChanges || !strings.Contains(plan, "21 to create") || !strings.Contains(plan, "known after apply") {
		t.Errorf("plan over nothing: exit %d\n%s", code, plan)
	}
	for _, want := range []string{"create of terraform_data.network", "nomad.job/api: it runs by raw_exec"} {
		if !strings.Contains(plan, want) {
			t.Errorf("policies do not see %q:\n%s", want, plan)
		}
	}
	s.start()
	s.converged()
	for job, n := range map[string]int{"api": 1, "web": 2, "worker": 1} {
		if got := s.running(job); got != n || s.version(job) != 0 {
			t.Errorf("%s: %d run, version %d", job, got, s.version(job))
		}
	}
	key, version := s.sessionKey()
	if len(key) != 48 || version != 1 {
		t.Errorf("the session's key has %d characters and version %d", len(key), version)
	}

	s.secondCommit()
	s.driftHeals()
	s.failureStops()
	for _, args := range [][]string{{"status"}, {"plan"}, {"show", "vault.kv/session"}, {"show", "tofu.stack/network"}, {"show", "nomad.job/api"}, {"history"}, {"audit"}, {"graph"}} {
		s.aplomb(args...)
		s.aplomb(append(args, "-o", "json")...) // as the API answers
	}
	if branches := s.git("branch", "--list", "aplomb-status"); branches == "" {
		t.Error("there is no status branch to look for secrets in")
	}
	s.noLeak(key)
	s.noLeak(s.postgres.Password)

	s.remove()
	tip := s.git("rev-parse", "HEAD")
	var order []string
	for _, r := range s.history(tip) {
		if r.What == "applied" && r.Action == schema.Delete {
			order = append(order, r.ID.Short())
		}
	}
	inReverse(t, order, "nomad.job/web", "nomad.job/api", "vault.role/database-api", "vault.config/postgres", "vault.mount/database")
	inReverse(t, order, "nomad.job/api", "vault.role/jwt-api", "vault.auth/jwt-nomad")
	inReverse(t, order, "vault.config/postgres", "tofu.stack/network")
	if len(order) != 21 {
		t.Errorf("%d were deleted: %q", len(order), order)
	}
	for _, job := range jobs {
		if v := s.version(job); v >= 0 {
			t.Errorf("job %s is left", job)
		}
	}
	s.noLeak(key)
	s.noLeak(s.postgres.Password)
}

// judged has policies tell what they see of the engines' own plans.
func (s *shop) judged() {
	s.Helper()
	s.must(os.Mkdir(s.path("rules"), 0o700))
	s.write("rules/p.cue", `package p

import (
	"strings"

	"aplomb.dev/schema/policies"
)

stacks: policies.#Policy & {level: "advisory", over: "change", match: kinds: ["tofu.stack"], rule: {
	change: _
	deny: [for d in change.deltas if strings.HasPrefix(d.path, "/!resources/") {message: "\(d.op) of \(strings.TrimPrefix(d.path, "/!resources/"))"}]
}}
jobs: policies.#Policy & {level: "advisory", over: "change", match: kinds: ["nomad.job"], rule: {
	change: _
	deny: [for d in change.deltas if d.path == "/job/TaskGroups/api/Tasks/api/Driver" {message: "it runs by \(d.after)"}]
}}
`)
	s.write("aplomb.yaml", s.edit(s.read(s.path("aplomb.yaml")), "    source:\n", "    policies: {dir: ./rules}\n    source:\n"))
}

// inReverse fails unless names stand in order as they are given.
func inReverse(t *testing.T, order []string, names ...string) {
	t.Helper()
	at := -1
	for _, n := range names {
		i := slices.Index(order, n)
		if i <= at {
			t.Errorf("%s is at %d, not after %d: %q", n, i, at, order)
		}
		at = i
	}
}

// secondCommit changes an output, which moves exactly its dependents.
func (s *shop) secondCommit() {
	s.Helper()
	s.change("network.yaml", "name: shop", "name: store")
	s.commit("another network")
	s.converged()
	var moved []string
	for _, r := range s.history(s.git("rev-parse", "HEAD")) {
		if r.What == "applied" {
			moved = append(moved, r.ID.Short())
		}
	}
	slices.Sort(moved)
	if want := []string{"consul.kv/network", "nomad.job/web", "tofu.stack/network"}; !slices.Equal(moved, want) {
		s.Errorf("moved %q, want %q", moved, want)
	}
	for job, want := range map[string]int{"api": 0, "web": 1, "worker": 0} {
		if got := s.version(job); got != want {
			s.Errorf("job %s has version %d, want %d", job, got, want)
		}
	}
}

// driftHeals: what hands other than aplomb's did is put back as soon as the
// engine tells of it.
func (s *shop) driftHeals() {
	s.Helper()
	since := time.Now()
	s.ask("DELETE", s.nomad.Address+"/v1/job/worker", nil)
	s.ask("PUT", s.consul.Address+"/v1/kv/shop/network?raw=x", nil)
	s.until("drift is repaired", func() bool {
		var kv []struct{ Value string }
		s.ask("GET", s.consul.Address+"/v1/kv/shop/network", &kv)
		return s.running("worker") == 1 && len(kv) == 1 && kv[0].Value != ""
	})
	s.converged()
	if took := time.Since(since); took > time.Minute {
		s.Errorf("drift was repaired after %s: nobody heard of it", took)
	}
}

// failureStops: a layer that fails stops its dependents, which say so; the rest
// of the commit goes on, and a fixing commit goes through at once.
func (s *shop) failureStops() {
	s.Helper()
	s.change("network.yaml", "name: store", "name: warehouse")
	s.change("stacks/network/main.tf", "resource \"terraform_data\" \"network\" {\n  input = var.name\n",
		"resource \"terraform_data\" \"network\" {\n  input = var.name\n  lifecycle {\n    postcondition {\n      condition     = self.output == \"nothing\"\n      error_message = \"the network is down\"\n    }\n  }\n")
	s.change("vault.yaml", `capabilities = ["read"]`, `capabilities = ["read", "list"]`)
	s.commit("broken")
	s.until("the stack fails, and the rest goes on", func() bool {
		var p struct{ Data struct{ Policy string } }
		s.ask("GET", s.vault.Address+"/v1/sys/policies/acl/web", &p)
		r := s.resource("tofu.stack/network") // it is tried again, and says so meanwhile
		return r.State == reconciler.Degraded && strings.Contains(r.Reason, "the network is down") && strings.Contains(p.Data.Policy, "list")
	})
	if r := s.resource("consul.kv/network"); r.State != reconciler.Waiting || !strings.Contains(r.Reason, "tofu.stack/network") {
		s.Errorf("what depends on it is %s: %s", r.State, r.Reason)
	}
	if r := s.resource("nomad.job/worker"); r.State != reconciler.Converged {
		s.Errorf("what does not is %s: %s", r.State, r.Reason)
	}
	s.change("stacks/network/main.tf", `self.output == "nothing"`, `self.output != "nothing"`)
	s.commit("mended")
	s.converged()
}

// TestHashistackKilled: the daemon is killed at random moments on the way up and
// down; what it did is found, and nothing is doubled.
func TestHashistackKilled(t *testing.T) {
	s := newShop(t, nil)
	s.change("network.yaml", "name: shop", "name: killed")
	s.commit("killed")
	for range 12 {
		s.start()
		<-time.After(time.Duration(200+rand.N(1500)) * time.Millisecond)
		s.stop(syscall.SIGKILL)
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
	s.remove()
	if s.ask("GET", s.consul.Address+"/v1/acl/binding-rules", &rules); len(rules) != 0 {
		t.Errorf("%d binding rules are left", len(rules))
	}
	s.noLeak(key)
	s.noLeak(s.postgres.Password)
}
