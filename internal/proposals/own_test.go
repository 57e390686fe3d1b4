package proposals

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Several environments follow one branch: who asked one of them for a value agrees
// to it in none, and what one has made is its own in all of them. While it does
// not run, nobody knows either.
func TestApproverOthers(t *testing.T) {
	who := func(name string) forge.Account { return forge.Account{ID: name, Name: name} }
	p := people{board: newBoard(), writers: map[string]bool{"ana": true, "ben": true}}
	a, at := approver(t, p)
	late := at.Add(2 * time.Hour)
	p.reviews = map[string][]forge.Review{"7": {
		{Author: who("ana"), Verdict: forge.Approved, Commit: "head", At: late}, {Author: who("ben"), Verdict: forge.Approved, Commit: "head", At: late}}}
	eu := opened(t, filepath.Join(t.TempDir(), "eu"))
	a.Others = func() map[string]*Book {
		return map[string]*Book{"prod-eu": eu, "test": opened(t, filepath.Join(t.TempDir(), "test"))}
	}
	look := func(branch, what string, want ...string) {
		t.Helper()
		p.origin = map[string][]forge.Proposal{"merge": {{ID: "7", Head: "head", HeadBranch: branch, Author: who("aplomb")}}}
		a.Forge, a.Book.counted = p, map[string]time.Time{}
		if got, err := counted(t, a); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s, %s: %q, %v, want %q", branch, what, got, err, want)
		}
	}
	const ana, ben = "ana 5e0c review of 7 web", "ben 5e0c review of 7 web"
	// By its name it could be one of prod, too.
	const set = "aplomb/set-prod-eu-web-1234"
	look(set, "pushed to by somebody else")
	if _, err := eu.count(made("head")); err != nil {
		t.Fatal(err)
	}
	look(set, "as it was made", ana, ben)
	if err := eu.note(asked(set, "Ana")); err != nil {
		t.Fatal(err)
	}
	look(set, "asked for by Ana", ben)
	look("feature", "asked for by nobody", ana, ben)
	look("aplomb/set-test-web-1234", "made by nobody")
	a.Others = func() map[string]*Book { return map[string]*Book{"prod-eu": nil} }
	look(set, "of one that does not run")
	look("aplomb/set-test-web-1234", "of one that there is not", ana, ben)
}
