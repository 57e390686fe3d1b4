package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aplomb-dev/aplomb/internal/config"
	"github.com/aplomb-dev/aplomb/internal/proposals"
	"github.com/aplomb-dev/aplomb/reconciler"
	"github.com/aplomb-dev/aplomb/schema"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/git"
)

// environs are the environments that run now, for those that follow them. The
// zero value has none.
type environs struct {
	mu      sync.Mutex
	all     map[string]*proposals.Upstream
	propose []string // that make proposals, whether they run or not
}

// expect says which environments there are from now on.
func (n *environs) expect(all []config.Environment) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.propose = nil
	for _, e := range all {
		if e.Forge != nil {
			n.propose = append(n.propose, e.Name)
		}
	}
}

// others are the books of the environments, but for one, that make proposals; nil
// where one does not run.
func (n *environs) others(than string) map[string]*proposals.Book {
	n.mu.Lock()
	defer n.mu.Unlock()
	books := map[string]*proposals.Book{}
	for _, name := range n.propose {
		if name == than {
			continue
		}
		books[name] = nil
		if up := n.all[name]; up != nil {
			books[name] = up.Book
		}
	}
	return books
}

// add has an environment followed until what it answers is called.
func (n *environs) add(e config.Environment, r *reconciler.Reconciler, src sources.Source, o *office) func() {
	repo, ok := src.(*git.Source)
	if !ok {
		return func() {}
	}
	up := &proposals.Upstream{Source: repo, Status: r.Status}
	if o != nil {
		up.Book = o.book
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.all == nil {
		n.all = map[string]*proposals.Upstream{}
	}
	n.all[e.Name] = up
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.all[e.Name] == up { // it may have been started anew
			delete(n.all, e.Name)
		}
	}
}

// find is an environment that runs.
func (n *environs) find(name string) (proposals.Upstream, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if up := n.all[name]; up != nil {
		return *up, true
	}
	return proposals.Upstream{}, false
}

// asked says whether somebody asked an environment for a proposal. Of a value
// that was set there it is so of everybody while that cannot be known.
func (n *environs) asked(name, head, branch, by string) bool {
	up, ok := n.find(name)
	if !ok || up.Book == nil {
		return strings.HasPrefix(branch, git.BranchPrefix+"set-"+name+"-")
	}
	return up.Book.Asked(head, branch, by)
}

// propose adds what an environment proposes by itself.
func (o *office) propose(e config.Environment, r *reconciler.Reconciler, src sources.Source, running *environs) error {
	if o == nil {
		return nil
	}
	repo, ok := src.(*git.Source)
	if !ok {
		return fmt.Errorf("forge: environment %s follows no repository", e.Name)
	}
	log := o.log
	if q := e.Quarantine; q != nil && q.Revert {
		o.reverter = &proposals.Reverter{Environment: e.Name, Branch: e.Source.Branch, Forge: o.forge, Source: repo, Book: o.book, Status: r.Status, Wait: r.Wait, Log: log}
	}
	if o.approver != nil {
		o.approver.Others = func() map[string]*proposals.Book { return running.others(e.Name) }
	}
	a := e.After
	if a == nil {
		return nil
	}
	if o.approver != nil {
		o.approver.Upstream = a.Branch
		o.approver.UpstreamAsked = func(head, branch, by string) bool { return running.asked(a.Environment, head, branch, by) }
	}
	o.promoter = &proposals.Promoter{
		Environment: e.Name, Branch: e.Source.Branch, After: a.Environment, Healthy: time.Duration(a.Healthy), Forge: o.forge, Source: repo,
		Upstream: func() (proposals.Upstream, bool) { return running.find(a.Environment) },
		Book:     o.book, Interval: time.Duration(e.Forge.Interval), Log: log,
	}
	for _, text := range a.Files {
		g, err := schema.ParseGlob(text)
		if err != nil {
			return fmt.Errorf("after.files: %w", err)
		}
		o.promoter.Files = append(o.promoter.Files, g)
	}
	return nil
}
