package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

func portOf(t testing.TB, s drivers.State) int {
	t.Helper()
	n, err := strconv.Atoi(string(s.Outputs["port"].Value))
	drivertest.Must(t, err)
	return n
}

func wantPort(t testing.TB, number int) drivers.Desired {
	words := map[string]any{"host": "127.0.0.1"}
	if number != 0 {
		words["number"] = number
	}
	return drivers.Desired{Spec: drivertest.JSON(t, words)}
}

func listen(t testing.TB, port int) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	drivertest.Must(t, err)
	t.Cleanup(func() { _ = l.Close() }) // closed twice where the test closes it
	return l
}

func TestPortIsKept(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, PortKind, "web", wantPort(t, 0))
	before := r.Settle(schema.Create)
	if p := portOf(t, before); p < DefaultPorts.First || p > DefaultPorts.Last {
		t.Fatalf("port %d", p)
	}
	again := newDriver(t)
	again.Dir = d.Dir
	r.Driver = again
	if got := portOf(t, r.Observe()); got != portOf(t, before) {
		t.Fatalf("after a restart the port is %d, was %d", got, portOf(t, before))
	}
	r.Item.Want = nil
	r.Settle(schema.Delete)
}

func TestPortsDiffer(t *testing.T) {
	d := newDriver(t)
	l := listen(t, 0)
	busy := l.Addr().(*net.TCPAddr).Port
	d.Ports = PortRange{busy, busy + 3}
	seen := map[int]bool{busy: true}
	for i := range 3 {
		r := drivertest.NewResource(t, d, PortKind, fmt.Sprintf("p%d", i), wantPort(t, 0))
		s, err := r.Apply(r.Plan())
		if drivers.Class(err) == drivers.ErrRetryable && err != nil {
			t.Skipf("somebody else uses a port beside %d", busy)
		}
		drivertest.Must(t, err)
		if seen[portOf(t, s)] {
			t.Fatalf("port %d twice", portOf(t, s))
		}
		seen[portOf(t, s)] = true
	}
	r := drivertest.NewResource(t, d, PortKind, "p4", wantPort(t, 0))
	if _, err := r.Apply(r.Plan()); drivers.Class(err) != drivers.ErrRetryable {
		t.Fatalf("no port is left, and the error is %v", err)
	}
	fixed := drivertest.NewResource(t, d, PortKind, "fixed", wantPort(t, busy+1))
	if _, err := fixed.Apply(fixed.Plan()); drivers.Class(err) != drivers.ErrPermanent || drivers.HintOf(err) == "" {
		t.Fatalf("a port that is kept already: %v", err)
	}
}

func TestChosenPortMovesWhenTaken(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, PortKind, "web", wantPort(t, 0))
	port := portOf(t, r.Settle(schema.Create))
	l := listen(t, port)
	c := r.Plan()
	if c.Action != schema.Update || len(c.Diff) != 1 || c.Diff[0].Path != chosenPath || len(c.Outputs) != 0 {
		t.Fatalf("planned %s %s %s", c.Action, text(t, c.Diff), text(t, c.Outputs))
	}
	if !strings.Contains(c.Why, strconv.Itoa(os.Getpid())) {
		t.Errorf("why %q does not say who", c.Why)
	}
	if got := portOf(t, r.Settle(schema.Update)); got == port {
		t.Fatal("the port stayed")
	}
	drivertest.Must(t, l.Close())
}

func TestFixedPortIsUnhealthyWhenTaken(t *testing.T) {
	d := newDriver(t)
	l := listen(t, 0)
	r := drivertest.NewResource(t, d, PortKind, "web", wantPort(t, l.Addr().(*net.TCPAddr).Port))
	s := r.Settle(schema.Create)
	if s.Health.Status != drivers.Failed || !strings.Contains(s.Health.Reason, "listened on by process") {
		t.Fatalf("health %+v", s.Health)
	}
	drivertest.Must(t, l.Close())
	if s := r.Observe(); s.Health.Status != drivers.Healthy {
		t.Fatalf("health %+v", s.Health)
	}
}

func TestFixedBecomesChosen(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, PortKind, "web", wantPort(t, 28473))
	r.Settle(schema.Create)
	free := wantPort(t, 0)
	r.Item.Want = &free
	if got := portOf(t, r.Settle(schema.Update)); got != 28473 {
		t.Fatalf("port %d: a declaration that leaves it open moves nothing", got)
	}
	fixed := wantPort(t, 28474)
	r.Item.Want = &fixed
	if got := portOf(t, r.Settle(schema.Update)); got != 28474 {
		t.Fatalf("port %d", got)
	}
}

// TestMain lets the test binary stand in for a process of the environment.
func TestMain(m *testing.M) {
	if address := os.Getenv("TEST_LISTEN"); address != "" {
		var lc net.ListenConfig
		l, err := lc.Listen(context.Background(), "tcp", address)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("listening")
		_, _ = l.Accept() // nobody connects: until it is killed
		return
	}
	if root := os.Getenv("TEST_WRITE"); root != "" {
		writeForever(root)
		return
	}
	os.Exit(m.Run())
}

// start runs the test binary until it has said a line; it is killed at the end.
func start(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.StdoutPipe()
	drivertest.Must(t, err)
	drivertest.Must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // gone already, perhaps
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestOwnProcessMayListen(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, PortKind, "web", wantPort(t, 0))
	port := portOf(t, r.Settle(schema.Create))
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	ours := start(t, "TEST_LISTEN="+address, EnvironmentVariable+"="+d.Env)
	if c := r.Plan(); c.Action != schema.None {
		t.Fatalf("a process of this environment listens, and the action is %s: %s", c.Action, c.Why)
	}
	drivertest.Must(t, ours.Process.Kill())
	_ = ours.Wait() // killed
	start(t, "TEST_LISTEN="+address, EnvironmentVariable+"=another")
	if c := r.Plan(); c.Action != schema.Update {
		t.Fatalf("a process of another environment listens, and the action is %s", c.Action)
	}
}

func TestParseSockets(t *testing.T) {
	table := `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:20E5 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41 1 0000000000000000 100 0 0 10 0
   1: 0100007F:20E5 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 42 1 0000000000000000 100 0 0 10 0
   2: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 43 1
   3: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 44 1
   4: rubbish 0A
`
	if !littleEndian {
		t.Skip("the table is that of a little-endian machine")
	}
	found, err := parseSockets(strings.NewReader(table))
	drivertest.Must(t, err)
	var got []string
	for _, l := range found {
		got = append(got, fmt.Sprintf("%s %d %d", l.addr, l.port, l.inode))
	}
	want := "[127.0.0.1 8421 41, ::1 80 43, 127.0.0.1 81 44]"
	if "["+strings.Join(got, ", ")+"]" != want {
		t.Fatalf("%v, want %s", got, want)
	}
}

func TestDamagedPortRecord(t *testing.T) {
	d := newDriver(t)
	r := drivertest.NewResource(t, d, PortKind, "web", wantPort(t, 0))
	r.Settle(schema.Create)
	path := filepath.Join(d.Dir, "ports", "web.json")
	drivertest.Must(t, os.WriteFile(path, []byte("{"), 0o600))
	states, err := d.Observe(t.Context(), []drivers.Item{r.Item})
	drivertest.Must(t, err)
	if drivers.Class(states[0].Err) != drivers.ErrPermanent || drivers.HintOf(states[0].Err) == "" {
		t.Fatalf("a damaged record: %v", states[0].Err)
	}
	other := drivertest.NewResource(t, d, PortKind, "other", wantPort(t, 0))
	other.Settle(schema.Create)
}

func TestPortWatch(t *testing.T) {
	d := newDriver(t)
	d.Poll = 10 * time.Millisecond
	r := drivertest.NewResource(t, d, PortKind, "web", wantPort(t, 0))
	port := portOf(t, r.Settle(schema.Create))
	heard := watching(t, d)
	l := listen(t, port)
	expect(t, heard, "port/web")
	r.Observe()
	drivertest.Must(t, l.Close())
	expect(t, heard, "port/web")
}

func watching(t *testing.T, d drivers.Watcher) <-chan string {
	t.Helper()
	heard := make(chan string, 10_000)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- d.Watch(ctx, func(handles ...string) {
			for _, h := range handles {
				heard <- h
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return heard
}

func expect(t *testing.T, heard <-chan string, handle string) {
	t.Helper()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for {
		select {
		case h := <-heard:
			if h == handle {
				return
			}
		case <-limit.C:
			t.Fatalf("nothing was heard of %s", handle)
		}
	}
}

func TestUnservedKind(t *testing.T) {
	d := newDriver(t)
	it := drivers.Item{ID: schema.ID{Kind: "local.secret", Name: "x"}, Handle: "secret/x", Want: &drivers.Desired{Spec: json.RawMessage(`{}`)}}
	_, addressErr := d.Address("local.secret", "x", it.Want.Spec)
	states, err := d.Observe(t.Context(), []drivers.Item{it})
	drivertest.Must(t, err)
	_, planErr := d.Plan(t.Context(), it, drivers.State{})
	_, applyErr := d.Apply(t.Context(), drivers.Change{ID: it.ID, Handle: it.Handle})
	for _, err := range []error{addressErr, states[0].Err, planErr, applyErr} {
		if !errors.Is(err, drivers.ErrPermanent) {
			t.Errorf("a kind of another driver: %v", err)
		}
	}
}
