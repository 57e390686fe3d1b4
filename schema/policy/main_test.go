package policy

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/schema/compile"
	"github.com/aplomb-dev/aplomb/schema/worker"
)

// workerEnv makes the test binary a worker instead of running tests.
const workerEnv = "APLOMB_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) == "" {
		os.Exit(m.Run())
	}
	services := worker.Services{Service: NewHandler, compile.Service: compile.NewHandler}
	if err := worker.Serve(context.Background(), os.Stdin, os.Stdout, services); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// testPool has real worker processes; an item may take that long.
func testPool(t testing.TB, deadline time.Duration) *worker.Pool {
	p := worker.New(worker.Options{Limits: worker.Limits{Deadline: deadline}, Command: func() *exec.Cmd {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = []string{workerEnv + "=1"}
		return cmd
	}})
	t.Cleanup(func() { _ = p.Close() })
	return p
}
