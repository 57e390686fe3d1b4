package tofu

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
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
	if rec != nil && rec.Files != want.Files.Hash() {
		diff = append(diff, drivers.Delta{Path: modulePath, Op: schema.Update, Before: quoted(rec.Files[:min(12, len(rec.Files))]), After: quoted(want.Files.Hash()[:12])})
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

// madePlan is a saved plan and what it says.
type madePlan struct {
	*planned
	outputs map[string]drivers.Output
}

// save runs plan and show, and fills in p.
func (d *Driver) save(ctx context.Context, s *stack, w *workspace, p *plan, sp spec, destroy bool) (*madePlan, error) {
	if err := s.sweep(s.kept()...); err != nil {
		return nil, driverkit.Fail("clean up", s.dir, err)
	}
	p.destroy, p.file = destroy, planPrefix+strings.ToLower(rand.Text())
	if err := s.put(p.file, nil); err != nil { // the tool keeps its mode
		return nil, driverkit.Fail("write", s.dir, err)
	}
	args := []string{"plan", "-input=false", "-json", lockTimeout, "-var-file=" + s.path(varsFile), "-out=" + s.path(p.file)}
	if destroy {
		args = append(args, "-destroy")
	}
	said, err := d.planned(ctx, s, w, p.file, args)
	if err != nil {
		return nil, errors.Join(err, s.remove(p.file))
	}
	m := &masker{fingerprint: d.Fingerprint, tokens: map[string]string{}}
	for name, v := range w.vars {
		if text := sp.SecretVars[name]; schema.HasToken(text) {
			m.tokens[v.Reveal()] = text
		}
	}
	for _, text := range w.standIn {
		m.tokens[text] = text
	}
	made := &madePlan{}
	if made.planned, err = m.digest(said); err == nil {
		made.outputs, err = d.promised(s, sp, said)
	}
	if err != nil {
		return nil, errors.Join(err, s.remove(p.file))
	}
	p.total, p.secrets = made.total, made.secrets
	d.checks.note(s.handle, failedChecks(said.Checks), w.scrubber(d, made.secrets))
	if len(made.deltas) == 0 && !destroy {
		err = s.remove(p.file)
		p.file = ""
	}
	return made, driverkit.Fail("clean up", s.dir, err)
}

// planned runs the tool's plan and reads it.
func (d *Driver) planned(ctx context.Context, s *stack, w *workspace, file string, args []string) (*planJSON, error) {
	end, err := d.run(ctx, w.tool, s, w.all(), args...)
	if err != nil {
		return nil, err
	}
	if end.code != 0 {
		return nil, d.failed("plan", s, end, w.scrubber(d, nil))
	}
	end, err = d.run(ctx, w.tool, s, w.all(), "show", "-json", s.path(file))
	if err != nil {
		return nil, err
	}
	if end.code != 0 {
		return nil, &drivers.Error{Op: "read the plan of", Subject: s.handle, Class: drivers.ErrRetryable, Err: plainError(end, w.scrubber(d, nil))}
	}
	p, err := parsePlan(end.out)
	if err != nil {
		return nil, driverkit.Refuse("read the plan of", s.handle, err, "")
	}
	if p.Errored {
		return nil, &drivers.Error{Op: "plan", Subject: s.handle, Class: drivers.ErrRetryable, Err: fmt.Errorf("the plan is incomplete")}
	}
	return p, nil
}

// promised are the declared outputs as they will be, as far as that is known.
func (d *Driver) promised(s *stack, sp spec, p *planJSON) (map[string]drivers.Output, error) {
	out := map[string]drivers.Output{}
	for name, want := range sp.Outputs {
		c, ok := p.OutputChanges[name]
		if !ok || unknownIn(c.AfterUnknown) || slices.Contains(c.Actions, "delete") {
			continue
		}
		sensitive := unknownIn(c.AfterSensitive)
		if sensitive && !want.Sensitive {
			return nil, hidden(s.handle, name)
		}
		if kindOf(c.After) != want.Type && want.Type != "any" {
			continue // told by the health once it is so
		}
		text, err := driverkit.Text(c.After)
		if err != nil {
			return nil, err
		}
		if out[name], err = outputOf(text, want.Sensitive, d.Fingerprint); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func hidden(handle, name string) error {
	return driverkit.Refuse("read an output of", handle, fmt.Errorf("the output %s is sensitive in the module and not in spec.outputs", name), "spec.outputs."+name+": {sensitive: true}")
}

// kindOf is the type of a value in the words of spec.outputs.
func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "string"
	case bool:
		return "bool"
	case json.Number:
		return "number"
	case []any:
		return "list"
	case map[string]any:
		return "map"
	default:
		return "null"
	}
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

// kept are the modules that are still needed.
func (s *stack) kept() []string {
	var keep []string
	if r, err := s.record(); err == nil && r != nil {
		keep = append(keep, r.Files)
	}
	var b begun
	if s.load(begunFile, &b) == nil {
		keep = append(keep, b.Files, b.Plan)
	}
	return keep
}

// hasPlan says whether a saved plan is still there.
func (s *stack) hasPlan(name string) bool {
	_, err := os.Stat(s.path(name))
	return err == nil
}
