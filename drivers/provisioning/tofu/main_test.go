package tofu

import (
	"os"
	"syscall"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/detached"
	"github.com/aplomb-dev/aplomb/internal/enginetest"
)

// TestMain makes the test binary the shim of detached applies too.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == detached.ShimCommand {
		syscall.Exit(detached.ShimMain(os.Args[2:])) // at once: the race detector dawdles in os.Exit
	}
	os.Exit(enginetest.Main(m))
}
