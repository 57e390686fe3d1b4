package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/internal/api"
	"github.com/aplomb-dev/aplomb/reconciler"
)

var idleFor = flag.Duration("idle", 0, "how long BenchmarkIdle lets the daemon be; zero: not at all (ten minutes hold one resync)")

// house is a Git repository of n files and the daemon that follows it, as a
// process of its own.
type house struct {
	b    *testing.B
	dir  string
	bin  string
	cmd  *exec.Cmd
	ctl  *api.Client
	size int
}

// perFile is how many declarations each YAML file of a house holds.
const perFile = 100

func newHouse(b *testing.B, n int) *house {
	b.Helper()
	h := &house{b: b, dir: b.TempDir(), size: n}
	h.bin = filepath.Join(h.dir, "aplomb")
	self, err := os.Executable()
	h.must(err)
	h.must(os.Symlink(self, h.bin)) // the test binary is aplomb under that name
	h.must(os.Mkdir(h.path("repo"), 0o755))
	h.must(os.Mkdir(h.path("run"), 0o700))
	h.git("init", "-q", "-b", "main")
	for f := 0; f*perFile < n; f++ {
		h.write(f, "first")
	}
	h.commit("first")
	return h
}

func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

func (h *house) must(err error) {
	h.b.Helper()
	if err != nil {
		h.b.Fatal(err)
	}
}

// write makes one file of declarations; word is in the content of its first.
func (h *house) write(f int, word string) {
	var doc strings.Builder
	for i := f * perFile; i < min((f+1)*perFile, h.size); i++ {
		fmt.Fprintf(&doc, "---\napiVersion: aplomb.dev/v1\nkind: local.file\nmetadata:\n  name: f%d\n  labels: {team: shop}\nspec:\n  path: d%d/f%d.txt\n  content: %s of %d\n  mode: \"0640\"\n", i, f, i, word, i)
		word = "unchanged"
	}
	h.must(os.WriteFile(h.path(fmt.Sprintf("repo/all%d.yaml", f)), []byte(doc.String()), 0o644))
}

func (h *house) git(args ...string) {
	h.b.Helper()
	cmd := exec.Command("git", append([]string{"-C", h.path("repo"), "-c", "user.name=ana", "-c", "user.email=ana@example.org"}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		h.b.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func (h *house) commit(msg string) {
	h.git("add", "-A")
	h.git("commit", "-q", "-m", msg)
}

// up starts the daemon and waits until it is converged.
func (h *house) up() {
	h.b.Helper()
	h.cmd = exec.Command(h.bin, "up", "--data", h.path("data"), h.path("repo"))
	h.cmd.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+h.path("run"))
	h.must(h.cmd.Start())
	ctx, cancel := context.WithTimeout(h.b.Context(), 3*time.Minute)
	defer cancel()
	sockets, err := api.RuntimeDir(h.path("run"), h.dir)
	h.must(err)
	for h.ctl == nil {
		data, err := filepath.EvalSymlinks(h.path("data"))
		if err == nil {
			socket, err := api.SocketPath(sockets, data)
			h.must(err)
			if d, _, err := api.Dial(ctx, api.Address{Socket: socket}); err == nil {
				h.ctl = d.Environment("local")
				break
			}
		}
		h.tick(ctx)
	}
	_, err = h.ctl.Wait(ctx, func(s reconciler.Status) bool { return s.Converged })
	h.must(err)
}

// tick is the breath between two looks of a wait.
func (h *house) tick(ctx context.Context) {
	t := time.NewTimer(2 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		h.b.Fatal(ctx.Err())
	}
}

// kill ends the daemon as a power cut would.
func (h *house) kill() {
	h.ctl.Close()
	h.ctl = nil
	h.must(h.cmd.Process.Signal(syscall.SIGKILL))
	_ = h.cmd.Wait() // it was killed
}

// BenchmarkCommitToWrite is from the end of git commit to the changed file, on
// a local repository of 1,000 resources.
func BenchmarkCommitToWrite(b *testing.B) {
	h := newHouse(b, 1000)
	h.up()
	b.Cleanup(h.kill)
	n := 0
	for b.Loop() {
		b.StopTimer()
		n++
		word := fmt.Sprintf("word%d", n)
		h.write(3, word)
		h.commit(word)
		b.StartTimer()
		for {
			got, err := os.ReadFile(h.path("data/files/d3/f300.txt"))
			if err == nil && strings.HasPrefix(string(got), word) {
				break
			}
			h.tick(b.Context())
		}
	}
}

// BenchmarkRestartBinary is from the start of the process to converged, with
// 10,000 resources owned and the cache of a process that was killed.
func BenchmarkRestartBinary(b *testing.B) {
	h := newHouse(b, 10_000)
	h.up()
	h.kill()
	for b.Loop() {
		h.up()
		b.StopTimer()
		h.kill()
		b.StartTimer()
	}
}

// BenchmarkIdle is the processor time of a daemon that has nothing to do over
// 10,000 resources; asked for by -idle.
func BenchmarkIdle(b *testing.B) {
	if *idleFor == 0 {
		b.Skip("asked for by -idle, such as: go test ./cmd/aplomb -run '^$' -bench Idle -benchtime 1x -idle 11m -timeout 20m")
	}
	h := newHouse(b, 10_000)
	h.up()
	b.Cleanup(h.kill)
	for b.Loop() {
		before := h.cpu()
		t := time.NewTimer(*idleFor)
		<-t.C
		used := h.cpu() - before
		b.ReportMetric(100*used.Seconds()/idleFor.Seconds(), "%core")
		b.ReportMetric(float64(h.rss())/(1<<20), "MiB")
	}
}

// cpu is the processor time that the daemon has used; fields 14 and 15 of
// proc(5) stat, in ticks of 10 ms.
func (h *house) cpu() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.cmd.Process.Pid))
	h.must(err)
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')'):]))
	var ticks int
	for _, f := range fields[12:14] {
		n, err := strconv.Atoi(f)
		h.must(err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// rss is the memory that the daemon has resident, in bytes.
func (h *house) rss() int {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", h.cmd.Process.Pid))
	h.must(err)
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	h.must(err)
	return pages * os.Getpagesize()
}
