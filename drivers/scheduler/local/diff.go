package local

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// differ compares two trees field by field; a list is one field.
type differ struct {
	unknown map[schema.Path]string
	found   []drivers.Delta
}

// diff is how want differs from live, ordered by path.
func diff(live, want tree, unknown map[schema.Path]string) []drivers.Delta {
	d := &differ{unknown: unknown}
	d.objects("", live, want)
	slices.SortFunc(d.found, byPath)
	return d.found
}

func byPath(a, b drivers.Delta) int { return strings.Compare(string(a.Path), string(b.Path)) }

func (d *differ) objects(at schema.Path, live, want map[string]any) {
	keys := maps.Clone(live)
	if keys == nil {
		keys = map[string]any{}
	}
	maps.Copy(keys, want)
	for k := range keys {
		l, lives := live[k]
		w, wanted := want[k]
		d.field(at.Child(k), l, w, lives, wanted)
	}
}

func (d *differ) field(at schema.Path, live, want any, lives, wanted bool) {
	lm, lok := live.(map[string]any)
	wm, wok := want.(map[string]any)
	unknown := wanted && d.holds(at)
	switch {
	case wok && (lok || !lives && len(wm) > 0):
		d.objects(at, lm, wm)
	case lok && !wanted && len(lm) > 0:
		d.objects(at, lm, nil)
	case !wanted:
		d.found = append(d.found, drivers.Delta{Path: at, Op: schema.Delete, Before: encode(live)})
	case !lives:
		d.found = append(d.found, drivers.Delta{Path: at, Op: schema.Create, After: encode(want), Unknown: unknown})
	case unknown || !reflect.DeepEqual(live, want):
		d.found = append(d.found, drivers.Delta{Path: at, Op: schema.Update, Before: encode(live), After: encode(want), Unknown: unknown})
	}
}

// holds says whether something unknown stands at or below a path.
func (d *differ) holds(at schema.Path) bool {
	for p := range d.unknown {
		if p.Within(at) {
			return true
		}
	}
	return false
}

// encode marshals what came out of JSON.
func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a tree always marshals
	}
	return b
}
