package tofu

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/drivertest"
	"github.com/aplomb-dev/aplomb/schema"
)

// TestDeclaredModule: an approval is for one module, of a stack that is made as of
// one that is there: another one may plan the same and run something else.
func TestDeclaredModule(t *testing.T) {
	d := &Driver{Fingerprint: drivertest.Fingerprint}
	of := func(rec *record, module string) []drivers.Delta {
		diff, err := d.declared(rec, &drivers.Desired{Spec: []byte(`{"module":"m"}`), Files: schema.Tree{{Path: "m/main.tf", Data: []byte(module)}}})
		drivertest.Must(t, err)
		return diff
	}
	old := &record{Spec: []byte(`{"module":"m"}`), Files: schema.Tree{{Path: "m/main.tf", Data: []byte("# old")}}.Hash()}
	for name, rec := range map[string]*record{"new": nil, "old": old} {
		one, other := of(rec, "# one"), of(rec, "# other")
		if last := one[len(one)-1]; reflect.DeepEqual(one, other) || last.Path != modulePath || len(last.After) < 64 {
			t.Errorf("%s: %+v and %+v", name, one, other)
		}
	}
}

// TestAsideLeftovers: a copy of a stack, which may have its state in it, does not
// outlive the process for long that died planning it; the stack itself does.
func TestAsideLeftovers(t *testing.T) {
	d := &Driver{Env: "e", Dir: t.TempDir(), Key: make([]byte, 32), Fingerprint: drivertest.Fingerprint}
	for _, dir := range []string{filepath.Join(asideDir, "net"), "net"} {
		at := filepath.Join(d.Dir, d.Env, dir, stateDir)
		drivertest.Must(t, os.MkdirAll(at, 0o700))
		drivertest.Must(t, os.WriteFile(filepath.Join(at, stateName), []byte("{}"), 0o600))
	}
	if _, err := d.stackOf("stack/net"); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(d.Dir, d.Env, asideDir)); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if _, err := os.Stat(filepath.Join(d.Dir, d.Env, "net", stateDir, stateName)); err != nil {
		t.Error(err)
	}
}
