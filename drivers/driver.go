package drivers

import (
	"context"
	"encoding/json"
	"time"

	"github.com/aplomb-dev/aplomb/schema"
)

// Driver drives one target. All methods are safe for concurrent use. The
// reconciler never has two calls on one handle in flight at once, but for those of
// proposals beside its own, which only look and plan: a State, its Raw included,
// is planned from by several calls at once, and Plan leaves it as it is.
//
// Every call may be repeated: Observe and Plan have no effect on the engine,
// and Apply of a change that has already landed answers ErrStale or does
// nothing.
type Driver interface {
	// Address is the engine's own address of a resource, without I/O, from
	// fields that hold no reference. "" means that the engine gives it. Two
	// resources with one handle are a finding, so handles of different kinds
	// differ unless they mean the same thing ("file/a/b").
	Address(kind, name string, spec json.RawMessage) (handle string, err error)

	// Observe answers one State an Item, in the same order, in as few requests
	// as the engine allows. State.Err is that item's alone; the returned error
	// means that the whole target is out of reach.
	Observe(ctx context.Context, items []Item) ([]State, error)

	// Plan answers what would make live equal declared; it never writes.
	// Item.Want nil asks for the deletion. It is deterministic: the same item
	// and state give the same Action and Diff.
	Plan(ctx context.Context, item Item, live State) (Change, error)

	// Apply makes exactly the change. It alters no field that Change.Diff does
	// not name. ErrStale: live moved since Plan, nothing was written. The
	// State answered is what lives now, its outputs included; health may still
	// be Progressing. Apply does not wait for health.
	Apply(ctx context.Context, c Change) (State, error)
}

// Watcher is a Driver that hears of changes. Watch calls changed with the
// handles that are worth observing now instead of later, or with none for
// everything; it returns when ctx ends, or with an error to be started again.
type Watcher interface {
	Watch(ctx context.Context, changed func(handles ...string)) error
}

// Lister is a Driver that can say what lives in its engine: for import,
// orphans and recovery. Outputs and health may be absent.
type Lister interface {
	List(ctx context.Context) ([]State, error)
}

// Revealer is a Driver that has secret outputs. Reveal is called only between
// Begin and Apply of a dependent, with the fingerprint that the dependent was
// planned with. The value must be the one whose fingerprint State.Outputs told
// as that; if there is only another by now, the error is ErrStale.
type Revealer interface {
	Reveal(ctx context.Context, item Item, output, fingerprint string) (schema.Secret, error)
}

// Desired is what is declared, with its references resolved as far as they can
// be.
type Desired struct {
	Spec    json.RawMessage        // canonical JSON, defaults filled; a secret stands as schema.Token, an unknown as its text
	Unknown map[schema.Path]string // fields whose value is not known before a need is applied, with the reference's text
	Secrets map[schema.Path]string // fields that hold a secret, with their declared text; the value is in Change.Secrets
	Files   schema.Tree            // what fields marked as files name
}

// Applied is what a driver was last told and answered for an owned resource.
type Applied struct {
	Handle  string          `json:"handle"`
	Version string          `json:"version,omitempty"` // State.Version after the apply
	Spec    json.RawMessage `json:"spec,omitempty"`    // resolved; secrets as tokens
	Files   string          `json:"files,omitempty"`   // schema.Tree.Hash
}

// Item is one resource that a call is about.
type Item struct {
	ID     schema.ID
	Want   *Desired // nil: it is not declared; Plan answers its deletion. To Observe it may still be unresolved
	Last   *Applied // nil: this environment never owned it
	Handle string   // where it lives; "" if the engine gives it and has not yet
	Nonce  string   // of a pending intent: what a create that may have landed is found again by
}

// State is what lives.
type State struct {
	Handle  string
	Owner   string          // environment id of the mark in the engine; "" without a mark
	Version string          // changes whenever Plan's answer could
	Exists  bool            // false: everything below is zero
	Spec    json.RawMessage // live, in the words of the spec, normalised; secrets as tokens
	Outputs map[string]Output
	Health  Health
	Err     error // this item alone could not be observed
	Raw     any   // the driver's own, handed back to Plan; never stored nor printed
}

// Output is one output of a resource. A secret has no Value.
type Output struct {
	Value       json.RawMessage `json:"value,omitempty"`
	Secret      bool            `json:"secret,omitempty"`
	Fingerprint string          `json:"fingerprint,omitempty"` // change token of a secret: HMAC-SHA256 with the environment's key, or the engine's path and version
}

// Delta is one field that a change alters.
type Delta struct {
	Path    schema.Path     `json:"path"` // below the spec; "/!mark" is the ownership mark, "/!NAME" other things that no field names
	Op      schema.Action   `json:"op"`   // Create, Update, Delete; Replace: this field is why it is made anew
	Before  json.RawMessage `json:"before,omitempty"`
	After   json.RawMessage `json:"after,omitempty"`
	Unknown bool            `json:"unknown,omitempty"` // After is known after a need is applied; it holds the reference's text
}

// Change is a plan for one resource. What can be marshalled of it holds no
// secret.
type Change struct {
	ID      schema.ID                     `json:"id"`
	Handle  string                        `json:"handle"`
	Action  schema.Action                 `json:"action"`
	Before  json.RawMessage               `json:"before,omitempty"`  // normalised live spec, for delete and replace
	Diff    []Delta                       `json:"diff,omitempty"`    // complete, ordered by path
	Outputs map[string]Output             `json:"outputs,omitempty"` // what will hold after; an output that is absent is unknown
	Secrets map[schema.Path]schema.Secret `json:"-"`                 // by path of the spec: the whole string, filled just before Apply
	Nonce   string                        `json:"-"`                 // set by the reconciler before Apply; constant over retries of one intent
	Opaque  any                           `json:"-"`                 // the driver's own, from Plan to Apply
	Why     string                        `json:"why,omitempty"`     // for people: what changed it, why it must be made anew
	Hold    string                        `json:"hold,omitempty"`    // for people: why it wants somebody's approval whatever is declared; "" where it does not
}

// HealthStatus is how well a thing that exists does.
type HealthStatus string

// The health of a resource. A thing without a notion of health is Healthy.
const (
	Healthy     HealthStatus = "healthy"
	Progressing HealthStatus = "progressing"
	Unhealthy   HealthStatus = "unhealthy"
	Failed      HealthStatus = "failed" // unhealthy, and it will not become well by itself: nothing is waited for
)

// Health is part of what was observed. A count of zero is healthy.
type Health struct {
	Status HealthStatus `json:"status"`
	Reason string       `json:"reason,omitempty"` // for people: "2 of 3 passing"
}

// Fingerprinter is the change token of a secret: HMAC-SHA256 with the
// environment's key, hex.
type Fingerprinter func(plaintext []byte) string

// Mark paths are Delta paths of things that no field of a spec names.
const MarkPath schema.Path = "/!mark"

// CallTimeout bounds one call to a driver; a Plan or an Apply may take longer
// where the deadline of its kind is longer.
const CallTimeout = 2 * time.Minute
