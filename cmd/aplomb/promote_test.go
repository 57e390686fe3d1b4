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

// Of the other environments that make proposals one that does not run is known to
// be there, so that nobody agrees to what it was asked for.
func TestEnvironsOthers(t *testing.T) {
	var n environs
	if got := n.others("prod"); len(got) > 0 {
		t.Errorf("of none: %v", got)
	}
	with := func(name string) config.Environment { return config.Environment{Name: name, Forge: &config.Forge{}} }
	n.expect([]config.Environment{with("prod"), with("eu"), with("us"), {Name: "plain"}})
	book, err := proposals.OpenBook(filepath.Join(t.TempDir(), "book"))
	if err != nil {
		t.Fatal(err)
	}
	end := n.add(with("eu"), &reconciler.Reconciler{}, &git.Source{}, &office{book: book})
	n.add(config.Environment{Name: "plain"}, &reconciler.Reconciler{}, &git.Source{}, nil)
	if got := n.others("prod"); len(got) != 2 || got["eu"] != book || got["us"] != nil {
		t.Errorf("%v", got)
	}
	end()
	if got := n.others("prod"); len(got) != 2 || got["eu"] != nil {
		t.Errorf("after its end: %v", got)
	}
	n.expect(nil)
	if got := n.others("prod"); len(got) > 0 {
		t.Errorf("of none any more: %v", got)
	}
}
