package proposals

import (
	"slices"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/sources/forge"
)

// Where there are no teams, those who are named themselves are heard all the same.
func TestApproverOwnersWithoutTeams(t *testing.T) {
	p := people{board: newBoard(), noTeams: &forge.Error{Op: "read", Class: forge.ErrUnsupported}}
	a, at := approver(t, p)
	a.Reviews, a.Owners = false, []string{"ops/security", "@ana@example.org"}
	p.origin = map[string][]forge.Proposal{"merge": {{ID: "7", Head: "head"}}}
	for _, name := range []string{"ana@example.org", "ben@example.org"} {
		p.reviewed("7", forge.Review{Author: forge.Account{Name: name}, Verdict: forge.Approved, Commit: "head", At: at.Add(2 * time.Hour)})
	}
	a.Forge = p
	if got, err := counted(t, a); err != nil || !slices.Equal(got, []string{"ana@example.org 5e0c review of 7 web for @ana@example.org only"}) {
		t.Errorf("%q, %v", got, err)
	}
}
