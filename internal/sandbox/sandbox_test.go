//go:build linux

package sandbox

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var insecure = &tls.Config{InsecureSkipVerify: true} // the test server's own certificate

// nobody is an account that owns nothing.
var nobody = &User{UID: 65534, GID: 65534}

// user is who tests run as: root takes another one.
func user() *User {
	if os.Geteuid() == 0 {
		return nobody
	}
	return nil
}

// TestHandedStaysOpen: what is to be run can be read by one stage after the other,
// whatever the garbage collector does between.
func TestHandedStaysOpen(t *testing.T) {
	fd, err := unix.MemfdCreate("handed", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := unix.Write(fd, []byte(`{"Dir": "/tmp"}`)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s, err := handed(fd)
		if err != nil || s.Dir != "/tmp" {
			t.Fatalf("%+v: %v", s, err)
		}
		collected := make(chan struct{})
		func() {
			f, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			runtime.AddCleanup(f, func(done chan struct{}) { close(done) }, collected)
		}()
		for done := false; !done; {
			runtime.GC()
			select {
			case <-collected:
				done = true
			default:
				runtime.Gosched()
			}
		}
	}
}

// needs skips, and says why, where this machine gives no sandbox.
func needs(t *testing.T) {
	t.Helper()
	err := Probe(t.Context(), user())
	if forbidden(err) {
		t.Skipf("not tested: %v", err)
	}
	must(t, err)
}

// forbidden says whether it is the machine that says no.
func forbidden(err error) bool {
	return err != nil && errors.Is(err, ErrUnavailable) && slices.ContainsFunc([]string{"operation not permitted", "permission denied", "function not implemented", "no space left"},
		func(why string) bool { return strings.Contains(err.Error(), why) })
}

func trying(what ...string) Spec {
	return Spec{
		User: user(), Writable: []string{"/tmp", "/made"}, Dir: "/made/a",
		Steps: [][]string{append([]string{selfPath, "try"}, what...)},
	}
}

func run(t *testing.T, s Spec) []Result {
	t.Helper()
	res, err := Run(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func said(t *testing.T, what ...string) string {
	t.Helper()
	res := run(t, trying(what...))
	return string(res[0].Out)
}

// TestFiles: nothing of this machine is seen but what is named.
func TestFiles(t *testing.T) {
	needs(t)
	t.Setenv("CANARY", "canary-in-the-environment")
	secret := filepath.Join(t.TempDir(), "token")
	must(t, os.WriteFile(secret, []byte("canary-in-a-file"), 0o644))
	must(t, os.Chmod(filepath.Dir(secret), 0o755))
	for _, p := range []string{secret, "/etc/passwd", "/etc/hostname", "/proc/1/environ", "/proc/self/environ", "/proc/cmdline", "/proc/sys/kernel/hostname", "/proc/kcore", "/sys/kernel", "/root", "/proc/1/root" + secret} {
		if got := said(t, "read", p); !strings.HasPrefix(got, "refused:") {
			t.Errorf("%s can be read: %.100s", p, got)
		}
	}
	for _, p := range []string{"/x", "/etc/x", "/dev/x", "/usr/lib/x", selfPath, "/lib/x"} {
		if got := said(t, "write", p); !strings.HasPrefix(got, "refused:") {
			t.Errorf("%s can be written", p)
		}
	}
	if got := said(t, "write", "/made/a/x"); got != "" {
		t.Errorf("the working folder cannot be written: %s", got)
	}
	s := trying("list")
	got := string(run(t, s)[0].Out)
	for line := range strings.Lines(got) {
		top := strings.SplitN(strings.TrimSpace(line)+"/", "/", 3)[1]
		if !slices.Contains([]string{"", selfPath[1:], "dev", "lib", "lib64", "proc", "usr", "tmp", "made"}, top) {
			t.Errorf("%s is seen", line)
		}
	}
	if got := said(t, "environ"); strings.TrimSpace(got) != "" {
		t.Errorf("the environment is inherited: %s", got)
	}
	if got := said(t, "fds"); strings.Contains(got, " 100000") || strings.Contains(got, " 140000") { // a file, a socket
		t.Errorf("open: %s", got)
	}
	named := trying("read", "/named")
	named.Mounts = append(named.Mounts, Mount{From: secret, To: "/named"})
	if got := string(run(t, named)[0].Out); got != "canary-in-a-file" {
		t.Errorf("what is named is not seen: %s", got)
	}
	named.Steps = [][]string{{selfPath, "try", "write", "/named"}}
	if run(t, named)[0].Code == 0 {
		t.Error("what is named can be written")
	}
}

// TestRights: nothing can be done that takes a right, and none is got back.
func TestRights(t *testing.T) {
	needs(t)
	if got := said(t, "rights"); got != "" {
		t.Error(got)
	}
	got := said(t, "status")
	if !strings.Contains(got, "capabilities [{0 0 0} {0 0 0}] 0 no new 1") {
		t.Errorf("it may do something:\n%s", got)
	}
	if u := user(); u != nil && !strings.Contains(got, "who 65534 65534 65534 65534 []") {
		t.Errorf("it is somebody else:\n%s", got)
	}
}

// TestProcesses: nobody else's process is there, and the first one stays.
func TestProcesses(t *testing.T) {
	needs(t)
	if n := len(strings.Fields(said(t, "processes"))); n < 1 || n > 40 { // its own threads have numbers, too
		t.Errorf("%d processes and threads are there", n)
	}
	if got := said(t, "kill"); !strings.Contains(got, "still here") {
		t.Errorf("%s", got)
	}
}

// TestWritten: what was written can be read and not run.
func TestWritten(t *testing.T) {
	needs(t)
	s := trying("read", "/made/a/file")
	s.Files = []File{{Path: "/made/a/file", Data: []byte("handed over")}, {Path: "/made/b/program", Data: []byte("#!" + selfPath), Exec: true}}
	s.Steps = append(s.Steps, []string{"/made/b/program"})
	_, err := Run(t.Context(), s)
	if err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("what was handed over was run: %v", err)
	}
	s.Writable, s.Dir = append(s.Writable, "/aplomb/data"), "/aplomb/data/a" // as in a container
	s.Steps = [][]string{{selfPath, "try", "read", "/made/a/file"}, {selfPath, "try", "code", "3"}, {selfPath, "try", "code", "0"}}
	res := run(t, s)
	if len(res) != 2 || string(res[0].Out) != "handed over" || res[0].Code != 0 || res[1].Code != 3 {
		t.Errorf("%+v", res)
	}
}

// TestNetwork: there is none but through the proxy, and there the named hosts
// alone.
func TestNetwork(t *testing.T) {
	needs(t)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }))
	defer srv.Close()
	at := srv.Listener.Addr().String()
	if got := said(t, "dial", at); !strings.HasPrefix(got, "refused:") {
		t.Errorf("this machine is reached: %s", got)
	}
	if got := said(t, "get", srv.URL); !strings.HasPrefix(got, "refused:") {
		t.Errorf("there is a proxy without a host: %s", got)
	}
	s := trying("get", srv.URL)
	s.Hosts = []string{at}
	if got := string(run(t, s)[0].Out); got != "hello" {
		t.Errorf("the named host is not reached: %s", got)
	}
	s.Steps = [][]string{{selfPath, "try", "dial", at}}
	if run(t, s)[0].Code == 0 {
		t.Error("a host is reached past the proxy")
	}
	other := httptest.NewTLSServer(http.NotFoundHandler())
	defer other.Close()
	s.Steps = [][]string{{selfPath, "try", "get", other.URL}}
	if got := string(run(t, s)[0].Out); !strings.Contains(got, "Forbidden") {
		t.Errorf("another host is reached: %s", got)
	}
}

// TestLimits: what takes too much or too long is ended.
func TestLimits(t *testing.T) {
	needs(t)
	s := trying("flood")
	s.Limits.Output = 1 << 16
	if res := run(t, s); !res[0].Full || len(res[0].Out) != 1<<16 {
		t.Errorf("full %v, %d bytes", res[0].Full, len(res[0].Out))
	}
	s = trying("eat")
	s.Limits.Memory = 512 << 20
	if res := run(t, s); res[0].Code == 0 || len(res[0].Out) > 0 {
		t.Errorf("%d: %.200s", res[0].Code, res[0].Errs)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := Run(ctx, trying("wait", "/tmp/x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// TestUnprivileged: who is nobody gets the same, as itself.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the other tests are this one")
	}
	self := filepath.Join(t.TempDir(), "self")
	data, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	must(t, os.WriteFile(self, data, 0o755))
	for dir := filepath.Dir(self); dir != os.TempDir(); dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	for _, what := range [][]string{{"read", "/etc/passwd"}, {"rights"}, {"processes"}} {
		s := trying(what...)
		s.User = nil
		spec, err := json.Marshal(s)
		must(t, err)
		cmd := exec.Command(self, "try", "run")
		cmd.Stdin, cmd.Dir = bytes.NewReader(spec), "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.Output()
		if err != nil && strings.Contains(string(out), "operation not permitted") {
			t.Skipf("not tested: %s", out)
		}
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var res []Result
		must(t, json.Unmarshal(out, &res))
		got := string(res[0].Out)
		switch {
		case what[0] == "read" && !strings.HasPrefix(got, "refused:"), what[0] == "rights" && got != "", what[0] == "processes" && len(strings.Fields(got)) > 40:
			t.Errorf("%s: %s", what, got)
		}
	}
}

// TestRefused: what must not be asked for is refused before anything runs.
func TestRefused(t *testing.T) {
	for name, change := range map[string]func(*Spec){
		"no step":        func(s *Spec) { s.Steps = nil },
		"in PATH":        func(s *Spec) { s.Steps = [][]string{{"tofu"}} },
		"file outside":   func(s *Spec) { s.Files = []File{{Path: "/etc/x"}} },
		"file up":        func(s *Spec) { s.Files = []File{{Path: "/made/../etc/x"}} },
		"mount":          func(s *Spec) { s.Mounts = []Mount{{From: "/etc", To: "/"}} },
		"writable root":  func(s *Spec) { s.Writable = []string{"/"} },
		"folder outside": func(s *Spec) { s.Dir = "/elsewhere" },
		"host":           func(s *Spec) { s.Hosts = []string{"example.org"} },
		"root":           func(s *Spec) { s.User = &User{} },
	} {
		s := trying("code", "0")
		change(&s)
		if _, err := Run(t.Context(), s); err == nil || errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if os.Geteuid() == 0 {
		s := trying("code", "0")
		if s.User = nil; true {
			if _, err := Run(t.Context(), s); err == nil {
				t.Error("root is nobody else")
			}
		}
	}
}

// FuzzReport: whatever is handed back is read, or is an error.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"codes":[0,1]}`), 2)
	f.Add([]byte(`{"error":"x"}`), 1)
	f.Fuzz(func(t *testing.T, data []byte, steps int) {
		r := &running{}
		for range min(max(steps, 1), maxSteps) {
			r.spec.Steps = append(r.spec.Steps, []string{"/x"})
			r.streams = append(r.streams, &stream{}, &stream{})
		}
		if res, err := r.results(data, nil, nil); err == nil && len(res) > len(r.spec.Steps) {
			t.Errorf("%d results", len(res))
		}
	})
}
