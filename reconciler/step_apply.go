package reconciler

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
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
func (t *turn) apply(n *Node, e *Eval) {
	target := t.Targets[n.ID.Target]
	if n.Plan.Want != nil && len(n.Plan.Want.Unknown) > 0 {
		e.State, e.Why = Degraded, needUnknown
		return
	}
	if t.Now.Before(n.quiet) {
		e.State, e.Why, e.Until = Waiting, lingers, n.quiet
		t.wake(n.quiet)
		return
	}
	if n.Fail != nil && t.Now.Before(n.Fail.Next) {
		e.State, e.Why, e.Until = Degraded, failed, n.Fail.Next
		if cls := drivers.Class(n.Fail.Err); cls == drivers.ErrWaiting || cls == drivers.ErrStale {
			e.State = Waiting
		}
		t.wake(n.Fail.Next)
		return
	}
	if !t.settles(n, e) {
		return
	}
	e.State, e.Why = Waiting, busy
	if !t.free(n, e) || target.flight >= target.Concurrency*frontierPerCall {
		return
	}
	target.flight++ // given back by Applied, or by Unstarted
	t.Apply = append(t.Apply, n)
}

// Begin answers the intent of an apply; it must be durable before the call
// starts. The nonce stays the same over retries of one intent.
func (w *World) Begin(n *Node) store.Intent {
	p := n.Plan
	in := store.Intent{
		Owned: store.Owned{
			ID: n.ID, Want: p.WantSum, Inputs: p.Inputs, Action: p.Change.Action, AppliedAt: w.Now, Revision: w.Revision.ID,
			Applied: drivers.Applied{Handle: n.Key.Handle},
		},
		Outputs: p.Change.Outputs, Nonce: nonce(), Attempts: 1, BegunAt: w.Now,
	}
	if n.Decl != nil {
		in.Spec, in.Files = p.Want.Spec, p.Want.Files.Hash()
		in.Hold, in.Data, in.Was, in.Pos, in.Needs = n.Decl.Res.Hold, n.Decl.Res.Data, n.Decl.Res.Was, n.Decl.Res.Pos, w.needsOf(n)
	} else if n.Owned != nil {
		in.Spec, in.Files, in.Hold, in.Data, in.Needs, in.Pos = n.Owned.Spec, n.Owned.Files, n.Owned.Hold, n.Owned.Data, n.Owned.Needs, n.Owned.Pos
	}
	if n.Intent != nil {
		in.Nonce, in.Attempts = n.Intent.Nonce, n.Intent.Attempts+1
	}
	return in
}

func nonce() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("reconciler: no randomness: " + err.Error()) // crypto/rand does not fail on a working system
	}
	return hex.EncodeToString(b[:])
}

// Started notes that an apply's intent is durable and its call is on its way.
func (w *World) Started(n *Node, in store.Intent) {
	if n.Op != Idle {
		panic("apply of " + n.ID.String() + " while " + n.Op.String())
	}
	n.Intent, n.stale = &in, nil
	n.Op = Applying
	if !n.drift() { // a repair does not start the time anew: a crash loop is degraded in the end
		n.wasWell, n.unwell, n.healthFrom = false, time.Time{}, w.Now
	}
	n.doing = n.Plan
}

// Applied puts the end of an apply into the world, and answers what of it must
// be recorded.
func (w *World) Applied(n *Node, s drivers.State, err error, r *store.Result) {
	w.Targets[n.ID.Target].flight--
	did := n.doing
	n.Op, n.doing = Idle, nil
	if err != nil {
		w.applyFailed(n, did, err, r)
		return
	}
	if did.Change.Action == schema.Delete && s.Exists { // accepted; it goes in its own time
		w.Seen(n, s)
		n.failed(w.Now, Applying, errGoing)
		n.recheckAt = n.Fail.Next
		return
	}
	n.Fail = nil
	w.useApproval(n, did, r)
	r.History = append(r.History, w.record(n, did, "applied", ""))
	if n.applied == did.Digest {
		n.flaps++
	}
	n.applied = did.Digest
	if !s.Exists {
		w.Seen(n, s)
		w.gone(n, r)
		return
	}
	w.rekey(n, s.Handle)
	owned := n.Intent.Owned
	owned.Handle, owned.Version, owned.AppliedAt = n.Key.Handle, s.Version, w.Now
	n.Owned, n.Intent, n.Plan = &owned, nil, nil
	done(r, n)
	w.seq++ // what was applied is planned anew, whatever its version
	n.Live = nil
	w.Seen(n, s)
}

var errGoing = fmt.Errorf("it is being deleted: %w", drivers.ErrWaiting)

// Unstarted takes back an apply whose intent could not be made durable.
func (w *World) Unstarted(n *Node, err error) {
	w.Targets[n.ID.Target].flight--
	n.failed(w.Now, Applying, err)
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

// applyFailed keeps the intent: the call may have landed, or may yet. Only a
// first attempt that is known to have written nothing leaves none behind.
func (w *World) applyFailed(n *Node, did *Planned, err error, r *store.Result) {
	n.failed(w.Now, Applying, err)
	n.Dirty = true
	class := drivers.Class(err)
	certain := class == drivers.ErrStale || class == drivers.ErrDenied
	if certain && n.Intent.Attempts == 1 {
		n.Intent = nil
		r.Clear = append(r.Clear, n.Key)
	} else if !certain {
		n.quiet = w.Now.Add(w.Targets[n.ID.Target].Linger)
	}
	if class == drivers.ErrStale {
		n.Plan = nil
		return
	}
	r.History = append(r.History, w.record(n, did, "failed", schema.Mask(err.Error())))
}

// useApproval takes what covered the change out of the approvals, and counts
// unapproved destruction.
func (w *World) useApproval(n *Node, did *Planned, r *store.Result) {
	if len(w.Approvals) > 0 && gate.Approved(did.Masked, w.Approvals) {
		w.Approvals = gate.Use(did.Masked, w.Approvals)
		r.Approvals = &w.Approvals
		return
	}
	if did.Change.Action.Destroys() && !w.State.Down {
		if w.State.Destroyed == nil {
			w.State.Destroyed = map[string]time.Time{}
		}
		for k, at := range w.State.Destroyed {
			if w.Now.Sub(at) >= gate.Window {
				delete(w.State.Destroyed, k)
			}
		}
		w.State.Destroyed[fmt.Sprintf("%s %s %d", n.Key.Target, n.Key.Handle, w.Now.UnixNano())] = w.Now
		state := w.State
		r.State = &state
	}
}

func (w *World) record(n *Node, did *Planned, what, problem string) Record {
	return Record{At: w.Now, Revision: w.Revision.ID, What: what, ID: n.ID, Action: did.Change.Action, Digest: did.Digest, Error: problem}
}
