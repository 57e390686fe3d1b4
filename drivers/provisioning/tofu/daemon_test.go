//go:build e2e

package tofu

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/schema"
)

// daemonJob is what the process that stands for a daemon applies.
type daemonJob struct {
	Dir, Binary, Config, Handle string
	Spec                        json.RawMessage
	Files                       schema.Tree
}

const daemonVariable = "APLOMB_TEST_DAEMON"

type daemon struct {
	cmd  *exec.Cmd
	told chan struct{}
}

// startDaemon applies a job in a process of its own, and says when it has heard
// of progress.
func startDaemon(t testing.TB, job string) *daemon {
	d := &daemon{cmd: exec.Command("/proc/self/exe", "-test.run=^TestDaemonProcess$"), told: make(chan struct{})}
	d.cmd.Env = append(os.Environ(), daemonVariable+"="+job)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := d.cmd.StdoutPipe()
	drivertest.Must(t, err)
	drivertest.Must(t, d.cmd.Start())
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if lines.Text() == "told" {
				close(d.told)
				return
			}
		}
	}()
	return d
}

// TestDaemonProcess is no test: it is the process of startDaemon.
func TestDaemonProcess(t *testing.T) {
	path := os.Getenv(daemonVariable)
	if path == "" {
		t.Skip("it is started by TestDaemonKilled")
	}
	data, err := os.ReadFile(path)
	drivertest.Must(t, err)
	var job daemonJob
	drivertest.Must(t, json.Unmarshal(data, &job))
	w := &world{tool: &enginetest.TofuTool{Binary: job.Binary, Config: job.Config}}
	r := drivertest.NewResource(t, w.driver(job.Dir), Kind, "slow", drivers.Desired{Spec: job.Spec, Files: job.Files})
	first := true
	ctx := drivers.WithProgress(context.Background(), func(string) {
		if first {
			fmt.Println("told")
		}
		first = false
	})
	_, err = r.Driver.Apply(ctx, r.Plan())
	t.Fatalf("it was to be killed meanwhile: %v", err)
}
