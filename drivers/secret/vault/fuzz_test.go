package vault

import (
	"strings"
	"testing"
)

// FuzzUnmark: a description is what was declared, whatever it looks like, and
// the mark is the environment's that was put there last.
func FuzzUnmark(f *testing.F) {
	f.Add("for the shop", "7f3a")
	f.Add("", "7f3a")
	f.Add(" led by a space [aplomb:other]", "7f3a")
	f.Add("two\nlines\n", "7f3a")
	f.Fuzz(func(t *testing.T, description, env string) {
		if strings.ContainsAny(env, "[]") {
			return // no environment's id does
		}
		if own, owner := unmark(mark(description, env)); own != description || owner != env {
			t.Fatalf("%q of %q became %q of %q", description, env, own, owner)
		}
		if own, owner := unmark(description); owner == "" && !strings.Contains(description, "[aplomb:") && own != description {
			t.Fatalf("%q became %q", description, own)
		}
	})
}
