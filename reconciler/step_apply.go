package reconciler

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// frontierPerCall is how many begun applies may wait for each call that a
// target allows at once: enough that one durable write begins many, few enough
// that a newer commit does not wait long.
const frontierPerCall = 32

// apply puts a change that may run on the frontier.
func (t *turn) apply(n *Node, p *Planned, e *Eval) {
	target := t.Targets[n.ID.Target]
	if p.Want != nil && len(p.Want.Unknown) > 0 {
		e.State, e.Why = Degraded, needUnknown
		return
	}
	if t.Now.Before(n.quiet) {
		e.State, e.Why, e.Until = Waiting, lingers, n.quiet
		t.wake(n.quiet)
		return
	}
	if t.backingOff(n, e, Applying, p.back) || t.backingOff(n, e, Planning, p.back) {
		return
	}
	if !t.settles(n, p, e) {
		return
	}
	e.State, e.Why = Waiting, busy
	if !t.free(n, e) || target.flight >= target.Concurrency*frontierPerCall {
		return
	}
	target.flight++ // given back by Applied, or by Unstarted
	t.Apply = append(t.Apply, Doing{n, p})
}

// Begin answers the intent of an apply; it must be durable before the call
// starts. The nonce stays the same over retries of one intent. Until the thing
// is settled again, it keeps the needs and the holds of before beside the new
// ones: what it was made with must not go before it is well without.
func (w *World) Begin(n *Node, p *Planned) store.Intent {
	in := store.Intent{Change: p.Masked, Nonce: nonce(), Attempts: 1}
	if before := n.recorded(); before != nil {
		in.Owned = *before
		in.Settled = store.Settled{}
	}
	if in.Since.IsZero() || in.Owned.Want != p.WantSum {
		in.Since = w.Now
	}
	in.ID, in.Want, in.Inputs, in.Action, in.AppliedAt, in.Revision = n.ID, p.WantSum, p.Inputs, p.Change.Action, w.Now, w.Revision.ID
	in.Handle = n.Key.Handle
	if p.back { // all else is as it was
		in.ID, in.Revision = n.Owned.ID, n.Owned.Revision
	} else if p.Want != nil {
		res := n.Decl.Res
		in.Spec, in.Files, in.Was, in.Pos, in.Use, in.Labels = p.Want.Spec, p.Want.Files.Hash(), res.Was, res.Pos, res.Use, labels(res)
		in.Face, in.Said = n.facing(), faceOf(res)
		in.Hold, in.Data, in.Needs = union(in.Hold, res.Hold), in.Data || res.Data, union(in.Needs, w.needsOf(n))
	}
	if n.Intent != nil {
		in.Nonce, in.Attempts = n.Intent.Nonce, n.Intent.Attempts+1
	}
	return in
}

// recorded is what the inventory, or else the journal, says of n.
func (n *Node) recorded() *store.Owned {
	switch {
	case n.Owned != nil:
		return n.Owned
	case n.Intent != nil:
		return &n.Intent.Owned
	default:
		return nil
	}
}

func union[T comparable](a, b []T) []T {
	all := slices.Clone(a)
	for _, v := range b {
		if !slices.Contains(all, v) {
			all = append(all, v)
		}
	}
	return all
}

func nonce() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("reconciler: no randomness: " + err.Error()) // crypto/rand does not fail on a working system
	}
	return hex.EncodeToString(b[:])
}

// Started notes that an apply's intent is durable and its call is on its way.
func (w *World) Started(n *Node, p *Planned, in store.Intent) {
	if n.Op != Idle {
		panic("apply of " + n.ID.String() + " while " + n.Op.String())
	}
	if n.mends(p) { // a repair does not start the time anew: a crash loop is degraded in the end
		n.repairs++
	} else {
		n.repairs, n.wasWell, n.unwell, n.healthFrom = 0, false, time.Time{}, w.Now
	}
	n.Intent, n.stale = &in, nil
	n.Op = Applying
	n.doing = p
}

// Applied puts the end of an apply into the world, and answers what of it must
// be recorded.
func (w *World) Applied(n *Node, s drivers.State, err error, r *store.Result) {
	w.Targets[n.ID.Target].flight--
	did := n.doing
	n.Op, n.doing, n.progress = Idle, nil, ""
	if err != nil {
		w.applyFailed(n, did, err, r)
		return
	}
	if deleted := did.Change.Action == schema.Delete; deleted == s.Exists { // accepted; it goes, or comes, in its own time
		w.Seen(n, s)
		n.failed(w.Now, Applying, did.back, errComing)
		n.recheckAt = n.Fail.Next
		return
	}
	n.Fail = nil
	if n.applied != did.WantSum {
		n.applied, n.flaps = did.WantSum, 0
	}
	n.flaps++
	if !s.Exists {
		w.Seen(n, s)
		w.gone(n, r)
		return
	}
	w.finished(n, r)
	w.rekey(n, s.Handle)
	owned := n.Intent.Owned
	owned.Handle, owned.Version, owned.AppliedAt = n.Key.Handle, s.Version, w.Now
	n.Owned, n.Intent, n.Back = &owned, nil, nil
	if !did.back {
		n.kept, n.Plan = did.kept(), nil
	}
	done(r, n)
	w.seq++ // what was applied is planned anew, whatever its version
	n.Live = nil
	w.Seen(n, s)
}

var errComing = fmt.Errorf("the engine has accepted it, and is at it: %w", drivers.ErrWaiting)

// Unstarted takes back an apply whose intent could not be made durable.
func (w *World) Unstarted(n *Node, p *Planned, err error) {
	w.Targets[n.ID.Target].flight--
	n.failed(w.Now, Applying, p.back, err)
}

func done(r *store.Result, n *Node) {
	if r.Done == nil {
		r.Done = map[store.Key]store.Owned{}
	}
	r.Done[n.Key] = *n.Owned
	n.unstale(r)
}

// unstale forgets the addresses that n had.
func (n *Node) unstale(r *store.Result) {
	r.Forget = append(r.Forget, n.stale...)
	n.stale = nil
}

// errUnstarted is an apply that was begun and never sent: a person froze it,
// or a newer revision wants it otherwise.
var errUnstarted = fmt.Errorf("it was not started: %w", drivers.ErrWaiting)

// unsentError is the failure of an apply that never reached its engine.
type unsentError struct{ error }

func (e unsentError) Unwrap() error { return e.error }

// applyFailed keeps the intent: the call may have landed, or may yet. Only a
// first attempt that is known to have written nothing leaves none behind.
func (w *World) applyFailed(n *Node, did *Planned, err error, r *store.Result) {
	in := n.Intent
	unstarted, class := errors.Is(err, errUnstarted), drivers.Class(err)
	var unsent unsentError
	certain := unstarted || class == drivers.ErrStale || errors.As(err, &unsent)
	first := n.Fail == nil || n.Fail.Op != Applying || n.Fail.back != did.back || drivers.Class(n.Fail.Err) != class
	if !unstarted {
		n.failed(w.Now, Applying, did.back, err)
		n.Dirty = true
	}
	if certain && in.Attempts == 1 {
		n.Intent = nil
		r.Clear = append(r.Clear, n.Key)
	} else if !certain && !drivers.Answered(err) {
		n.quiet = w.Now.Add(w.Targets[n.ID.Target].Linger)
	}
	if class == drivers.ErrStale {
		n.keep()
		if n.Back = nil; !did.back {
			n.Plan = nil
		}
	}
	if class != drivers.ErrStale && !unstarted && first && class != drivers.ErrWaiting {
		r.History = append(r.History, w.record(in, "failed", schema.Mask(err.Error())))
	}
}

// finished is the end of an intent, whether its call said so or a look did: it
// uses up the approval that covered it, or counts against the budget, and
// enters the history.
func (w *World) finished(n *Node, r *store.Result) {
	in := n.Intent
	if in == nil {
		return
	}
	r.History = append(r.History, w.record(in, "applied", ""))
	left, used := gate.Use(in.Change, w.Approvals, w.Now)
	if used {
		w.Approvals = left
		r.Approvals = &left
		return
	}
	if in.Action.Destroys() && !w.State.Down {
		w.State = spend(w.State, n.Key, w.Now)
		state := w.State
		r.State = &state
	}
}

// spend notes an unapproved destruction, and forgets those that count no more.
func spend(s store.State, k store.Key, now time.Time) store.State {
	spent := map[string]time.Time{fmt.Sprintf("%s %d", k, now.UnixNano()): now}
	for k, at := range s.Destroyed {
		if age := now.Sub(at); age >= 0 && age < gate.Window {
			spent[k] = at
		}
	}
	s.Destroyed = spent
	return s
}

func (w *World) record(in *store.Intent, what, problem string) Record {
	return Record{At: w.Now, Revision: in.Revision, What: what, ID: in.ID, Action: in.Action, Digest: in.Change.Digest(), Error: problem}
}
