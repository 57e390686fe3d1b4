package reconciler

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers/memory"
	"github.com/aplomb-dev/aplomb/schema"
)

// TestRenamedNeverWell: the same for a new name at a new address: until what
// this or an earlier revision makes has been well once, the old one stays, over
// restarts and commits beside it.
func TestRenamedNeverWell(t *testing.T) {
	for _, spec := range []string{`{"id":"y","fail":"no"}`, `{"id":"y","unhealthy":"no"}`} {
		d := newDesk(t, "mem")
		d.declare(decl("a", `{"id":"x"}`), decl("keep", `{"size":1}`))
		d.steps()
		for i := range 3 {
			d.declare(decl("b", spec), decl("keep", fmt.Sprintf(`{"size":%d}`, i+2)))
			if got := d.rest(2 * time.Hour); strings.Contains(got, "delete") {
				t.Errorf("%s: written at commit %d: %s", spec, i, got)
			}
			d.restart()
			d.again()
		}
		d.declare(decl("b", `{"id":"y"}`), decl("keep", `{"size":4}`))
		if got := d.rest(time.Hour); !strings.HasSuffix(got, "delete a") {
			t.Errorf("%s: written once it can be made: %s", spec, got)
		}
	}
}

// TestCreateNeverMade: where a create was begun and never made, what somebody
// else has made there meanwhile bears no mark: it is not ours, is not written to
// unasked, and never deleted.
func TestCreateNeverMade(t *testing.T) {
	for _, declared := range []bool{false, true} {
		d := newDesk(t, "mem")
		d.declare(decl("a", `{"size":1}`), decl("keep", `{}`))
		if said, _ := d.begun(); !strings.Contains(said, "create a") {
			t.Fatal(said)
		}
		_, err := d.eng["mem"].ForeignCreate(memory.KindThing, "a", "", json.RawMessage(`{"size":9}`))
		d.must(err)
		d.restart()
		res := []schema.Resource{decl("keep", `{}`)}
		if declared {
			res = append(res, decl("a", `{"size":1}`))
		}
		d.declare(res...)
		got := d.rest(time.Hour)
		o, lives := d.eng["mem"].Object("memory.thing/a")
		if !lives || o.Owner != "" || strings.Contains(got, " a") {
			t.Errorf("declared %t: it lives %t, of %q; written: %s", declared, lives, o.Owner, got)
		}
		if declared {
			d.states(map[string]string{"a": "conflict: lives already, and is not ours"})
		}
	}
}
