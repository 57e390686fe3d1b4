package consul

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema/compile"
)

// TestWhatIsDeclaredCompiles: every field that the driver compares is one that
// the schema takes, and the schema alters nothing of it.
func TestWhatIsDeclaredCompiles(t *testing.T) {
	c := compile.New(compile.Options{})
	tree := fstest.MapFS{}
	for i, f := range full {
		doc, err := json.Marshal(map[string]any{"apiVersion": "aplomb.dev/v1", "kind": f.kind, "metadata": map[string]any{"name": fmt.Sprintf("n%d", i)}, "spec": f.spec(t)})
		if err != nil {
			t.Fatal(err)
		}
		tree[fmt.Sprintf("n%d.json", i)] = &fstest.MapFile{Data: doc, Mode: 0o644}
	}
	got, err := c.Compile(t.Context(), compile.Declarations{FS: tree})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range got.Findings {
		t.Errorf("%+v", f)
	}
	d := pure()
	for _, res := range got.Resources {
		var i int
		if _, err := fmt.Sscanf(res.ID.Name, "n%d", &i); err != nil {
			t.Fatal(err)
		}
		before, after := full[i].item(t, d, full[i].spec(t)), full[i].item(t, d, res.Spec)
		fam, err := d.family(full[i].kind)
		if err != nil {
			t.Fatal(err)
		}
		x, errX := fam.want(before, drivers.State{})
		y, errY := fam.want(after, drivers.State{})
		if errX != nil || errY != nil || string(x.spec) != string(y.spec) {
			t.Errorf("%s %d: declared %s, compiled to %s: %v %v", full[i].kind, i, x.spec, y.spec, errX, errY)
		}
	}
	if len(got.Resources) != len(full) {
		t.Errorf("%d of %d compiled", len(got.Resources), len(full))
	}
}
