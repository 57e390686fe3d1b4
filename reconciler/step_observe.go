package reconciler

import (
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
)

// observe asks for a look where one is due, and says whether what was seen is
// good enough to go on: the target answers, the thing was read, and it is ours
// or may become so.
func (t *turn) observe(n *Node, e *Eval) bool {
	target := t.Targets[n.ID.Target]
	if target == nil {
		e.State, e.Why, e.Text = Degraded, outOfReach, "no such target is configured"
		return false
	}
	if target.Down != nil {
		e.State, e.Why, e.Until = Degraded, outOfReach, target.Down.Next
		t.wake(target.Down.Next)
		if !t.Now.Before(target.Down.Next) {
			t.look(n, e)
		}
		return false
	}
	if t.due(n) {
		t.look(n, e)
	}
	switch {
	case n.Live == nil:
		e.State, e.Why = Waiting, unseen
		return false
	case n.Live.State.Err != nil:
		return t.unreadable(n, e)
	}
	return t.mayTouch(n, e)
}

// due says whether n is worth observing now, and else when it will be.
func (t *turn) due(n *Node) bool {
	if n.Live == nil || n.Dirty {
		return true
	}
	if n.Live.At.Before(n.quiet) { // an earlier call may have landed after that look
		if !t.Now.Before(n.quiet) {
			return true
		}
		t.wake(n.quiet)
	}
	if !n.recheckAt.IsZero() {
		if !t.Now.Before(n.recheckAt) {
			return true
		}
		t.wake(n.recheckAt)
	}
	every := t.Targets[n.ID.Target].Resync
	if every == 0 {
		every = t.Env.Resync
	}
	resync := t.grid(n.Live.At, every/resyncGrid).Add(every)
	if !t.Now.Before(resync) {
		return true
	}
	t.wake(resync)
	return false
}

// grid is a time cut down to a multiple of g since the start; unlike
// time.Truncate it keeps to the monotonic clock.
func (w *World) grid(at time.Time, g time.Duration) time.Time {
	return w.Env.Started.Add(at.Sub(w.Env.Started).Truncate(g))
}

// resyncGrid is into how many parts a resync interval is divided: what was seen
// within one of them is seen again together, in bulk and by one turn.
const resyncGrid = 20

// restPerLook is how much longer than a look nothing is looked at again on its
// target: a bulk read of a large engine costs it, and what moves in the meantime
// is seen by the next one. What has never been seen is not kept waiting.
const restPerLook = 4

func (t *turn) look(n *Node, e *Eval) {
	target := t.Targets[n.ID.Target]
	if n.Live != nil && (target.looks > 0 || t.Now.Before(target.rest)) {
		t.wake(target.rest)
		return
	}
	if n.Op == Idle {
		e.looking = true
		t.Observe[n.ID.Target] = append(t.Observe[n.ID.Target], n)
	}
}

// unreadable is a thing that its engine could not say anything about.
func (t *turn) unreadable(n *Node, e *Eval) bool {
	e.State, e.Why, e.Text, e.Until = Degraded, unread, n.Live.State.Err.Error(), n.recheckAt
	if drivers.Class(n.Live.State.Err) == drivers.ErrWaiting {
		e.State = Waiting
	}
	return false
}

// mayTouch refuses what another environment marked, always, and what nobody
// marked unless it is adopted.
func (t *turn) mayTouch(n *Node, e *Eval) bool {
	live := &n.Live.State
	switch {
	case !live.Exists:
		return true
	case live.Owner != "" && live.Owner != t.Env.ID:
		e.State, e.Why, e.Text = Conflict, othersMark, live.Owner
		return false
	case n.ours() && !n.unmarked() || live.Owner == t.Env.ID || n.Decl == nil || n.Decl.Res.Adopt:
		return true
	}
	e.State, e.Why = Conflict, foreign
	return false
}

// Seen puts an observation into the world. What cannot change a plan keeps its
// sequence, and with it the plan. What was heard while the look was under way
// is worth another: the answer may be older.
func (w *World) Seen(n *Node, s drivers.State) {
	if s.Exists && s.Health.Status == "" {
		s.Health.Status = drivers.Healthy
	}
	live := &Live{State: s, At: w.Now}
	old := n.Live
	same := old != nil && old.State.Err == nil && s.Err == nil && s.Version != "" && s.Version == old.State.Version &&
		s.Exists == old.State.Exists && s.Owner == old.State.Owner && s.Handle == old.State.Handle
	same = same || old != nil && !old.State.Exists && !s.Exists && old.State.Err == nil && s.Err == nil
	if same {
		live.Seq = old.Seq
	} else {
		w.seq++
		live.Seq = w.seq
	}
	n.Live = live
	if s.Err == nil && s.Exists {
		w.rekey(n, s.Handle)
	}
	switch well := s.Exists && s.Health.Status == drivers.Healthy; {
	case well:
		n.wasWell, n.unwell, n.repairs = true, time.Time{}, 0
	case n.wasWell && n.unwell.IsZero():
		n.unwell = w.Now
	}
	w.schedule(n)
}

// How often something unhealthy or unreadable is looked at.
const (
	recheckFirst = 200 * time.Millisecond
	recheckMost  = 15 * time.Second
	recheckGrid  = 50 * time.Millisecond // looks that are due within it are made together
)

// schedule sets when an observation that was not the last word is made again.
func (w *World) schedule(n *Node) {
	s := &n.Live.State
	if s.Err == nil && (!s.Exists || s.Health.Status == drivers.Healthy) {
		n.recheckAt, n.recheck = time.Time{}, 0
		return
	}
	n.recheck = min(max(n.recheck*3/2, recheckFirst), recheckMost)
	n.recheckAt = w.grid(w.Now.Add(n.recheck), recheckGrid)
}

// Outputs of a thing that lives as it is.
func (n *Node) liveOutputs() map[string]drivers.Output { return n.Live.State.Outputs }
