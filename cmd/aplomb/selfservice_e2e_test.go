//go:build e2e

package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/enginetest"
)

// newTeams is examples/selfservice on real engines, as newShop is the shop.
func newTeams(t *testing.T) *shop {
	t.Helper()
	const example = "../../examples/selfservice/"
	s := &shop{T: t, dir: t.TempDir()}
	s.vault, s.consul, s.postgres = enginetest.Vault(t), enginetest.ConsulACL(t), enginetest.Postgres(t)
	s.nomad = enginetest.NomadWith(t, s.edit(s.read("../../examples/hashistack/engines/nomad.hcl"),
		"http://127.0.0.1:8200", s.vault.Address, "127.0.0.1:8500", host(s.consul.Address), "consul {", "consul {\n  token = \""+s.consul.Token+"\""))
	self, err := os.Executable()
	s.must(err)
	s.bin = s.path("aplomb")
	s.must(os.Symlink(self, s.bin))
	s.must(os.Symlink(enginetest.Binary(t, "tofu"), s.path("tofu")))
	build := exec.CommandContext(t.Context(), "go", "build", "-o", s.path("team"), "./"+example+"cmd/team")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the teams' program: %v\n%s", err, out)
	}
	s.must(os.CopyFS(s.path("shop.git"), os.DirFS(example+"teams")))
	s.must(os.CopyFS(s.path("shop.git/postgres"), os.DirFS(example+"hashistack/postgres")))
	s.must(os.Mkdir(s.path("run"), 0o700))
	s.must(os.Mkdir(s.path("tokens"), 0o700))
	s.must(os.WriteFile(s.path("tokens/vault"), []byte(s.vault.Token), 0o600))
	s.must(os.WriteFile(s.path("tokens/consul"), []byte(s.consul.Token), 0o600))
	s.keepsPassword = t.TempDir() + "/postgres"
	s.must(os.WriteFile(s.keepsPassword, []byte(s.postgres.Password), 0o600))
	s.write("shop.git/platform.yaml", s.edit(s.read(example+"hashistack/platform.yaml"),
		"127.0.0.1:5432", s.postgres.Host+":"+s.postgres.Port, "/run/secrets/postgres", s.keepsPassword, "http://127.0.0.1:4646", s.nomad.Address))
	for _, file := range []string{"shop/shop.yaml", "pay/pay.yaml", "data/data.yaml"} {
		s.change(file, "[team,", "["+s.path("team")+",") // Nomad's agent has another PATH
	}
	port, err := unused()
	s.must(err)
	s.change("pay/pay.yaml", "port: 7461", "port: "+port)
	s.write("aplomb.yaml", s.edit(s.read(example+"hashistack/aplomb.yaml"), "./teams.git", "./shop.git",
		"http://127.0.0.1:8200", s.vault.Address, "http://127.0.0.1:8500", s.consul.Address, "http://127.0.0.1:4646", s.nomad.Address,
		"{engine: tofu}", "{engine: tofu, binary: ./tofu}", "interval: 5s", "interval: 1s",
		"driver: raw_exec", "driver: raw_exec\n      databaseHost: "+s.postgres.Host+"\n      databasePort: "+s.postgres.Port))
	s.git("init", "-q", "-b", "main")
	s.commit("first")
	t.Cleanup(func() { s.stop(syscall.SIGTERM) })
	return s
}

// TestSelfService: the teams' files that converge on one machine converge on
// the real engines, by the values of the environment alone.
func TestSelfService(t *testing.T) {
	s := newTeams(t)
	if plan, code := s.aplomb("plan", "-c", "aplomb.yaml", "--init"); code != codeChanges || !strings.Contains(plan, "WebService/payments") {
		t.Errorf("plan over nothing: exit %d\n%s", code, plan)
	}
	s.start()
	s.converged()
	for _, job := range []string{"storefront", "payments"} {
		if got := s.running(job); got != 1 || s.version(job) != 0 {
			t.Errorf("%s: %d run, version %d", job, got, s.version(job))
		}
	}
	for _, job := range []string{"report", "reconcile"} {
		if s.version(job) != 0 {
			t.Errorf("%s: version %d", job, s.version(job))
		}
	}
	if text, code := s.aplomb("show", "WebService/storefront"); code != codeGood || !strings.Contains(text, "nomad.job/storefront") || !strings.Contains(text, "vault.role/storefront-workload") {
		t.Errorf("unfolded: exit %d\n%s", code, text)
	}
	s.change("shop/shop.yaml", "Welcome to the shop", "Welcome back")
	s.commit("another greeting")
	s.converged()
	if s.version("storefront") != 1 || s.version("payments") != 0 {
		t.Errorf("the storefront has version %d, the payments %d", s.version("storefront"), s.version("payments"))
	}
	s.noLeak(s.postgres.Password)
}
