package reconciler

import (
	"maps"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// prune visits what is owned and no longer declared. Deletions come last: a
// thing goes when nothing that needs it is left, and when everything declared
// that hangs together with it is applied and healthy, since that may be what
// replaces it.
func (t *turn) prune() {
	groups := t.components()
	unsettled := map[int]*Node{} // by component: a declared node that is not settled
	for _, n := range t.Nodes {
		if n.Decl != nil {
			if root := groups.find(n.index); !t.eval(n).Settled && unsettled[root] == nil {
				unsettled[root] = n
			}
		}
	}
	users, coming := t.users(), t.coming()
	for _, n := range t.gone {
		first := unsettled[groups.find(n.index)]
		if first == nil {
			first = coming[kindAt{n.ID.Kind, n.ID.Target}]
		}
		t.visitGone(n, first, users[n])
	}
}

// kindAt is a kind in a target.
type kindAt struct{ kind, target string }

// coming finds, by kind and target, something new that this revision makes and
// that is not there and well yet: what goes may be what it replaces under
// another name, and then it has to be made first.
func (t *turn) coming() map[kindAt]*Node {
	coming := map[kindAt]*Node{}
	for _, n := range t.Nodes {
		if n.Decl == nil || t.eval(n).Settled {
			continue
		}
		if made := n.Owned; made == nil || made.Action == schema.Create && (made.Revision == t.Revision.ID || !n.wasWell) {
			coming[kindAt{n.ID.Kind, n.ID.Target}] = n
		}
	}
	return coming
}

// users answers, for what is to go, something that is to go before it. Needs
// are recorded one apply at a time, so over revisions they may come to form a
// cycle; what was applied last then goes first, since its needs are the newest.
func (t *turn) users() map[*Node]*Node {
	users := map[*Node][]*Node{}
	needs := map[*Node][]*Node{}
	for _, n := range t.gone {
		for _, k := range n.recordedNeeds() {
			if m := t.byKey[k]; m != nil && m != n {
				users[m], needs[n] = append(users[m], n), append(needs[n], m)
			}
		}
	}
	left := map[*Node]int{}
	var free []*Node
	for _, n := range t.gone {
		if left[n] = len(users[n]); left[n] == 0 {
			free = append(free, n)
		}
	}
	first := map[*Node]*Node{}
	for done := 0; done < len(t.gone); done++ {
		if len(free) == 0 {
			free = append(free, newest(t.gone, left))
		} else if u := users[free[0]]; len(u) > 0 {
			first[free[0]] = u[0]
		}
		n := free[0]
		free = free[1:]
		left[n] = -1
		for _, m := range needs[n] {
			if left[m] > 0 {
				if left[m]--; left[m] == 0 {
					free = append(free, m)
				}
			}
		}
	}
	return first
}

// newest is what was applied last of those that are left.
func newest(nodes []*Node, left map[*Node]int) *Node {
	var best *Node
	for _, n := range nodes {
		if left[n] > 0 && (best == nil || n.recordedAt().After(best.recordedAt())) {
			best = n
		}
	}
	return best
}

func (n *Node) recordedAt() time.Time {
	switch {
	case n.Intent != nil:
		return n.Intent.AppliedAt
	case n.Owned != nil:
		return n.Owned.AppliedAt
	default:
		return time.Time{}
	}
}

// recordedNeeds are the addresses that n was, or was about to be, made with.
func (n *Node) recordedNeeds() []store.Key {
	var needs []store.Key
	if n.Owned != nil {
		needs = n.Owned.Needs
	}
	if n.Intent != nil {
		needs = union(needs, n.Intent.Needs)
	}
	return needs
}

// visitGone takes one node that is not declared along the line.
func (t *turn) visitGone(n, unsettled, user *Node) {
	e := t.eval(n)
	if n.Op == Applying {
		e.State, e.Why, e.Pending = Waiting, busy, true
		return
	}
	if !n.ours() {
		e.State, e.Settled = Converged, true
		t.Forget = append(t.Forget, n)
		return
	}
	if !t.observe(n, e) {
		if e.Why == othersMark && t.free(n, e) {
			t.Forget = append(t.Forget, n) // handed over: never to be deleted from here
		}
		return
	}
	if !n.Live.State.Exists || t.neverTaken(n) {
		t.forgetGone(n, e)
		return
	}
	if !t.planGone(n, e) {
		return
	}
	e.Pending = true
	switch {
	case !t.gate(n, e):
	case user != nil:
		e.State, e.Why, e.Need = Waiting, neededBy, user
	case unsettled != nil:
		e.State, e.Why, e.Need = Waiting, component, unsettled
	default:
		t.apply(n, n.Plan, e)
	}
}

// neverTaken says that n was to be taken over, and was not for all that can be
// seen: it is somebody else's, and never to be deleted from here.
func (t *turn) neverTaken(n *Node) bool {
	return n.unmarked() || n.Owned == nil && n.Intent.Action == schema.Adopt && n.Live.State.Owner != t.Env.ID
}

// forgetGone lets go of a thing that was seen gone, once no earlier call can
// bring it back.
func (t *turn) forgetGone(n *Node, e *Eval) {
	e.State, e.Why = Waiting, busy
	if t.Env.ReadOnly {
		e.State, e.Why, e.Settled = Converged, fine, true
		return
	}
	if !t.free(n, e) {
		return
	}
	if t.Now.Before(n.quiet) {
		e.Why, e.Until = lingers, n.quiet
		t.wake(n.quiet)
		return
	}
	t.Forget = append(t.Forget, n)
}

func (t *turn) planGone(n *Node, e *Eval) bool {
	p := n.Plan
	if p != nil && p.Want == nil && p.Err == nil && p.from(n) {
		if p.Change.Action == schema.None { // it exists, and is going of itself
			e.State, e.Why = Waiting, busy
			return false
		}
		return true
	}
	e.State, e.Why = Waiting, unplanned
	if !t.free(n, e) {
		return false
	}
	if t.backingOff(n, e, Planning, false) {
		return false
	}
	t.Plan = append(t.Plan, PlanCall{Node: n, Seq: n.Live.Seq, decl: n.Decl, owned: n.Owned})
	return false
}

// gone lets go of a thing that is seen gone after its deletion; a declared one
// is planned anew.
func (w *World) gone(n *Node, r *store.Result) {
	if n.Decl == nil {
		w.Let(n, r)
		return
	}
	w.finished(n, r)
	n.Owned, n.Intent, n.Plan, n.Back = nil, nil, nil, nil
	r.Forget = append(r.Forget, n.Key)
	n.unstale(r)
}

// Let forgets a node that is neither declared nor there.
func (w *World) Let(n *Node, r *store.Result) {
	if n.Intent != nil && n.Intent.Action == schema.Delete {
		w.finished(n, r)
	}
	if _, paused := w.State.Paused[n.Key.String()]; paused {
		w.State.Paused = maps.Clone(w.State.Paused)
		delete(w.State.Paused, n.Key.String())
		state := w.State
		r.State = &state
	}
	if n.ours() {
		r.Forget = append(r.Forget, n.Key)
	}
	n.unstale(r)
	n.Owned, n.Intent, n.Plan, n.Back, n.Fail = nil, nil, nil, nil, nil
}

// components groups nodes that hang together by declared or recorded needs.
func (w *World) components() unionFind {
	u := make(unionFind, len(w.Nodes))
	for i := range u {
		u[i] = i
	}
	byID := map[schema.ID]*Node{}
	for _, n := range w.Nodes {
		if same := byID[n.ID]; same != nil { // one thing, at its old and its new address
			u.join(n.index, same.index)
		}
		byID[n.ID] = n
		if n.Decl != nil {
			for _, g := range n.Decl.Needs {
				u.join(n.index, w.need(g).index)
			}
		}
		for _, k := range n.recordedNeeds() {
			if m := w.byKey[k]; m != nil {
				u.join(n.index, m.index)
			}
		}
	}
	return u
}

type unionFind []int

func (u unionFind) find(i int) int {
	for u[i] != i {
		u[i] = u[u[i]]
		i = u[i]
	}
	return i
}

func (u unionFind) join(a, b int) { u[u.find(a)] = u.find(b) }
