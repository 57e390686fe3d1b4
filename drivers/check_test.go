package drivers_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/drivers/memory"
)

// strict judges declarations.
type strict struct{ drivers.Driver }

var errStrict = errors.New("not this one")

func (strict) Check(_, name string, d drivers.Desired) error {
	if string(d.Spec) != `{}` {
		return errStrict
	}
	return nil
}

func (strict) Claims(kind, name string, _ drivers.Desired) []drivers.Claim {
	return []drivers.Claim{{Thing: kind + " " + name}}
}

// TestMuxJudges: a declaration is judged by the driver of its kind, also
// through decorators, and by nobody where that has no judgement.
func TestMuxJudges(t *testing.T) {
	plain := &memory.Driver{Engine: &memory.Engine{}, Env: env}
	d := &drivers.Retry{Driver: drivers.Mux{
		memory.KindThing: &drivers.Meter{Driver: strict{plain}}, memory.KindGiven: plain, "none.here": nil,
	}}
	checker, ok := drivers.As[drivers.Checker](d)
	if !ok {
		t.Fatal("no Checker")
	}
	claimer, ok := drivers.As[drivers.Claimer](d)
	if !ok {
		t.Fatal("no Claimer")
	}
	for kind, judged := range map[string]bool{memory.KindThing: true, memory.KindGiven: false, "none.here": false, "other.kind": false} {
		bad := drivers.Desired{Spec: json.RawMessage(`{"a":1}`)}
		if err := checker.Check(kind, "web", bad); errors.Is(err, errStrict) != judged || !judged && err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if err := checker.Check(kind, "web", drivers.Desired{Spec: json.RawMessage(`{}`)}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if c := claimer.Claims(kind, "web", bad); (len(c) == 1) != judged || judged && c[0].Thing != kind+" web" {
			t.Errorf("%s claims %v", kind, c)
		}
	}
}
