package reconciler

import (
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/graph"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
)

// ownership is which rules of owners a plan falls under, and what it was found
// from beside the plan.
type ownership struct {
	decl  *graph.Node
	was   *store.Owned
	rules []*gate.OwnerRule
}

// owners are the rules that n's plan falls under.
func (t *turn) owners(n *Node) []*gate.OwnerRule {
	if t.Env.Gates.Owners.None() {
		return nil
	}
	was := n.recorded()
	if o := n.Plan.owners; o != nil && o.decl == n.Decl && o.was == was {
		return o.rules
	}
	in := gate.Owned{Change: n.Plan.Masked}
	if n.Decl != nil {
		in.Spec, in.Now = n.Decl.Res.Spec, faceOf(n.Decl.Res)
	}
	if was != nil {
		in.Was, in.Said = faceOfOwned(was), saidOfOwned(was)
	}
	n.Plan.owners = &ownership{decl: n.Decl, was: was, rules: t.Env.Gates.Owners.Of(in)}
	return n.Plan.owners.rules
}

// changed is what was approved or shown of n, whichever is the later, where that
// was something else than is planned: what somebody approved before the proposal
// of now was shown is of another matter.
func (t *turn) changed(n *Node) *gate.Changed {
	c := t.approved.Changed(n.Plan.Masked)
	if s, ok := t.Shown[n.ID]; ok && (c == nil || c.At.Before(s.At)) {
		return s.Changed(n.Plan.Masked)
	}
	return c
}

// faceOf is what owners' rules see of a declaration.
func faceOf(res *schema.Resource) *gate.Face {
	file := or(res.Origin, res.Pos.File)
	return &gate.Face{Files: filesOf(file, res.Use), Labels: labels(res)}
}

func filesOf(file string, use *schema.Use) []string {
	var all []string
	if file != "" {
		all = append(all, file)
	}
	if use != nil && use.Pos.File != "" && use.Pos.File != file {
		all = append(all, use.Pos.File)
	}
	return all
}

// faceOfOwned is what they saw of it when it was applied last; of what was
// applied before that was kept, as far as it can be told.
func faceOfOwned(o *store.Owned) *gate.Face {
	if o.Face != nil {
		return o.Face
	}
	return &gate.Face{Files: filesOf(o.Pos.File, o.Use), Labels: o.Labels}
}

// saidOfOwned is what they saw of it when it was declared last, be it that nobody
// was asked: who owns it by then is not to be passed by who takes it away.
func saidOfOwned(o *store.Owned) *gate.Face {
	if o.Said != nil {
		return o.Said
	}
	return &gate.Face{Files: filesOf(o.Pos.File, o.Use), Labels: o.Labels}
}

// facing is the face that n has once what is wanted is applied. Where nothing
// new is, nobody was asked: it keeps the one of which somebody was. Otherwise a
// commit that only takes a label away would take what follows out of an owner's
// sight.
func (n *Node) facing() *gate.Face {
	for _, o := range []*store.Owned{n.begun(), n.Owned} {
		if o != nil && o.Want == n.Plan.WantSum {
			return faceOfOwned(o)
		}
	}
	return faceOf(n.Decl.Res)
}

// begun is what the journal says of n.
func (n *Node) begun() *store.Owned {
	if n.Intent == nil {
		return nil
	}
	return &n.Intent.Owned
}
