// Package enginetest starts the real engines for tests: Vault, Consul, Nomad,
// PostgreSQL and Gitea on loopback, at most one of each a test process, and
// stops them by process id. The binaries are those of `make engines`, or those on
// PATH; one that is missing fails the test, since a skipped proof is none.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { os.Exit(enginetest.Main(m)) }
//
// in a file with the build tag e2e. It speaks to engines over plain HTTP only:
// their API clients stay in their drivers.
package enginetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// startTimeout bounds the start of an engine.
const startTimeout = 90 * time.Second

// Main runs the tests of a package and stops the engines that they started.
func Main(m *testing.M) int {
	code := m.Run()
	if err := stopAll(); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "enginetest:", err)
		return max(code, 1)
	}
	return code
}

// Binary is the path of an engine's program.
func Binary(t testing.TB, name string) string {
	t.Helper()
	path, err := find(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func find(name string) (string, error) {
	for _, dir := range folders() {
		if st, err := os.Stat(filepath.Join(dir, name)); err == nil && st.Mode()&0o111 != 0 {
			return filepath.Join(dir, name), nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("enginetest: no %s: make engines builds it", name)
	}
	return filepath.Abs(path)
}

// folders are where make engines puts programs: bin/engines of the repository.
func folders() []string {
	var all []string
	if dir := os.Getenv("APLOMB_ENGINES"); dir != "" {
		all = append(all, dir)
	}
	wd, err := os.Getwd()
	for err == nil {
		if _, statErr := os.Stat(filepath.Join(wd, "go.mod")); statErr == nil {
			all = append(all, filepath.Join(wd, "bin", "engines"))
		}
		if filepath.Dir(wd) == wd {
			break
		}
		wd = filepath.Dir(wd)
	}
	return all
}

// process is one engine that runs.
type process struct {
	cmd  *exec.Cmd
	dir  string // its own folder, removed at the end
	log  string
	done chan struct{}
	err  error // once done is closed
}

var running struct {
	sync.Mutex
	all []*process
}

// start runs a program in a folder of its own. It dies with this process, even
// where that is killed.
func start(dir string, as *syscall.Credential, path string, args ...string) (*process, error) {
	p := &process{dir: dir, log: filepath.Join(dir, filepath.Base(path)+".log"), done: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p.cmd = exec.Command(path, args...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, out, out
	p.cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC", "CHECKPOINT_DISABLE=1"}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true, Credential: as}
	began := make(chan error)
	go func() {
		runtime.LockOSThread() // the parent that Pdeathsig watches is this thread
		defer func() { _ = out.Close() }()
		err := p.cmd.Start()
		began <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.done)
		}
	}()
	if err := <-began; err != nil {
		return nil, fmt.Errorf("enginetest: start %s: %w", path, err)
	}
	running.Lock()
	running.all = append(running.all, p)
	running.Unlock()
	return p, nil
}

// stop asks a process to end, and kills it where it does not in time.
func (p *process) stop(ask syscall.Signal, patience time.Duration) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	_ = p.cmd.Process.Signal(ask) // it may end meanwhile
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
	return nil
}

func stopAll() error {
	running.Lock()
	all := slices.Clone(running.all)
	running.all = nil
	running.Unlock()
	var err error
	for _, p := range slices.Backward(all) {
		err = errors.Join(err, p.stop(syscall.SIGINT, 20*time.Second))
		if os.Getenv("APLOMB_KEEP") == "" {
			err = errors.Join(err, os.RemoveAll(p.dir))
		}
	}
	return err
}

// Ports are n free ports of loopback.
func Ports(n int) ([]int, error) {
	ports := make([]int, n)
	held := make([]net.Listener, 0, n)
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		held = append(held, l)
		ports[i] = l.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

// ready asks until yes answers true, the process ends or time is up.
func (p *process) ready(yes func(context.Context) bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !yes(ctx) {
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("enginetest: %s ended: %v\n%s", p.cmd.Path, p.err, tail(p.log))
		case <-ctx.Done():
			return fmt.Errorf("enginetest: %s was not ready in %s\n%s", p.cmd.Path, startTimeout, tail(p.log))
		}
	}
	return nil
}

// tail is the end of a log, for a failure.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(string(b), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

// call makes one request and answers status and body.
func call(ctx context.Context, method, url, token, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		req.Header.Set("X-Vault-Token", token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, string(b), err
}

// ok says whether a request is answered with 200.
func ok(ctx context.Context, method, url, body string) bool {
	status, _, err := call(ctx, method, url, "", body)
	return err == nil && status == http.StatusOK
}

// engine starts one of a kind, once a process.
type engine[T any] struct {
	once sync.Once
	got  *T
	err  error
}

func (e *engine[T]) get(t testing.TB, begin func(dir string) (*T, error)) *T {
	t.Helper()
	e.once.Do(func() {
		var dir string
		if dir, e.err = os.MkdirTemp("", "aplomb-engine-"); e.err == nil {
			e.got, e.err = begin(dir)
		}
	})
	if e.err != nil {
		t.Fatal(e.err)
	}
	return e.got
}
