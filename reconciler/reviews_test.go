package reconciler

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aplomb-dev/aplomb/reconciler/gate"
)

// What is newly declared waits for as many people as the gate wants; putting
// back what was applied asks nobody.
func TestReviews(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Gates.Reviews = 2 }, decl("a", `{}`))
	ctx := t.Context()
	h.rests(h.tip())
	v := h.Plan()
	if len(v.Changes) != 1 || strings.Join(v.Changes[0].Held, "") != "wants approval by 2 people" {
		t.Fatalf("%+v", v.Changes)
	}
	for range 2 { // one person is one, however often
		if _, err := h.Approve(ctx, "ana", Yes{Digest: v.Digest}); err != nil {
			t.Fatal(err)
		}
	}
	h.rests(h.tip())
	if got := h.Plan().Changes[0].Held; len(got) != 1 || got[0] != "wants approval by 2 people, has that of ana" {
		t.Fatalf("%q", got)
	}
	if _, err := h.Approve(ctx, "ben", Yes{Digest: v.Digest}); err != nil {
		t.Fatal(err)
	}
	h.converged(h.tip())
	h.must(h.eng.ForeignEdit(h.eng.Objects()[0].Handle, json.RawMessage(`{"value":"foreign"}`)))
	h.must(h.Resume(ctx, "ana", nil, "")) // everything is looked at
	h.until("repaired", func(s Status) bool {
		return s.Converged && !strings.Contains(string(h.eng.Objects()[0].Spec), "foreign")
	})
	rev := h.commit(decl("b", `{}`))
	h.rests(rev)
	if got := h.Plan(); len(got.Changes) != 2 || len(got.Changes[0].Held) != 1 || len(got.Changes[1].Held) != 1 {
		t.Errorf("%+v", got.Changes)
	}
}

// What was said where proposals are reviewed is read again there before it lets
// anything run that it could not let run at once; taken back there, or out of
// reach, it lets nothing run.
func TestReviewsAreReadAgain(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Gates.Reviews = 1 }, decl("a", `{}`))
	ctx := t.Context()
	h.rests(h.tip())
	h.must(h.Suspend(ctx, "ana", nil, "the disk is moved"))
	v := h.Plan()
	shown := h.shown().Shown
	h.must(h.Reviewed(ctx, gate.Approval{By: "ben", ID: v.Digest, Why: "review of 7", Changes: shown}))
	h.mu.Lock()
	h.core.w.Approvals[0].Heard = time.Now().Add(-2 * gate.HeardTime) // the move takes its time
	h.mu.Unlock()
	h.must(h.Resume(ctx, "ana", nil, "done"))
	h.until("held", func(s Status) bool { return s.Settled && s.Counts[Held] == 1 })
	if got := h.Plan().Changes[0].Held; strings.Join(got, "") != "wants approval: a review" {
		t.Errorf("%q", got)
	}
	h.Heard("eve", v.Digest, "review of 7")
	h.Heard("ben", v.Digest, "review of 8")
	h.rests(h.tip())
	if got := h.Status(); got.Counts[Held] != 1 {
		t.Errorf("another's word counts: %v", got.Counts)
	}
	h.Heard("ben", v.Digest, "review of 7")
	h.converged(h.tip())
	h.mu.Lock()
	left := h.core.w.Approvals
	h.mu.Unlock()
	if len(left) != 0 {
		t.Errorf("it was used, and is there: %+v", left)
	}
}
