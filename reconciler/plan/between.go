package plan

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// Difference is one thing that is otherwise in a change than in the one that
// was approved, in words in which nothing is secret.
type Difference struct {
	What string      `json:"what"`           // "field"; "before": what lives where it goes; or "action", "address", "target" and the like, of the whole
	Path schema.Path `json:"path,omitempty"` // of a field
	Then string      `json:"then"`           // what was approved: "3 → 4"
	Now  string      `json:"now"`            // what is planned
}

// untouched is what a change does to a field that it does not name.
const untouched = "not changed"

// Between says why what was approved then does not cover what would run now,
// the thing as a whole first, then field by field in the order of paths. It
// answers nothing exactly where Covers does.
func Between(then, now Masked) []Difference {
	if Covers(then, now) {
		return nil
	}
	var all []Difference
	add := func(what, a, b string) {
		if a != b {
			all = append(all, Difference{What: what, Then: a, Now: b})
		}
	}
	add("environment", then.Environment, now.Environment)
	add("resource", then.ID.String(), now.ID.String())
	add("address", then.Handle, now.Handle)
	add("target", then.Target, now.Target)
	if now.Action != then.Action && !now.Action.Milder(then.Action) {
		add("action", string(then.Action), string(now.Action))
	}
	if now.Action.Destroys() && then.Action.Destroys() && !same(then.Before, now.Before) {
		all = append(all, lived(then.Before, now.Before)...)
	}
	all = append(all, fieldsBetween(then, now)...)
	if otherwiseDeclared(then, now) {
		all = append(all, Difference{What: "declaration", Then: "one with what is known after apply", Now: "another one"})
	}
	if len(all) == 0 { // such as a change that was deferred and is so again
		all = append(all, Difference{What: "change", Then: string(then.Action), Now: string(now.Action)})
	}
	return all
}

// fieldsBetween are the fields of which something else becomes than was shown.
func fieldsBetween(then, now Masked) []Difference {
	left := map[schema.Path]drivers.Delta{}
	for _, d := range now.Diff {
		left[d.Path] = d
	}
	var all []Difference
	seen := map[schema.Path]bool{}
	for _, t := range then.Diff {
		n, ok := left[t.Path]
		seen[t.Path] = true
		switch {
		case !ok && (t.Unknown || now.Action == schema.None):
		case !ok:
			all = append(all, other("field", t.Path, became(t), untouched))
		case !deltaCovers(t, n):
			all = append(all, other("field", t.Path, became(t), became(n)))
		}
	}
	for _, n := range now.Diff {
		if !seen[n.Path] && !coveredBelow(then.Diff, map[schema.Path]drivers.Delta{n.Path: n}) {
			all = append(all, other("field", n.Path, untouched, became(n)))
		}
	}
	slices.SortStableFunc(all, func(a, b Difference) int { return strings.Compare(string(a.Path), string(b.Path)) })
	return all
}

// other is a difference. Two secrets look alike, and are not.
func other(what string, at schema.Path, then, now string) Difference {
	if then == now {
		now += " (another one)"
	}
	return Difference{What: what, Path: at, Then: then, Now: now}
}

// lived is what of the thing that goes is not what it was when its going was
// approved, as deep as both have a field.
func lived(then, now json.RawMessage) []Difference {
	a, errA := decode(then)
	b, errB := decode(now)
	if errA != nil || errB != nil {
		return []Difference{other("before", "", text(then), text(now))}
	}
	var all []Difference
	livedBelow("", a, b, &all)
	return all
}

func livedBelow(at schema.Path, a, b any, all *[]Difference) {
	x, isMap := a.(map[string]any)
	y, both := b.(map[string]any)
	if !isMap || !both {
		if !reflect.DeepEqual(a, b) {
			*all = append(*all, other("before", at, textOf(a), textOf(b)))
		}
		return
	}
	keys := maps.Clone(x)
	maps.Copy(keys, y)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		was, had := x[k]
		is, has := y[k]
		if had && has {
			livedBelow(at.Child(k), was, is, all)
			continue
		}
		*all = append(*all, other("before", at.Child(k), textIf(was, had), textIf(is, has)))
	}
}

func textIf(v any, there bool) string {
	if !there {
		return "nothing"
	}
	return textOf(v)
}

// became is what becomes of a field, in words.
func became(d drivers.Delta) string {
	after := text(d.After)
	if d.Unknown {
		after = "known after apply"
	}
	switch {
	case d.Op == schema.Delete:
		return "- " + text(d.Before)
	case d.Op == schema.Create || len(d.Before) == 0:
		return "+ " + after
	case d.Op == schema.Replace:
		return text(d.Before) + " → " + after + ", made anew"
	}
	return text(d.Before) + " → " + after
}

// text is a value as people read it; one that is not there is nothing.
func text(raw json.RawMessage) string {
	v, err := decode(raw)
	if err != nil {
		return schema.Mask(string(raw))
	}
	return textOf(v)
}

func textOf(v any) string {
	if s, ok := v.(string); ok {
		return schema.Mask(s)
	}
	raw, err := encode(v)
	if err != nil {
		return ""
	}
	return schema.Mask(string(raw))
}
