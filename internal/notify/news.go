package notify

import (
	"maps"
	"slices"

	"github.com/aplomb-dev/aplomb/reconciler"
)

// What can be told beside a resource's state.
const (
	whatConverged = "converged"
	whatRefused   = "refused"
	whatBack      = "quarantined"
)

// Whats are what a receiver can be told of: that resources came into a state,
// that a revision was refused, that one was gone back from, that all converged.
var Whats = []string{"held", "degraded", "drifted", "conflict", whatRefused, whatBack, whatConverged}

// news is one thing that changed.
type news struct {
	what     string
	resource *reconciler.ResourceStatus // nil: it is about the environment
	text     string                     // likewise
}

// told is what a receiver knows of the environment.
type told struct {
	Well      bool            `json:"well"`               // all converged, and nothing was wrong since
	Revision  string          `json:"revision,omitempty"` // that converged last
	Refused   string          `json:"refused,omitempty"`  // revision
	Back      string          `json:"back,omitempty"`     // revision that was gone back from
	Resources map[string]mark `json:"resources,omitempty"`
}

// mark is a state in which a resource was told to be.
type mark struct {
	State    string `json:"state"`
	Digest   string `json:"digest,omitempty"` // of what is held
	Revision string `json:"revision,omitempty"`
}

func (t told) same(o told) bool {
	return t.Well == o.Well && t.Revision == o.Revision && t.Refused == o.Refused && t.Back == o.Back && maps.Equal(t.Resources, o.Resources)
}

// troubles are the states that are told of a resource.
var troubles = []reconciler.State{reconciler.Held, reconciler.Degraded, reconciler.Drifted, reconciler.Conflict}

// since is what changed since something was told, and what is known once that
// is told, too. What only looks well because not all was looked at yet, after a
// start, is no news.
func since(t told, s reconciler.Status) (told, []news) {
	next := told{Well: t.Well, Revision: t.Revision, Refused: t.Refused, Back: t.Back, Resources: map[string]mark{}}
	var all []news
	seen := map[string]bool{}
	for i := range s.Resources {
		r := &s.Resources[i]
		key := r.ID.String()
		seen[key] = true
		had, was := t.Resources[key]
		now := mark{string(r.State), r.Digest, s.Revision.ID}
		switch {
		case !slices.Contains(troubles, r.State):
			if was && r.State != reconciler.Converged && !s.Settled {
				next.Resources[key] = had
			}
		case was && !again(had, now):
			next.Resources[key] = had
		default:
			next.Resources[key] = now
			all = append(all, news{what: now.State, resource: r})
		}
	}
	for key, had := range t.Resources {
		if !seen[key] && !s.Settled {
			next.Resources[key] = had
		}
	}
	for _, n := range []*news{refusal(&next, s), wentBack(&next, s)} {
		if n != nil {
			all = append(all, *n)
		}
	}
	if len(all) > 0 || s.Settled && !s.Converged {
		next.Well = false
	}
	if s.Settled && s.Converged && (!t.Well || t.Revision != s.Revision.ID) {
		next.Well, next.Revision = true, s.Revision.ID
		all = append(all, news{what: whatConverged, text: "everything is converged"})
	}
	return next, all
}

// again says whether a resource that was told to be in a state is news: it is in
// another one, or a newer revision asks for another change.
func again(had, now mark) bool {
	return had.State != now.State || now.State == string(reconciler.Held) && had.Digest != now.Digest && had.Revision != now.Revision
}

// refusal is news of a revision that is refused.
func refusal(next *told, s reconciler.Status) *news {
	switch {
	case s.Refused != nil && s.Refused.Revision.ID != next.Refused:
		next.Refused = s.Refused.Revision.ID
		text := s.Refused.Error
		if len(s.Refused.Findings) > 0 {
			text = s.Refused.Findings[0].String()
		}
		return &news{what: whatRefused, text: s.Refused.Revision.Short() + ": " + text}
	case s.Refused == nil && s.Settled:
		next.Refused = ""
	}
	return nil
}

// wentBack is news of a revision that the environment went back from by itself.
// Where a person has it go back, they know.
func wentBack(next *told, s reconciler.Status) *news {
	switch q := s.Rollback; {
	case q != nil && len(q.Faults) > 0 && q.Quarantined.ID != next.Back:
		next.Back = q.Quarantined.ID
		return &news{what: whatBack, text: q.Quarantined.Short() + " did not converge in time: it went back to " + q.To.Short()}
	case q == nil && s.Settled:
		next.Back = ""
	}
	return nil
}

// wanted is what a receiver is told of.
func wanted(all []news, on []string) []news {
	return slices.DeleteFunc(slices.Clone(all), func(n news) bool { return !slices.Contains(on, n.what) })
}
