package local

import "testing"

func newDriver(t testing.TB) *Driver {
	t.Helper()
	return &Driver{Env: "env-1", Dir: t.TempDir()}
}
