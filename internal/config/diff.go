package config

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"github.com/aplomb-dev/aplomb/schema"
)

// Diff says which fields of two configurations, or sections of one, differ, as
// people read paths; "+" and "-" before a path say that it came or went. Values
// are left out: names are enough for a history. One that is empty has no field;
// what is no JSON differs as a whole, with the path "".
func Diff(before, after json.RawMessage) []string {
	var a, b any = map[string]any{}, map[string]any{}
	if len(before) > 0 && json.Unmarshal(before, &a) != nil || len(after) > 0 && json.Unmarshal(after, &b) != nil {
		return []string{""}
	}
	var all []string
	diff("", a, b, &all)
	return all
}

func diff(at schema.Path, a, b any, all *[]string) {
	if reflect.DeepEqual(a, b) {
		return
	}
	before, isMap := a.(map[string]any)
	after, both := b.(map[string]any)
	if !isMap || !both {
		*all = append(*all, at.String())
		return
	}
	keys := maps.Clone(before)
	maps.Copy(keys, after)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		x, had := before[k]
		y, has := after[k]
		switch below := at.Child(k); {
		case had && has:
			diff(below, x, y, all)
		case has:
			*all = append(*all, "+"+below.String())
		default:
			*all = append(*all, "-"+below.String())
		}
	}
}
