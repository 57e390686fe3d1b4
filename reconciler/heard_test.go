package reconciler

import "testing"

// What is heard of a thing while it is being looked at is not lost with the end
// of that look, which may have been answered before.
func TestHeardWhileLookedAt(t *testing.T) {
	h := newHouse(t, nil, decl("a", `{}`))
	h.converged(h.tip())
	h.stop()
	n := h.core.w.Nodes[0]
	d := &Decision{Observe: map[string][]*Node{"mem": {n}}}
	calls := h.core.reads(d)
	h.heard("mem", []string{n.Key.Handle})
	h.core.observed(&end{call: calls[0], got: append(calls[0].states[:0:0], n.Live.State)})
	if n.Op != Idle || !n.Dirty {
		t.Errorf("after the look it is %s, dirty: %t", n.Op, n.Dirty)
	}
}
