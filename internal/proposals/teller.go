package proposals

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Teller says on each commit how its apply goes: pending, then success or
// failure, from what was verified only. What the forge does not take is told
// again until it does; what a newer state has overtaken meanwhile is not told
// any more.
type Teller struct {
	Environment string
	Forge       forge.Forge
	Status      func() reconciler.Status
	Wait        func(context.Context, func(reconciler.Status) bool) (reconciler.Status, error)
	Book        *Book // remembers what was said over restarts
	Log         logrus.FieldLogger

	// First is the wait after a failure, doubled with each further one up to
	// Most. Zero: DefaultFirst, DefaultMost.
	First, Most time.Duration
}

// The waits where Teller says nothing.
const (
	DefaultFirst = time.Second
	DefaultMost  = time.Minute
)

// word is one status of one commit.
type word struct {
	commit string
	status forge.Status
}

// Run tells until ctx ends.
func (t *Teller) Run(ctx context.Context) {
	said := t.Book.lastSaid() // of the commits of now
	found, tries := t.Status().Revision.ID, 0
	for ctx.Err() == nil {
		s := t.Status()
		if found == s.Revision.ID && !s.Settled {
			// A start is no news of what was in force before it: what was said
			// of it stands until it is known how it is.
			s.Revision.ID = ""
		} else {
			found = ""
		}
		err := errors.Join(t.tell(ctx, s, said), t.Book.say(said))
		if err == nil {
			tries = 0
			if _, err := t.Wait(ctx, func(n reconciler.Status) bool { return n.Seq != s.Seq }); err != nil {
				return // the reconciler, or ctx, has ended
			}
			continue
		}
		if ctx.Err() != nil {
			return
		}
		tries++
		t.Log.WithError(err).WithField("env", t.Environment).Warn("a commit status could not be set; it is set again")
		rest(ctx, err, tries, t.First, t.Most)
	}
}

// tell sets the statuses that are not set yet. A commit that is left while it
// was pending is told so.
func (t *Teller) tell(ctx context.Context, s reconciler.Status, said map[string]forge.Status) error {
	now := t.words(s)
	current := map[string]bool{}
	for _, w := range now {
		current[w.commit] = true
	}
	for commit, last := range said {
		if !current[commit] && last.State == forge.Pending && s.Revision.ID != "" && commit != s.Revision.ID {
			now = append([]word{{commit, t.status(forge.Errored, "overtaken by "+s.Revision.Short())}}, now...)
		}
	}
	var missed error
	for _, w := range now {
		last := said[w.commit]
		if last == w.status || last.State == forge.Success && w.status.State == forge.Pending {
			continue // what converged once, and drifted, did not come undone
		}
		err := t.Forge.Status(ctx, w.commit, w.status)
		switch {
		case errors.Is(err, forge.ErrGone) && current[w.commit]: // a forge says so also of what the token may not see
			missed = errors.Join(missed, err)
			continue
		case errors.Is(err, forge.ErrRefused), errors.Is(err, forge.ErrGone): // nothing mends that
			t.Log.WithError(err).WithField("env", t.Environment).Warn("the forge takes no status of a commit")
		case err != nil:
			return err
		}
		said[w.commit] = w.status
	}
	for commit := range said {
		if !current[commit] && commit != s.Revision.ID {
			delete(said, commit)
		}
	}
	return missed
}

// words are what is to be said now: of the revision in force, of one that was
// gone back from, and of one that is refused.
func (t *Teller) words(s reconciler.Status) []word {
	var all []word
	if s.Revision.ID != "" && (len(s.Resources) > 0 || s.Settled && s.Converged) {
		all = append(all, word{s.Revision.ID, t.inForce(s)})
	}
	if q := s.Rollback; q != nil && q.Quarantined.ID != s.Revision.ID {
		text := "rolled back, at " + q.To.Short()
		if len(q.Faults) > 0 {
			text = "quarantined, back at " + q.To.Short() + ": " + q.Faults[0]
		}
		all = append(all, word{q.Quarantined.ID, t.status(forge.Failure, text)})
	}
	if r := s.Refused; r != nil && r.Revision.ID != s.Revision.ID {
		text := r.Error
		if len(r.Findings) > 0 {
			text = count(len(r.Findings), "finding") + ", not in force"
		}
		all = append(all, word{r.Revision.ID, t.status(forge.Failure, text)})
	}
	return all
}

// inForce is the status of the revision in force. What waits for a person is
// pending: nothing has failed.
func (t *Teller) inForce(s reconciler.Status) forge.Status {
	var parts []string
	for _, state := range reconciler.States {
		if n := s.Counts[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	text := cmp.Or(strings.Join(parts, ", "), "nothing is declared")
	if i := slices.IndexFunc(s.Resources, func(r reconciler.ResourceStatus) bool { return r.State == reconciler.Held }); i >= 0 && !wantsPeople(s) {
		text += ": " + s.Resources[i].Reason // what all of it waits for is its time
	}
	bad := s.Counts[reconciler.Degraded] + s.Counts[reconciler.Conflict]
	switch {
	case s.Settled && bad == 0 && s.Counts[reconciler.Converged] == len(s.Resources):
		return t.status(forge.Success, text)
	case s.Settled && bad > 0:
		return t.status(forge.Failure, text)
	}
	return t.status(forge.Pending, text)
}

func (t *Teller) status(state forge.StatusState, text string) forge.Status {
	return forge.Status{Context: "aplomb/apply: " + t.Environment, State: state, Description: text}
}

// rest waits after a failure.
func rest(ctx context.Context, err error, tries int, first, most time.Duration) {
	if first == 0 {
		first = DefaultFirst
	}
	if most == 0 {
		most = DefaultMost
	}
	wait := most
	if tries < 16 {
		wait = min(first<<(tries-1), most)
	}
	if at := time.Until(forge.RetryAt(err)); at > wait {
		wait = at
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
