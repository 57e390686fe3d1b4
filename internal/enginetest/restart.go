package enginetest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Restarting is an engine of one test alone that keeps what it holds on disk:
// it can be stopped, killed and started again at the same address.
type Restarting struct {
	Address string
	Token   string // Vault: of root

	name  string
	dir   string
	path  string
	args  []string
	proc  *process
	ready func(context.Context, *Restarting) bool
	key   string // Vault: that unseals it
}

// begin starts a Restarting and ends it with its test.
func begin(t testing.TB, r *Restarting) *Restarting {
	t.Helper()
	r.path = Binary(t, r.name)
	r.Start(t)
	t.Cleanup(func() { r.Stop(t) })
	return r
}

// Start starts it, and answers once it is ready.
func (r *Restarting) Start(t testing.TB) {
	t.Helper()
	if r.proc != nil {
		select {
		case <-r.proc.done:
		default:
			t.Fatalf("enginetest: %s runs already", r.name)
		}
	}
	var err error
	if r.proc, err = start(r.dir, nil, r.path, r.args...); err != nil {
		t.Fatal(err)
	}
	if err := r.proc.ready(func(ctx context.Context) bool { return r.ready(ctx, r) }); err != nil {
		t.Fatal(err)
	}
}

// Stop asks it to end, and waits until it has.
func (r *Restarting) Stop(t testing.TB) {
	t.Helper()
	if err := r.proc.stop(syscall.SIGINT, 20*time.Second); err != nil {
		t.Error(err)
	}
}

// Kill ends it at once.
func (r *Restarting) Kill(t testing.TB) {
	t.Helper()
	if err := r.proc.stop(syscall.SIGKILL, 20*time.Second); err != nil {
		t.Error(err)
	}
}

func ports(t testing.TB, n int) []int {
	t.Helper()
	all, err := Ports(n)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// NewConsul starts a Consul with a folder.
func NewConsul(t testing.TB) *Restarting {
	t.Helper()
	p, dir := ports(t, 5), t.TempDir()
	return begin(t, &Restarting{
		Address: fmt.Sprintf("http://127.0.0.1:%d", p[0]), name: "consul", dir: dir,
		args: []string{"agent", "-server", "-bootstrap-expect=1", "-data-dir=" + filepath.Join(dir, "data"), "-bind=127.0.0.1", "-client=127.0.0.1",
			"-dns-port=-1", "-grpc-tls-port=-1", "-disable-host-node-id", fmt.Sprintf("-http-port=%d", p[0]), fmt.Sprintf("-grpc-port=%d", p[1]),
			fmt.Sprintf("-server-port=%d", p[2]), fmt.Sprintf("-serf-lan-port=%d", p[3]), fmt.Sprintf("-serf-wan-port=%d", p[4]),
			"-hcl=limits { http_max_conns_per_client = 400 } performance { raft_multiplier = 1 }"},
		ready: func(ctx context.Context, r *Restarting) bool {
			return ok(ctx, http.MethodPut, r.Address+"/v1/config", `{"Kind":"service-defaults","Name":"enginetest"}`) &&
				ok(ctx, http.MethodDelete, r.Address+"/v1/config/service-defaults/enginetest", "")
		},
	})
}

// NewNomad starts a Nomad, server and client in one, with a folder.
func NewNomad(t testing.TB) *Restarting {
	t.Helper()
	p, dir := ports(t, 3), t.TempDir()
	file := filepath.Join(dir, "agent.hcl")
	text := fmt.Sprintf(nomadConfig, p[0], p[1], p[2]) + fmt.Sprintf("data_dir = %q\nbind_addr = \"127.0.0.1\"\n", filepath.Join(dir, "data")) + `
advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}
server {
  enabled          = true
  bootstrap_expect = 1
}
client {
  enabled           = true
  network_interface = "lo"
}
plugin "raw_exec" {
  config {
    enabled = true
  }
}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return begin(t, &Restarting{
		Address: fmt.Sprintf("http://127.0.0.1:%d", p[0]), name: "nomad", dir: dir, args: []string{"agent", "-config=" + file},
		ready: func(ctx context.Context, r *Restarting) bool {
			return (&NomadServer{Address: r.Address}).ready(ctx) == nil
		},
	})
}

// NewVault starts a Vault with a folder, initialised and unsealed.
func NewVault(t testing.TB) *Restarting {
	t.Helper()
	p, dir := ports(t, 2), t.TempDir()
	address := fmt.Sprintf("http://127.0.0.1:%d", p[0])
	file := filepath.Join(dir, "vault.hcl")
	text := fmt.Sprintf(`disable_mlock = true
api_addr      = %q
cluster_addr  = "https://127.0.0.1:%d"
storage "raft" {
  path    = %q
  node_id = "one"
}
listener "tcp" {
  address     = "127.0.0.1:%d"
  tls_disable = true
}
`, address, p[1], filepath.Join(dir, "data"), p[0])
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return begin(t, &Restarting{
		Address: address, name: "vault", dir: dir, args: []string{"server", "-config=" + file},
		ready: func(ctx context.Context, r *Restarting) bool { return r.unseal(ctx) },
	})
}

// unseal initialises a Vault that is new, unseals it, and says whether it
// answers.
func (r *Restarting) unseal(ctx context.Context) bool {
	switch status, _, err := call(ctx, http.MethodGet, r.Address+"/v1/sys/health", "", ""); {
	case err != nil:
		return false
	case status == http.StatusOK:
		return true
	}
	if r.key == "" {
		_, body, err := call(ctx, http.MethodPut, r.Address+"/v1/sys/init", "", `{"secret_shares":1,"secret_threshold":1}`)
		var made struct {
			Keys  []string `json:"keys"`
			Token string   `json:"root_token"`
		}
		if err != nil || json.Unmarshal([]byte(body), &made) != nil || len(made.Keys) != 1 {
			return false
		}
		r.key, r.Token = made.Keys[0], made.Token
	}
	_, _, err := call(ctx, http.MethodPut, r.Address+"/v1/sys/unseal", "", fmt.Sprintf(`{"key":%q}`, r.key))
	return err == nil && ok(ctx, http.MethodGet, r.Address+"/v1/sys/health", "")
}
