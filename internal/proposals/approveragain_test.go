package proposals

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler/gate"
	"github.com/aplomb-dev/aplomb/sources"
	"github.com/aplomb-dev/aplomb/sources/forge"
)

// A word that was counted is told to be there still at each look, and no more
// once it was taken back: it is never recorded twice.
func TestApproverReadsAgain(t *testing.T) {
	ben := forge.Account{ID: "ben", Name: "ben"}
	p := people{board: newBoard(), writers: map[string]bool{"ben": true}}
	a, at := approver(t, p)
	p.origin = map[string][]forge.Proposal{"merge": {{ID: "7", Head: "head", Author: forge.Account{ID: "eve", Name: "eve"}}}}
	p.reviews = map[string][]forge.Review{"7": {{Author: ben, Verdict: forge.Approved, Commit: "head", At: at.Add(2 * time.Hour)}}}
	a.Forge = p
	var said []string
	a.Approve = func(_ context.Context, y gate.Approval) error { said = append(said, "approved by "+y.By); return nil }
	a.Heard = func(by, of, why string) { said = append(said, by+" "+of[:4]+" "+why) }
	for i, want := range [][]string{{"approved by ben"}, {"ben 5e0c review of 7"}, {"ben 5e0c review of 7"}, nil} {
		if i == 3 {
			p.reviews["7"] = []forge.Review{{Author: ben, Verdict: forge.Dismissed, Commit: "head", At: at.Add(2 * time.Hour)}}
		}
		said = nil
		if err := a.look(t.Context(), sources.Revision{}, sources.Revision{ID: "merge"}); err != nil || !slices.Equal(said, want) {
			t.Errorf("look %d: %q, %v, want %q", i, said, err, want)
		}
	}
}
