package plan

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// Covers decides whether what was approved then still covers what would run
// now: the same digest; or a milder action on the same thing, with every known
// field equal and unknown ones filled in by what was declared then. A deferred
// change is never covered: it asks once it is known.
func Covers(then, now Masked) bool {
	switch {
	case then.Action == schema.Deferred || now.Action == schema.Deferred:
		return false
	case then.Environment != now.Environment || then.ID != now.ID || then.Handle != now.Handle || then.Target != now.Target:
		return false
	case otherwiseDeclared(then, now):
		return false
	case then.Digest() == now.Digest():
		return true
	case now.Action != then.Action && !now.Action.Milder(then.Action):
		return false
	case now.Action.Destroys() && !same(then.Before, now.Before):
		return false
	}
	return diffCovers(then.Diff, now.Diff, now.Action)
}

// otherwiseDeclared says whether something else is declared than what was to fill
// in what was not known.
func otherwiseDeclared(then, now Masked) bool {
	return then.Declared != now.Declared && slices.ContainsFunc(then.Diff, func(d drivers.Delta) bool { return d.Unknown })
}

// diffCovers: no field that was not shown, none that was known and differs,
// and, unless nothing is left to do, none that was known and is gone: then
// live has moved.
func diffCovers(then, now []drivers.Delta, action schema.Action) bool {
	left := map[schema.Path]drivers.Delta{}
	for _, d := range now {
		left[d.Path] = d
	}
	for _, t := range then {
		n, ok := left[t.Path]
		delete(left, t.Path)
		switch {
		case !ok && (t.Unknown || action == schema.None):
		case !ok, !deltaCovers(t, n):
			return false
		}
	}
	return coveredBelow(then, left)
}

// deltaCovers decides it for one field that both name.
func deltaCovers(then, now drivers.Delta) bool {
	switch {
	case !same(then.Before, now.Before):
		return false
	case then.Op != now.Op && !now.Op.Milder(then.Op):
		return false
	case then.Unknown && !now.Unknown:
		return true
	}
	return then.Unknown == now.Unknown && same(then.After, now.After)
}

// coveredBelow lets an unknown that was shown for a whole take its value field
// by field, while what lives there is what was shown.
func coveredBelow(then []drivers.Delta, left map[schema.Path]drivers.Delta) bool {
	for p, n := range left {
		within := false
		for _, t := range then {
			within = within || t.Unknown && p.Within(t.Path) && same(below(t.Before, p[len(t.Path):]), n.Before)
		}
		if !within {
			return false
		}
	}
	return true
}

// below is what a value has at a path; nil where it has nothing.
func below(raw json.RawMessage, p schema.Path) json.RawMessage {
	v, err := decode(raw)
	ok := err == nil
	for _, step := range p.Steps() {
		if ok {
			v, ok = child(v, step)
		}
	}
	if !ok {
		return nil
	}
	out, err := encode(v)
	if err != nil {
		return nil
	}
	return out
}

// same compares JSON however it is written: an approval that comes back from
// the disk has <, > and & escaped.
func same(a, b json.RawMessage) bool {
	return bytes.Equal(a, b) || bytes.Equal(Canonical(a), Canonical(b))
}
