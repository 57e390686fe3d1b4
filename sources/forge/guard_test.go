package forge

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// clumsy is a client that falls over an answer.
type clumsy struct{ Forge }

func (clumsy) Proposals(context.Context, string) ([]Proposal, error) {
	var p *Proposal
	return []Proposal{*p}, nil
}

func (clumsy) Permission(context.Context, string) (Permission, error) { panic("hunter2") }

func (clumsy) Members(context.Context, string) ([]Account, error) {
	return []Account{{Name: "ana"}}, nil
}

// What a client falls over is an answer that is not understood, of which nothing
// is told but that; what it does not fall over is as it was.
func TestGuard(t *testing.T) {
	f := Guard(clumsy{})
	if all, err := f.Proposals(t.Context(), "main"); !errors.Is(err, ErrUnreachable) || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
	if may, err := f.Permission(t.Context(), "ana"); !errors.Is(err, ErrUnreachable) || may != None || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v, %v", may, err)
	}
	if all, err := f.Members(t.Context(), "team"); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}
