package enginetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// VaultServer is a Vault in memory, unsealed, with KV version 2 at secret/.
type VaultServer struct {
	Address string // http://127.0.0.1:PORT
	Token   string // of root
}

var vault engine[VaultServer]

// Vault starts the process's Vault, or answers the one that runs.
func Vault(t testing.TB) *VaultServer {
	t.Helper()
	return vault.get(t, startVault)
}

func startVault(dir string) (*VaultServer, error) {
	path, err := find("vault")
	if err != nil {
		return nil, err
	}
	port, err := Ports(1)
	if err != nil {
		return nil, err
	}
	v := &VaultServer{Address: fmt.Sprintf("http://127.0.0.1:%d", port[0]), Token: "root"}
	args := []string{"server", "-dev", "-dev-no-store-token", "-dev-root-token-id=" + v.Token, fmt.Sprintf("-dev-listen-address=127.0.0.1:%d", port[0])}
	if plugin, err := find("postgresql-database-plugin"); err == nil {
		dir, err := pluginDir(dir, plugin)
		if err != nil {
			return nil, err
		}
		args = append(args, "-dev-plugin-dir="+dir)
	}
	p, err := start(dir, nil, path, args...)
	if err != nil {
		return nil, err
	}
	return v, p.ready(func(ctx context.Context) bool { return ok(ctx, http.MethodGet, v.Address+"/v1/sys/health", "") })
}

// pluginDir is a folder with a plugin alone: Vault registers all that lies in
// it, and follows no links.
func pluginDir(dir, plugin string) (string, error) {
	dir = filepath.Join(dir, "plugins")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	b, err := os.ReadFile(plugin)
	if err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, filepath.Base(plugin)), b, 0o700)
}

// ConsulServer is a Consul in memory.
type ConsulServer struct {
	Address string // http://127.0.0.1:PORT
}

var consul engine[ConsulServer]

// Consul starts the process's Consul, or answers the one that runs.
func Consul(t testing.TB) *ConsulServer {
	t.Helper()
	return consul.get(t, startConsul)
}

func startConsul(dir string) (*ConsulServer, error) {
	path, err := find("consul")
	if err != nil {
		return nil, err
	}
	ports, err := Ports(5)
	if err != nil {
		return nil, err
	}
	c := &ConsulServer{Address: fmt.Sprintf("http://127.0.0.1:%d", ports[0])}
	p, err := start(dir, nil, path, "agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1", "-dns-port=-1", "-grpc-tls-port=-1", "-disable-host-node-id",
		fmt.Sprintf("-http-port=%d", ports[0]), fmt.Sprintf("-grpc-port=%d", ports[1]), fmt.Sprintf("-server-port=%d", ports[2]),
		fmt.Sprintf("-serf-lan-port=%d", ports[3]), fmt.Sprintf("-serf-wan-port=%d", ports[4]), "-hcl=limits { http_max_conns_per_client = 400 }")
	if err != nil {
		return nil, err
	}
	return c, p.ready(func(ctx context.Context) bool {
		status, body, err := call(ctx, http.MethodGet, c.Address+"/v1/status/leader", "", "")
		return err == nil && status == http.StatusOK && len(body) > 2 &&
			ok(ctx, http.MethodPut, c.Address+"/v1/config", `{"Kind":"service-defaults","Name":"enginetest"}`) &&
			ok(ctx, http.MethodDelete, c.Address+"/v1/config/service-defaults/enginetest", "")
	})
}

// NomadServer is a Nomad in memory, server and client in one, with raw_exec.
type NomadServer struct {
	Address string // http://127.0.0.1:PORT
}

var nomad engine[NomadServer]

// Nomad starts the process's Nomad, or answers the one that runs.
func Nomad(t testing.TB) *NomadServer {
	t.Helper()
	return nomad.get(t, func(dir string) (*NomadServer, error) { return startNomad(dir, "") })
}

// NomadWith starts the process's Nomad with more of an agent's configuration,
// such as where its Vault and its Consul are. It is the first to start one.
func NomadWith(t testing.TB, config string) *NomadServer {
	t.Helper()
	return nomad.get(t, func(dir string) (*NomadServer, error) { return startNomad(dir, config) })
}

// nomadConfig: without the denylist Nomad asks the metadata addresses of
// clouds. Speculative plans and registrations come in floods in tests.
const nomadConfig = `
ports {
  http = %d
  rpc  = %d
  serf = %d
}
limits {
  http_max_conns_per_client = 400
}
client {
  options = { "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean" }
}
`

func startNomad(dir, config string) (*NomadServer, error) {
	path, err := find("nomad")
	if err != nil {
		return nil, err
	}
	ports, err := Ports(3)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "agent.hcl")
	text := fmt.Sprintf(nomadConfig, ports[0], ports[1], ports[2]) + config
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	n := &NomadServer{Address: fmt.Sprintf("http://127.0.0.1:%d", ports[0])}
	p, err := start(dir, nil, path, "agent", "-dev", "-config="+file)
	if err != nil {
		return nil, err
	}
	return n, p.ready(func(ctx context.Context) bool { return n.ready(ctx) == nil })
}

var errNotReady = errors.New("not ready")

// ready says whether a node is there that runs raw_exec.
func (n *NomadServer) ready(ctx context.Context) error {
	if !ok(ctx, http.MethodGet, n.Address+"/v1/agent/health", "") {
		return errNotReady
	}
	_, body, err := call(ctx, http.MethodGet, n.Address+"/v1/nodes", "", "")
	if err != nil {
		return err
	}
	var nodes []struct {
		Status, SchedulingEligibility string
		Drivers                       map[string]struct{ Healthy bool }
	}
	if err := json.Unmarshal([]byte(body), &nodes); err != nil {
		return err
	}
	for _, node := range nodes {
		if node.Status == "ready" && node.SchedulingEligibility == "eligible" && node.Drivers["raw_exec"].Healthy {
			return nil
		}
	}
	return errNotReady
}
