package drivertest

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// checkState is what holds of every State.
func (b *bench) checkState(it *drivers.Item, s drivers.State) {
	b.Helper()
	b.record(s)
	if !s.Exists {
		if s.Spec != nil || len(s.Outputs) > 0 || s.Health != (drivers.Health{}) || s.Owner != "" {
			b.blame("Exists false: everything below is zero", "%s: spec %s, %d outputs, health %+v", it.ID, s.Spec, len(s.Outputs), s.Health)
		}
		return
	}
	if s.Handle == "" || it.Handle != "" && it.Nonce == "" && s.Handle != it.Handle {
		b.blame("State.Handle is where it lives", "asked for %q, told of %q", it.Handle, s.Handle)
	}
	switch s.Health.Status {
	case drivers.Healthy, drivers.Progressing, drivers.Unhealthy, drivers.Failed:
	default:
		b.blame("a thing without a notion of health is Healthy", "%s: status %q", s.Handle, s.Health.Status)
	}
	for name, o := range s.Outputs {
		if o.Secret && (o.Value != nil || o.Fingerprint == "") {
			b.blame("a secret has no Value", "output %s has one, or has no fingerprint", name)
		}
		if !o.Secret && !json.Valid(o.Value) {
			b.blame("Outputs hold JSON", "output %s is %q", name, o.Value)
		}
	}
}

// checkChange is what holds of every Change.
func (b *bench) checkChange(it *drivers.Item, live drivers.State, c drivers.Change) {
	b.Helper()
	b.record(c)
	if c.ID != it.ID {
		b.blame("Change is a plan for one resource", "asked for %s, answered for %s", it.ID, c.ID)
	}
	if live.Exists && c.Handle != live.Handle {
		b.blame("Change.Handle is where it lives", "%q, want %q", c.Handle, live.Handle)
	}
	if !slices.IsSortedFunc(c.Diff, func(x, y drivers.Delta) int { return strings.Compare(string(x.Path), string(y.Path)) }) {
		b.blame("Diff is complete, ordered by path", "%s", paths(c.Diff))
	}
	for _, d := range c.Diff {
		b.checkDelta(d)
	}
	switch c.Action {
	case schema.None:
		if len(c.Diff) > 0 {
			b.blame("Plan answers what would make live equal declared", "the action is none, yet the diff names %s", paths(c.Diff))
		}
	case schema.Delete, schema.Replace:
		if !same(c.Before, live.Spec) {
			b.blame("Before is the normalised live spec, for delete and replace", "%s: before %s, live %s", c.Action, c.Before, live.Spec)
		}
	case schema.Create:
		if live.Exists {
			b.blame("Plan answers what would make live equal declared", "it lives, yet the action is create")
		}
	}
}

// checkDelta is what holds of every Delta.
func (b *bench) checkDelta(d drivers.Delta) {
	b.Helper()
	bad := ""
	switch d.Op {
	case schema.Create:
		if d.Before != nil {
			bad = "it is made, and was there before"
		}
	case schema.Delete:
		if d.After != nil {
			bad = "it is deleted, and is there after"
		}
	case schema.Update:
		if !d.Unknown && d.Before != nil && same(d.Before, d.After) {
			bad = "it is before as it is after"
		}
	case schema.Replace:
	default:
		bad = "its operation is none"
	}
	if bad != "" {
		b.blame("Delta is one field that a change alters", "%q at %s: %s", d.Op, d.Path, bad)
	}
}

// checkComplete holds live before and after against the diff.
func (b *bench) checkComplete(c drivers.Change, before, after drivers.State) {
	b.Helper()
	for _, p := range moved(b.T, before.Spec, after.Spec) {
		named := slices.ContainsFunc(c.Diff, func(d drivers.Delta) bool { return p.Within(d.Path) || d.Path.Within(p) })
		if !named {
			b.blame("Apply alters no field that Change.Diff does not name", "%s moved; the diff names %s", p, paths(c.Diff))
		}
	}
}

// checkPromise holds the outputs after an apply against what its plan said.
func (b *bench) checkPromise(c drivers.Change, s drivers.State) {
	b.Helper()
	for name, want := range c.Outputs {
		got, has := s.Outputs[name]
		if !has || got.Secret != want.Secret || got.Fingerprint != want.Fingerprint || !same(got.Value, want.Value) {
			b.blame("Change.Outputs: what will hold after; an output that is absent is unknown",
				"after %s output %s was to be %s%s and is %s%s", c.Action, name, want.Value, want.Fingerprint, got.Value, got.Fingerprint)
		}
	}
}
