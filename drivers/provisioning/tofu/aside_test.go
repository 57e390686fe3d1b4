package tofu

import (
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
