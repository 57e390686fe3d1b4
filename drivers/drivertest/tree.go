package drivertest

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/aplomb-dev/aplomb/schema"
)

// same compares JSON by value; absent and null are one.
func same(a, b json.RawMessage) bool {
	var x, y any
	if len(a) > 0 && json.Unmarshal(a, &x) != nil || len(b) > 0 && json.Unmarshal(b, &y) != nil {
		return false
	}
	return reflect.DeepEqual(x, y)
}

// moved are the paths at which two specs differ, in order.
func moved(t *testing.T, a, b json.RawMessage) []schema.Path {
	t.Helper()
	x, y := leaves(t, a), leaves(t, b)
	var diff []schema.Path
	for p, v := range x {
		if w, has := y[p]; !has || !reflect.DeepEqual(v, w) {
			diff = append(diff, p)
		}
	}
	for p := range y {
		if _, had := x[p]; !had {
			diff = append(diff, p)
		}
	}
	slices.Sort(diff)
	return diff
}

// leaves are the values of a spec by path; lists are values.
func leaves(t *testing.T, spec json.RawMessage) map[schema.Path]any {
	t.Helper()
	all := map[schema.Path]any{}
	if len(spec) == 0 {
		return all
	}
	var tree any
	if err := json.Unmarshal(spec, &tree); err != nil {
		t.Fatalf("a spec is not JSON: %v", err)
	}
	walk(all, "", tree)
	return all
}

func walk(all map[schema.Path]any, at schema.Path, v any) {
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		all[at] = v
		return
	}
	for k, e := range m {
		walk(all, at.Child(k), e)
	}
}

// with is a spec with the value at a path replaced.
func with(t *testing.T, spec string, at schema.Path, value any) string {
	t.Helper()
	var tree map[string]any
	if err := json.Unmarshal([]byte(spec), &tree); err != nil {
		t.Fatalf("a sample is not a JSON object: %v", err)
	}
	steps := at.Steps()
	m := tree
	for _, s := range steps[:len(steps)-1] {
		next, ok := m[s].(map[string]any)
		if !ok {
			next = map[string]any{}
		}
		next = maps.Clone(next)
		m[s], m = next, next
	}
	m[steps[len(steps)-1]] = value
	b, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
