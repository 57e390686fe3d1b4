package reconciler

import "time"

// ForgeStatus is how the last looks at the forge went, of each kind.
type ForgeStatus struct {
	Reviews   *SourceStatus `json:"reviews,omitempty"`   // what lets run what wants approval; nil: nobody has looked yet
	Proposals *SourceStatus `json:"proposals,omitempty"` // what is planned; likewise
}

// ForgeLook is what was looked at on the forge.
type ForgeLook string

// The looks.
const (
	LookReviews   ForgeLook = "reviews"
	LookProposals ForgeLook = "proposals"
)

// ForgeSeen tells how a look at the forge went, or with nil that nobody needs one
// any more, so that a status says why nothing is approved. It lets nothing run,
// and is told to who waits only when it went well before, or did not. Safe for
// concurrent use.
func (r *Reconciler) ForgeSeen(what ForgeLook, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.forge[what]
	now := looked(was, err)
	r.forge[what] = now
	if was.OK != now.OK {
		r.status.changed()
	}
}

// forgeNow is what the status says of the forge; nil: nobody has looked.
func (r *Reconciler) forgeNow() *ForgeStatus {
	if len(r.forge) == 0 {
		return nil
	}
	of := func(what ForgeLook) *SourceStatus {
		s, there := r.forge[what]
		if !there {
			return nil
		}
		return &s
	}
	return &ForgeStatus{Reviews: of(LookReviews), Proposals: of(LookProposals)}
}

// still is f without what changes of itself.
func (f *ForgeStatus) still() *ForgeStatus {
	if f == nil {
		return nil
	}
	of := *f
	for _, s := range []**SourceStatus{&of.Reviews, &of.Proposals} {
		if *s != nil {
			still := **s
			still.At = time.Time{}
			*s = &still
		}
	}
	return &of
}
