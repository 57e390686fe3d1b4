package enginetest

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ConsulACLServer is a Consul in memory that denies what no token allows.
type ConsulACLServer struct {
	Address string // http://127.0.0.1:PORT
	Token   string // may do everything
}

var consulACL engine[ConsulACLServer]

// ConsulACL starts the process's Consul with ACLs, or answers the one that runs.
func ConsulACL(t testing.TB) *ConsulACLServer {
	t.Helper()
	return consulACL.get(t, startConsulACL)
}

// managementToken is the token of every Consul with ACLs that tests start.
const managementToken = "5e9b1bd8-3f2d-4d0c-9d0b-6a4f4c1f7a11"

const consulACLConfig = `
limits { http_max_conns_per_client = 400 }
acl {
  enabled        = true
  default_policy = "deny"
  tokens { initial_management = %q }
}
`

func startConsulACL(dir string) (*ConsulACLServer, error) {
	path, err := find("consul")
	if err != nil {
		return nil, err
	}
	ports, err := Ports(5)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "acl.hcl")
	if err := os.WriteFile(file, fmt.Appendf(nil, consulACLConfig, managementToken), 0o600); err != nil {
		return nil, err
	}
	c := &ConsulACLServer{Address: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), Token: managementToken}
	p, err := start(dir, nil, path, "agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1", "-dns-port=-1", "-grpc-tls-port=-1", "-disable-host-node-id",
		fmt.Sprintf("-http-port=%d", ports[0]), fmt.Sprintf("-grpc-port=%d", ports[1]), fmt.Sprintf("-server-port=%d", ports[2]),
		fmt.Sprintf("-serf-lan-port=%d", ports[3]), fmt.Sprintf("-serf-wan-port=%d", ports[4]), "-config-file="+file)
	if err != nil {
		return nil, err
	}
	return c, p.ready(c.ready)
}

// ready says whether the token may write.
func (c *ConsulACLServer) ready(ctx context.Context) bool {
	for _, r := range []struct{ method, path, body string }{
		{http.MethodPut, "/v1/config", `{"Kind":"service-defaults","Name":"enginetest"}`},
		{http.MethodDelete, "/v1/config/service-defaults/enginetest", ""},
	} {
		req, err := http.NewRequestWithContext(ctx, r.method, c.Address+r.path, strings.NewReader(r.body))
		if err != nil {
			return false
		}
		req.Header.Set("X-Consul-Token", c.Token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return false
		}
	}
	return true
}
