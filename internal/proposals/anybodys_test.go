package proposals

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler/plan"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
	"github.com/aplomb-dev/aplomb/sources/git"
)

// Who pushes to a proposal of aplomb's own is not its author for the forge, and
// could be who reviews it: only what the environment itself made is reviewed.
func TestApproverOwnProposals(t *testing.T) {
	who := func(name string) forge.Account { return forge.Account{ID: name, Name: name} }
	p := people{board: newBoard(), writers: map[string]bool{"ana": true}}
	a, at := approver(t, p)
	p.reviews = map[string][]forge.Review{"7": {{Author: who("ana"), Verdict: forge.Approved, Commit: "head", At: at.Add(2 * time.Hour)}}}
	for branch, counts := range map[string]bool{"aplomb/set-prod-x": false, "aplomb/revert-prod-1234567": false, "aplomb/promote-prod": false, "aplomb/promote-production": true, "set-prod-x": true} {
		a.Book.counted = map[string]time.Time{}
		p.origin = map[string][]forge.Proposal{"merge": {{ID: "7", Head: "head", HeadBranch: branch, Author: who("aplomb")}}}
		a.Forge = p
		if got, err := counted(t, a); err != nil || len(got) == 1 != counts {
			t.Errorf("%s, pushed to: %q, %v", branch, got, err)
		}
		a.Book.counted = map[string]time.Time{made("head"): at}
		if got, err := counted(t, a); err != nil || len(got) != 1 {
			t.Errorf("%s, as it was made: %q, %v", branch, got, err)
		}
	}
}

// Digits with which several plans begin approve none of them: who makes two such
// plans could have the one read and the other approved.
func TestApproverAmbiguous(t *testing.T) {
	p := people{board: newBoard(), writers: map[string]bool{"ana": true, "ben": true}}
	a, at := approver(t, p)
	other := digest[:20] + strings.Repeat("0", 44)
	if err := a.Book.write("benign", page{Proposal: "7", Digest: other, Shown: []plan.Masked{{}}, At: at}); err != nil {
		t.Fatal(err)
	}
	late := at.Add(2 * time.Hour)
	p.origin = map[string][]forge.Proposal{"merge": {{ID: "7", Head: "head", Author: forge.Account{ID: "eve", Name: "eve"}}}}
	p.said = map[string][]forge.Comment{"7": {
		{Author: forge.Account{ID: "ana", Name: "ana"}, Body: "aplomb approve " + digest[:12], At: late},
		{Author: forge.Account{ID: "ben", Name: "ben"}, Body: "aplomb approve " + digest[:21], At: late},
	}}
	a.Forge = p
	if got, err := counted(t, a); err != nil || !slices.Equal(got, []string{"ben 5e0c comment on 7 web"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// Of more commits than are looked at nobody can tell whose they are: who wrote one
// of them could review it.
func TestApproverManyCommits(t *testing.T) {
	p := people{board: newBoard(), writers: map[string]bool{"ana": true}}
	a, at := approver(t, p)
	a.Upstream = "next"
	if _, err := a.Book.count(made("head")); err != nil {
		t.Fatal(err)
	}
	p.origin = map[string][]forge.Proposal{"merge": {{ID: "7", Head: "head", HeadBranch: "aplomb/promote-prod", Author: forge.Account{ID: "aplomb", Name: "aplomb"}}}}
	p.reviews = map[string][]forge.Review{"7": {{Author: forge.Account{ID: "ana", Name: "ana"}, Verdict: forge.Approved, Commit: "head", At: at.Add(2 * time.Hour)}}}
	a.Forge = p
	a.Since = func(_ context.Context, _, newer sources.Revision) ([]sources.Revision, error) {
		return slices.Repeat([]sources.Revision{newer}, git.MaxSince), nil
	}
	if got, err := counted(t, a); err != nil || len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}
}
