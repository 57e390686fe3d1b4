// Package drivertest is the contract of package drivers as tests: Run puts a
// driver through all of it, and a failure names the driver and the sentence
// that it breaks. For what a driver's tests look at beyond the contract there
// are Resource, which drives one resource step by step, and some tools. It must
// not know any driver; a driver's own test tells it, by a Harness, how its
// engine is made and meddled with.
package drivertest

import (
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// Harness is what a driver's test tells. Cases that need a field that is not
// filled in are skipped, by name.
type Harness struct {
	Driver      string                   // as failures name it: "provisioning/local"
	Env         string                   // environment id that its drivers are made with
	Fingerprint drivers.Fingerprinter    // that its drivers are made with; nil: the suite's own is told to nobody, tokens are only compared
	Open        func(*testing.T) *Engine // an empty engine; called once a case
	Samples     []Sample                 // at least one a kind
	Patience    time.Duration            // for health, deletes and hints; zero means 2 min
	Skip        map[string]string        // cases by name that cannot hold, each with its documented reason
}

// Engine is one engine, or folder, that outlives the drivers made on it. All
// but New may be nil; what a hook does happens behind the driver's back.
type Engine struct {
	New func(*testing.T) drivers.Driver // a client of this engine; again: as after a restart of the daemon

	// Create makes a thing that no driver made. handle is Address's, or ""
	// where the engine gives it; owner "" leaves no mark. It answers the handle.
	Create func(t *testing.T, s Sample, handle, spec, owner string) string
	Edit   func(t *testing.T, handle, spec string) // live gets this spec
	Delete func(t *testing.T, handle string)
	Mark   func(t *testing.T, handle, owner string)
	Reach  func(reachable bool)
	Deny   func(denied bool) // writing only
	Tick   func()            // lets the engine's own time pass; nil: the wall clock does

	Log     func() string // what the drivers logged so far
	Private []string      // folders and files in which no plaintext may ever be
}

// Sample is a resource of one kind in some variants. In every spec $NAME
// stands for the resource's name, so that many can live at once.
type Sample struct {
	Kind string
	Name string // of the resource; empty means "sample"

	A string // a spec, canonical JSON
	B string // A altered in place
	C string // A with an immutable field altered
	D string // what a foreign hand makes of A in place; empty means B
	P string // a spec that gives its address itself: another name with it has the same handle
	X string // a spec that Plan or Apply refuses with ErrPermanent

	Files schema.Tree // that all variants need

	Unknown  schema.Path // field of A that may hold a reference's text
	Deferred bool        // Unknown cannot hold text: Plan answers Deferred
	Secret   schema.Path // field that takes a secret
	Outputs  []string    // names of all outputs
	Secrets  []string    // names of those that are secret

	Marks       bool // the engine has room for an ownership mark
	Shy         bool // an adoption leaves no mark: putting one would disturb what runs
	Blind       bool // the engine cannot say that live moved between Plan and Apply
	Opaque      bool // State.Version cannot say whether Plan's answer changed
	WriteOnly   bool // the secret field is never read back
	AtLeastOnce bool // the engine gives the id and takes no nonce
	Alone       bool // two resources of these specs cannot live at once, whatever their names
}

func (s Sample) name() string {
	if s.Name == "" {
		return "sample"
	}
	return s.Name
}

// foreign is what a foreign hand makes of A.
func (s Sample) foreign() string {
	if s.D == "" {
		return s.B
	}
	return s.D
}

// spec is a variant for a name.
func (s Sample) spec(variant, name string) string {
	return strings.ReplaceAll(variant, "$NAME", name)
}

func (h Harness) patience() time.Duration {
	if h.Patience == 0 {
		return 2 * time.Minute
	}
	return h.Patience
}
