package consul

import (
	"slices"
	"testing"

	"github.com/aplomb-dev/aplomb/drivers"
	"github.com/aplomb-dev/aplomb/schema"
)

// An answer that was on its way while the driver wrote is no news; one that is
// as new as what the driver saw, and differs, is.
func TestSeenLate(t *testing.T) {
	var s seen
	var told []string
	s.listen(func(handle string) { told = append(told, handle) })
	it := drivers.Item{ID: schema.ID{Kind: KindKV, Name: "k"}}
	note := func(version string) {
		s.note(it, drivers.State{Handle: "kv/k", Exists: true, Version: version})
	}
	hears := func(at uint64, version string) []string {
		return s.news(KindKV, at, every, func(string) string { return version })
	}
	note("7")
	for _, c := range []struct {
		what    string
		at      uint64
		version string
		want    []string
	}{
		{"from before it was made", 6, "", nil},
		{"from before it was changed", 6, "5", nil},
		{"as it is", 9, "7", nil},
		{"changed by somebody", 9, "8", []string{"kv/k"}},
		{"changed by somebody, again", 9, "8", nil},
		{"deleted by somebody", 10, "", []string{"kv/k"}},
	} {
		if got := hears(c.at, c.version); !slices.Equal(got, c.want) {
			t.Errorf("%s: heard of %v", c.what, got)
		}
	}
	for version, want := range map[string]int{"11": 0, "13": 0, "14": 1} { // heard while a write is under way that leaves 13
		note("11")
		told = nil
		s.begin(KindKV, "kv/k")
		hears(14, version)
		note("13")
		s.end(KindKV, "kv/k")
		if len(told) != want {
			t.Errorf("heard of %s during a write that left 13: told %v", version, told)
		}
	}
}
