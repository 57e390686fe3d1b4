package gate

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// mostFields bounds how many fields of one change are told apart. What has more
// is everybody's of whom a part may be.
const mostFields = 50_000

// field is a place that a change alters.
type field struct {
	steps  []string // as the path has them, escaped
	opaque bool     // what becomes of it, or of what is in it, is not known
}

// gathering collects the fields of a change.
type gathering struct {
	all  []field
	seen map[schema.Path]bool
	full bool
}

// fields are the places that a change alters, as deep as they are known, and
// whether it is about the whole.
func (in Owned) fields() (all []field, whole bool) {
	whole = in.Change.Action != schema.Update || len(in.Change.Diff) == 0
	g := &gathering{seen: map[schema.Path]bool{}}
	for _, d := range in.Change.Diff {
		g.delta(d)
	}
	if whole {
		for _, raw := range [][]byte{in.Spec, in.Change.Before} {
			if v, ok := value(raw); ok {
				g.leaves("", v, false)
				g.leaves("", v, true)
			}
		}
	}
	return g.all, whole
}

func value(raw []byte) (any, bool) {
	if len(raw) == 0 {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err == nil
}

func (g *gathering) add(at schema.Path, opaque bool) {
	if g.full || g.seen[at] && !opaque {
		return
	}
	if len(g.all) >= mostFields {
		g.full, at, opaque = true, "", true
	}
	g.seen[at] = true
	f := field{opaque: opaque}
	if at != "" {
		f.steps = strings.Split(string(at[1:]), "/")
	}
	g.all = append(g.all, f)
}

// delta adds what one delta alters.
func (g *gathering) delta(d drivers.Delta) {
	before, had := value(d.Before)
	after, has := value(d.After)
	switch {
	case d.Unknown, !had && !has, reflect.DeepEqual(before, after): // said to differ all the same
		g.add(d.Path, true)
	case had && has:
		g.differing(d.Path, before, after, false)
		g.differing(d.Path, before, after, true)
	case had:
		g.leaves(d.Path, before, false)
		g.leaves(d.Path, before, true)
	default:
		g.leaves(d.Path, after, false)
		g.leaves(d.Path, after, true)
	}
}

// differing adds what differs between two values.
func (g *gathering) differing(at schema.Path, before, after any, named bool) {
	if g.full || reflect.DeepEqual(before, after) {
		return
	}
	b, bIsMap := children(before, named)
	a, aIsMap := children(after, named)
	if !bIsMap || !aIsMap {
		g.leaves(at, before, named)
		g.leaves(at, after, named)
		return
	}
	keys := maps.Clone(b)
	maps.Copy(keys, a)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		was, had := b[k]
		is, has := a[k]
		switch {
		case had && has:
			g.differing(at.Child(k), was, is, named)
		case had:
			g.leaves(at.Child(k), was, named)
		default:
			g.leaves(at.Child(k), is, named)
		}
	}
}

// leaves adds every field of a value.
func (g *gathering) leaves(at schema.Path, v any, named bool) {
	all, ok := children(v, named)
	if !ok || len(all) == 0 {
		g.add(at, false)
		return
	}
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if g.full {
			return
		}
		g.leaves(at.Child(k), all[k], named)
	}
}

// children are what a value is made of. Things in a list go by their number, or,
// as in the paths of some engines' plans, by the name that they give
// themselves.
func children(v any, named bool) (map[string]any, bool) {
	switch v := v.(type) {
	case map[string]any:
		return v, true
	case []any:
		all := make(map[string]any, len(v))
		for i, item := range v {
			key := string(schema.Path("").Index(i)[1:])
			if name := nameOf(item); named && name != "" {
				if _, twice := all[name]; !twice {
					key = name
				}
			}
			all[key] = item
		}
		return all, true
	}
	return nil, false
}

func nameOf(item any) string {
	thing, _ := item.(map[string]any)
	for _, key := range []string{"Name", "name"} {
		if name, ok := thing[key].(string); ok {
			return name
		}
	}
	return ""
}
