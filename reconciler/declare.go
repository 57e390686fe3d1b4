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
		n.Owned, n.healthFrom = &o, env.Started
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
	w.Declared, w.Revision, w.Graph, w.Shown = true, rev, nodes, nil
	w.layOut()
	for _, n := range w.byKey {
		n.Fail = nil
	}
}

// Expire takes out of what is declared whatever has passed its day since it
// was declared.
func (w *World) Expire() {
	if !w.expiring.IsZero() && !w.Now.Before(w.expiring) {
		w.layOut()
	}
}

// layOut makes nodes of the graph.
func (w *World) layOut() {
	gone := w.expired()
	k := w.keys(gone)
	for _, n := range w.byKey {
		n.Decl = nil
	}
	w.byGraph = make([]*Node, len(w.Graph))
	declared := make([]*Node, 0, len(w.Graph))
	for _, g := range w.Graph {
		if gone[g.Index] {
			continue
		}
		n := w.node(k.of(g), g.ID)
		n.ID, n.Decl, n.Layer = g.ID, g, g.Layer
		w.byGraph[g.Index] = n
		if n.Plan != nil && sameDecl(n.Plan.decl, g) { // or it would keep the whole of an older graph
			n.Plan.decl = g
		}
		declared = append(declared, n)
	}
	w.arrange(declared)
}

// expired finds what has passed its day, and when the next thing will. What is
// still needed by something that has not stays.
func (w *World) expired() []bool {
	gone := make([]bool, len(w.Graph))
	w.expiring = time.Time{}
	for i := len(w.Graph) - 1; i >= 0; i-- { // dependents first
		g := w.Graph[i]
		at := g.Res.Expires
		if at.IsZero() {
			continue
		}
		if w.Now.Before(at) {
			if w.expiring.IsZero() || at.Before(w.expiring) {
				w.expiring = at
			}
			continue
		}
		gone[i] = !slices.ContainsFunc(g.By, func(by *graph.Node) bool { return !gone[by.Index] })
	}
	return gone
}

// keys says where declared things live.
type keys struct {
	byID     map[schema.ID]store.Key // things that are ours: where the engine gave the address they are found again by name
	declared map[schema.ID]bool
	taken    map[store.Key]bool
}

func (w *World) keys(gone []bool) *keys {
	k := &keys{byID: map[schema.ID]store.Key{}, declared: map[schema.ID]bool{}, taken: map[store.Key]bool{}}
	for key, n := range w.byKey {
		if n.ours() {
			k.byID[n.ID] = key
		}
	}
	for _, g := range w.Graph {
		k.declared[g.ID] = !gone[g.Index]
	}
	return k
}

// of is where a declared thing lives: at its own address, or where the engine
// put the thing of that name, or of the name that it had.
func (k *keys) of(g *graph.Node) store.Key {
	key := store.Key{Target: g.ID.Target, Handle: g.Handle}
	if g.Handle == "" {
		key = k.given(g)
	}
	k.taken[key] = true
	return key
}

func (k *keys) given(g *graph.Node) store.Key {
	if key, ok := k.byID[g.ID]; ok && !k.taken[key] {
		return key
	}
	if was, err := schema.ParseID(g.Res.Was); err == nil {
		was.Target = g.ID.Target
		if key, ok := k.byID[was]; ok && !k.declared[was] && !k.taken[key] {
			return key
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
	other := w.byKey[store.Key{Target: n.Key.Target, Handle: handle}]
	if other != nil && (other.Decl != nil || other.Op != Idle) {
		return // it is somebody's already; looked at again
	}
	if n.ours() {
		n.stale = append(n.stale, n.Key)
	}
	if w.byKey[n.Key] == n {
		delete(w.byKey, n.Key)
	}
	n.Key.Handle = handle
	if other != nil {
		n.Owned = cmp.Or(n.Owned, other.Owned)
		other.Owned, other.Intent, other.Plan, other.Back = nil, nil, nil, nil
	}
	w.byKey[n.Key] = n
}
