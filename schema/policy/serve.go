package policy

import (
	"encoding/json"
	"fmt"

	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/schema/cueload"
	"github.com/aplomb-dev/aplomb/schema/worker"
)

// Service is the name of this package's service in workers; see NewHandler.
const Service = "policy"

// NewHandler makes the handler that evaluates policies.
func NewHandler() worker.Handler { return &handler{} }

// shared is what the items of a Set share: its packages.
type shared struct {
	Bundles []*cueload.Bundle `json:"bundles"`
}

func (s *Set) setup() ([]byte, error) { return json.Marshal(shared{Bundles: s.bundles}) }

// request is one item: a package to be loaded, or things to be judged.
type request struct {
	Load  *int    `json:"load,omitempty"`  // index of the bundle
	Cases *int    `json:"cases,omitempty"` // index of the bundle whose cases are wanted
	Pairs []pairs `json:"pairs,omitempty"`
}

// pairs is one thing that several policies judge.
type pairs struct {
	Policies []policyRef     `json:"policies"`
	Input    json.RawMessage `json:"input"` // the fields of a policy that are filled in
}

// policyRef names a policy: its bundle, its field, and what it judges.
type policyRef struct {
	Bundle int    `json:"b"`
	Name   string `json:"n"`
	Over   Over   `json:"o"`
}

// loaded is what a package holds.
type loaded struct {
	Policies []*Policy           `json:"policies,omitempty"`
	Findings []schema.Diagnostic `json:"findings,omitempty"`
}

// said is what one policy says of one thing.
type said struct {
	Denials   []denial `json:"d,omitempty"`
	Approvers int      `json:"a,omitempty"`
	Broken    string   `json:"b,omitempty"` // why it could not be judged

	At     []string `json:"t,omitempty"` // where in the policy each denial comes from, for coverage
	Leaves []string `json:"l,omitempty"` // of require, those that did not fit
}

// denial is one thing that a policy says.
type denial struct {
	Path    schema.Path `json:"p,omitempty"` // from the root of the declaration
	Message string      `json:"m"`
	Hint    string      `json:"h,omitempty"`
}

// handler evaluates one request after another.
type handler struct{ evaluator *evaluator }

// Setup takes the packages.
func (h *handler) Setup(setup []byte) error {
	var s shared
	if err := json.Unmarshal(setup, &s); err != nil {
		return err
	}
	h.evaluator = newEvaluator(s.Bundles)
	return nil
}

// Handle answers what a package holds, or what was said of every pair: a list
// for each thing, with an entry for each policy.
func (h *handler) Handle(item []byte) any {
	var r request
	if err := json.Unmarshal(item, &r); err != nil {
		return loaded{Findings: []schema.Diagnostic{{Message: fmt.Sprintf("a request cannot be read: %s", err)}}}
	}
	if r.Load != nil {
		return h.evaluator.load(*r.Load)
	}
	if r.Cases != nil {
		return h.evaluator.cases(*r.Cases)
	}
	all := make([][]said, len(r.Pairs))
	for i, p := range r.Pairs {
		all[i] = h.evaluator.judge(p)
	}
	return all
}
