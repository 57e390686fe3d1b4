package compile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"
)

func port(name string) string {
	return "apiVersion: aplomb.dev/v1\nkind: local.port\nmetadata: {name: " + name + "}\n"
}

func compileWith(t *testing.T, o Options, fsys fstest.MapFS) Result {
	t.Helper()
	c := New(o)
	t.Cleanup(func() { _ = c.Close() })
	res, err := c.Compile(t.Context(), fsys)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// A worker process answers what this process answers.
func TestWorkerAnswersTheSame(t *testing.T) {
	fsys := files("shop/web.yaml", shop, "shop/conf.yaml", "port: {{.PORT}}\n")
	for i := range 200 {
		name := fmt.Sprintf("p%d", i)
		fsys[name+".yaml"] = &fstest.MapFile{Data: []byte(port(name))}
	}
	want := compileHere(t, fsys)
	got := compileWith(t, Options{Worker: testWorker}, fsys)
	if len(want.Findings) > 0 || len(want.Resources) != 204 {
		t.Fatalf("%d resources, %v", len(want.Resources), want.Findings)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("a worker says %+v\nthis process says %+v", got, want)
	}
	fsys["bad.yaml"] = &fstest.MapFile{Data: []byte(port("Bad") + "---\na: [")}
	want, got = compileHere(t, fsys), compileWith(t, Options{Worker: testWorker}, fsys)
	if len(want.Findings) != 2 || !reflect.DeepEqual(got, want) {
		t.Errorf("a worker finds %v\nthis process finds %v", got.Findings, want.Findings)
	}
}

// A file over which a worker ends is blamed, by name, and no other; the rest is
// checked.
func TestWorkerIsEnded(t *testing.T) {
	for name, want := range map[string]string{
		"hang": "b-hang.yaml:1:1: checking it takes longer than 2s",
		"eat":  "b-eat.yaml:1:1: checking it needs more than 256 MiB of memory",
		"die":  "b-die.yaml:1:1: checking it ended the process that checks: it is too deep or too large",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limits := Limits{Memory: 256 << 20}
			if name == "hang" {
				limits.Deadline = 2 * time.Second
			}
			fsys := files("a.yaml", port("a"), "b-"+name+".yaml", port("b"), "c.yaml", port("Bad"), "d.yaml", port("d"))
			res := compileWith(t, Options{
				Worker: func() *exec.Cmd { return workerOf("wicked") },
				Limits: limits,
			}, fsys)
			if len(res.Findings) != 2 || res.Findings[0].String() != want || res.Findings[1].Pos.File != "c.yaml" {
				t.Errorf("findings %v, want %s and one in c.yaml", res.Findings, want)
			}
		})
	}
}

// A file is not blamed for what others left in the worker.
func TestWorkerIsTriedAgain(t *testing.T) {
	res := compileWith(t, Options{Worker: func() *exec.Cmd { return workerOf("wicked") }},
		files("a.yaml", port("a"), "tired.yaml", port("b"), "z.yaml", port("z")))
	if len(res.Findings) > 0 || len(res.Resources) != 3 {
		t.Errorf("%d resources, findings %v", len(res.Resources), res.Findings)
	}
}

// Many wicked files cost a bounded number of workers.
func TestWorkerGivesUp(t *testing.T) {
	fsys := fstest.MapFS{}
	for i := range 30 {
		fsys[fmt.Sprintf("die%02d.yaml", i)] = &fstest.MapFile{Data: []byte(port("a"))}
	}
	started := 0
	var mu sync.Mutex
	res := compileWith(t, Options{Worker: func() *exec.Cmd {
		mu.Lock()
		defer mu.Unlock()
		started++
		return workerOf("wicked")
	}}, fsys)
	if len(res.Findings) != 30 || !strings.Contains(res.Findings[29].Message, "not checked") {
		t.Errorf("findings %v", res.Findings)
	}
	if started > 2*maxKills {
		t.Errorf("%d workers were started", started)
	}
}

// What is wrong with the process is an error, never a finding.
func TestWorkerCannotStart(t *testing.T) {
	for name, cmd := range map[string]func() *exec.Cmd{
		"missing": func() *exec.Cmd { return exec.Command("/nonexistent/aplomb") },
		"silent":  func() *exec.Cmd { return exec.Command("/bin/true") },
		"old":     func() *exec.Cmd { return workerOf("old") },
	} {
		c := New(Options{Worker: cmd})
		res, err := c.Compile(t.Context(), files("a.yaml", port("a")))
		if err == nil || len(res.Findings) > 0 || len(res.Resources) > 0 {
			t.Errorf("%s: %+v, %v", name, res, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// Ending the context ends the compile and its worker at once.
func TestCompileIsCancelled(t *testing.T) {
	c := New(Options{Worker: func() *exec.Cmd { return workerOf("wicked") }})
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := c.Compile(ctx, files("hang.yaml", port("a")))
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 20*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	if _, err := c.Compile(t.Context(), files("a.yaml", port("a"))); err != nil {
		t.Errorf("the next compile: %v", err)
	}
}

// Close ends what is in flight.
func TestCloseEndsCompiles(t *testing.T) {
	started := make(chan struct{}, 1)
	c := New(Options{Worker: func() *exec.Cmd {
		started <- struct{}{}
		return workerOf("wicked")
	}})
	ended := make(chan error, 1)
	go func() {
		_, err := c.Compile(context.Background(), files("hang.yaml", port("a")))
		ended <- err
	}()
	<-started
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, errClosed) {
		t.Errorf("the compile in flight: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

// A worker exits when its parent is gone, also in the middle of a check.
func TestWorkerEndsWithItsParent(t *testing.T) {
	cmd := testWorker()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := readFrame(out); err != nil {
		t.Fatal("no hello: ", err)
	}
	var text strings.Builder
	for i := range 12_000 { // seconds of work
		text.WriteString(sample(4*i + 3))
	}
	limits := Limits{}.withDefaults()
	if err := writeFrame(in, request{Limits: limits, Files: []input{{Path: "a.yaml", Data: []byte(text.String())}}}); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := readFrame(out); !errors.Is(err, io.EOF) {
		t.Errorf("it went on working: %v", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// Compiles run side by side and share what they know.
func TestCompileConcurrently(t *testing.T) {
	c := New(Options{Worker: testWorker, CacheDir: t.TempDir()})
	defer func() { _ = c.Close() }()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			fsys := files("shop/web.yaml", shop, "shop/conf.yaml", "x", "own.yaml", port(fmt.Sprintf("own%d", i%3)))
			res, err := c.Compile(t.Context(), fsys)
			if err != nil || len(res.Resources) != 5 || res.Resources[0].ID.Name != fmt.Sprintf("own%d", i%3) {
				t.Errorf("%d: %v, %v", i, res, err)
			}
		})
	}
	wg.Wait()
}

// No process is left when a Compiler is closed.
func TestCloseLeavesNoProcess(t *testing.T) {
	c := New(Options{Worker: testWorker})
	if _, err := c.Compile(t.Context(), files("a.yaml", port("a"))); err != nil {
		t.Fatal(err)
	}
	w := c.checks.(*pool).idle
	if w == nil {
		t.Fatal("no worker is kept")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", w.cmd.Process.Pid)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the worker still runs: %v", err)
	}
}

func TestWorkerCommandHasNoEnvironment(t *testing.T) {
	cmd := WorkerCommand("/usr/bin/aplomb")
	if cmd.Env == nil || len(cmd.Env) != 0 || !reflect.DeepEqual(cmd.Args, []string{"/usr/bin/aplomb", WorkerName}) {
		t.Errorf("%q with environment %q", cmd.Args, cmd.Env)
	}
	if cmd := WorkerCommand(""); cmd.Err != nil || cmd.Path == "" {
		t.Errorf("the running program: %q, %v", cmd.Path, cmd.Err)
	}
}
