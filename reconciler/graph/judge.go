package graph

import (
	"errors"
	"runtime"
	"strings"
	"sync"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// judge asks the drivers what they can say of a declaration alone, on every
// core: over many declarations it is most of the work.
func (b *builder) judge() {
	verdicts := make([]verdict, len(b.nodes))
	var group sync.WaitGroup
	for first := range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := first; i < len(b.nodes); i += runtime.GOMAXPROCS(0) {
				verdicts[i] = b.ask(b.nodes[i])
			}
		})
	}
	group.Wait()
	held, at := map[claim]holders{}, b.handles
	for i, n := range b.nodes {
		v := &verdicts[i]
		if v.err != nil {
			b.refuse(n.Res.Pos, n.ID, v.err)
			continue
		}
		b.claim(held, n, v.claims)
		for _, handle := range v.needs {
			if to := at[address{n.ID.Target, handle}]; to != nil && to != n {
				n.link(to)
			}
		}
	}
}

// verdict is what a driver says of one declaration.
type verdict struct {
	err    error
	claims []drivers.Claim
	needs  []string // handles
}

func (b *builder) ask(n *Node) (v verdict) {
	if n.ID.Target == "" || n.unaddressed || b.broken(n.Res) {
		return v
	}
	d := b.reg.Target(n.ID.Target).Driver
	checker, checks := drivers.As[drivers.Checker](d)
	claimer, claims := drivers.As[drivers.Claimer](d)
	needer, needs := drivers.As[drivers.Needer](d)
	if !checks && !claims && !needs {
		return v
	}
	want := n.Desired()
	if checks {
		v.err = checker.Check(n.ID.Kind, n.ID.Name, want)
	}
	if claims && v.err == nil {
		v.claims = claimer.Claims(n.ID.Kind, n.ID.Name, want)
	}
	if needs && v.err == nil {
		v.needs = needer.Needs(n.ID.Kind, n.ID.Name, want)
	}
	return v
}

// refuse reports what a driver said of a declaration: the cause, and of what
// where that is neither the resource itself nor said by the cause. What the
// driver was about to do when it found out is of no interest here.
func (b *builder) refuse(pos schema.Pos, id schema.ID, err error) {
	msg := err.Error()
	var e *drivers.Error
	if errors.As(err, &e) && e.Err != nil {
		msg = e.Err.Error()
		if e.Subject != id.Kind && !strings.HasSuffix(e.Subject, "/"+id.Name) && !strings.Contains(msg, e.Subject) {
			msg = e.Subject + ": " + msg
		}
	}
	b.find(pos, id, drivers.HintOf(err), "%s", msg)
}

// Desired is a declaration as far as it is known by itself: every field that
// holds a reference is unknown.
func (n *Node) Desired() drivers.Desired {
	d := drivers.Desired{Spec: n.Res.Spec, Files: n.Res.Files}
	for _, f := range n.Res.Refs {
		if d.Unknown == nil {
			d.Unknown = make(map[schema.Path]string, len(n.Res.Refs))
		}
		d.Unknown[f.Path] = f.Text
	}
	return d
}

type claim struct{ target, thing string }

// holders are the first that has a thing to itself and the first that shares
// it.
type holders struct{ alone, shared *Node }

// claim finds what two resources want of which only one can have it.
func (b *builder) claim(held map[claim]holders, n *Node, claims []drivers.Claim) {
	for _, c := range claims {
		at := claim{n.ID.Target, c.Thing}
		h := held[at]
		other := h.alone
		if other == nil && !c.Shared {
			other = h.shared
		}
		switch {
		case other != nil && other != n:
			if other.Handle != n.Handle { // that was said of the address
				b.find(n.Res.Pos, n.ID, "", "wants the %s, and so does %s", c.Thing, other.ID.Short())
				b.findings[len(b.findings)-1].Also = []schema.Pos{other.Res.Pos}
			}
		case c.Shared && h.shared == nil:
			h.shared = n
		case !c.Shared:
			h.alone = n
		}
		held[at] = h
	}
}
