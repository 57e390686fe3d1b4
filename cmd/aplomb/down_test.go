package main

import (
	"bufio"
	"bytes"
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/terminal"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
)

// TestAskAlso: each held thing is asked about by itself; only a yes is one, and
// what was agreed to is not asked about again.
func TestAskAlso(t *testing.T) {
	db := schema.ID{Kind: "local.secret", Name: "db", Target: "local"}
	key := schema.ID{Kind: "local.secret", Name: "key", Target: "local"}
	st := reconciler.Status{Resources: []reconciler.ResourceStatus{
		{ID: db, State: reconciler.Held, Reason: "it holds data"}, {ID: key, State: reconciler.Held}, {State: reconciler.Waiting},
	}}
	var screen bytes.Buffer
	a := &app{out: &terminal.Printer{Out: &screen}}
	in := bufio.NewReader(strings.NewReader("yes\n\n"))
	also := a.askAlso(in, st, true, nil)
	if len(also) != 1 || also[0] != db {
		t.Errorf("agreed to %v", also)
	}
	if !strings.Contains(screen.String(), "also delete local.secret/db (it holds data)? [y/N]") {
		t.Errorf("asked %q", screen.String())
	}
	screen.Reset()
	if again := a.askAlso(in, st, true, also); len(again) != 1 || strings.Contains(screen.String(), "local.secret/db ") {
		t.Errorf("agreed to %v, asked %q", again, screen.String())
	}
	screen.Reset()
	if none := a.askAlso(in, st, false, nil); len(none) != 0 || screen.Len() != 0 {
		t.Errorf("without a terminal: %v, %q", none, screen.String())
	}
}
