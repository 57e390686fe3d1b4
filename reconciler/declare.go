package reconciler

import (
	"cmp"
	"slices"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// NewWorld is the world of a store just loaded: what is owned and begun is
// known, nothing is declared, nothing has been seen.
func NewWorld(env Env, reg *drivers.Registry, st store.World) *World {
	w := &World{Now: env.Started, Env: env, Targets: map[string]*Target{}, State: st.State, Approvals: st.Approvals, byKey: map[store.Key]*Node{}}
	for _, t := range reg.All() {
		w.Targets[t.Name] = &Target{Target: t, made: t.Identity + "\n" + t.Version}
	}
	for k, o := range st.Owned {
		n := w.node(k, o.ID)
		n.Owned, n.healthFrom = &o, o.AppliedAt
	}
	for k, in := range st.Intents {
		n := w.node(k, in.ID)
		n.Intent = &in
		if t := w.Targets[k.Target]; t != nil {
			n.quiet = env.Started.Add(t.Linger)
		}
	}
	w.arrange(nil)
	return w
}

// node finds or makes the node at a key.
func (w *World) node(k store.Key, id schema.ID) *Node {
	n := w.byKey[k]
	if n == nil {
		n = &Node{Key: k, ID: id}
		if kind, ok := schema.KindOf(id.Kind); ok {
			n.Layer = kind.Layer
		}
		w.byKey[k] = n
	}
	return n
}

// Declare puts a revision in force. What lived under an address and is still
// declared there keeps what is known of it, whatever its name is now; what is
// no longer declared stays until it is seen gone. Failures are forgotten: a
// newer commit wins.
func (w *World) Declare(rev sources.Revision, nodes []*graph.Node) {
	w.Declared, w.Revision = true, rev
	byID := w.ownedByID()
	for _, n := range w.byKey {
		n.Decl, n.Fail = nil, nil
	}
	declared := make([]*Node, 0, len(nodes))
	for _, g := range nodes {
		n := w.node(keyOf(g, byID), g.ID)
		n.ID, n.Decl, n.Layer = g.ID, g, g.Layer
		declared = append(declared, n)
	}
	w.arrange(declared)
}

// ownedByID indexes things whose address the engine gave: those alone are
// found again by name.
func (w *World) ownedByID() map[schema.ID]store.Key {
	byID := map[schema.ID]store.Key{}
	for k, n := range w.byKey {
		if n.ours() {
			byID[n.ID] = k
		}
	}
	return byID
}

// keyOf is where a declared thing lives: at its own address, or where the
// engine put the thing of that name, or of the name that it had.
func keyOf(g *graph.Node, byID map[schema.ID]store.Key) store.Key {
	if g.Handle != "" {
		return store.Key{Target: g.ID.Target, Handle: g.Handle}
	}
	if k, ok := byID[g.ID]; ok {
		return k
	}
	if was, err := schema.ParseID(g.Res.Was); err == nil {
		was.Target = g.ID.Target
		if k, ok := byID[was]; ok {
			return k
		}
	}
	return store.Key{Target: g.ID.Target, Handle: store.Pending(g.ID)}
}

// arrange orders the nodes: what is declared in the graph's order, then the
// rest by identity. Nodes that are neither declared nor ours nor busy go.
func (w *World) arrange(declared []*Node) {
	w.Nodes = append(make([]*Node, 0, len(w.byKey)), declared...)
	for k, n := range w.byKey {
		switch {
		case n.Decl != nil:
		case n.ours() || n.Op != Idle:
			w.Nodes = append(w.Nodes, n)
		default:
			delete(w.byKey, k)
		}
	}
	rest := w.Nodes[len(declared):]
	slices.SortFunc(rest, func(a, b *Node) int { return a.ID.Compare(b.ID) })
	for i, n := range w.Nodes {
		n.index = i
	}
}

// rearrange drops nodes that are neither declared nor ours any more.
func (w *World) rearrange() {
	i := slices.IndexFunc(w.Nodes, func(n *Node) bool { return n.Decl == nil })
	if i < 0 {
		i = len(w.Nodes)
	}
	w.arrange(slices.Clone(w.Nodes[:i]))
}

// rekey moves a node to the address that the engine gave it. What was known
// under that address is the same thing, found again by its nonce or name.
func (w *World) rekey(n *Node, handle string) {
	if handle == "" || handle == n.Key.Handle {
		return
	}
	if n.ours() {
		n.stale = append(n.stale, n.Key)
	}
	if w.byKey[n.Key] == n {
		delete(w.byKey, n.Key)
	}
	n.Key.Handle = handle
	if other := w.byKey[n.Key]; other != nil && other.Decl == nil {
		n.Owned = cmp.Or(n.Owned, other.Owned)
		other.Owned, other.Intent, other.Plan = nil, nil, nil
	}
	w.byKey[n.Key] = n
}

// expired says whether a declaration has passed its day.
func expired(r *schema.Resource, now time.Time) bool {
	return !r.Expires.IsZero() && now.After(r.Expires)
}
