package nomad

import (
	"strings"
	"testing"
)

// FuzzVersion: a version that was written is read as it was, so that what lives
// is not taken for something else than what was applied; and what was never
// written is a version all the same, or none.
func FuzzVersion(f *testing.F) {
	f.Add(uint64(17), "", "", "17")
	f.Add(uint64(17), "finished", "rest of it", "17 finished rest of it")
	f.Add(uint64(0), "batch", " ", "18446744073709551616 batch")
	f.Fuzz(func(t *testing.T, index uint64, state, rest, text string) {
		_ = parseVersion(text)
		if strings.Contains(state, " ") || state == "" && rest != "" {
			return // no such one is made
		}
		v := version{index: index, state: state, rest: rest}
		if again := parseVersion(v.String()); again != v {
			t.Fatalf("%+v, written %q, is read %+v", v, v.String(), again)
		}
	})
}
