package driverkit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// Decode reads a desired spec into v. A field whose value is unknown stands
// there as text whatever its type, so it is left at its zero value.
func Decode(d *drivers.Desired, v any) error {
	spec := d.Spec
	if len(d.Unknown) > 0 {
		tree, err := Tree(spec)
		if err != nil {
			return err
		}
		for p := range d.Unknown {
			blank(tree, p.Steps())
		}
		if spec, err = Text(tree); err != nil {
			return err
		}
	}
	if err := json.Unmarshal(spec, v); err != nil {
		return fmt.Errorf("read spec: %w", err)
	}
	return nil
}

func blank(tree any, steps []string) {
	if len(steps) == 0 {
		return
	}
	switch t := tree.(type) {
	case map[string]any:
		if len(steps) == 1 {
			delete(t, steps[0])
			return
		}
		blank(t[steps[0]], steps[1:])
	case []any:
		i, err := strconv.Atoi(steps[0])
		if err != nil || i < 0 || i >= len(t) {
			return
		}
		if len(steps) == 1 {
			t[i] = nil
			return
		}
		blank(t[i], steps[1:])
	}
}

// Tree reads JSON into maps, slices, strings, json.Number, bool and nil.
func Tree(spec json.RawMessage) (any, error) {
	if len(spec) == 0 {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(spec))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("read spec: %w", err)
	}
	return v, nil
}

// Text is v as canonical JSON: keys sorted, nothing escaped for HTML.
func Text(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Diff answers what differs between two specs, ordered by path: as deep as
// both have a field, and deeper where an unknown lies below.
func Diff(before, after json.RawMessage, unknown map[schema.Path]string) ([]drivers.Delta, error) {
	b, err := Tree(before)
	if err != nil {
		return nil, err
	}
	a, err := Tree(after)
	if err != nil {
		return nil, err
	}
	d := differ{unknown: unknown}
	return d.all(b, a, len(before) > 0, len(after) > 0)
}

// DiffTrees is Diff of two specs that are read already, as Tree reads them, and
// of which all is known.
func DiffTrees(before, after any) ([]drivers.Delta, error) {
	return (&differ{}).all(before, after, true, true)
}

// SortDeltas orders by path.
func SortDeltas(ds []drivers.Delta) {
	slices.SortFunc(ds, func(a, b drivers.Delta) int { return strings.Compare(string(a.Path), string(b.Path)) })
}

type differ struct {
	unknown map[schema.Path]string
	deltas  []drivers.Delta
	err     error
}

// all are the deltas from the root on.
func (d *differ) all(before, after any, hasB, hasA bool) ([]drivers.Delta, error) {
	d.walk("", before, after, hasB, hasA)
	SortDeltas(d.deltas)
	return d.deltas, d.err
}

func (d *differ) walk(p schema.Path, before, after any, hasB, hasA bool) {
	_, isUnknown := d.unknown[p]
	bm, bIsMap := before.(map[string]any)
	am, aIsMap := after.(map[string]any)
	bs, bIsSlice := before.([]any)
	as, aIsSlice := after.([]any)
	switch {
	case isUnknown:
		d.add(p, before, after, hasB, hasA, true)
	case bIsMap && aIsMap, p == "", aIsMap && !hasB && d.below(p):
		d.keys(p, bm, am)
	case aIsSlice && len(as) > 0 && (bIsSlice && len(bs) == len(as) || !hasB && d.below(p)):
		for i := range as {
			if !hasB {
				d.walk(p.Index(i), nil, as[i], false, true)
				continue
			}
			d.walk(p.Index(i), bs[i], as[i], true, true)
		}
	default:
		d.add(p, before, after, hasB, hasA, d.below(p))
	}
}

func (d *differ) keys(p schema.Path, before, after map[string]any) {
	for k, a := range after {
		b, has := before[k]
		d.walk(p.Child(k), b, a, has, true)
	}
	for k, b := range before {
		if _, has := after[k]; !has {
			d.walk(p.Child(k), b, nil, true, false)
		}
	}
}

func (d *differ) below(p schema.Path) bool {
	for u := range d.unknown {
		if u.Within(p) {
			return true
		}
	}
	return false
}

func (d *differ) add(p schema.Path, before, after any, hasB, hasA, unknown bool) {
	delta := drivers.Delta{Path: p, Op: schema.Update, Unknown: unknown}
	var err error
	if hasB {
		if delta.Before, err = Text(before); err != nil {
			d.err = err
		}
	} else {
		delta.Op = schema.Create
	}
	if hasA {
		if delta.After, err = Text(after); err != nil {
			d.err = err
		}
	} else {
		delta.Op = schema.Delete
	}
	if unknown || !same(before, after, delta) || hasB != hasA {
		d.deltas = append(d.deltas, delta)
	}
}

// same takes numbers by value: 1, 1.0 and 1e0 are one number.
func same(before, after any, d drivers.Delta) bool {
	b, isNumber := before.(json.Number)
	a, both := after.(json.Number)
	if isNumber && both {
		x, errX := b.Float64()
		y, errY := a.Float64()
		return b == a || errX == nil && errY == nil && x == y && math.Abs(x) < 1<<53
	}
	return bytes.Equal(d.Before, d.After)
}

var durationRE = regexp.MustCompile(`^([0-9]+)(ms|s|m|h|d)$`)

// Duration reads a duration of a spec: "500ms", "5s", "30d".
func Duration(s string) (time.Duration, error) {
	m := durationRE.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%q is not a duration such as 500ms, 5s, 10m, 720h or 30d", Clip(s, 40))
	}
	unit := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[m[2]]
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > int64(math.MaxInt64/unit) {
		return 0, fmt.Errorf("%q is too long a duration", Clip(s, 40))
	}
	return time.Duration(n) * unit, nil
}

// Clip bounds what is repeated of a text, in bytes.
func Clip(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
