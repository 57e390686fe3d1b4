package local

import (
	"context"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers/drivertest"
)

func newDriver(t testing.TB) *Driver {
	t.Helper()
	return &Driver{Env: "env-1", Dir: t.TempDir(), Fingerprint: drivertest.Fingerprint}
}

func contextWith(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}
