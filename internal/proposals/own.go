package proposals

import (
	"slices"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// anybodys says why nobody knows who wrote a proposal of aplomb's own, whichever
// environment made it; "" where that is known, or it is a person's.
func (a *Approver) anybodys(p forge.Proposal) string {
	books := map[string]*Book{}
	if a.Others != nil {
		books = a.Others()
	}
	mine := madeBy(a.Environment, p)
	own, away, known := mine, false, mine && a.Book.knows(made(p.Head))
	for name, book := range books {
		if !madeBy(name, p) { // by the name alone it may be of several
			continue
		}
		own, away = true, away || book == nil
		known = known || book != nil && book.knows(made(p.Head))
	}
	switch {
	case !own:
	case !known && away:
		return "the environment that a proposal of aplomb's own is of does not run"
	case !known:
		return "somebody else has pushed to a proposal of aplomb's own"
	case mine && a.Upstream != "" && a.many:
		return "with a proposal of aplomb's own more commits came than are looked at"
	}
	return ""
}

// asked says whether somebody asked for a proposal here, in another environment,
// or for what came by way of Upstream.
func (a *Approver) asked(p forge.Proposal, by string) bool {
	if a.Book.Asked(p.Head, p.HeadBranch, by) {
		return true
	}
	if a.Others != nil {
		for _, book := range a.Others() {
			if book != nil && book.Asked(p.Head, p.HeadBranch, by) {
				return true
			}
		}
	}
	return a.UpstreamAsked != nil && slices.ContainsFunc(a.lower, func(l forge.Proposal) bool { return a.UpstreamAsked(l.Head, l.HeadBranch, by) })
}
