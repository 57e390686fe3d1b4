package drivers

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Target is one configured engine.
type Target struct {
	Name        string   // as resources say it: "eu", "local"
	Engine      string   // "nomad", "local"
	Kinds       []string // that it serves
	Driver      Driver
	Identity    string // what the digest of a change binds to: the engine's address, or a data folder's id
	Version     string // of the driver's logic: a cached plan of another version is made again
	Concurrency int    // calls at once; zero means 16

	// Resync is how long what was seen counts as seen, where that is not what
	// the environment says: short for an engine that can tell nobody that
	// something moved, and is polled. Zero: the environment's.
	Resync time.Duration

	// Linger is how long a write may still land after its caller died or gave
	// up: for so long a pending intent is only looked at. Zero for an embedded
	// engine, whose calls die with the process.
	Linger time.Duration
}

// DefaultConcurrency is Target.Concurrency where that is zero.
const DefaultConcurrency = 16

// Registry is the configured targets of an environment. It is immutable after
// NewRegistry and safe for concurrent use.
type Registry struct {
	byName map[string]*Target
	byKind map[string][]string
}

// NewRegistry checks and indexes targets.
func NewRegistry(targets ...Target) (*Registry, error) {
	r := &Registry{byName: map[string]*Target{}, byKind: map[string][]string{}}
	for _, t := range targets {
		if r.byName[t.Name] != nil {
			return nil, fmt.Errorf("two targets named %q", t.Name)
		}
		if t.Driver == nil {
			return nil, fmt.Errorf("target %q has no driver", t.Name)
		}
		if t.Concurrency == 0 {
			t.Concurrency = DefaultConcurrency
		}
		r.byName[t.Name] = &t
		for _, k := range t.Kinds {
			r.byKind[k] = append(r.byKind[k], t.Name)
			slices.Sort(r.byKind[k])
		}
	}
	return r, nil
}

// Target finds a target by name, or nil.
func (r *Registry) Target(name string) *Target { return r.byName[name] }

// For lists the names of the targets that serve a kind, sorted.
func (r *Registry) For(kind string) []string { return r.byKind[kind] }

// All lists every target, by name.
func (r *Registry) All() []*Target {
	var all []*Target
	for _, t := range r.byName {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *Target) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// As finds the optional interface T in d or in what it decorates: decorators
// have Unwrap() Driver.
func As[T any](d Driver) (T, bool) {
	for d != nil {
		if t, ok := d.(T); ok {
			return t, true
		}
		u, ok := d.(interface{ Unwrap() Driver })
		if !ok {
			break
		}
		d = u.Unwrap()
	}
	var zero T
	return zero, false
}
