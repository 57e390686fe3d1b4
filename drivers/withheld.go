package drivers

import (
	"context"

	"github.com/aplomb-dev/aplomb/schema"
)

// Withheld never plans what is declared anew, but answers that it is decided
// later: for drivers whose plan runs what was declared, such as the module of a
// stack, where it is not known yet whether it may run. What is declared as it
// was applied last has nothing to do, and what is no longer declared is planned,
// since that runs what was applied before. It never writes.
type Withheld struct {
	Driver
	Why string // for people
}

var _ Driver = (*Withheld)(nil)

// Unwrap gives As the decorated driver.
func (w *Withheld) Unwrap() Driver { return w.Driver }

// Plan implements Driver.
func (w *Withheld) Plan(ctx context.Context, it Item, s State) (Change, error) {
	if it.Want == nil {
		return w.Driver.Plan(ctx, it, s)
	}
	c := Change{ID: it.ID, Handle: it.Handle, Action: schema.Deferred, Why: w.Why}
	if l := it.Last; l != nil && s.Exists && string(l.Spec) == string(it.Want.Spec) && l.Files == it.Want.Files.Hash() {
		c.Action, c.Why, c.Outputs = schema.None, "", s.Outputs
	}
	return c, nil
}

// Apply implements Driver: it is refused.
func (w *Withheld) Apply(_ context.Context, c Change) (State, error) {
	return State{}, &Error{Op: "apply", Subject: c.ID.String(), Class: ErrPermanent, Hint: w.Why}
}
