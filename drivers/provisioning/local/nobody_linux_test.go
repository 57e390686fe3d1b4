package local

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
)

// asNobody calls f on a thread of its own whose file access is that of a user
// without rights; the thread ends with it.
func asNobody(t *testing.T, f func() error) error {
	t.Helper()
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is thrown away
		if err := unix.Setfsuid(65534); err != nil {
			result <- err
			return
		}
		result <- f()
	}()
	return <-result
}

func TestReadOnlyUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	d := newDriver(t)
	drivertest.Must(t, os.MkdirAll(d.Root, 0o755))
	r := drivertest.NewResource(t, d, FileKind, "f", content(t, "f", "x", "0644"))
	c := r.Plan()
	err := asNobody(t, func() error { _, err := r.Apply(c); return err })
	if !errors.Is(err, drivers.ErrDenied) || drivers.HintOf(err) == "" {
		t.Fatalf("without permission: %v", err)
	}
}
