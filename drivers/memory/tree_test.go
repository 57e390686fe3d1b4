package memory

import (
	"encoding/json"
	"strings"
	"testing"
)

// FuzzDiff: the differences between two trees, applied to the first, make the
// second; and there is none from a tree to itself.
func FuzzDiff(f *testing.F) {
	f.Add(`{"a":1}`, `{"a":{"b":1}}`)
	f.Add(`{"a":{"b":1,"c":{}}}`, `{"a":{}}`)
	f.Add(`{"a/b":{"~":[1]}}`, `{"a/b":{"~":[1,{}]},"":null}`)
	f.Add(`{}`, `{"a":{"b":{"c":null}}}`)
	f.Fuzz(func(t *testing.T, from, to string) {
		a, errA := decode(json.RawMessage(from))
		b, errB := decode(json.RawMessage(to))
		if errA != nil || errB != nil {
			return
		}
		d := &differ{}
		d.objects("", a, b)
		got := cloneTree(a).(map[string]any)
		for i, x := range d.found {
			if i > 0 && x.path.Within(d.found[i-1].path) {
				t.Errorf("%s is named within %s", x.path, d.found[i-1].path)
			}
			edit{path: x.path, value: x.after, remove: x.after == nil && strings.HasPrefix(string(x.op), "delete")}.apply(got)
		}
		if !equal(got, b) {
			t.Errorf("from %s to %s: %v gave %v", from, to, d.found, got)
		}
		same := &differ{}
		same.objects("", b, cloneTree(b).(map[string]any))
		if len(same.found) > 0 {
			t.Errorf("%s differs from itself: %v", to, same.found)
		}
	})
}
