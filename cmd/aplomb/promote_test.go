package main

import (
	"testing"

	"github.com/aplomb-dev/aplomb/internal/config"
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
	end := n.add(e, r, old)
	endFresh := n.add(e, r, fresh)
	end()
	if up, ok := n.find("staging"); !ok || up.Source != fresh {
		t.Errorf("%v is followed, %t", up.Source, ok)
	}
	endFresh()
	if _, ok := n.find("staging"); ok {
		t.Error("it has ended, and runs")
	}
	n.add(config.Environment{Name: "folder"}, r, nothing{})
	if _, ok := n.find("folder"); ok {
		t.Error("what follows no repository is followed")
	}
}
