package reconciler

import (
	"encoding/json"
	"strings"
	"testing"
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
