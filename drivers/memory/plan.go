package memory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// planned goes from Plan to Apply.
type planned struct {
	rev     uint64         // of live; 0 where nothing lived
	want    map[string]any // the password as a token
	literal string         // a password that stands in the declaration itself
	mark    bool
	nonced  bool
	half    bool // live is half made
}

// Plan implements drivers.Driver.
func (d *Driver) Plan(ctx context.Context, item drivers.Item, live drivers.State) (drivers.Change, error) {
	if err := d.reach(ctx, "plan"); err != nil {
		return drivers.Change{}, err
	}
	if err := known(item.ID.Kind); err != nil {
		return drivers.Change{}, err
	}
	o, err := d.snapshot(item, live)
	if err != nil {
		return drivers.Change{}, err
	}
	if err := d.Engine.ponder(item.ID); err != nil {
		return drivers.Change{}, err
	}
	c := drivers.Change{ID: item.ID, Handle: cmpOr(live.Handle, item.Handle), Action: schema.None}
	if item.Want == nil {
		return d.planDelete(c, o, live)
	}
	if c.Handle == "" {
		if c.Handle, err = d.Address(item.ID.Kind, item.ID.Name, item.Want.Spec); err != nil {
			return drivers.Change{}, err
		}
	}
	return d.planWant(c, item, o, live)
}

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// snapshot is the object that a State told of, or nil; it is what the driver
// put into Raw, unless the state has been somewhere that does not keep it.
func (d *Driver) snapshot(item drivers.Item, live drivers.State) (*object, error) {
	if live.Err != nil {
		return nil, live.Err
	}
	if !live.Exists {
		return nil, nil
	}
	if live.Owner != "" && live.Owner != d.Env {
		return nil, &drivers.Error{
			Op: "plan", Subject: live.Handle, Class: drivers.ErrPermanent,
			Err:  fmt.Errorf("it carries the mark of environment %q", live.Owner),
			Hint: "remove it there first, or choose another name",
		}
	}
	o, ok := live.Raw.(*object)
	if !ok {
		return nil, fail("plan", live.Handle, drivers.ErrStale, errors.New("observe it again"))
	}
	if o.goneAt > 0 {
		return nil, fail("plan", live.Handle, drivers.ErrWaiting, errDeleting)
	}
	return o, nil
}

// ponder is the slowness of plans.
func (e *Engine) ponder(id schema.ID) error {
	if e.Quirks.SlowPlans == 0 {
		return nil
	}
	e.lock()
	defer e.unlock()
	key := id.String()
	if e.waits[key] < e.Quirks.SlowPlans {
		e.waits[key]++
		return fail("plan", key, drivers.ErrWaiting, nil)
	}
	delete(e.waits, key)
	return nil
}

func (d *Driver) planDelete(c drivers.Change, o *object, live drivers.State) (drivers.Change, error) {
	if o == nil {
		return c, nil
	}
	c.Action, c.Before, c.Why = schema.Delete, live.Spec, "it is no longer declared"
	c.Opaque = &planned{rev: o.rev}
	return c, nil
}

func (d *Driver) planWant(c drivers.Change, item drivers.Item, o *object, live drivers.State) (drivers.Change, error) {
	mark := !d.Engine.Quirks.NoMarks && live.Owner == ""
	ours := o != nil && (item.Last != nil || live.Owner == d.Env || o.nonce != "" && o.nonce == item.Nonce)
	if ours && !mark && o.plain && bytes.Equal(item.Want.Spec, o.json) && len(item.Want.Unknown) == 0 {
		c.Outputs, c.Opaque = live.Outputs, &planned{rev: o.rev}
		return c, nil
	}
	p := &planned{mark: mark, nonced: d.given(item.ID.Kind) && !d.Engine.Quirks.NonceUnsupported}
	if err := d.read(item, p); err != nil {
		return drivers.Change{}, err
	}
	c.Opaque = p
	df := &differ{unknown: item.Want.Unknown}
	if o == nil {
		df.objects("", nil, p.want)
		c.Action, c.Why = schema.Create, "it does not exist"
		return d.finish(c, item, o, df)
	}
	p.rev, p.half = o.rev, o.half
	if _, declared := p.want["size"]; o.half && d.Engine.Quirks.NoisyDefaults && !declared {
		p.want["size"] = float64(defaultSize) // it will be filled in, so the diff names it
	}
	df.objects("", d.comparable(item, o, p.want), p.want)
	if !d.Engine.Quirks.WriteOnly {
		df.keepPassword(d, item, o)
	}
	switch {
	case !ours:
		c.Action, c.Why = schema.Adopt, "it lives already"
	case len(df.found) > 0 || mark || o.half:
		c.Action, c.Why = schema.Update, "live differs from what is declared"
	}
	return d.finish(c, item, o, df)
}

// read decodes what is wanted and takes secrets out of it.
func (d *Driver) read(item drivers.Item, p *planned) error {
	subject := item.ID.String()
	if err := json.Unmarshal(item.Want.Spec, &p.want); err != nil || p.want == nil {
		return fail("read spec", subject, drivers.ErrPermanent, errors.New("it is not a JSON object"))
	}
	for path := range item.Want.Secrets {
		if path != secretPath {
			return fail("read spec", subject, drivers.ErrPermanent, fmt.Errorf("%s cannot hold a secret", path))
		}
	}
	text, has := p.want[secretField].(string)
	_, unknown := item.Want.Unknown[secretPath]
	if has && !unknown && !schema.HasToken(text) {
		p.literal, p.want[secretField] = text, d.token(text)
	}
	return nil
}

// comparable is live as it compares with want: the password as a token, and
// without what the engine filled in by itself.
func (d *Driver) comparable(item drivers.Item, o *object, want map[string]any) map[string]any {
	if o.half {
		return nil
	}
	q := d.Engine.Quirks
	_, secret := o.spec[secretField]
	if !secret && !q.NoisyDefaults && !q.WriteOnly {
		return o.spec
	}
	live := maps.Clone(o.spec)
	if q.NoisyDefaults {
		delete(live, noiseField)
		if _, declared := want["size"]; !declared && (live["size"] == float64(defaultSize) || !lastHad(item, "size")) {
			delete(live, "size")
		}
	}
	delete(live, secretField)
	switch {
	case !q.WriteOnly && secret:
		live[secretField] = d.token(o.spec[secretField])
	case q.WriteOnly:
		if token, had := lastField(item, secretField); had {
			live[secretField] = d.tokenOf(token)
		}
	}
	return live
}

func (d *Driver) tokenOf(v any) any {
	if s, ok := v.(string); ok && !schema.HasToken(s) {
		return d.token(s)
	}
	return v
}

func lastField(item drivers.Item, key string) (any, bool) {
	if item.Last == nil {
		return nil, false
	}
	var last map[string]any
	if json.Unmarshal(item.Last.Spec, &last) != nil {
		return nil, false
	}
	v, had := last[key]
	return v, had
}

func lastHad(item drivers.Item, key string) bool {
	_, had := lastField(item, key)
	return had
}

// keepPassword drops the difference of a password whose declared token is the
// one of the last apply, where the password has not moved since. A token need
// not be the fingerprint of the whole text.
func (df *differ) keepPassword(d *Driver, item drivers.Item, o *object) {
	i := slices.IndexFunc(df.found, func(x difference) bool { return x.path == secretPath })
	if i < 0 || df.found[i].unknown || df.found[i].op != schema.Update || item.Last == nil {
		return
	}
	last, had := lastField(item, secretField)
	_, rev, told := strings.Cut(item.Last.Version, ".")
	if had && equal(d.tokenOf(last), df.found[i].after) && (!told || rev == strconv.FormatUint(o.passwordRev, 10)) {
		df.found = slices.Delete(df.found, i, i+1)
	}
}

// finish turns differences into the Change.
func (d *Driver) finish(c drivers.Change, item drivers.Item, o *object, df *differ) (drivers.Change, error) {
	p := c.Opaque.(*planned)
	c.Diff = make([]drivers.Delta, 0, len(df.found)+1)
	if p.mark {
		c.Diff = append(c.Diff, drivers.Delta{Path: drivers.MarkPath, Op: schema.Create, After: mustJSON(d.Env)})
	}
	for _, x := range df.found {
		delta := drivers.Delta{Path: x.path, Op: x.op, Unknown: x.unknown}
		if x.op != schema.Create {
			delta.Before = mustJSON(x.before)
		}
		if x.op != schema.Delete {
			delta.After = mustJSON(x.after)
		}
		if x.path.Within("/"+immutableField) && o != nil && !o.half {
			if c.Action == schema.Adopt {
				return drivers.Change{}, fail("plan", c.Handle, drivers.ErrPermanent, errors.New("class differs, and adopting it would make it anew"))
			}
			delta.Op, c.Action, c.Why = schema.Replace, schema.Replace, "class cannot change in place"
		}
		c.Diff = append(c.Diff, delta)
	}
	slices.SortFunc(c.Diff, func(a, b drivers.Delta) int { return strings.Compare(string(a.Path), string(b.Path)) })
	if d.Engine.Quirks.Deferred {
		if u := (&differ{unknown: item.Want.Unknown}); u.holds("/" + scalarField) {
			c.Action, c.Why = schema.Deferred, "count is not known yet"
			return c, nil
		}
	}
	if c.Action == schema.Replace {
		c.Before = d.readBack(o)
	}
	c.Outputs = d.promise(c, item, o, p.want)
	return c, nil
}

// promise is Change.Outputs: what holds after, whatever else happens.
func (d *Driver) promise(c drivers.Change, item drivers.Item, o *object, want map[string]any) map[string]drivers.Output {
	if o != nil && c.Action == schema.None {
		return o.outputs
	}
	out := map[string]drivers.Output{}
	anew := o == nil || c.Action == schema.Replace
	if !anew || !d.given(item.ID.Kind) {
		_, id, _ := strings.Cut(c.Handle, "/")
		out["id"] = drivers.Output{Value: mustJSON(id)}
	}
	u := &differ{unknown: item.Want.Unknown}
	size, declared := want["size"]
	if !declared {
		size = float64(0)
		if d.Engine.Quirks.NoisyDefaults {
			size = float64(defaultSize)
			if !anew && o.spec["size"] != nil && !slices.ContainsFunc(c.Diff, func(x drivers.Delta) bool { return x.Path == "/size" }) {
				size = o.spec["size"]
			}
		}
	}
	if !u.holds("/size") {
		out["size"] = drivers.Output{Value: mustJSON(size)}
	}
	switch {
	case item.ID.Kind == KindSecret:
		if !anew && !o.half && !u.holds("/size") && equal(o.spec["size"], size) {
			out["value"] = o.outputs["value"]
		}
	case !u.holds("/value"):
		out["value"] = drivers.Output{Value: mustJSON(want["value"])}
	}
	return out
}
