package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// workerEnv makes the test binary a worker instead of running tests.
const workerEnv = "APLOMB_TEST_WORKER"

func TestMain(m *testing.M) {
	serve := map[string]func(context.Context, io.Reader, io.Writer) error{
		"good": func(ctx context.Context, in io.Reader, out io.Writer) error { return Serve(ctx, in, out, echoes) },
		"old":  serveOld,
	}[os.Getenv(workerEnv)]
	if serve == nil {
		os.Exit(m.Run())
	}
	if err := serve(context.Background(), os.Stdin, os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveOld is a worker of another program.
func serveOld(_ context.Context, in io.Reader, out io.Writer) error {
	if err := writeFrame(out, hello{}); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, in)
	return err
}

var echoes = Services{"echo": func() Handler { return &echo{} }, "shout": func() Handler { return &echo{loud: true} }}

// echo answers its setup and the item, unless the item's name says that it
// goes wrong.
type echo struct {
	loud    bool
	setup   string
	setups  int
	handled int
}

type answer struct {
	Text   string
	Setups int
}

func (e *echo) Setup(setup []byte) error {
	e.setup = string(setup)
	e.setups++
	if e.setup == "bad" {
		return errors.New("a bad setup")
	}
	return nil
}

func (e *echo) Handle(item []byte) any {
	var name string
	if err := json.Unmarshal(item, &name); err != nil {
		panic(err)
	}
	misbehave(name, e.handled)
	e.handled++
	if e.loud {
		name = strings.ToUpper(name)
	}
	return answer{Text: e.setup + ":" + name, Setups: e.setups}
}

func misbehave(name string, handled int) {
	switch {
	case strings.Contains(name, "hang"):
		select {}
	case strings.Contains(name, "eat"):
		var all [][]byte
		for range 1000 {
			block := make([]byte, 8<<20)
			for i := range block {
				block[i] = 1
			}
			all = append(all, block)
		}
		panic(fmt.Sprint("nobody stops me with ", len(all)))
	case strings.Contains(name, "die"), strings.Contains(name, "tired") && handled > 0:
		os.Exit(3)
	}
}

func command(mode string) func() *exec.Cmd {
	return func() *exec.Cmd {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{workerEnv + "=" + mode}
		return cmd
	}
}

func pool(t *testing.T, o Options) *Pool {
	t.Helper()
	p := New(o)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// do runs a job of names and answers what became of each.
func do(ctx context.Context, p *Pool, service, setup string, names ...string) ([]string, error) {
	got := make([]string, len(names))
	var items []Item
	for _, n := range names {
		data, err := json.Marshal(n)
		if err != nil {
			return nil, err
		}
		items = append(items, Item{Name: n, Data: data})
	}
	err := p.Run(ctx, Job{Service: service, Setup: []byte(setup), Items: items,
		Done: func(i int, data []byte) error {
			var a answer
			err := json.Unmarshal(data, &a)
			got[i] = a.Text
			return err
		},
		Blame: func(i int, why string) { got[i] = "! " + why },
	})
	return got, err
}

// A worker process answers what this process answers, whatever service and
// setup came before.
func TestSameAnswers(t *testing.T) {
	here, there := pool(t, Options{Services: echoes}), pool(t, Options{Command: command("good")})
	var names []string
	for i := range 3*batchItems + 1 {
		names = append(names, fmt.Sprint("n", i))
	}
	for _, c := range [][2]string{{"echo", "a"}, {"echo", "a"}, {"shout", "a"}, {"echo", "b"}, {"shout", "a"}} {
		want, err := do(t.Context(), here, c[0], c[1], names...)
		if err != nil || want[0] == "" {
			t.Fatal(want, err)
		}
		got, err := do(t.Context(), there, c[0], c[1], names...)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%v: a worker says %.3q, %v; this process says %.3q", c, got, err, want)
		}
	}
}

// A setup is sent to a process once.
func TestSetupIsSentOnce(t *testing.T) {
	p := pool(t, Options{Command: command("good"), Limits: Limits{Processes: 1}})
	for i, setup := range []string{"a", "a", "b", "b"} {
		var a answer
		err := p.Run(t.Context(), Job{Service: "echo", Setup: []byte(setup), Items: []Item{{Data: json.RawMessage(`"x"`)}},
			Done: func(_ int, data []byte) error { return json.Unmarshal(data, &a) }, Blame: func(_ int, why string) { t.Error(why) }})
		if want := (answer{setup + ":x", 1 + i/2}); err != nil || a != want {
			t.Errorf("run %d: %+v, %v, want %+v", i, a, err, want)
		}
	}
}

// An item over which a worker ends is blamed, and no other; the rest is
// handled.
func TestBlame(t *testing.T) {
	for name, want := range map[string]string{
		"hang": "! takes longer than 2s",
		"eat":  "! needs more than 256 MiB of memory",
		"die":  "! ended the process that does it: it is too deep or too large",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limits := Limits{Memory: 256 << 20}
			if name == "hang" {
				limits.Deadline = 2 * time.Second
			}
			got, err := do(t.Context(), pool(t, Options{Command: command("good"), Limits: limits}), "echo", "s", "a", name, "c", "d")
			if err != nil || !slices.Equal(got, []string{"s:a", want, "s:c", "s:d"}) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// An item is not blamed for what others left in the worker.
func TestTriedAgain(t *testing.T) {
	got, err := do(t.Context(), pool(t, Options{Command: command("good")}), "echo", "", "a", "tired", "z")
	if err != nil || !slices.Equal(got, []string{":a", ":tired", ":z"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// Many wicked items cost a bounded number of workers.
func TestGivesUp(t *testing.T) {
	started := 0
	var mu sync.Mutex
	p := pool(t, Options{Command: func() *exec.Cmd {
		mu.Lock()
		defer mu.Unlock()
		started++
		return command("good")()
	}})
	names := slices.Repeat([]string{"die"}, 30)
	got, err := do(t.Context(), p, "echo", "", names...)
	if err != nil || !strings.HasPrefix(got[29], "! was not tried: 5 others") {
		t.Errorf("%q, %v", got, err)
	}
	if started > 2*maxKills {
		t.Errorf("%d workers were started", started)
	}
}

// What is wrong with the process, or with this program, is an error.
func TestFaults(t *testing.T) {
	for name, cmd := range map[string]func() *exec.Cmd{
		"missing": func() *exec.Cmd { return exec.Command("/nonexistent/aplomb") },
		"silent":  func() *exec.Cmd { return exec.Command("/bin/true") },
		"old":     command("old"),
	} {
		if got, err := do(t.Context(), pool(t, Options{Command: cmd}), "echo", "", "a"); err == nil {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, p := range []*Pool{pool(t, Options{Services: echoes}), pool(t, Options{Command: command("good")})} {
		fault := errors.New("a fault")
		err := p.Run(t.Context(), Job{Service: "echo", Items: []Item{{Data: json.RawMessage(`"x"`)}},
			Done: func(int, []byte) error { return fault }, Blame: func(_ int, why string) { t.Error(why) }})
		if !errors.Is(err, fault) {
			t.Errorf("the error of Done: %v", err)
		}
	}
	here := pool(t, Options{Services: echoes})
	if _, err := do(t.Context(), here, "echo", "bad", "a"); err == nil {
		t.Error("a bad setup is no error")
	}
	if _, err := do(t.Context(), here, "none", "", "a"); err == nil {
		t.Error("a service that there is not is no error")
	}
}

// Ending the context ends the job and its worker at once.
func TestCancelled(t *testing.T) {
	p := pool(t, Options{Command: command("good")})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := do(ctx, p, "echo", "", "hang"); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 20*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	if got, err := do(t.Context(), p, "echo", "", "a"); err != nil || got[0] != ":a" {
		t.Errorf("the next job: %q, %v", got, err)
	}
}

// Close ends what is in flight, and leaves no process.
func TestClose(t *testing.T) {
	started := make(chan struct{}, 1)
	p := New(Options{Command: func() *exec.Cmd {
		started <- struct{}{}
		return command("good")()
	}})
	ended := make(chan error, 1)
	go func() {
		_, err := do(context.Background(), p, "echo", "", "hang")
		ended <- err
	}()
	<-started
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Errorf("the job in flight: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}

	p = New(Options{Command: command("good")})
	if _, err := do(t.Context(), p, "echo", "", "a"); err != nil {
		t.Fatal(err)
	}
	w := p.idle
	if w == nil {
		t.Fatal("no worker is kept")
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", w.cmd.Process.Pid)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the worker still runs: %v", err)
	}
}

// A worker exits when its parent is gone, also in the middle of an item.
func TestEndsWithItsParent(t *testing.T) {
	cmd := command("good")()
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
	if err := writeFrame(in, request{Service: "echo", Items: []json.RawMessage{json.RawMessage(`"hang"`)}}); err != nil {
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

func TestCommandHasNoEnvironment(t *testing.T) {
	cmd := Command("/usr/bin/aplomb")
	if cmd.Env == nil || len(cmd.Env) != 0 || !reflect.DeepEqual(cmd.Args, []string{"/usr/bin/aplomb", Name}) {
		t.Errorf("%q with environment %q", cmd.Args, cmd.Env)
	}
	if cmd := Command(""); cmd.Err != nil || cmd.Path == "" {
		t.Errorf("the running program: %q, %v", cmd.Path, cmd.Err)
	}
}
