package driverkit

import (
	"fmt"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// MarkDelta is the delta of a missing ownership mark.
func MarkDelta(env string) drivers.Delta {
	after, err := Text(env)
	if err != nil { // a string always marshals
		after = nil
	}
	return drivers.Delta{Path: drivers.MarkPath, Op: schema.Create, After: after}
}

// Place fills in where an item lives: as it says itself, or as was observed.
func Place(it *drivers.Item, state drivers.State) {
	if it.Handle == "" {
		it.Handle = state.Handle
	}
}

// Foreign refuses what carries another environment's mark; nil where it may be
// planned.
func Foreign(state drivers.State, env string) error {
	if state.Owner == "" || state.Owner == env {
		return nil
	}
	return Refuse("take", state.Handle, fmt.Errorf("it belongs to the environment %s", state.Owner), "delete it there first, or choose another name here")
}

// Decide fills in the action of a change whose Diff is complete, and why.
// ours says that what lives is this environment's.
func Decide(c *drivers.Change, it drivers.Item, state drivers.State, ours bool) {
	SortDeltas(c.Diff)
	moved := it.Last != nil && it.Last.Version != "" && it.Last.Version != state.Version
	switch {
	case !state.Exists && it.Last != nil:
		c.Action, c.Why = schema.Create, "it is gone"
	case !state.Exists:
		c.Action, c.Why = schema.Create, "it does not exist"
	case !ours:
		c.Action, c.Why = schema.Adopt, "it lives already"
	case len(c.Diff) == 0:
		c.Action, c.Outputs = schema.None, state.Outputs
	case moved:
		c.Action, c.Why = schema.Update, "something else changed it"
	default:
		c.Action, c.Why = schema.Update, "the declaration changed"
	}
}

// Deletion makes c the deletion of what lives, or nothing where nothing does.
func Deletion(c *drivers.Change, state drivers.State) {
	if state.Exists {
		c.Action, c.Before, c.Why = schema.Delete, state.Spec, "it is no longer declared"
	}
}
