package local

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// instancePath is where the instances that do not do as they should stand in a
// diff.
const instancePath schema.Path = "/!instances"

// planned goes from Plan to Apply.
type planned struct {
	name    string
	version string // of what was seen; "" where there was nothing
	want    tree
}

// Plan implements drivers.Driver.
func (d *Driver) Plan(_ context.Context, item drivers.Item, live drivers.State) (drivers.Change, error) {
	if live.Err != nil {
		return drivers.Change{}, live.Err
	}
	c := drivers.Change{ID: item.ID, Handle: cmp.Or(live.Handle, item.Handle), Action: schema.None}
	if c.Handle == "" && item.Want != nil {
		var err error
		if c.Handle, err = d.Address(item.ID.Kind, item.ID.Name, item.Want.Spec); err != nil {
			return drivers.Change{}, err
		}
	}
	name, err := nameOf(c.Handle)
	if err != nil {
		return drivers.Change{}, err
	}
	o, err := d.seen(live)
	if err != nil {
		return drivers.Change{}, err
	}
	if item.Want == nil {
		return planDelete(c, name, o), nil
	}
	return d.planWant(c, name, item, o)
}

// seen is what the State told of, nil where nothing lives.
func (d *Driver) seen(live drivers.State) (*observed, error) {
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
	o, ok := live.Raw.(*observed)
	if !ok {
		return nil, fail("plan", live.Handle, drivers.ErrStale, errors.New("observe it again"))
	}
	return o, nil
}

func planDelete(c drivers.Change, name string, o *observed) drivers.Change {
	if o == nil {
		return c
	}
	c.Action, c.Before, c.Why = schema.Delete, o.live.json(), "it is no longer declared"
	c.Opaque = &planned{name: name, version: o.version}
	return c
}

func (d *Driver) planWant(c drivers.Change, name string, item drivers.Item, o *observed) (drivers.Change, error) {
	refused := func(err error) (drivers.Change, error) {
		return drivers.Change{}, fail("read spec", c.Handle, drivers.ErrPermanent, err)
	}
	want, err := parseTree(item.Want.Spec)
	if err != nil {
		return refused(err)
	}
	if len(item.Want.Unknown) == 0 { // what is not known yet has another type; it is looked at again
		s, err := want.typed()
		if err == nil {
			err = d.sane(s)
		}
		if err != nil {
			return refused(err)
		}
	}
	p := &planned{name: name, want: want}
	c.Opaque, c.Outputs = p, d.promise(name, want, item.Want.Unknown)
	if o == nil {
		c.Action, c.Why, c.Diff = schema.Create, "it does not exist", diff(nil, want, item.Want.Unknown)
		return c, nil
	}
	p.version = o.version
	c.Diff = diff(o.against(want), want, item.Want.Unknown)
	drift, why := o.drift()
	switch ours := item.Last != nil || o.owner == d.Env; {
	case !ours:
		c.Action, c.Why = schema.Adopt, "it lives already"
	case len(c.Diff) > 0:
		c.Action, c.Why = schema.Update, "the declaration changed"
		if item.Last != nil && bytes.Equal(item.Last.Spec, item.Want.Spec) {
			c.Why = "some instances are not yet as declared"
		}
	case len(drift) > 0:
		c.Action, c.Why = schema.Update, why
	}
	if o.owner == "" {
		c.Action = cmp.Or(none(c.Action), schema.Update)
		drift = append(drift, drivers.Delta{Path: drivers.MarkPath, Op: schema.Create, After: encode(d.Env)})
	}
	c.Diff = append(c.Diff, drift...)
	slices.SortFunc(c.Diff, byPath)
	return d.immutable(c, o)
}

// against is what live is compared as. In the middle of a rolling update there
// are several truths: as long as one of them is not what is wanted, that one.
func (o *observed) against(want tree) tree {
	for _, part := range o.parts {
		if part.hash() != want.hash() {
			return o.applied.with(part)
		}
	}
	return o.applied
}

// none is the empty Action for None.
func none(a schema.Action) schema.Action {
	if a == schema.None {
		return ""
	}
	return a
}

// immutable makes a replacement of a change of the type.
func (d *Driver) immutable(c drivers.Change, o *observed) (drivers.Change, error) {
	at := slices.IndexFunc(c.Diff, func(x drivers.Delta) bool { return x.Path == "/type" })
	if at < 0 {
		return c, nil
	}
	if c.Action == schema.Adopt {
		return drivers.Change{}, fail("plan", c.Handle, drivers.ErrPermanent, errors.New("its type differs, and adopting it would make it anew"))
	}
	c.Action, c.Why, c.Before = schema.Replace, "type cannot change in place: its instances are stopped and made anew", o.live.json()
	c.Diff[at].Op = schema.Replace
	return c, nil
}

// promise is what the outputs will be, as far as that is known.
func (d *Driver) promise(name string, want tree, unknown map[schema.Path]string) map[string]drivers.Output {
	out := map[string]drivers.Output{}
	if _, no := unknown["/count"]; !no {
		out["instances"] = drivers.Output{Value: encode(want["count"])}
	}
	if _, no := unknown["/dir"]; !no {
		dir, _ := want["dir"].(string)
		out["dir"] = drivers.Output{Value: encode(d.workDir(name, dir))}
	}
	return out
}

// placed refuses a working folder outside of the environment's root.
func (d *Driver) placed(dir string) error {
	switch {
	case dir == "":
		return nil
	case d.Root == "":
		return errors.New("dir: this environment has no root folder")
	case !filepath.IsLocal(dir):
		return fmt.Errorf("dir: %q leaves the environment's root", dir)
	}
	return nil
}

// drift is what the instances do that no field of the spec says, and the same
// in words.
func (o *observed) drift() ([]drivers.Delta, string) {
	var found []drivers.Delta
	var why []string
	for _, i := range o.insts {
		delta := drivers.Delta{Path: instancePath.Index(i.index)}
		switch extra := i.index >= o.spec.Count; {
		case extra && i.running():
			delta.Op, delta.Before = schema.Delete, encode(i.String())
		case extra:
			continue
		case i.none():
			delta.Op, delta.After = schema.Create, encode("running")
		case o.restarts(&i):
			delta.Op, delta.Before, delta.After = schema.Update, encode(i.String()), encode("running")
		default:
			continue
		}
		found = append(found, delta)
		why = append(why, fmt.Sprintf("instance %d %s", i.index, i.String()))
	}
	const shown = 3
	if more := len(why) - shown; more > 0 {
		why = append(why[:shown], fmt.Sprintf("and %d more", more))
	}
	return found, strings.Join(why, ", ")
}

// restarts says whether an instance that ended shall run again now. One that
// runs something else than what was applied is not drift but an update.
func (o *observed) restarts(i *instance) bool {
	return o.spec.Type == service && i.ended() && i.over && i.meta.hash == o.hash
}
