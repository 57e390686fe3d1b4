package main

import (
	"path/filepath"
	"testing"

	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/internal/proposals"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/sources/git"
)

// An environment that was started anew is followed in place of the old one,
// whose end does not matter any more.
func TestEnvirons(t *testing.T) {
	var n environs
	e := config.Environment{Name: "staging"}
	r := &reconciler.Reconciler{}
	old, fresh := &git.Source{}, &git.Source{}
	if _, ok := n.find("staging"); ok {
		t.Error("nobody was started, and somebody runs")
	}
	end := n.add(e, r, old, nil)
	endFresh := n.add(e, r, fresh, nil)
	end()
	if up, ok := n.find("staging"); !ok || up.Source != fresh {
		t.Errorf("%v is followed, %t", up.Source, ok)
	}
	endFresh()
	if _, ok := n.find("staging"); ok {
		t.Error("it has ended, and runs")
	}
	n.add(config.Environment{Name: "folder"}, r, nothing{}, nil)
	if _, ok := n.find("folder"); ok {
		t.Error("what follows no repository is followed")
	}
}

// Of a value that was set in an environment that does not run anybody may have
// been who asked.
func TestEnvironsAsked(t *testing.T) {
	var n environs
	if !n.asked("staging", "head", "aplomb/set-staging-x", "ana") || n.asked("staging", "head", "feature", "ana") {
		t.Error("of an environment that does not run: only what was set there is anybody's")
	}
	book, err := proposals.OpenBook(filepath.Join(t.TempDir(), "book"))
	if err != nil {
		t.Fatal(err)
	}
	n.add(config.Environment{Name: "staging"}, &reconciler.Reconciler{}, &git.Source{}, &office{book: book})
	if n.asked("staging", "head", "aplomb/set-staging-x", "ana") {
		t.Error("she did not ask")
	}
}
