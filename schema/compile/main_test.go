package compile

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// workerEnv makes the test binary a worker instead of running tests.
const workerEnv = "APLOMB_TEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(workerEnv) != "" {
		if err := ServeWorker(context.Background(), os.Stdin, os.Stdout); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// testWorker is Options.Worker in tests.
func testWorker() *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{workerEnv + "=1"}
	return cmd
}
