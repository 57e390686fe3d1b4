package reconciler

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/aplomb-dev/aplomb/schema"
)

// Control is what people and programs can ask of an environment; the API
// serves it, and Reconciler implements it. Safe for concurrent use.
type Control interface {
	Status() Status
	Plan() PlanView
	Show(id schema.ID) (Detail, error) // Target may be left out where that is unambiguous; ErrUnknown
	Graph() GraphView
	History(ctx context.Context, limit int) ([]Record, error)   // newest first
	Audit(ctx context.Context, limit int) ([]AuditEntry, error) // newest first
	// AuditLog are the entries of the audit after one, the oldest first, as they
	// are kept: what store.Chain verifies.
	AuditLog(ctx context.Context, after uint64, limit int) ([]json.RawMessage, error)

	// Kick asks for a look at the source and a turn, now.
	Kick()
	// Approve lets the pending changes that yes names run, and answers them.
	// ErrDigest. What a hard-mandatory policy refuses stays refused: ErrRefused
	// where there is nothing else, and where all that is left is to wait for a
	// window.
	Approve(ctx context.Context, by string, yes Yes) ([]PlannedChange, error)
	// Suspend freezes the environment, or one resource; no write happens.
	Suspend(ctx context.Context, by string, id *schema.ID, why string) error
	// Resume ends a suspension; without one it makes what failed be tried
	// again at once.
	Resume(ctx context.Context, by string, id *schema.ID, why string) error
	// Rollback quarantines the tip and follows a revision that converged
	// before: the named one, or with "" the last one before the tip.
	Rollback(ctx context.Context, by, revision, why string) (Rollback, error)
	// Down suspends, then deletes in reverse order what the environment owns.
	// Data-bearing and held things are deleted only where their IDs are named
	// in also. It returns when all else is gone, or with what is left.
	Down(ctx context.Context, by string, also []schema.ID, why string) (Status, error)

	// Events are the events after seq that are still remembered (at most
	// 1,000), and a channel of those to come, closed when ctx ends or the
	// receiver is too slow.
	Events(ctx context.Context, seq uint64) ([]Event, <-chan Event)
	// Wait blocks until ok says so of the status, or ctx ends.
	Wait(ctx context.Context, ok func(Status) bool) (Status, error)
}

// Yes is somebody's approval, as they give it.
type Yes struct {
	// Digest is a whole digest of the pending plan or of one pending change, or
	// at least 12 hex digits that name one of them.
	Digest string
	Why    string
	// Overrides are soft-mandatory policies that refuse some of the changes and
	// are overridden: that wants a reason.
	Overrides []string
	// Outside lets the changes run outside the windows, too, for an incident.
	// That wants a reason.
	Outside bool
	// Speaks are the owners that the giver was shown to speak for, as rules name
	// them: teams, and @ with a name. It is for whoever has found that out: a
	// name that somebody gives themselves proves nothing.
	Speaks []string
}

// What people's requests fail with, for errors.Is; messages say more.
var (
	ErrUnknown    = errors.New("no such resource")
	ErrDigest     = errors.New("that digest is not of what is pending now")
	ErrNoRevision = errors.New("no such revision")
	ErrRefused    = errors.New("refused by a gate")
)
