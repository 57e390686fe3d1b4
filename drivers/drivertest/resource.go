package drivertest

import (
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// Nonce is that of every change that a Resource applies.
const Nonce = "nonce-1"

// Resource drives one resource as the reconciler would, a step at a time, for
// what a driver's own tests look at beyond the contract. The fields may be
// changed between steps: Driver as by a restart, Item.Want to declare something
// else or, with nil, nothing. It is for one goroutine.
type Resource struct {
	T       testing.TB // fails where a step does
	Driver  drivers.Driver
	Item    drivers.Item                  // Last is kept by Apply
	Secrets map[schema.Path]schema.Secret // what Apply is given: by path of the spec, the whole string
}

// NewResource is a resource that was never applied, at the driver's own address
// on the target "local".
func NewResource(t testing.TB, d drivers.Driver, kind, name string, want drivers.Desired) *Resource {
	t.Helper()
	handle, err := d.Address(kind, name, want.Spec)
	Must(t, err)
	id := schema.ID{Kind: kind, Name: name, Target: "local"}
	return &Resource{T: t, Driver: d, Item: drivers.Item{ID: id, Want: &want, Handle: handle}}
}

// Observe is what lives.
func (r *Resource) Observe() drivers.State {
	r.T.Helper()
	states, err := r.Driver.Observe(r.T.Context(), []drivers.Item{r.Item})
	Must(r.T, err)
	if len(states) != 1 {
		r.T.Fatalf("%d states for one item", len(states))
	}
	Must(r.T, states[0].Err)
	return states[0]
}

// Plan is what would make what lives now equal what is declared.
func (r *Resource) Plan() drivers.Change {
	r.T.Helper()
	c, err := r.Driver.Plan(r.T.Context(), r.Item, r.Observe())
	Must(r.T, err)
	return c
}

// Apply makes a change, and remembers it if it was made. The error is the
// driver's own, and the test's to judge.
func (r *Resource) Apply(c drivers.Change) (drivers.State, error) {
	c.Secrets, c.Nonce = r.Secrets, Nonce
	s, err := r.Driver.Apply(r.T.Context(), c)
	if want := r.Item.Want; err == nil && want != nil {
		r.Item.Last = &drivers.Applied{Handle: s.Handle, Version: s.Version, Spec: want.Spec, Files: want.Files.Hash()}
	}
	return s, err
}

// Settle applies what is planned, and fails unless that is this action and
// leaves nothing to plan.
func (r *Resource) Settle(want schema.Action) drivers.State {
	r.T.Helper()
	c := r.Plan()
	if c.Action != want {
		r.T.Fatalf("planned %s with %+v, want %s", c.Action, c.Diff, want)
	}
	s, err := r.Apply(c)
	Must(r.T, err)
	if again := r.Plan(); again.Action != schema.None || len(again.Diff) > 0 {
		r.T.Fatalf("after %s: planned %s with %+v", want, again.Action, again.Diff)
	}
	return s
}
