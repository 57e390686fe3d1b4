//go:build e2e

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/reconciler"
)

// shop is examples/hashistack on real engines: a copy of its repository and of
// its configuration, with the addresses of the tests' engines, and the daemon as
// a process of its own.
type shop struct {
	*testing.T
	dir, bin      string
	vault         *enginetest.VaultServer
	consul        *enginetest.ConsulACLServer
	nomad         *enginetest.NomadServer
	postgres      *enginetest.PostgresServer
	daemon        *exec.Cmd
	said          said // by the daemon and by commands
	through       func(engine, address string) string
	keepsPassword string // file with the password of the database
}

// said is all that was written, by several processes at once.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newShop starts the engines and lays the example out. through, where it is not
// nil, is how the daemon reaches an engine instead.
func newShop(t *testing.T, through func(engine, address string) string) *shop {
	t.Helper()
	s := &shop{T: t, dir: t.TempDir(), through: through}
	s.vault, s.consul, s.postgres = enginetest.Vault(t), enginetest.ConsulACL(t), enginetest.Postgres(t)
	s.nomad = enginetest.NomadWith(t, s.edit(s.read("../../examples/hashistack/engines/nomad.hcl"),
		"http://127.0.0.1:8200", s.vault.Address, "127.0.0.1:8500", host(s.consul.Address), "consul {", "consul {\n  token = \""+s.consul.Token+"\""))
	self, err := os.Executable()
	s.must(err)
	s.bin = s.path("aplomb")
	s.must(os.Symlink(self, s.bin)) // the test binary is aplomb under that name
	s.must(os.Symlink(enginetest.Binary(t, "tofu"), s.path("tofu")))
	s.must(os.CopyFS(s.path("shop.git"), os.DirFS("../../examples/hashistack/repo")))
	s.must(os.Mkdir(s.path("run"), 0o700))
	s.must(os.Mkdir(s.path("tokens"), 0o700))
	s.must(os.WriteFile(s.path("tokens/vault"), []byte(s.vault.Token), 0o600))
	s.must(os.WriteFile(s.path("tokens/consul"), []byte(s.consul.Token), 0o600))
	s.keepsPassword = filepath.Join(t.TempDir(), "postgres")
	s.must(os.WriteFile(s.keepsPassword, []byte(s.postgres.Password), 0o600))
	s.change("network.yaml", "127.0.0.1:5432", s.postgres.Host+":"+s.postgres.Port, "/run/secrets/postgres", s.keepsPassword)
	s.change("identity.yaml", "http://127.0.0.1:4646", s.nomad.Address)
	at := func(engine, address string) string {
		if through == nil {
			return address
		}
		return through(engine, address)
	}
	s.write("aplomb.yaml", s.edit(s.read("../../examples/hashistack/aplomb.yaml"), "http://127.0.0.1:8200", at("vault", s.vault.Address),
		"http://127.0.0.1:8500", at("consul", s.consul.Address), "http://127.0.0.1:4646", at("nomad", s.nomad.Address), "{engine: tofu}", "{engine: tofu, binary: ./tofu}", "interval: 5s", "interval: 1s"))
	s.git("init", "-q", "-b", "main")
	s.commit("first")
	t.Cleanup(func() { s.stop(syscall.SIGTERM) })
	return s
}

func host(address string) string { return strings.TrimPrefix(address, "http://") }

func (s *shop) path(name string) string { return filepath.Join(s.dir, name) }

func (s *shop) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s *shop) read(path string) string {
	s.Helper()
	b, err := os.ReadFile(path)
	s.must(err)
	return string(b)
}

func (s *shop) write(name, text string) {
	s.Helper()
	s.must(os.WriteFile(s.path(name), []byte(text), 0o600))
}

// edit replaces texts, each of which must be there.
func (s *shop) edit(text string, pairs ...string) string {
	s.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			s.Fatalf("%q is not in\n%s", pairs[i], text)
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// change edits a file of the repository.
func (s *shop) change(name string, pairs ...string) {
	s.Helper()
	s.write("shop.git/"+name, s.edit(s.read(s.path("shop.git/"+name)), pairs...))
}

func (s *shop) git(args ...string) string {
	s.Helper()
	cmd := exec.Command("git", append([]string{"-C", s.path("shop.git"), "-c", "user.name=ana", "-c", "user.email=ana@example.org"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (s *shop) commit(msg string) {
	s.Helper()
	s.git("add", "-A")
	s.git("commit", "-q", "-m", msg)
}

func (s *shop) command(args ...string) *exec.Cmd {
	cmd := exec.Command(s.bin, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+s.path("run"), "APLOMB_DATA="+s.path("data"), "NO_COLOR=1")
	return cmd
}

// aplomb runs a command to its end, and answers what it wrote and its exit
// code.
func (s *shop) aplomb(args ...string) (string, int) {
	s.Helper()
	cmd := s.command(args...)
	var out bytes.Buffer
	cmd.Stdout = io.MultiWriter(&out, &s.said)
	cmd.Stderr = cmd.Stdout
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		s.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// start starts the daemon.
func (s *shop) start() {
	s.Helper()
	s.daemon = s.command("run", "-c", "aplomb.yaml", "--log-level", "debug")
	s.daemon.Stdout, s.daemon.Stderr = &s.said, &s.said
	s.must(s.daemon.Start())
}

// stop ends the daemon with a signal, if it runs.
func (s *shop) stop(sig syscall.Signal) {
	if s.daemon == nil {
		return
	}
	_ = s.daemon.Process.Signal(sig) // it may have ended
	_ = s.daemon.Wait()
	s.daemon = nil
}

// until looks until yes, and fails after patience with what the environment
// says of itself.
func (s *shop) until(what string, yes func() bool) {
	s.Helper()
	deadline := time.NewTimer(8 * time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(300 * time.Millisecond) // a look starts a process, and the engines want the machine
	defer tick.Stop()
	for !yes() {
		select {
		case <-tick.C:
		case <-deadline.C:
			text, _ := s.aplomb("status")
			s.Fatalf("%s did not come about\n%s", what, text)
		}
	}
}

// status is how the environment is; nil while nobody answers.
func (s *shop) status() *reconciler.Status {
	s.Helper()
	text, code := s.aplomb("status", "-o", "json")
	if code != codeGood && code != codeNotConverged {
		return nil
	}
	var st reconciler.Status
	s.must(json.Unmarshal([]byte(text), &st))
	return &st
}

// converged waits until the tip of the repository is converged.
func (s *shop) converged() {
	s.Helper()
	tip := s.git("rev-parse", "HEAD")
	s.until("converged at "+tip[:7], func() bool {
		st := s.status()
		return st != nil && st.Converged && st.Revision.ID == tip
	})
}

// resource is what the status says of kind/name.
func (s *shop) resource(name string) reconciler.ResourceStatus {
	s.Helper()
	if st := s.status(); st != nil {
		for _, r := range st.Resources {
			if r.ID.Short() == name {
				return r
			}
		}
	}
	return reconciler.ResourceStatus{}
}

// history are the records since a revision came in force, oldest first.
func (s *shop) history(revision string) []reconciler.Record {
	s.Helper()
	text, code := s.aplomb("history", "-o", "json", "--limit", "200")
	if code != codeGood {
		s.Fatalf("history: %d\n%s", code, text)
	}
	var all, since []reconciler.Record
	s.must(json.Unmarshal([]byte(text), &all))
	for _, r := range all { // newest first
		if r.Revision == revision {
			since = append([]reconciler.Record{r}, since...)
		}
	}
	return since
}

// ask asks an engine, and reads its JSON into v.
func (s *shop) ask(method, url string, v any) int {
	s.Helper()
	req, err := http.NewRequest(method, url, nil)
	s.must(err)
	req.Header.Set("X-Vault-Token", s.vault.Token)
	req.Header.Set("X-Consul-Token", s.consul.Token)
	res, err := http.DefaultClient.Do(req)
	s.must(err)
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	s.must(err)
	if v != nil && res.StatusCode == http.StatusOK {
		s.must(json.Unmarshal(b, v))
	}
	return res.StatusCode
}

// noLeak searches a secret, in every encoding, in all that was said, in the
// data folder and in everything that the repository holds.
func (s *shop) noLeak(secret string) {
	s.Helper()
	search := func(where string, text []byte) {
		for i, form := range driverkit.Forms(secret) {
			if bytes.Contains(text, []byte(form)) {
				s.Errorf("a secret stands in %s, in the form %d of driverkit.Forms", where, i)
			}
		}
	}
	search("what was said", []byte(s.said.String()))
	search("the repository", []byte(s.git("log", "--all", "-p", "--full-history")))
	s.must(filepath.WalkDir(s.path("data"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil // it may have gone meanwhile
		}
		if b, err := os.ReadFile(path); err == nil {
			search(path, b)
		}
		return nil
	}))
}
