package tofu

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/internal/driverkit"
	"github.com/aplomb-dev/aplomb/schema"
)

// plan is Change.Opaque.
type plan struct {
	base     string // of the stack when it was planned
	destroy  bool
	deferred bool
	blind    bool   // some secret values were not known: planned with stand-ins, or not at all
	file     string // name of the saved plan; "" where the tool has nothing to do
	total    int
	spec     json.RawMessage
	files    schema.Tree
	shown    drivers.Change // what a blind plan showed
	secrets  []schema.Secret
}

// Plan saves a plan of the tool and reads what it would do: two runs of it,
// three where init is due. It writes nothing but that plan, in the stack's own
// folder. The tool is not asked while an input is not known.
func (d *Driver) Plan(ctx context.Context, it drivers.Item, state drivers.State) (drivers.Change, error) {
	driverkit.Place(&it, state)
	c := drivers.Change{ID: it.ID, Handle: it.Handle, Action: schema.None}
	if it.ID.Kind != Kind {
		return c, unserved(it.ID.Kind)
	}
	if state.Err != nil {
		return c, state.Err
	}
	s, err := d.stackOf(it.Handle)
	if err != nil {
		return c, err
	}
	if it.Want != nil && len(it.Want.Unknown) > 0 {
		return d.deferred(c, it, state)
	}
	if it.Want != nil {
		if err := d.Check(it.ID.Kind, it.ID.Name, *it.Want); err != nil {
			return c, err
		}
	}
	defer d.locks.Lock(s.handle)()
	if err := s.idle(); err != nil {
		return c, err
	}
	if it.Want == nil {
		return d.planDelete(ctx, c, s, state)
	}
	return d.planWant(ctx, c, s, it, state)
}

// deferred: the tool takes no text for a value that is not known.
func (d *Driver) deferred(c drivers.Change, it drivers.Item, state drivers.State) (drivers.Change, error) {
	diff, err := driverkit.Diff(state.Spec, it.Want.Spec, it.Want.Unknown)
	if err != nil {
		return c, driverkit.Refuse("read", it.Handle, err, "")
	}
	c.Action, c.Diff, c.Why, c.Opaque = schema.Deferred, diff, "it can be planned once its variables are known", plan{deferred: true}
	return c, nil
}

// base changes with everything that a plan was made from but live itself.
func (s *stack) base() (string, error) {
	hash, err := s.stateHash()
	if err != nil {
		return "", err
	}
	r, err := s.record()
	if err != nil {
		return "", err
	}
	return hashOf(hash, baseOf(r)), nil
}

// baseOf changes with a record.
func baseOf(r *record) string {
	text, err := json.Marshal(r)
	if err != nil { // it was made of JSON
		return hashOf()
	}
	return hashOf(string(text))
}

func (d *Driver) planWant(ctx context.Context, c drivers.Change, s *stack, it drivers.Item, state drivers.State) (drivers.Change, error) {
	p := plan{spec: it.Want.Spec, files: it.Want.Files}
	sp, err := specOf(s.handle, it.Want)
	if err != nil {
		return c, err
	}
	rec, err := s.record()
	if err != nil {
		return c, driverkit.Fail("read", s.handle, err)
	}
	if c.Diff, err = d.declared(rec, it.Want); err != nil {
		return c, err
	}
	w, err := d.prepare(ctx, s, sp, p.files)
	if err != nil {
		return c, err
	}
	if p.base, err = s.base(); err != nil {
		return c, driverkit.Fail("read", s.handle, err)
	}
	p.blind = len(w.standIn) > 0
	made, err := d.save(ctx, s, w, &p, sp, false)
	if err != nil && p.blind {
		return blindly(c, p, state), ctx.Err()
	}
	if err != nil {
		return c, err
	}
	c.Diff = append(c.Diff, made.deltas...)
	driverkit.SortDeltas(c.Diff)
	c.Outputs = made.outputs
	decide(&c, it, state, made)
	if c.Action == schema.None {
		c.Outputs = state.Outputs
	}
	p.shown = shown(c)
	c.Opaque = p
	return c, nil
}

// shown is a change as it is compared with another.
func shown(c drivers.Change) drivers.Change {
	return drivers.Change{Action: c.Action, Diff: c.Diff}
}

// declared is what differs between what was applied and what is declared, apart
// from what the tool says.
func (d *Driver) declared(rec *record, want *drivers.Desired) ([]drivers.Delta, error) {
	var before json.RawMessage
	if rec != nil {
		before = rec.Spec
	}
	diff, err := driverkit.Diff(before, want.Spec, nil)
	if err != nil {
		return nil, driverkit.Refuse("read", "spec", err, "")
	}
	switch { // the whole hash: an approval is for this very module, whatever another one would plan
	case rec == nil:
		diff = append(diff, drivers.Delta{Path: modulePath, Op: schema.Create, After: quoted(want.Files.Hash())})
	case rec.Files != want.Files.Hash():
		diff = append(diff, drivers.Delta{Path: modulePath, Op: schema.Update, Before: quoted(rec.Files), After: quoted(want.Files.Hash())})
	}
	if rec != nil && rec.Failed != "" {
		diff = append(diff, drivers.Delta{Path: unfinished, Op: schema.Update, Before: quoted("failed"), After: quoted("done")})
	}
	return diff, nil
}

func quoted(s string) json.RawMessage {
	text, err := driverkit.Text(s)
	if err != nil { // a string always marshals
		return nil
	}
	return text
}

// decide fills in the action: the worst within.
func decide(c *drivers.Change, it drivers.Item, state drivers.State, made *madePlan) {
	switch {
	case !state.Exists:
		c.Action, c.Why = schema.Create, "it does not exist"
		if it.Last != nil {
			c.Why = "it is gone"
		}
	case len(c.Diff) == 0:
		c.Action = schema.None
		return
	case made.worst == schema.Replace:
		c.Action, c.Before = schema.Replace, state.Spec
	default:
		c.Action = schema.Update
	}
	if !state.Exists {
		return
	}
	c.Why = "the declaration changed"
	if len(made.drifted) > 0 {
		c.Why = "something else changed " + strings.Join(made.drifted[:min(3, len(made.drifted))], ", ")
	}
}

// blindly is the change where the tool would not plan with stand-ins for secret
// values, which only an apply is told.
func blindly(c drivers.Change, p plan, state drivers.State) drivers.Change {
	c.Action, c.Why = schema.Create, "it does not exist"
	if state.Exists {
		c.Action, c.Why = schema.Update, "the declaration changed"
	}
	c.Diff = append(c.Diff, drivers.Delta{Path: sourcesPath, Op: schema.Update, After: quoted("known when its secrets are"), Unknown: true})
	driverkit.SortDeltas(c.Diff)
	p.file = ""
	p.shown = drivers.Change{}
	c.Opaque = p
	return c
}

// planDelete plans the destruction with the module and the variables that were
// applied last: Git may have neither any more.
func (d *Driver) planDelete(ctx context.Context, c drivers.Change, s *stack, state drivers.State) (drivers.Change, error) {
	rec, err := s.record()
	if err != nil {
		return c, driverkit.Fail("read", s.handle, err)
	}
	if rec == nil || !state.Exists {
		return c, nil
	}
	driverkit.Deletion(&c, state)
	p := plan{destroy: true}
	files, err := s.tree(rec.Files)
	if err != nil {
		return c, driverkit.Fail("read the module of", s.handle, err)
	}
	sp, err := specOf(s.handle, &drivers.Desired{Spec: rec.Applied})
	if err != nil {
		return c, err
	}
	w, err := d.prepare(ctx, s, sp, files)
	if err != nil {
		return c, err
	}
	if p.base, err = s.base(); err != nil {
		return c, driverkit.Fail("read", s.handle, err)
	}
	made, err := d.save(ctx, s, w, &p, sp, true)
	if err != nil {
		return c, err
	}
	c.Diff, c.Opaque = made.deltas, p
	driverkit.SortDeltas(c.Diff)
	return c, nil
}
