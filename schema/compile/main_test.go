package compile

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/aplomb-dev/aplomb/schema/worker"
)

// workerEnv makes the test binary a worker instead of running tests.
const workerEnv = "APLOMB_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) == "" {
		os.Exit(m.Run())
	}
	if err := worker.Serve(context.Background(), os.Stdin, os.Stdout, worker.Services{Service: NewHandler}); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func testWorker() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{workerEnv + "=1"}
	return cmd
}

// testPool has real worker processes.
func testPool(t testing.TB) *worker.Pool {
	p := worker.New(worker.Options{Command: testWorker})
	t.Cleanup(func() { _ = p.Close() })
	return p
}
