package local

import (
	"path/filepath"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers/drivertest"
)

func newDriver(t testing.TB) *Driver {
	t.Helper()
	dir := t.TempDir()
	return &Driver{Env: "env-1", Root: filepath.Join(dir, "root"), Dir: filepath.Join(dir, "data"), Fingerprint: drivertest.Fingerprint}
}

func text(t testing.TB, v any) string {
	t.Helper()
	return string(drivertest.JSON(t, v))
}
