package reconciler

import (
	"fmt"
	"strings"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler/plan"
)

// Basis stands for what plans of proposals are made from, their own tree and the
// configuration apart: what is compiled under, whether the windows are open, and
// what lives. It is another one where plans may be, as far as the environment
// knows without looking for that: what lives counts as it was when nothing more
// was to be done last, so that a change under way is one, and drift that was
// repaired is none. Safe for concurrent use.
func (r *Reconciler) Basis() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.core.w
	var parts []string
	for _, b := range r.besides {
		rev := b.rev
		if rev.ID == "" {
			rev = *b.of(&w.State.Under) // it is what the first look most likely finds
		}
		content := rev.Tree
		if w.Outside || content == "" {
			content = rev.ID
		}
		parts = append(parts, b.name+" "+content)
	}
	if shut := r.cfg.Gates.Calendar.At(time.Now()); shut != nil {
		parts = append(parts, fmt.Sprintf("shut until %d, frozen: %t %s", shut.Opens.Unix(), shut.Frozen, shut.Why))
	}
	return strings.Join(append(parts, r.status.lives), "\n")
}

// rests notes what lives now that nothing more is to be done: as the last applies
// left it, apart from what is pending. At first that is what was found, and what
// anybody else would have, so that a start is no news.
func (k *statusKeeper) rests(d *Decision) {
	var pending []string
	for i, n := range k.r.core.w.Nodes {
		if d.Evals[i].Pending && n.Plan != nil {
			pending = append(pending, n.Plan.Digest)
		}
	}
	now := "pending " + plan.Digest(pending)
	if k.found == "" {
		k.found = now
	}
	if k.lives = ""; k.changes > 0 || now != k.found {
		k.lives = fmt.Sprintf("%d changes, %s", k.changes, now)
	}
}
