package memory

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"github.com/aplomb-dev/aplomb/schema"
)

const (
	noiseField  = "filled" // what NoisyDefaults adds; no declaration may hold it
	defaultSize = 1        // what NoisyDefaults fills in

	secretField    = "password"
	immutableField = "class"
	scalarField    = "count" // what Deferred is about

	secretPath = schema.Path("/" + secretField)
)

// mustJSON marshals what came out of JSON.
func mustJSON(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a tree decoded from JSON always marshals
	}
	return b
}

// marshalSpec is a spec as it may be shown: with token for the password, or
// without it, and without the engine's own field.
func marshalSpec(spec map[string]any, token string) []byte {
	_, secret := spec[secretField]
	_, noise := spec[noiseField]
	if secret || noise {
		spec = maps.Clone(spec)
		delete(spec, secretField)
		delete(spec, noiseField)
		if secret && token != "" {
			spec[secretField] = token
		}
	}
	return mustJSON(spec)
}

func cloneTree(v any) any {
	switch v := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(v))
		for k, e := range v {
			c[k] = cloneTree(e)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, e := range v {
			c[i] = cloneTree(e)
		}
		return c
	default:
		return v
	}
}

func equal(a, b any) bool { return reflect.DeepEqual(a, b) }

// apply makes the edit in a tree of objects, making those on the way.
func (ed edit) apply(spec map[string]any) {
	steps := ed.path.Steps()
	if len(steps) == 0 {
		return
	}
	at := spec
	for _, s := range steps[:len(steps)-1] {
		next, ok := at[s].(map[string]any)
		if !ok {
			if ed.remove {
				return
			}
			next = map[string]any{}
			at[s] = next
		}
		at = next
	}
	last := steps[len(steps)-1]
	if ed.remove {
		delete(at, last)
	} else {
		at[last] = cloneTree(ed.value)
	}
}

// differ compares trees of objects, field by field. Lists are compared as a
// whole.
type differ struct {
	unknown map[schema.Path]string
	found   []difference
}

type difference struct {
	path          schema.Path
	op            schema.Action
	before, after any
	unknown       bool
}

func (d *differ) objects(at schema.Path, live, want map[string]any) {
	keys := make([]string, 0, len(live)+len(want))
	for k := range want {
		keys = append(keys, k)
	}
	for k := range live {
		if _, has := want[k]; !has {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for _, k := range keys {
		lv, lives := live[k]
		wv, wanted := want[k]
		d.field(at.Child(k), lv, wv, lives, wanted)
	}
}

func (d *differ) field(at schema.Path, live, want any, lives, wanted bool) {
	if !wanted {
		d.found = append(d.found, difference{path: at, op: schema.Delete, before: live})
		return
	}
	wm, wok := want.(map[string]any)
	lm, lok := live.(map[string]any)
	if wok && len(wm) > 0 && (lok || !lives) {
		d.objects(at, lm, wm)
		return
	}
	if wok && lok {
		d.objects(at, lm, wm)
		return
	}
	unknown := d.holds(at)
	switch {
	case !lives:
		d.found = append(d.found, difference{at, schema.Create, nil, want, unknown})
	case unknown || !equal(live, want):
		d.found = append(d.found, difference{at, schema.Update, live, want, unknown})
	}
}

// holds says whether an unknown stands at or below a path.
func (d *differ) holds(at schema.Path) bool {
	for p := range d.unknown {
		if p.Within(at) {
			return true
		}
	}
	return false
}
