package api

import (
	"context"
	"fmt"

	"github.com/aplomb-dev/aplomb/schema"
)

// SetValue is a value of a declaration that is wanted.
type SetValue struct {
	Path  string `json:"path"` // below the spec
	Value string `json:"value"`
}

// SetRequest asks for a proposal that sets values of one declaration.
type SetRequest struct {
	ID      schema.ID
	Set     []SetValue
	Title   string // "": one that says what is set
	By, Why string
}

// SetChange is what becomes of one value.
type SetChange struct {
	Path   string `json:"path"`
	Before string `json:"before,omitempty"`
	After  string `json:"after"`
	Same   bool   `json:"same,omitempty"` // it is so already
}

// SetResult is what became of a SetRequest.
type SetResult struct {
	ID       schema.ID   `json:"id"`
	Pos      schema.Pos  `json:"pos"` // of the declaration
	Changes  []SetChange `json:"changes"`
	Changed  bool        `json:"changed"`            // false: all of it is so already, and nothing is proposed
	Proposal *Proposal   `json:"proposal,omitempty"` // that brings it
}

// Proposal is one on the forge.
type Proposal struct {
	ID     string `json:"id"`
	URL    string `json:"url,omitempty"`
	Title  string `json:"title"`
	Branch string `json:"branch"` // that is proposed
}

// Set asks for a proposal.
func (c *Client) Set(ctx context.Context, r SetRequest) (v SetResult, err error) {
	return v, c.pull(ctx, "/set", lever{By: r.By, Why: r.Why, Title: r.Title, ID: &r.ID, Set: r.Set}, &v)
}

// set answers a request for a proposal.
func (e *Environment) set(ctx context.Context, l lever) (any, error) {
	switch {
	case e.Set == nil:
		return nil, denied{fmt.Errorf("set: %w: the environment has no forge to propose it on", ErrNotServed), "configure its forge, or leave --pr out and propose what aplomb set changes in the folder"}
	case l.ID == nil || len(l.Set) == 0:
		return nil, fmt.Errorf("%w: id or set is missing", ErrRequest)
	}
	return e.Set(ctx, SetRequest{ID: *l.ID, Set: l.Set, Title: l.Title, By: l.By, Why: l.Why})
}
