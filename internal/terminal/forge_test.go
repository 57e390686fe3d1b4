package terminal

import (
	"time"

	"github.com/aplomb-dev/aplomb/reconciler"
)

// aStatusOfForge is one of an environment whose forge is read, or cannot be.
func aStatusOfForge(ok bool) reconciler.Status {
	s := aStatus()
	s.Policies = nil
	s.Forge = &reconciler.ForgeStatus{Proposals: &reconciler.SourceStatus{OK: true, At: now}}
	if !ok {
		s.Forge.Reviews = &reconciler.SourceStatus{Error: "read the reviews of ops/fleet 7: connection refused", Hint: "is the server up?", Since: now.Add(-3 * time.Minute), At: now}
		s.Forge.Proposals = &reconciler.SourceStatus{Error: "list the proposals of ops/fleet: connection refused", Since: now.Add(-4 * time.Minute), At: now}
	}
	return s
}
