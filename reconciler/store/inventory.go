package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
)

// Key is where an owned thing lives: the inventory goes by the engine's own
// address, never by name.
type Key struct {
	Target string
	Handle string // Pending(id) while the engine has not given one
}

// Pending is the handle of a thing whose address the engine has not given yet.
func Pending(id schema.ID) string { return "?" + id.Short() }

func (k Key) bytes() []byte { return []byte(k.Target + "\x00" + k.Handle) }

func parseKey(b []byte) Key {
	target, handle, _ := bytes.Cut(b, []byte{0})
	return Key{string(target), string(handle)}
}

// String is the key for people and as a name.
func (k Key) String() string { return k.Target + " " + k.Handle }

// MarshalText makes a Key a JSON string.
func (k Key) MarshalText() ([]byte, error) { return k.bytes(), nil }

// UnmarshalText is the inverse of MarshalText.
func (k *Key) UnmarshalText(b []byte) error { *k = parseKey(b); return nil }

// Owned is one thing that this environment owns.
type Owned struct {
	ID schema.ID `json:"id"`
	drivers.Applied
	Want      string          `json:"want,omitempty"`   // hash of the resolved spec and files
	Inputs    plan.Inputs     `json:"inputs,omitempty"` // tokens that were applied
	Needs     []Key           `json:"needs,omitempty"`  // addresses, so that a rename of a need changes nothing
	Hold      []schema.Action `json:"hold,omitempty"`
	Data      bool            `json:"data,omitempty"`
	Was       string          `json:"was,omitempty"` // metadata.was, done
	AppliedAt time.Time       `json:"appliedAt"`
	Since     time.Time       `json:"since,omitzero"` // this Want was begun first then
	Action    schema.Action   `json:"action"`         // the last
	Revision  string          `json:"revision,omitempty"`
	Pos       schema.Pos      `json:"pos,omitzero"`
	Use       *schema.Use     `json:"use,omitempty"` // of a template, that yielded it

	// Labels are those that it was declared with last; nil where that is not
	// known, of what was applied before they were kept.
	Labels map[string]string `json:"labels"`
	// Face is what rules of owners saw of it when its owners were asked last.
	// What was declared since without a change of it asked nobody. nil: it was
	// applied before that was kept.
	Face *gate.Face `json:"face,omitempty"`
	// Said is what they would have seen of it when it was declared last. nil: it
	// was applied before that was kept.
	Said    *gate.Face `json:"said,omitempty"`
	Settled Settled    `json:"settled,omitzero"`
}

// Settled says with what planning answered "nothing to do" last: while all of
// it is the same, and so is what was observed, planning again is skipped, also
// after a restart.
type Settled struct {
	Want    string `json:"want,omitempty"`    // hash of the resolved spec and files
	Version string `json:"version,omitempty"` // drivers.State.Version
	Driver  string `json:"driver,omitempty"`  // the target's identity and version
}

// Intent is something that was begun: if the process dies, it is looked at
// again.
type Intent struct {
	Owned
	Change   plan.Masked `json:"change"` // what was begun, for the approval that it uses up
	Nonce    string      `json:"nonce"`
	Attempts int         `json:"attempts"`
}

// State is what persists beside inventory and journal.
type State struct {
	InForce     sources.Revision     `json:"inForce,omitzero"`     // the last revision that compiled
	Under       Under                `json:"under,omitzero"`       // what it was compiled under
	Converged   []sources.Revision   `json:"converged,omitempty"`  // oldest first, at most 50
	ConvergedAt time.Time            `json:"convergedAt,omitzero"` // when the last of them was recorded
	Suspended   *Lever               `json:"suspended,omitempty"`
	Paused      map[string]Lever     `json:"paused,omitempty"` // suspended resources, by Key.String
	Quarantined *Quarantine          `json:"quarantined,omitempty"`
	Destroyed   map[string]time.Time `json:"destroyed,omitempty"` // unapproved destructions of the last hour, by key
	Down        bool                 `json:"down,omitempty"`      // a person said so: nothing is declared any more
}

// Under is what declarations are compiled under: the revisions of the operator's
// templates and policies, zero where none are followed.
type Under struct {
	Templates sources.Revision `json:"templates,omitzero"`
	Policies  sources.Revision `json:"policies,omitzero"`
}

// Same says whether two are of the same revisions.
func (u Under) Same(o Under) bool {
	return u.Templates.ID == o.Templates.ID && u.Policies.ID == o.Policies.ID
}

// SameTrees says whether two hold the same content.
func (u Under) SameTrees(o Under) bool {
	return u.Templates.Tree == o.Templates.Tree && u.Policies.Tree == o.Policies.Tree
}

// Lever is who pulled one, when and why.
type Lever struct {
	By  string    `json:"by"`
	At  time.Time `json:"at"`
	Why string    `json:"why,omitempty"`
}

// Quarantine is a rollback in force.
type Quarantine struct {
	To          sources.Revision `json:"to"`
	Quarantined sources.Revision `json:"quarantined"`
	Lever       Lever            `json:"lever"`

	// Faults are what did not get well, in words, where no person went back:
	// the first ones.
	Faults []string `json:"faults,omitempty"`
}

// World is everything that Load answers.
type World struct {
	Owned     map[Key]Owned
	Intents   map[Key]Intent
	Approvals []gate.Approval
	State     State
}

// Load reads all that a reconciler needs to go on.
func (s *Store) Load(ctx context.Context) (w World, err error) {
	defer guard(s.path, &err)()
	w = World{Owned: map[Key]Owned{}, Intents: map[Key]Intent{}}
	err = s.db.View(func(tx *bbolt.Tx) error {
		if err := each(ctx, tx.Bucket(bOwned), func(k []byte, v Owned) { w.Owned[parseKey(k)] = v }); err != nil {
			return err
		}
		if err := each(ctx, tx.Bucket(bIntents), func(k []byte, v Intent) { w.Intents[parseKey(k)] = v }); err != nil {
			return err
		}
		if err := each(ctx, tx.Bucket(bApprovals), func(_ []byte, v gate.Approval) { w.Approvals = append(w.Approvals, v) }); err != nil {
			return err
		}
		if raw := tx.Bucket(bMeta).Get(keyState); raw != nil {
			return json.Unmarshal(raw, &w.State)
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		err = corrupt(s.path, err)
	}
	return w, err
}

func each[T any](ctx context.Context, b *bbolt.Bucket, fn func(k []byte, v T)) error {
	return b.ForEach(func(k, raw []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		var v T
		if err := json.Unmarshal(raw, &v); err != nil {
			return fmt.Errorf("entry %q: %w", k, err)
		}
		fn(k, v)
		return nil
	})
}

// Begin records, in one durable write, what is about to be applied. Nothing
// may be applied before it returns. What is under the keys of drop is replaced by
// them: the engine has given another address since.
func (s *Store) Begin(ctx context.Context, intents map[Key]Intent, drop []Key) error {
	return s.update(ctx, "begin", func(tx *bbolt.Tx) error {
		b := tx.Bucket(bIntents)
		for _, k := range drop {
			if err := errors.Join(b.Delete(k.bytes()), tx.Bucket(bOwned).Delete(k.bytes())); err != nil {
				return err
			}
		}
		for k, in := range intents {
			if err := put(b, k.bytes(), in); err != nil {
				return err
			}
		}
		return nil
	})
}

// Result is what became of things that were begun, or seen.
type Result struct {
	Done      map[Key]Owned    // applied, or owned again: recorded, and its intent cleared
	Forget    []Key            // seen gone: inventory and intent cleared
	Clear     []Key            // the intent came to nothing for certain
	State     *State           // nil: as it is
	Approvals *[]gate.Approval // all that are in force now; nil: as they are
	History   []any            // appended, as JSON
}

// Empty says whether there is anything to write.
func (r Result) Empty() bool {
	return len(r.Done)+len(r.Forget)+len(r.Clear)+len(r.History) == 0 && r.State == nil && r.Approvals == nil
}

// Finish records results in one durable write.
func (s *Store) Finish(ctx context.Context, r Result) error {
	return s.update(ctx, "finish", func(tx *bbolt.Tx) error {
		owned, intents := tx.Bucket(bOwned), tx.Bucket(bIntents)
		for k, o := range r.Done {
			if err := put(owned, k.bytes(), o); err != nil {
				return err
			}
			if err := intents.Delete(k.bytes()); err != nil {
				return err
			}
		}
		for _, k := range r.Forget {
			if err := owned.Delete(k.bytes()); err != nil {
				return err
			}
		}
		for _, k := range slices.Concat(r.Forget, r.Clear) {
			if err := intents.Delete(k.bytes()); err != nil {
				return err
			}
		}
		return finishRest(tx, r)
	})
}

func finishRest(tx *bbolt.Tx, r Result) error {
	if r.State != nil {
		if err := put(tx.Bucket(bMeta), keyState, r.State); err != nil {
			return err
		}
	}
	if r.Approvals != nil {
		if err := setApprovals(tx, *r.Approvals); err != nil {
			return err
		}
	}
	return appendHistory(tx, r.History)
}

func setApprovals(tx *bbolt.Tx, approvals []gate.Approval) error {
	if err := tx.DeleteBucket(bApprovals); err != nil {
		return err
	}
	b, err := tx.CreateBucket(bApprovals)
	if err != nil {
		return err
	}
	for i, a := range approvals {
		if err := put(b, number(uint64(i)), a); err != nil {
			return err
		}
	}
	return nil
}
