package policy

import (
	"strings"
	"testing"

	"github.com/aplomb-dev/aplomb/schema"
)

// A byte that is no UTF-8 hides no other, and what does not fit is said.
func TestTextsOf(t *testing.T) {
	texts, unread := textsOf(schema.Tree{
		{Path: "latin", Data: []byte("# caf\xe9\ndriver = \"raw_exec\"")},
		{Path: "large", Data: []byte(strings.Repeat("x", mostFileText))},
		{Path: "grows", Data: []byte(strings.Repeat("x\xff", mostFileText/3))},
		{Path: "small", Data: []byte("x")},
	})
	if got, want := texts["latin"], "# caf\ufffd\ndriver = \"raw_exec\""; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if texts["small"] != "x" || texts["large"] != "" || texts["grows"] != "" {
		t.Error("something else than what is too large is left out")
	}
	equal(t, unread, "large", "grows")
}
