package policy

import (
	"os"
	"testing"
)

// The library's own cases come out as they say, and every policy is tried both
// ways.
func TestLibrary(t *testing.T) {
	r, err := New(Options{}).Test(t.Context(), os.DirFS("../policies/library"))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range r.Findings {
		t.Error(d)
	}
	for _, c := range r.Cases {
		if !c.OK {
			t.Errorf("%s: %s: %s: %s", c.Policy, c.Want, c.Name, c.Reason)
		}
	}
	if len(r.Policies) != 8 {
		t.Errorf("%d policies, want 8", len(r.Policies))
	}
	for _, p := range r.Policies {
		if p.Pass == 0 || p.Fail == 0 || len(p.Unseen) > 0 {
			t.Errorf("%s: %d cases pass, %d fail; never seen: %v", p.Policy, p.Pass, p.Fail, p.Unseen)
		}
	}
}
