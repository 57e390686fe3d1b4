package reconciler

import (
	"errors"
	"strings"
	"testing"
)

// Why nothing is approved stands in the status until the forge can be read again,
// and since when; who waits for news hears of it once.
func TestForgeSeen(t *testing.T) {
	h := newHouse(t, nil, decl("a", `{}`))
	h.converged(h.tip())
	first := h.Status()
	if first.Forge != nil {
		t.Errorf("%+v, and nobody has looked", first.Forge)
	}
	h.ForgeSeen(LookProposals, nil)
	h.ForgeSeen(LookReviews, errors.New("read reviews: connection refused"))
	bad := h.Status()
	h.ForgeSeen(LookReviews, errors.New("read reviews: connection reset"))
	again := h.Status()
	if f := again.Forge; f.Proposals == nil || !f.Proposals.OK || f.Reviews.OK || f.Reviews.Error != "read reviews: connection reset" || !f.Reviews.Since.Equal(bad.Forge.Reviews.Since) {
		t.Errorf("%+v, %+v", f.Reviews, f.Proposals)
	}
	if bad.Seq == first.Seq || again.Seq != bad.Seq {
		t.Errorf("at first %d, then %d and %d", first.Seq, bad.Seq, again.Seq)
	}
	raw, err := reportJSON(again, SignedInventory{})
	if h.must(err); !strings.Contains(string(raw), "connection reset") || again.Forge.Reviews.At.IsZero() {
		t.Errorf("%s", raw)
	}
	h.ForgeSeen(LookReviews, nil)
	if f := h.Status().Forge; !f.Reviews.OK || f.Reviews.Error != "" || h.Status().Seq == again.Seq {
		t.Errorf("%+v", f.Reviews)
	}
	still, err := reportJSON(h.Status(), SignedInventory{})
	h.must(err)
	h.ForgeSeen(LookReviews, nil)
	if later, err := reportJSON(h.Status(), SignedInventory{}); err != nil || string(later) != string(still) {
		t.Errorf("a look alone changes what is reported: %v\n%s\n%s", err, still, later)
	}
}
