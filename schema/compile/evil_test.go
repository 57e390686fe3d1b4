package compile

import (
	"strings"
	"testing"
)

// Files of the largest size that cost as much as so few bytes can: a real
// worker answers in time, and the file beside them is read.
func TestCostlyFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	fill := func(head, unit, tail string) string {
		return head + strings.Repeat(unit, (DefaultFileBytes-len(head)-len(tail))/len(unit)) + tail
	}
	text := "apiVersion: aplomb.dev/v1\nkind: local.file\nmetadata: {name: a}\nspec: {path: a, content: \"" +
		strings.Repeat("@{local.port/a.port}", 20_000) + "\"}\n"
	for name, c := range map[string]struct {
		text     string
		findings int
	}{
		"flat.yaml":      {fill("[", "a,", "]"), 1},
		"deep.yaml":      {fill("", "[", ""), 1},
		"deep.json":      {fill("", "[", ""), 1},
		"documents.yaml": {fill("", "---\n", ""), 0},
		"refs.yaml":      {text, 0},
	} {
		t.Run(name, func(t *testing.T) {
			res := compileWith(t, Options{Workers: testPool(t)}, files(name, c.text, "z.yaml", port("z")))
			if len(res.Findings) != c.findings {
				t.Errorf("%d findings, want %d: %.3v", len(res.Findings), c.findings, res.Findings)
			}
			if c.findings == 0 && len(res.Resources) == 0 {
				t.Error("the file beside it was not read")
			}
		})
	}
}
