package reconciler

import (
	"errors"
	"maps"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// Stats is what a Reconciler has done since it was made, for metrics.
type Stats struct {
	Turns     uint64
	Applies   map[Apply]uint64
	Converged time.Time // when it became so last; zero: not since it was made
}

// Apply is a kind of apply that ended. Results: "ok", "again" (live had moved,
// or it was not ready: it is made once more), "failed".
type Apply struct {
	Action schema.Action
	Result string
}

// Stats is a copy of what was counted so far.
func (r *Reconciler) Stats() Stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status.stats
	s.Applies = maps.Clone(s.Applies)
	return s
}

// applied counts an apply that ended.
func (s *Stats) applied(e *end) {
	result := "ok"
	switch {
	case errors.Is(e.err, errUnstarted):
		return
	case e.err != nil && (errors.Is(e.err, drivers.ErrStale) || errors.Is(e.err, drivers.ErrWaiting)):
		result = "again"
	case e.err != nil:
		result = "failed"
	}
	s.Applies[Apply{e.change.Action, result}]++
}
