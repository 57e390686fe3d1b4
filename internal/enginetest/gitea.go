package enginetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/gittest"
)

// GiteaServer is a Gitea with a database in a file, an administrator, and
// nothing else. It calls webhooks on loopback only.
type GiteaServer struct {
	Address string // http://127.0.0.1:PORT
	Token   string // of the administrator

	mu     sync.Mutex
	tokens map[string]string // of users, by name
}

var gitea engine[GiteaServer]

// Gitea starts the process's Gitea, or answers the one that runs.
func Gitea(t testing.TB) *GiteaServer {
	t.Helper()
	return gitea.get(t, startGitea)
}

// giteaRoot is the name of the administrator, giteaPassword everybody's.
const (
	giteaRoot     = "gardener"
	giteaPassword = "not-a-secret-1"
)

// giteaConfig: the template repositories, assets and locales lie in the folder
// of the module that the program was built from.
const giteaConfig = `
RUN_USER = %s
RUN_MODE = prod
WORK_PATH = %s
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
[server]
PROTOCOL = http
HTTP_ADDR = 127.0.0.1
HTTP_PORT = %d
ROOT_URL = %s/
OFFLINE_MODE = true
DISABLE_SSH = true
%s
[database]
DB_TYPE = sqlite3
[security]
INSTALL_LOCK = true
SECRET_KEY = loopback-only
[service]
DISABLE_REGISTRATION = true
[webhook]
ALLOWED_HOST_LIST = loopback
[actions]
ENABLED = false
[cron]
ENABLED = false
[log]
LEVEL = Warn
`

func startGitea(dir string) (*GiteaServer, error) {
	path, err := find("gitea")
	if err != nil {
		return nil, err
	}
	port, err := Ports(1)
	if err != nil {
		return nil, err
	}
	who, err := user.Current()
	if err != nil {
		return nil, err
	}
	static := ""
	if folder := giteaSource(); folder != "" {
		static = "STATIC_ROOT_PATH = " + folder
	}
	g := &GiteaServer{Address: fmt.Sprintf("http://127.0.0.1:%d", port[0]), tokens: map[string]string{}}
	file := filepath.Join(dir, "app.ini")
	if err := os.WriteFile(file, fmt.Appendf(nil, giteaConfig, who.Username, dir, port[0], g.Address, static), 0o600); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"migrate"},
		{"admin", "user", "create", "--admin", "--username", giteaRoot, "--password", giteaPassword, "--email", giteaRoot + "@example.org", "--must-change-password=false"},
	} {
		cmd := exec.Command(path, append(args, "--config", file)...)
		cmd.Dir, cmd.Env = dir, []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("enginetest: gitea %s: %w\n%s", args[0], err, out)
		}
	}
	p, err := start(dir, nil, path, "web", "--config", file)
	if err != nil {
		return nil, err
	}
	if err := p.ready(func(ctx context.Context) bool { return ok(ctx, http.MethodGet, g.Address+"/api/v1/version", "") }); err != nil {
		return nil, err
	}
	g.Token, err = g.token(giteaRoot)
	return g, err
}

// giteaSource is the folder of Gitea's module; empty where the program was not
// built from one, and brings what it needs.
func giteaSource() string {
	wd, err := os.Getwd()
	for err == nil && filepath.Dir(wd) != wd {
		module := filepath.Join(wd, "tools", "engines", "gitea")
		if _, statErr := os.Stat(filepath.Join(module, "go.mod")); statErr == nil {
			cmd := exec.Command("go", "mod", "download", "-json", "code.gitea.io/gitea")
			cmd.Dir, cmd.Env = module, append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
			out, err := cmd.Output()
			var got struct{ Dir string }
			if err != nil || json.Unmarshal(out, &got) != nil {
				return ""
			}
			return got.Dir
		}
		wd = filepath.Dir(wd)
	}
	return ""
}

// token makes an access token with a user's password.
func (g *GiteaServer) token(name string) (string, error) {
	var made struct {
		SHA1 string `json:"sha1"`
	}
	at := strings.Replace(g.Address, "://", "://"+name+":"+giteaPassword+"@", 1) + "/api/v1/users/" + name + "/tokens"
	status, err := giteaCall(http.MethodPost, at, "", map[string]any{"name": "tests", "scopes": []string{"all"}}, &made)
	if err == nil && status != http.StatusCreated {
		err = fmt.Errorf("enginetest: a token for %s: HTTP %d", name, status)
	}
	return made.SHA1, err
}

// User is the token of an ordinary user, who is made if need be.
func (g *GiteaServer) User(t testing.TB, name string) string {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if token := g.tokens[name]; token != "" {
		return token
	}
	g.Must(t, g.Token, http.MethodPost, "/admin/users", map[string]any{
		"username": name, "password": giteaPassword, "email": name + "@example.org", "must_change_password": false,
	}, nil)
	token, err := g.token(name)
	if err != nil {
		t.Fatal(err)
	}
	g.tokens[name] = token
	return token
}

// Must makes a call of the API below /api/v1, with JSON, which succeeds.
func (g *GiteaServer) Must(t testing.TB, token, method, path string, in, out any) {
	t.Helper()
	if status := g.Call(t, token, method, path, in, out); status >= 300 {
		t.Fatalf("gitea: %s %s: HTTP %d", method, path, status)
	}
}

// Call is Must for calls that may be refused: it gives the status.
func (g *GiteaServer) Call(t testing.TB, token, method, path string, in, out any) int {
	t.Helper()
	status, err := giteaCall(method, g.Address+"/api/v1"+path, token, in, out)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func giteaCall(method, at, token string, in, out any) (int, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequest(method, at, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "token "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	got, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	if err != nil || out == nil || res.StatusCode >= 300 {
		return res.StatusCode, err
	}
	return res.StatusCode, json.Unmarshal(got, out)
}

// URL is the address of a repository, "owner/name", for git as somebody.
func (g *GiteaServer) URL(t testing.TB, as, repository string) string {
	t.Helper()
	u, err := url.Parse(g.Address + "/" + repository + ".git")
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(as, g.User(t, as))
	return u.String()
}

// Clone is a work tree of a repository, with which somebody pushes.
func (g *GiteaServer) Clone(t testing.TB, as, repository string) *gittest.Repo {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "work")
	gittest.At(t, filepath.Dir(dir)).Git("clone", "-q", g.URL(t, as, repository), dir)
	return gittest.At(t, dir)
}
