package hclbounds

import (
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

func TestBeyond(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		line int
	}{
		"plain":           {"a = [1, {b = \"${c}\"}]\n", 0},
		"brackets":        {"a = 1\nb = " + strings.Repeat("[", 300) + strings.Repeat("]", 300), 2},
		"templates":       {"a = " + strings.Repeat(`"${`, 300) + "1" + strings.Repeat(`}"`, 300), 1},
		"signs":           {"a = " + strings.Repeat("!", 300) + "b", 1},
		"commented signs": {"a = (" + strings.Repeat("!/* */\n", 300) + "b)", 201},
		"conditions":      {"a = (" + strings.Repeat("a ? b :\n", 6000) + "c)", 5001},
		"splats":          {"a = b" + strings.Repeat("[*]", 6000), 1},
		"strange closers": {"a = " + strings.Repeat("[}", 300), 1},
		"side by side":    {strings.Repeat("a {\n}\n", 2000), 0},
	} {
		if got := Beyond([]byte(c.text), "x.hcl"); got != c.line {
			t.Errorf("%s: line %d, want %d", name, got, c.line)
		}
	}
}

// FuzzBeyond: what is within the bounds can be parsed.
func FuzzBeyond(f *testing.F) {
	f.Add([]byte("a = [1, \"${b ? c : d}\"]"))
	f.Add([]byte("a = " + strings.Repeat("[*", 100)))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if Beyond(data, "x.hcl") == 0 {
			_, _ = hclsyntax.ParseConfig(data, "x.hcl", hcl.InitialPos) // it ends, whatever it says
		}
	})
}
