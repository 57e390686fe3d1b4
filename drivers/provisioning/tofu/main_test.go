package tofu

import (
	"os"
	"syscall"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/detached"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
	"github.com/aplomb-dev/aplomb/internal/sandbox"
)

// TestMain makes the test binary the shim of detached applies, and the stages of sandboxes, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == detached.ShimCommand {
		syscall.Exit(detached.ShimMain(os.Args[2:])) // at once: the race detector dawdles in os.Exit
	}
	if len(os.Args) > 1 && os.Args[1] == sandbox.Command {
		os.Exit(sandbox.Main(os.Args[2:]))
	}
	os.Exit(enginetest.Main(m))
}
