package reconciler

import (
	"encoding/json"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/store"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// State is what state a resource is in; product documentation has the table.
type State string

// The states of a resource.
const (
	Converged   State = "converged"   // live equals declared, and healthy
	Waiting     State = "waiting"     // a need is not converged, or a call is in flight on it
	Progressing State = "progressing" // applied, not yet healthy, inside its deadline
	Held        State = "held"        // wants a person
	Drifted     State = "drifted"     // differs, and the environment only reports drift
	Degraded    State = "degraded"    // failed, or unhealthy past its deadline
	Conflict    State = "conflict"    // lives already and is not ours
	Suspended   State = "suspended"   // a person said so
)

// States is the order of states on screens.
var States = []State{Converged, Progressing, Waiting, Held, Drifted, Degraded, Conflict, Suspended}

// Status is what an environment looks like at one moment. It holds no secret.
type Status struct {
	Environment string           `json:"environment"`
	Revision    sources.Revision `json:"revision"`          // in force
	Refused     *Refusal         `json:"refused,omitempty"` // a newer revision that is not in force
	Rollback    *Rollback        `json:"rollback,omitempty"`
	Suspended   *Lever           `json:"suspended,omitempty"` // the whole environment
	Source      SourceStatus     `json:"source"`
	Templates   *FollowedStatus  `json:"templates,omitempty"` // nil: none are followed
	Policies    *FollowedStatus  `json:"policies,omitempty"`  // likewise
	Forge       *ForgeStatus     `json:"forge,omitempty"`     // nil: there is none, or nobody has looked yet
	Report      ReportStatus     `json:"report"`
	Targets     []TargetStatus   `json:"targets"`
	Resources   []ResourceStatus `json:"resources"`
	Counts      map[State]int    `json:"counts"`
	Down        bool             `json:"down,omitempty"`       // a person took it down; resume brings it back
	Converged   bool             `json:"converged"`            // every resource is, and nothing is refused or suspended
	Settled     bool             `json:"settled"`              // nothing will happen before the clock, the world or a person moves
	WellSince   time.Time        `json:"wellSince,omitzero"`   // all of this content has been converged since, but for drift that was repaired; of this process
	PlanDigest  string           `json:"planDigest,omitempty"` // of what is pending; empty where nothing is
	At          time.Time        `json:"at"`
	Seq         uint64           `json:"seq"` // grows with every change of this status
}

// Refusal is a revision that is not put in force, and why.
type Refusal struct {
	Revision sources.Revision    `json:"revision"`
	Under    Under               `json:"under,omitzero"` // what it was compiled under
	Findings []schema.Diagnostic `json:"findings,omitempty"`
	Files    int                 `json:"files,omitempty"` // how many were read
	Error    string              `json:"error,omitempty"` // where it is not findings: rewound, too large
	At       time.Time           `json:"at"`
}

// Rollback says that the environment follows To until a commit after
// Quarantined arrives.
type Rollback = store.Quarantine

// Lever is who pulled one, when and why.
type Lever = store.Lever

// AuditEntry is one lever that a person pulled.
type AuditEntry = store.Entry

// SourceStatus is how the last look at the source went.
type SourceStatus struct {
	OK    bool      `json:"ok"`
	Error string    `json:"error,omitempty"`
	Hint  string    `json:"hint,omitempty"`
	Since time.Time `json:"since,omitzero"` // of the first failure in a row
	At    time.Time `json:"at,omitzero"`    // of the last look
}

// FollowedStatus is a source that declarations are compiled under: the
// operator's templates or policies.
type FollowedStatus struct {
	Revision sources.Revision `json:"revision,omitzero"` // in force
	Source   SourceStatus     `json:"source"`
}

// ReportStatus is how the last write to the status branch went.
type ReportStatus struct {
	OK    bool      `json:"ok"`
	Error string    `json:"error,omitempty"`
	At    time.Time `json:"at,omitzero"`
}

// TargetStatus is whether a target answers.
type TargetStatus struct {
	Name   string    `json:"name"`
	Engine string    `json:"engine"`
	OK     bool      `json:"ok"`
	Error  string    `json:"error,omitempty"`
	Since  time.Time `json:"since,omitzero"` // out of reach since
	Next   time.Time `json:"next,omitzero"`  // asked again then
}

// ResourceStatus is one resource.
type ResourceStatus struct {
	ID         schema.ID          `json:"id"`
	Layer      string             `json:"layer"`
	State      State              `json:"state"`
	Since      time.Time          `json:"since,omitzero"`
	Reason     string             `json:"reason,omitempty"` // why it is not converged, for people
	Hint       string             `json:"hint,omitempty"`   // what to do about it
	Note       string             `json:"note,omitempty"`   // of a converged one: its health, its outputs in short
	Action     schema.Action      `json:"action,omitempty"` // pending
	Digest     string             `json:"digest,omitempty"` // of the pending change
	Deadline   time.Time          `json:"deadline,omitzero"`
	Declared   bool               `json:"declared"`
	Refused    bool               `json:"refused,omitempty"`    // a policy refuses the change, and there is no way round
	Timed      bool               `json:"timed,omitempty"`      // held until its time comes, and by nobody
	Violations []schema.Violation `json:"violations,omitempty"` // what policies say of it, or of its pending change
	Changed    *gate.Changed      `json:"changed,omitempty"`    // what was approved of it, where its pending change is another one
	Pos        schema.Pos         `json:"pos,omitzero"`
	Use        *schema.Use        `json:"use,omitempty"` // of a template, that yields or yielded it
	LastAction schema.Action      `json:"lastAction,omitempty"`
	LastAt     time.Time          `json:"lastAt,omitzero"`
	LastRev    string             `json:"lastRevision,omitempty"`
}

// PlanView is what would change, and why.
type PlanView struct {
	Environment string                `json:"environment"`
	Revision    sources.Revision      `json:"revision"`
	Under       Under                 `json:"under,omitzero"` // what it was compiled under
	Refused     *Refusal              `json:"refused,omitempty"`
	Live        int                   `json:"live"`                // resources that live
	Unchanged   int                   `json:"unchanged"`           // of those, that stay as they are
	Changes     []PlannedChange       `json:"changes"`             // by layer, then needs first
	Unplanned   []ResourceStatus      `json:"unplanned,omitempty"` // could not be planned: conflict, out of reach, failed
	Counts      map[schema.Action]int `json:"counts"`
	Digest      string                `json:"digest,omitempty"`
	Complete    bool                  `json:"complete"` // every resource has been observed and planned
}

// PlannedChange is one change of a plan.
type PlannedChange struct {
	drivers.Change
	Layer      string             `json:"layer"`
	Digest     string             `json:"digest"`
	Held       []string           `json:"held,omitempty"`       // what wants a person's approval, or waits for its time, for people
	Owners     []gate.Review      `json:"owners,omitempty"`     // the reviews of owners among those
	Changed    *gate.Changed      `json:"changed,omitempty"`    // what was approved of it, where that was something else
	Still      []string           `json:"still,omitempty"`      // of what Approve answers: what holds it all the same
	Blocked    []string           `json:"blocked,omitempty"`    // the policies that hold it, by name
	Refused    bool               `json:"refused,omitempty"`    // a policy refuses it, and there is no way round
	Violations []schema.Violation `json:"violations,omitempty"` // what policies say of it
	Waits      []string           `json:"waits,omitempty"`      // needs that are not converged
	Shut       string             `json:"shut,omitempty"`       // of Held: when the windows let it run
	Drift      bool               `json:"drift,omitempty"`      // nothing new is declared: live moved
	Pos        schema.Pos         `json:"pos,omitzero"`         // of the declaration; of a deletion: where it was
	Use        *schema.Use        `json:"use,omitempty"`        // of a template, that yields or yielded it
	Was        string             `json:"was,omitempty"`        // of a deletion: the revision that applied it last

	declared string // plan.Masked.Declared
}

// Timed says that a change waits for its time, and for nobody: there is nothing
// to approve.
func (c PlannedChange) Timed() bool { return c.Shut != "" && len(c.Held) == 1 }

// Detail is everything known of one resource.
type Detail struct {
	Status   ResourceStatus            `json:"status"`
	Declared json.RawMessage           `json:"declared,omitempty"` // spec with references as text
	Live     json.RawMessage           `json:"live,omitempty"`     // secrets as tokens
	Handle   string                    `json:"handle,omitempty"`
	Owner    string                    `json:"owner,omitempty"`
	Outputs  map[string]drivers.Output `json:"outputs,omitempty"` // a secret has no value
	Health   drivers.Health            `json:"health"`
	Change   *PlannedChange            `json:"change,omitempty"`
	Needs    []schema.ID               `json:"needs,omitempty"`
	NeededBy []schema.ID               `json:"neededBy,omitempty"`
	Events   []Event                   `json:"events,omitempty"` // newest last, at most 50
}

// Event is one thing that happened. Types: "revision" (a new one is in force),
// "refused", "state" (a resource changed its state), "applied", "failed",
// "drift", "repaired", "source", "templates", "policies", "target", "report", "lever", "converged".
type Event struct {
	Seq      uint64        `json:"seq"`
	At       time.Time     `json:"at"`
	Type     string        `json:"type"`
	ID       schema.ID     `json:"id,omitzero"`
	Layer    string        `json:"layer,omitempty"`
	State    State         `json:"state,omitempty"`
	Action   schema.Action `json:"action,omitempty"`
	Revision string        `json:"revision,omitempty"`
	Message  string        `json:"message,omitempty"`
	Seconds  float64       `json:"seconds,omitempty"` // how long it took, where that means something
}

// Record is one line of the history: what was applied, or what became of a
// revision.
type Record struct {
	At       time.Time `json:"at"`
	Revision string    `json:"revision"`
	Title    string    `json:"title,omitempty"`
	// Templates and Policies are what the revision was compiled under; "" where
	// none are followed, and where the record is about one resource.
	Templates string `json:"templates,omitempty"`
	Policies  string `json:"policies,omitempty"`

	What   string        `json:"what"` // "in force", "refused", "converged", "applied", "failed", "rollback"
	ID     schema.ID     `json:"id,omitzero"`
	Action schema.Action `json:"action,omitempty"`
	Digest string        `json:"digest,omitempty"`
	Error  string        `json:"error,omitempty"`
}

// GraphView is the order of things.
type GraphView struct {
	Nodes []GraphNode `json:"nodes"` // needs first
}

// GraphNode is a resource and what it needs.
type GraphNode struct {
	ID    schema.ID   `json:"id"`
	Layer string      `json:"layer"`
	Needs []schema.ID `json:"needs,omitempty"`
	State State       `json:"state,omitempty"`
}
