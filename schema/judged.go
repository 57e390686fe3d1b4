package schema

import "encoding/json"

// ChangeFacts is one change as policies see it: plain data, in which a secret
// is its fingerprint.
type ChangeFacts struct {
	ID         ID                `json:"id"`
	Kind       string            `json:"kind"`
	Name       string            `json:"name"`
	Target     string            `json:"target"`
	Layer      string            `json:"layer"`
	Handle     string            `json:"handle"`
	Action     Action            `json:"action"`
	Deltas     []DeltaFacts      `json:"deltas"`
	Before     json.RawMessage   `json:"before,omitempty"` // of delete and replace: what lives
	Data       bool              `json:"data"`             // it holds data
	Drift      bool              `json:"drift"`            // nothing new is declared: live moved
	Held       []string          `json:"held"`             // what wants a person anyway
	Dependents int               `json:"dependents"`       // how many declared resources need it
	Labels     map[string]string `json:"labels"`           // as declared; of a deletion: as it was applied last
	File       string            `json:"file"`             // of the declaration; of a deletion: where it was
	Why        string            `json:"why,omitempty"`    // what its driver says of it

	Declared *Resource `json:"-"` // nil of a deletion

	// Was are the labels of what is owned, by each of which it is matched too: as
	// it was applied last, and as it was declared since without a change of it.
	// So taking a label away, in the same commit or in one before, takes nothing
	// out of a policy's sight. WasUnknown says that nobody kept them: then any
	// label may have been there. WasFiles are the files that declared it then.
	Was        []map[string]string `json:"-"`
	WasUnknown bool                `json:"-"`
	WasFiles   []string            `json:"-"`
}

// DeltaFacts is one field that a change alters. What an engine's own plan says
// is among them: the resources of a stack, the groups and tasks of a job.
type DeltaFacts struct {
	Path    Path            `json:"path"` // below the spec; "/!NAME" are things that no field names
	Op      Action          `json:"op"`
	Before  json.RawMessage `json:"before,omitempty"`
	After   json.RawMessage `json:"after,omitempty"`
	Unknown bool            `json:"unknown"`
}

// PlanFacts is a plan as policies see it.
type PlanFacts struct {
	Environment string                    `json:"environment"`
	Revision    string                    `json:"revision"`
	Title       string                    `json:"title"`
	Author      string                    `json:"author"`  // as the commit says, which anybody may write
	Signer      string                    `json:"signer"`  // who signed it, of the operator's list; "" where there is none
	Owned       int                       `json:"owned"`   // things that the environment owns
	Changes     int                       `json:"changes"` // of any action
	Actions     map[Action]int            `json:"actions"`
	Layers      map[string]map[Action]int `json:"layers"`
	Kinds       map[string]map[Action]int `json:"kinds"`
}

// PlanViolation is what a policy says against a plan as a whole.
type PlanViolation struct {
	Violation
	Applies func(kind string, a Action) bool // to which of its changes
}
